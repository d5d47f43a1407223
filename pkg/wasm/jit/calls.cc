// Calls: of the module's own functions by their native entries, of the host through a helper, and of whatever a table or a reference says.
#include <algorithm>

#include "wasm/jit/compiler.h"
#include "wasm/jit/helpers.h"
#include "wasm/jit/stubs.h"

namespace monopod::wasm::jit {

using namespace asmjit;

std::vector<FunctionCompiler::Value> FunctionCompiler::pop_arguments(const FuncType& type) {
  std::vector<Value> out(stack_.end() - static_cast<std::ptrdiff_t>(type.params.size()), stack_.end());
  stack_.resize(stack_.size() - type.params.size());
  return out;
}

void FunctionCompiler::store_slots(const Mem& to, const std::vector<Value>& values) {
  u32 slot = 0;
  for (const Value& v : values) {
    Mem m = to;
    m.addOffset(slot * 8);
    slot += slots_of(v.type);
    store_slot(m, v.type, in_register(v));
  }
}

void FunctionCompiler::load_slots(const Mem& from, const FuncType& type) {
  u32 slot = 0;
  for (ValType t : type.results) {
    Mem m = from;
    m.addOffset(slot * 8);
    BaseReg d = make_register(t);
    load_slot(d, t, m);
    push_register(t, d);
    slot += slots_of(t);
  }
}

target::Mem FunctionCompiler::host_area(u32 slots) {
  slots = std::max(slots, 1u);
  if (area_slots_ == 0) area_ = cc_.newStack(slots * 8, 16);
  else if (slots > area_slots_) cc_.setStackSize(area_.baseId(), slots * 8, 16);
  area_slots_ = std::max(area_slots_, slots);
  return area_;
}

// target: what invoke_node() takes, with a compiled function of the type.
void FunctionCompiler::invoke(const Operand& target, const FuncType& type, const std::vector<Value>& arguments) {
  calls_ = true;
  FuncSignatureBuilder signature(target::kCallConv);
  describe(type, signature);
  if (in_registers(type)) {
    std::vector<BaseReg> registers;
    for (const Value& v : arguments) registers.push_back(argument(v));
    InvokeNode* node = invoke_node(target, signature);
    if (node == nullptr) return unsupported();
    place_vm(node->detail());
    node->setArg(0, vm_);
    for (std::size_t i = 0; i < registers.size(); ++i) node->setArg(i + 1, registers[i]);
    if (!type.results.empty()) {
      ValType t = type.results[0];
      BaseReg d = make_register(t);
      node->setRet(0, d);
      push_register(t, d);
    }
    return load_fuel();
  }
  // On the machine's stack, as in the interpreter.
  Gp machine = make_int(), sp = make_int(), end = make_int();
  std::uint32_t room = std::max(type.param_slots, type.result_slots) * 8;
  load_word(machine, at(vm_, offsetof(Vm, machine)));
  load_word(sp, at(machine, offsetof(Machine, sp)));
  add_bytes(end, sp, room);
  compare_with(end, at(machine, offsetof(Machine, stack_limit)));
  trap_if(target::kAbove, Trap::kStack);
  store_slots(at(sp, 0), arguments);
  store_word(at(machine, offsetof(Machine, sp)), end);
  Gp slots = make_int();
  cc_.mov(slots, sp);
  InvokeNode* node = invoke_node(target, signature);
  if (node == nullptr) return unsupported();
  place_vm(node->detail());
  node->setArg(0, vm_);
  node->setArg(1, slots);
  Gp after = make_int();
  load_word(after, at(vm_, offsetof(Vm, machine)));
  store_word(at(after, offsetof(Machine, sp)), sp);
  load_slots(at(sp, 0), type);
  load_fuel();
}

bool FunctionCompiler::call(u32 function) {
  const FuncType& type = *module_.function_types[function];
  for (ValType t : type.results)
    if (!supported(t)) return false;
  if (module_.functions[function].imported) return call_import(function), true;
  std::vector<Value> arguments = pop_arguments(type);
  if (function == job_.function && job_.loop == Job::kEntry) {
    invoke(function_->label(), type, arguments);
  } else if (native_.state(function) == NativeCode::State::kReady) {
    invoke(Imm(reinterpret_cast<u64>(native_.natives()[function].load(std::memory_order_acquire))), type, arguments);
  } else {
    Gp natives = make_int();
    load_word(natives, at(vm_, offsetof(Vm, natives)));
    invoke(entry_at(natives, function), type, arguments);
  }
  return true;
}

void FunctionCompiler::call_import(u32 function) {
  const FuncType& type = *module_.function_types[function];
  std::vector<Value> arguments = pop_arguments(type);
  Mem area = host_area(std::max(type.param_slots, type.result_slots));
  store_slots(area, arguments);
  Gp slots = make_int(), good = make_int();
  address_of(slots, area);
  push_const(kI64, function);
  push_register(kI64, slots);
  help(reinterpret_cast<const void*>(&help_import), 2, true)->setRet(0, good);
  check_flag(good, Trap::kNone);
  load_slots(area, type);
  load_fuel();
}

// A function of this instance by its entry; any other one by a stub that asks vm->callee.
void FunctionCompiler::call_object(const Gp& object_at, u32 type_index, const FuncType& type, std::vector<Value>& arguments) {
  Gp target = make_int(), foreign = make_int();
  if (!native_.make_foreign(type_index)) return unsupported();
  store_word(at(vm_, offsetof(Vm, callee)), object_at);
  load_word(target, at(object_at, offsetof(FunctionObject, native)));
  load_word(foreign, at(vm_, offsetof(Vm, foreigns)));
  load_word(foreign, at(foreign, std::size_t{type_index} * 8));
  load_word(target, at(target, 0));
  callee_or(target, object_at, foreign);
  invoke(target, type, arguments);
}

bool FunctionCompiler::call_indirect() {
  u32 type_index = reader_.u32(), table_index = reader_.u32();
  u32 number = module_.types[type_index];
  const FuncType& type = *module_.type_of[type_index];
  for (ValType t : type.results)
    if (!supported(t)) return false;
  Gp index = gp(pop());
  std::vector<Value> arguments = pop_arguments(type);
  Gp from = table(table_index), data = make_int(), function = make_int();
  compare_with(index, at(from, offsetof(TableObject, size)));
  trap_if(target::kAboveEqual, Trap::kUndefined);
  load_word(data, at(from, offsetof(TableObject, data)));
  load_element(function, data, index);
  place(Trap::kUninitialized);  // a null element: nothing is mapped there
  compare_with(at(function, offsetof(FunctionObject, type), 4), number);
  trap_if(target::kNotEqual, Trap::kSignature);
  call_object(function, type_index, type, arguments);
  return true;
}

bool FunctionCompiler::call_reference() {
  u32 type_index = reader_.u32();
  const FuncType& type = *module_.type_of[type_index];
  for (ValType t : type.results)
    if (!supported(t)) return false;
  Gp function = gp(pop());
  std::vector<Value> arguments = pop_arguments(type);
  trap_if_zero(function, Trap::kNullReference);
  call_object(function, type_index, type, arguments);
  return true;
}

}  // namespace monopod::wasm::jit
