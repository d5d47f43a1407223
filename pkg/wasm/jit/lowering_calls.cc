// Calls: of the module's own functions by their native entries, of the host through a helper, and of whatever a table or a reference says.
#include <algorithm>

#include "wasm/jit/helpers.h"
#include "wasm/jit/lowering.h"

namespace monopod::wasm::jit {

using namespace asmjit;

bool Lowering::call(u32 function) {
  const FuncType& type = *module_.function_types[function];
  if (!supported(type.results)) return false;
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

void Lowering::call_import(u32 function) {
  const FuncType& type = *module_.function_types[function];
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
  store_fuel();
  Gp slots = make_int();
  address_of(slots, area);
  check_flag(help(reinterpret_cast<const void*>(&help_import), {constant_value(function), {.type = kI64, .reg = slots}}, 0, true), Trap::kNone);
  slot = 0;
  for (ValType t : type.results) {
    BaseReg d = make_register(t);
    load_slot(d, t, area.cloneAdjusted(slot * 8));
    push_register(t, d);
    release(d);
    slot += slots_of(t);
  }
  load_fuel();
}

// A function of this instance by its entry; any other one, out of the way, by a stub that asks vm->callee.
void Lowering::call_object(const Gp& object_at, u32 type_index, const FuncType& type) {
  if (!native_.make_foreign(type_index)) return unsupported();
  ForeignCall foreign{.label = cc_.newLabel(), .back = cc_.newLabel(), .object = object_at, .target = make_int(), .type_index = type_index};
  load_word(foreign.target, at(object_at, offsetof(FunctionObject, native)));
  jump_if_foreign(object_at, foreign.label);
  load_word(foreign.target, at(foreign.target, 0));
  cc_.bind(foreign.back);
  foreign_calls_.push_back(foreign);
  release(object_at);
  invoke(foreign.target, type);
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
  if (!supported(type.results)) return false;
  Gp index = gp(pop());
  Gp from = table(table_index), function = make_int();
  compare_with(index, at(from, offsetof(TableObject, size)));
  trap_if(target::kAboveEqual, Trap::kUndefined);
  load_word(from, at(from, offsetof(TableObject, data)));
  load_element(function, from, index);
  release(from);
  release(index);
  place(Trap::kUninitialized);  // a null element: nothing is mapped there
  compare_with(at(function, offsetof(FunctionObject, type), 4), module_.types[type_index]);
  trap_if(target::kNotEqual, Trap::kSignature);
  call_object(function, type_index, type);
  return true;
}

bool Lowering::call_reference() {
  u32 type_index = reader_.u32();
  const FuncType& type = *module_.type_of[type_index];
  if (!supported(type.results)) return false;
  Gp function = gp(pop());
  trap_if_zero(function, Trap::kNullReference);
  call_object(function, type_index, type);
  return true;
}

}  // namespace monopod::wasm::jit
