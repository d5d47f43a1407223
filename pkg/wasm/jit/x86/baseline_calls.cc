// Calls: operands to where they are passed, all at once; everything else that calls do not preserve to the frame before.
#include <algorithm>

#include "wasm/jit/helpers.h"
#include "wasm/jit/stubs.h"
#include "wasm/jit/x86/baseline.h"

namespace monopod::wasm::jit {

using namespace asmjit;

void BaselineCompiler::save_locals(bool back) {
  for (u32 local : locals_to_save_) {
    if (back) load_slot(locals_[local], local_types_[local], frame(local_slots_[local]));
    else store_slot(frame(local_slots_[local]), local_types_[local], locals_[local]);
  }
}

// A move is made when nobody reads its target any more; in a circle one operand goes through the frame.
void BaselineCompiler::resolve_moves() {
  auto source = [this](const Value& v) -> u32 {
    if (v.local != kNoLocal) return locals_[v.local].isValid() ? bit_of(locals_[v.local]) : 0;
    return held_by(v);
  };
  while (!moves_.empty()) {
    bool any = false;
    for (std::size_t i = 0; i < moves_.size();) {
      u32 to = bit_of(moves_[i].to);
      bool read = false;
      for (std::size_t k = 0; k < moves_.size(); ++k) read = read || (k != i && source(moves_[k].from) == to);
      if (read) {
        ++i;
        continue;
      }
      move(moves_[i].to, moves_[i].from);
      moves_.erase(moves_.begin() + static_cast<std::ptrdiff_t>(i));
      any = true;
    }
    if (any) continue;
    std::size_t at = 0;  // from anywhere, who waits for whom leads into the circle
    for (std::size_t steps = moves_.size(); steps > 0; --steps)
      for (std::size_t k = 0; k < moves_.size(); ++k)
        if (k != at && source(moves_[k].from) == bit_of(moves_[at].to)) {
          at = k;
          break;
        }
    Value& v = moves_[at].from;
    to_frame(scratch_at_, v);
    v = {.kind = Value::Kind::kSlot, .type = v.type, .slot = scratch_at_ - operand_slot_};
  }
}

void BaselineCompiler::add_target(Operand& target) {
  if (target.isReg()) moves_.push_back({{.type = kI64, .reg = target.as<BaseReg>()}, x86::rax}), target = x86::rax;
  if (!target.isMem()) return;
  x86::Mem& m = target.as<x86::Mem>();
  moves_.push_back({{.type = kI64, .reg = m.baseReg()}, x86::rax});
  m.setBase(x86::rax);
}

void BaselineCompiler::call_target(Operand target) {
  save_locals(false);
  place(Trap::kNone);
  if (target.isImm()) {
    near_calls_->push_back({static_cast<u32>(assembler_.offset()) + 1, reinterpret_cast<const void*>(target.as<Imm>().valueAs<std::uintptr_t>())});
    static constexpr std::uint8_t kCallNear[] = {0xe8, 0, 0, 0, 0};
    cc_.embed(kCallNear, sizeof kCallNear);
  } else {
    cc_.emit(x86::Inst::kIdCall, target);
  }
  save_locals(true);
  pinned_ = 0;
}

x86::Gp BaselineCompiler::help(const void* helper, std::initializer_list<Value> before, u32 operands, bool returns) {
  static constexpr x86::Gp kArguments[] = {x86::rsi, x86::rdx, x86::rcx, x86::r8};
  std::size_t at_argument = before.size() + operands;
  spill_below(static_cast<u32>(stack_.size() - operands));
  for (; operands > 0; --operands) moves_.push_back({pop(), kArguments[--at_argument]});
  std::size_t i = 0;
  for (const Value& v : before) moves_.push_back({v, kArguments[i++]});
  resolve_moves();
  cc_.mov(x86::rdi, vm_);
  load_word(x86::rax, at(vm_, offsetof(Vm, helpers)));
  call_target(at(x86::rax, helper_number(helper) * 8));
  if (returns) pinned_ = bit_of(x86::rax);
  return x86::rax;
}

// Of operands from that one on: moves of those that go into registers; on_stack(operand, word) puts the others into their place. Where a move comes from is said
// last, as that may change until then.
template <typename F>
void BaselineCompiler::plan_arguments(const FuncType& type, std::size_t first, F on_stack) {
  std::size_t i = first, next = 0;
  each_parameter(type, [&](ValType t, u32, int reg, u32 word) {
    if (reg < 0) on_stack(stack_[i], word);
    else moves_.push_back({{}, is_integer(t) ? BaseReg(target::kIntegers[reg]) : BaseReg(x86::xmm(static_cast<u32>(reg)))});
    ++i;
  });
  i = first;
  each_parameter(type, [&](ValType, u32, int reg, u32) {
    if (reg >= 0) moves_[next++].from = stack_[i];
    ++i;
  });
}

void BaselineCompiler::invoke(const Operand& to, const FuncType& type) {
  if (!in_registers(type)) return invoke_by_slots(to, type);
  auto first = static_cast<u32>(stack_.size() - type.params.size());
  spill_below(first);
  plan_arguments(type, first, [this](const Value& v, u32 word) {
    BaseReg r = in_register(v);
    store_slot(x86::ptr(x86::rsp, static_cast<std::int32_t>(word * 8)), v.type, r);
    if (v.kind != Value::Kind::kRegister) release(r);
  });
  for (std::size_t n = type.params.size(); n > 0; --n) pop();
  Operand target = to;
  add_target(target);
  resolve_moves();
  call_target(target);
  if (!type.results.empty()) push_register(type.results[0], result_place(type.results[0]));
  check_caught();
}

// Operands from that one on, as slots.
void BaselineCompiler::store_arguments(const x86::Gp& slots, std::size_t first) {
  u32 slot = 0;
  for (std::size_t i = first; i < stack_.size(); ++i) {
    BaseReg r = in_register(stack_[i]);
    store_slot(x86::ptr(slots, static_cast<std::int32_t>(slot * 8)), stack_[i].type, r);
    slot += slots_of(stack_[i].type);
    if (stack_[i].kind != Value::Kind::kRegister) release(r);
  }
}

// Room on the machine's stack for what goes into a function of the type and comes out: from its end on, or, own, in place of what this one came with.
x86::Gp BaselineCompiler::take_slots(const FuncType& type, bool own) {
  x86::Gp machine = make_int(), sp = make_int(), end = make_int();
  cc_.mov(machine, at(vm_, offsetof(Vm, machine)));
  cc_.mov(sp, own ? frame(slots_at_) : at(machine, offsetof(Machine, sp)));
  cc_.lea(end, x86::ptr(sp, static_cast<std::int32_t>(std::max(type.param_slots, type.result_slots) * 8)));
  cc_.cmp(end, at(machine, offsetof(Machine, stack_limit)));
  trap_if(x86::CondCode::kA, Trap::kStack);
  cc_.mov(at(machine, offsetof(Machine, sp)), end);
  release(machine);
  release(end);
  return sp;
}

// On the machine's stack, as in the interpreter.
void BaselineCompiler::invoke_by_slots(const Operand& to, const FuncType& type) {
  std::size_t first = stack_.size() - type.params.size();
  spill_below(static_cast<u32>(first));
  x86::Gp sp = take_slots(type, false);
  cc_.mov(frame(scratch_at_ + 2), sp);
  store_arguments(sp, first);
  for (std::size_t n = type.params.size(); n > 0; --n) pop();
  moves_.push_back({{.type = kI64, .reg = sp}, x86::rsi});
  Operand target = to;
  add_target(target);
  resolve_moves();
  call_target(target);
  sp = make_int();
  x86::Gp after = make_int();
  cc_.mov(sp, frame(scratch_at_ + 2));
  cc_.mov(after, at(vm_, offsetof(Vm, machine)));
  cc_.mov(at(after, offsetof(Machine, sp)), sp);
  release(after);
  check_caught();
  u32 slot = 0;
  for (ValType t : type.results) {
    BaseReg d = make_register(t);
    load_slot(d, t, x86::ptr(sp, static_cast<std::int32_t>(slot * 8)));
    push_register(t, d);
    release(d);
    slot += slots_of(t);
  }
}

// What is below the arguments is not needed any more.
void BaselineCompiler::tail_invoke(const TailSite& site, const FuncType& type) {
  std::size_t first = stack_.size() - type.params.size();
  if (in_registers(type)) {
    plan_arguments(type, first, [this](const Value& v, u32 word) { tail_word(v, word); });
  } else {
    x86::Gp sp = take_slots(type, by_slots_);
    store_arguments(sp, first);
    moves_.push_back({{.type = kI64, .reg = sp}, x86::rsi});
  }
  for (std::size_t n = type.params.size(); n > 0; --n) pop();
  resolve_moves();
  if (by_slots_ && in_registers(type)) {
    cc_.mov(x86::rax, frame(slots_at_));
    cc_.mov(at(vm_, offsetof(Vm, tail_slots)), x86::rax);
  }
  save_registers(true);
  cc_.add(x86::rsp, frame_bytes_);
  emit_tail_jump(site);
}

}  // namespace monopod::wasm::jit
