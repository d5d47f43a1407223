// Calls: of the module's own functions by their native entries, of the host through a helper, and of whatever a table or a reference says.
#include <algorithm>

#include "wasm/jit/helpers.h"
#include "wasm/jit/x86/compiler.h"

namespace monopod::wasm::jit {

using namespace asmjit;

std::vector<FunctionCompiler::Value> FunctionCompiler::pop_arguments(const FuncType& type) {
  std::vector<Value> out(stack_.end() - static_cast<std::ptrdiff_t>(type.params.size()), stack_.end());
  stack_.resize(stack_.size() - type.params.size());
  return out;
}

void FunctionCompiler::store_slots(const x86::Mem& to, const std::vector<Value>& values) {
  u32 slot = 0;
  for (const Value& v : values) {
    x86::Mem m = to;
    m.addOffset(slot * 8);
    m.setSize(0);
    slot += slots_of(v.type);
    if (v.type == kV128) cc_.vmovups(m, xmm(v));
    else if (v.type == kF64) cc_.vmovsd(m, xmm(v));
    else if (v.type == kF32) cc_.vmovss(m, xmm(v));
    else cc_.mov(m, gp(v));
  }
}

void FunctionCompiler::load_slots(const x86::Mem& from, const FuncType& type) {
  u32 slot = 0;
  for (ValType t : type.results) {
    x86::Mem m = from;
    m.addOffset(slot * 8);
    BaseReg d = make_register(t);
    load_slot(d, t, m);
    push_register(t, d);
    slot += slots_of(t);
  }
}

x86::Mem FunctionCompiler::host_area(u32 slots) {
  slots = std::max(slots, 1u);
  if (area_slots_ == 0) area_ = cc_.newStack(slots * 8, 16);
  else if (slots > area_slots_) cc_.setStackSize(area_.baseId(), slots * 8, 16);
  area_slots_ = std::max(area_slots_, slots);
  return area_;
}

// target: a register, memory or label with a compiled function of the type.
template <typename Target>
void FunctionCompiler::invoke(const Target& target, const FuncType& type, const std::vector<Value>& arguments) {
  calls_ = true;
  FuncSignatureBuilder signature(CallConvId::kX64SystemV);
  describe(type, signature);
  InvokeNode* node = nullptr;
  if (in_registers(type)) {
    std::vector<BaseReg> registers;
    for (const Value& v : arguments) registers.push_back(argument(v));
    place(Trap::kNone);
    cc_.invoke(&node, target, signature);
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
  x86::Gp machine = make_int(), sp = make_int(), end = make_int();
  std::uint32_t room = std::max(type.param_slots, type.result_slots) * 8;
  cc_.mov(machine, at(vm_, offsetof(Vm, machine)));
  cc_.mov(sp, at(machine, offsetof(Machine, sp)));
  cc_.lea(end, x86::ptr(sp, static_cast<std::int32_t>(room)));
  cc_.cmp(end, at(machine, offsetof(Machine, stack_limit)));
  trap_if(x86::CondCode::kA, Trap::kStack);
  store_slots(x86::ptr(sp), arguments);
  cc_.mov(at(machine, offsetof(Machine, sp)), end);
  x86::Gp slots = make_int();
  cc_.mov(slots, sp);
  place(Trap::kNone);
  cc_.invoke(&node, target, signature);
  if (node == nullptr) return unsupported();
  place_vm(node->detail());
  node->setArg(0, vm_);
  node->setArg(1, slots);
  x86::Gp after = make_int();
  cc_.mov(after, at(vm_, offsetof(Vm, machine)));
  cc_.mov(at(after, offsetof(Machine, sp)), sp);
  load_slots(x86::ptr(sp), type);
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
    x86::Gp natives = make_int();
    cc_.mov(natives, at(vm_, offsetof(Vm, natives)));
    invoke(at(natives, std::size_t{function} * 8), type, arguments);
  }
  return true;
}

void FunctionCompiler::call_import(u32 function) {
  const FuncType& type = *module_.function_types[function];
  std::vector<Value> arguments = pop_arguments(type);
  x86::Mem area = host_area(std::max(type.param_slots, type.result_slots));
  store_slots(area, arguments);
  x86::Gp slots = make_int(), good = make_int();
  cc_.lea(slots, area);
  push_const(kI64, function);
  push_register(kI64, slots);
  help(reinterpret_cast<const void*>(&help_import), 2, true)->setRet(0, good);
  check_flag(good, Trap::kNone);
  load_slots(area, type);
  load_fuel();
}

// A function of this instance by its entry; any other one by a stub that asks vm->callee.
void FunctionCompiler::call_object(const x86::Gp& object_at, u32 type_number, const FuncType& type, std::vector<Value>& arguments) {
  x86::Gp target = make_int(), foreign = make_int();
  const void* stub = native_.foreign(type_number, type);
  if (stub == nullptr) return unsupported();
  cc_.mov(at(vm_, offsetof(Vm, callee)), object_at);
  cc_.mov(target, at(object_at, offsetof(FunctionObject, native)));
  cc_.mov(foreign, reinterpret_cast<u64>(stub));
  cc_.mov(target, at(target, 0));
  cc_.cmp(at(object_at, offsetof(FunctionObject, vm)), vm_);
  cc_.cmovne(target, foreign);
  invoke(target, type, arguments);
}

bool FunctionCompiler::call_indirect() {
  u32 type_index = reader_.u32(), table_index = reader_.u32();
  u32 number = module_.types[type_index];
  const FuncType& type = *module_.type_of[type_index];
  for (ValType t : type.results)
    if (!supported(t)) return false;
  x86::Gp index = gp(pop());
  std::vector<Value> arguments = pop_arguments(type);
  x86::Gp from = table(table_index), data = make_int(), function = make_int();
  cc_.cmp(index, at(from, offsetof(TableObject, size)));
  trap_if(x86::CondCode::kAE, Trap::kUndefined);
  cc_.mov(data, at(from, offsetof(TableObject, data)));
  cc_.mov(function, x86::ptr(data, index, 3, 0, 8));
  place(Trap::kUninitialized);  // a null element: nothing is mapped there
  cc_.cmp(at(function, offsetof(FunctionObject, type), 4), number);
  trap_if(x86::CondCode::kNE, Trap::kSignature);
  call_object(function, number, type, arguments);
  return true;
}

bool FunctionCompiler::call_reference() {
  u32 type_index = reader_.u32();
  const FuncType& type = *module_.type_of[type_index];
  for (ValType t : type.results)
    if (!supported(t)) return false;
  x86::Gp function = gp(pop());
  std::vector<Value> arguments = pop_arguments(type);
  cc_.test(function, function);
  trap_if(x86::CondCode::kZ, Trap::kNullReference);
  call_object(function, module_.types[type_index], type, arguments);
  return true;
}

}  // namespace monopod::wasm::jit
