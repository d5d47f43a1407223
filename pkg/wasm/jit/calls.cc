// Calls: of the module's own functions by their native entries, of the host through a helper, and of whatever a table or a reference says.
#include <algorithm>

#include "wasm/jit/compiler.h"
#include "wasm/jit/helpers.h"
#include "wasm/jit/stubs.h"

namespace monopod::wasm::jit {

using namespace asmjit;

std::vector<FunctionCompiler::Value> FunctionCompiler::pop_arguments(std::size_t count) {
  std::vector<Value> out(stack_.end() - static_cast<std::ptrdiff_t>(count), stack_.end());
  stack_.resize(stack_.size() - count);
  return out;
}

void FunctionCompiler::store_slots(const Mem& to, const std::vector<Value>& values) {
  u32 slot = 0;
  for (const Value& v : values) {
    store_slot(to.cloneAdjusted(slot * 8), v.type, in_register(v));
    slot += slots_of(v.type);
  }
}

target::Mem FunctionCompiler::host_area(u32 slots) {
  slots = std::max(slots, 1u);
  if (area_slots_ == 0) area_ = compiler_.newStack(slots * 8, 16);
  else if (slots > area_slots_) compiler_.setStackSize(area_.baseId(), slots * 8, 16);
  area_slots_ = std::max(area_slots_, slots);
  return area_;
}

// helper(vm, what comes before, the topmost operands)
target::Gp FunctionCompiler::help(const void* helper, std::initializer_list<Value> before, u32 operands, bool returns) {
  calls_ = true;
  std::vector<Value> values(before);
  for (const Value& v : pop_arguments(operands)) values.push_back(v);
  std::vector<BaseReg> registers;
  for (const Value& v : values) registers.push_back(argument(v));
  FuncSignatureBuilder signature(target::kCallConv);
  for (std::size_t i = 0; i <= registers.size(); ++i) signature.addArg(TypeId::kUInt64);
  if (returns) signature.setRet(TypeId::kUInt64);
  Gp target = make_int(), vm = make_int(), result = returns ? make_int() : Gp();
  cc_.mov(vm, vm_);
  load_word(target, at(vm_, offsetof(Vm, helpers)));
  load_word(target, at(target, helper_number(helper) * 8));
  InvokeNode* node = invoke_node(target, signature);
  if (node == nullptr) return unsupported(), result;
  node->setArg(0, vm);
  for (std::size_t i = 0; i < registers.size(); ++i) node->setArg(i + 1, registers[i].as<Gp>());
  if (returns) node->setRet(0, result);
  return result;
}

void FunctionCompiler::invoke(const Operand& target, const FuncType& type) {
  calls_ = true;
  std::vector<Value> arguments = pop_arguments(type.params.size());
  FuncSignatureBuilder signature(target::kCallConv);
  describe(type, signature);
  const u32 memory_at = signature.argCount();
  if (hands_on_memory()) signature.addArg(TypeId::kUInt64);
  auto hand_on = [this, memory_at](InvokeNode& node) {
    place_vm(node.detail());
    node.setArg(0, vm_);
    if (!hands_on_memory()) return;
    place_memory(node.detail(), memory_at);
    node.setArg(memory_at, memory_);
  };
  if (in_registers(type)) {
    std::vector<BaseReg> registers;
    for (const Value& v : arguments) registers.push_back(argument(v));
    InvokeNode* node = invoke_node(target, signature);
    if (node == nullptr) return unsupported();
    hand_on(*node);
    for (std::size_t i = 0; i < registers.size(); ++i) node->setArg(i + 1, registers[i]);
    if (!type.results.empty()) {
      ValType t = type.results[0];
      BaseReg d = make_register(t);
      node->setRet(0, d);
      push_register(t, d);
    }
    load_fuel();
    return check_caught();
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
  hand_on(*node);
  node->setArg(1, slots);
  Gp after = make_int();
  load_word(after, at(vm_, offsetof(Vm, machine)));
  store_word(at(after, offsetof(Machine, sp)), sp);
  check_caught();
  u32 slot = 0;
  for (ValType t : type.results) {
    BaseReg d = make_register(t);
    load_slot(d, t, at(sp, slot * 8));
    push_register(t, d);
    slot += slots_of(t);
  }
  load_fuel();
}

// To the register allocator it is a call, behind which the function returns. What it is instead is known once registers are given out.
void FunctionCompiler::tail_invoke(const TailSite& site, const FuncType& type) {
  std::vector<Value> arguments = pop_arguments(type.params.size());
  FuncSignatureBuilder signature(target::kCallConv);
  signature.addArg(TypeId::kUInt64);
  std::vector<BaseReg> registers;
  if (in_registers(type)) {
    FuncSignatureBuilder whole(target::kCallConv);
    describe(type, whole);
    std::size_t i = 0;
    each_parameter(type, [&](ValType, u32, int reg, u32 stack) {
      if (reg < 0) {
        tail_word(arguments[i], stack);
      } else {
        signature.addArg(whole.args()[i + 1]);
        registers.push_back(argument(arguments[i]));
      }
      ++i;
    });
    if (by_slots_) store_word(at(vm_, offsetof(Vm, tail_slots)), slots_);
  } else {
    Gp machine = make_int(), sp = make_int(), end = make_int();
    load_word(machine, at(vm_, offsetof(Vm, machine)));
    if (by_slots_) cc_.mov(sp, slots_);
    else load_word(sp, at(machine, offsetof(Machine, sp)));
    add_bytes(end, sp, std::max(type.param_slots, type.result_slots) * 8);
    compare_with(end, at(machine, offsetof(Machine, stack_limit)));
    trap_if(target::kAbove, Trap::kStack);
    store_slots(at(sp, 0), arguments);
    store_word(at(machine, offsetof(Machine, sp)), end);
    signature.addArg(TypeId::kUInt64);
    registers.push_back(sp);
  }
  InvokeNode* node = invoke_node(own_entry(), signature);
  if (node == nullptr) return unsupported();
  place_vm(node->detail());
  node->setArg(0, vm_);
  for (std::size_t i = 0; i < registers.size(); ++i) node->setArg(i + 1, registers[i]);
  compiler_.ret();
  tails_.emplace_back(site, node);
}

void FunctionCompiler::emit_tails() {
  for (auto& [site, node] : tails_) {
    compiler_.setCursor(node);
    compiler_.emitEpilog(function_->frame());
    compiler_.removeNode(compiler_.cursor());  // its return
    emit_tail_jump(site);
    compiler_.removeNode(node);
  }
}

}  // namespace monopod::wasm::jit
