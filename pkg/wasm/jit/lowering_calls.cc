// Calls: of the module's own functions by their native entries, of the host through a helper, and of whatever a table or a reference says.
#include <algorithm>

#include "wasm/jit/helpers.h"
#include "wasm/jit/lowering.h"
#include "wasm/jit/stubs.h"

namespace monopod::wasm::jit {

using namespace asmjit;

bool Lowering::call(u32 function) {
  const FuncType& type = *module_.function_types[function];
  if (module_.functions[function].imported) return call_import(function), true;
  if (function == job_.function && job_.loop == Job::kEntry) {
    invoke(own_entry(), type);
  } else if (const void* code = native_.final_code(function); code != nullptr) {
    invoke(Imm(reinterpret_cast<u64>(code)), type);
  } else {
    Gp natives = make_int();
    load_word(natives, at(vm_, offsetof(Vm, natives)));
    invoke(entry_at(natives, function), type);
  }
  return true;
}

target::Gp Lowering::host_arguments(const FuncType& type) {
  Mem area = host_area(std::max(type.param_slots, type.result_slots));
  std::size_t first = stack_.size() - type.params.size();
  u32 slot = 0;
  for (std::size_t i = first; i < stack_.size(); ++i) {
    BaseReg r = in_register(stack_[i]);
    store_slot(area.cloneAdjusted(slot * 8), stack_[i].type, r);
    slot += slots_of(stack_[i].type);
    if (stack_[i].kind != Value::Kind::kRegister) release(r);
  }
  for (std::size_t i = stack_.size(); i > first; --i) pop();
  Gp slots = make_int();
  address_of(slots, area);
  return slots;
}

void Lowering::call_import(u32 function) {
  const FuncType& type = *module_.function_types[function];
  Gp slots = host_arguments(type);
  store_fuel();
  Gp good = help(reinterpret_cast<const void*>(&help_import), {constant_value(function), {.type = kI64, .reg = slots}}, 0, true);
  if (catches()) {
    Label over = cc_.newLabel();
    jump_if(negated(is_zero(good, kI32)), over);
    check_flag(help(reinterpret_cast<const void*>(&help_caught), {place_value()}, 0, true), Trap::kNone);
    jump(catcher());
    cc_.bind(over);
  } else {
    check_flag(good, Trap::kNone);
  }
  Mem area = host_area(std::max(type.param_slots, type.result_slots));
  u32 slot = 0;
  for (ValType t : type.results) {
    BaseReg d = make_register(t);
    load_slot(d, t, area.cloneAdjusted(slot * 8));
    push_register(t, d);
    release(d);
    slot += slots_of(t);
  }
  load_fuel();
}

void Lowering::call_object(const Gp& object_at, u32 type_index, const FuncType& type) { invoke(target_of(object_at, type_index), type); }

// A function of this instance by its entry; any other one, out of the way, by a stub that asks vm->callee.
target::Gp Lowering::target_of(const Gp& object_at, u32 type_index) {
  if (!native_.make_foreign(type_index)) unsupported();
  ForeignCall foreign{.label = cc_.newLabel(), .back = cc_.newLabel(), .object = object_at, .target = make_int(), .type_index = type_index};
  load_word(foreign.target, at(object_at, offsetof(FunctionObject, native)));
  jump_if_foreign(object_at, foreign.label);
  load_word(foreign.target, at(foreign.target, 0));
  cc_.bind(foreign.back);
  foreign_calls_.push_back(foreign);
  release(object_at);
  return foreign.target;
}

void Lowering::emit_foreign_calls() {
  for (const ForeignCall& f : foreign_calls_) {
    cc_.bind(f.label);
    store_word(at(vm_, offsetof(Vm, callee)), f.object);
    load_word(f.target, at(vm_, offsetof(Vm, foreigns)));
    load_word(f.target, at(f.target, std::size_t{f.type_index} * 8));
    jump(f.back);
  }
}

bool Lowering::call_indirect() {
  u32 type_index = reader_.u32(), table_index = reader_.u32();
  const FuncType& type = *module_.type_of[type_index];
  call_object(table_function(type_index, table_index), type_index, type);
  return true;
}

target::Gp Lowering::table_function(u32 type_index, u32 table_index) {
  Gp index = gp(pop());
  Gp from, function = make_int();
  if (const SizeLimits& size = module_.tables[table_index].type.limits; table_index == 0 && !size.is64 && size.has_max && size.max == size.min) {  // what it is now it stays
    from = make_int();
    jump_unless_below(index, static_cast<u32>(size.min), trap_label(Trap::kUndefined));
    load_word(from, at(vm_, offsetof(Vm, table_data)));
  } else {
    from = table(table_index);
    compare_with(index, at(from, offsetof(TableObject, size)));
    trap_if(target::kAboveEqual, Trap::kUndefined);
    load_word(from, at(from, offsetof(TableObject, data)));
  }
  load_element(function, from, index);
  release(from);
  release(index);
  place(Trap::kUninitialized);  // a null element: nothing is mapped there
  compare_with(at(function, offsetof(FunctionObject, type), 4), module_.types[type_index]);
  trap_if(target::kNotEqual, Trap::kSignature);
  return function;
}

bool Lowering::call_reference() {
  u32 type_index = reader_.u32();
  const FuncType& type = *module_.type_of[type_index];
  Gp function = gp(pop());
  trap_if_zero(function, Trap::kNullReference);
  call_object(function, type_index, type);
  return true;
}

// ---- tail calls

Lowering::TailSite Lowering::tail_site(const FuncType& callee) const {
  static constexpr void (*kToSlots[])() = {monopod_wasm_tail_to_slots_none, monopod_wasm_tail_to_slots_int, monopod_wasm_tail_to_slots_float, monopod_wasm_tail_to_slots_vector};
  static constexpr void (*kToRegisters[])() = {monopod_wasm_tail_to_registers_none, monopod_wasm_tail_to_registers_int, monopod_wasm_tail_to_registers_float,
                                               monopod_wasm_tail_to_registers_vector};
  TailSite site;
  bool to_slots = !in_registers(callee);
  void (*stub)() = nullptr;
  if (!to_slots) site.words = stack_words(callee);
  if (to_slots && !by_slots_) {
    stub = kToSlots[static_cast<std::size_t>(result_kind(callee))];
    site.slots = callee.param_slots;
    site.room = std::max(callee.param_slots, callee.result_slots);
  } else if (!to_slots && by_slots_) {
    stub = kToRegisters[static_cast<std::size_t>(result_kind(callee))];
  } else if (!to_slots && site.words > stack_words(type_)) {
    stub = monopod_wasm_tail_grow;
  }
  if (stub != nullptr) site.stub = reinterpret_cast<const void*>(stub);
  return site;
}

void Lowering::tail_word(const Value& v, u32 word) {
  BaseReg r = in_register(v);
  store_slot(at(vm_, offsetof(Vm, tail_words) + std::size_t{word} * 8), v.type, r);
  if (v.kind != Value::Kind::kRegister) release(r);
}

// The host's functions, which return, are called.
void Lowering::tail_call(std::uint8_t code) {
  const FuncType* type = nullptr;
  TailSite site;
  Gp target;
  if (code == kReturnCall) {
    u32 function = reader_.u32();
    type = module_.function_types[function];
    if (module_.functions[function].imported) {
      leaves_ = true;
      call_import(function);
      leaves_ = false;
      emit_return();
      dead_ = true;
      return;
    }
    site = tail_site(*type);
    if (site.stub == nullptr) {
      site.function = function;
      site.own = function == job_.function && job_.loop == Job::kEntry;
    } else {
      target = make_int();
      load_word(target, at(vm_, offsetof(Vm, natives)));
      load_word(target, at(target, std::size_t{function} * 8));
    }
  } else {
    u32 type_index = reader_.u32();
    type = module_.type_of[type_index];
    Gp object;
    if (code == kReturnCallIndirect) {
      object = table_function(type_index, reader_.u32());
    } else {
      object = gp(pop());
      trap_if_zero(object, Trap::kNullReference);
    }
    site = tail_site(*type);
    target = target_of(object, type_index);
  }
  if (target.isValid()) store_word(at(vm_, offsetof(Vm, tail_target)), target), release(target);
  tail_invoke(site, *type);
  dead_ = true;
}

}  // namespace monopod::wasm::jit
