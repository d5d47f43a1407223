// What the shared files of the compiler ask of a processor: registers, moves, conditions, the frame.
#include <sys/platform/x86.h>

#include "wasm/jit/compiler.h"
#include "wasm/jit/jit.h"
#include "wasm/jit/stubs.h"

namespace monopod::wasm::jit {

using namespace asmjit;

// What the libc found at start: asking the processor again, as asmjit does, takes a short program under a hypervisor a tenth of its time.
std::string_view missing_features() {
  bool v3 = CPU_FEATURE_ACTIVE(AVX2) && CPU_FEATURE_ACTIVE(BMI1) && CPU_FEATURE_ACTIVE(BMI2) && CPU_FEATURE_ACTIVE(LZCNT) && CPU_FEATURE_ACTIVE(POPCNT);
  return v3 ? "" : "the processor is older than x86-64-v3";
}

// ---- registers

BaseReg FunctionCompiler::make_register(ValType type) {
  if (type == kF32) return cc_.newXmmSs();
  if (type == kF64) return cc_.newXmmSd();
  if (type == kV128) return cc_.newXmm();
  return cc_.newUInt64();
}

void FunctionCompiler::move(const BaseReg& to, const Value& from) {
  if (!is_integer(from.type)) {
    x86::Xmm d = to.as<x86::Xmm>();
    if (from.kind == Value::Kind::kConst) {
      if ((from.bits[0] | from.bits[1]) == 0) cc_.vxorps(d, d, d);
      else if (from.type == kF32) cc_.vmovss(d, constant32(static_cast<u32>(from.bits[0])));
      else if (from.type == kF64) cc_.vmovsd(d, constant64(from.bits[0]));
      else cc_.vmovups(d, constant128(from.bits[0], from.bits[1]));
      return;
    }
    x86::Xmm s = vec(from);
    if (s.id() != d.id()) cc_.vmovaps(d, s);
    return;
  }
  x86::Gp d = to.as<x86::Gp>();
  switch (from.kind) {
    case Value::Kind::kConst:
      if (from.bits[0] <= 0xffff'ffff) cc_.mov(d.r32(), static_cast<u32>(from.bits[0]));
      else cc_.mov(d, from.bits[0]);
      break;
    case Value::Kind::kScaled: cc_.lea(d.r32(), x86::ptr(u64{0}, scaled_index(from), from.shift)); break;
    case Value::Kind::kFlags: {
      bool two = from.condition.kind != Condition::Kind::kFlag;
      x86::Gp other = two ? make_int() : x86::Gp();
      cc_.mov(d.r32(), 0);  // moves leave the flags alone
      if (two) cc_.mov(other.r32(), 0);
      if (from.condition.kind == Condition::Kind::kFlag) {
        cc_.set(from.condition.code, d.r8());
      } else if (from.condition.kind == Condition::Kind::kEqualOrdered) {
        cc_.setnp(d.r8());
        cc_.sete(other.r8());
        cc_.and_(d.r8(), other.r8());
      } else {
        cc_.setp(d.r8());
        cc_.setne(other.r8());
        cc_.or_(d.r8(), other.r8());
      }
      break;
    }
    case Value::Kind::kLocal: case Value::Kind::kRegister: {
      x86::Gp s = gp(from);
      if (s.id() != d.id()) cc_.mov(d, s);
      break;
    }
  }
}

void FunctionCompiler::load_word(const Gp& to, const Mem& from) { cc_.mov(to, from); }
void FunctionCompiler::store_word(const Mem& to, const Gp& from) { cc_.mov(to, from); }
void FunctionCompiler::load_element(const Gp& to, const Gp& data, const Gp& index) { cc_.mov(to, x86::ptr(data, index, 3, 0, 8)); }
void FunctionCompiler::store_element(const Gp& data, const Gp& index, const Gp& from) { cc_.mov(x86::ptr(data, index, 3, 0, 8), from); }
void FunctionCompiler::add_bytes(const Gp& to, const Gp& from, u32 bytes) { cc_.lea(to, x86::ptr(from, static_cast<std::int32_t>(bytes))); }
void FunctionCompiler::shift_right(const Gp& r, u32 count) { cc_.shr(r, count); }
void FunctionCompiler::address_of(const Gp& to, const Mem& area) { cc_.lea(to, area); }

void FunctionCompiler::load_slot(const BaseReg& to, ValType type, x86::Mem from) {
  from.setSize(0);
  if (type == kV128) cc_.vmovups(to.as<x86::Xmm>(), from);
  else if (type == kF64) cc_.vmovsd(to.as<x86::Xmm>(), from);
  else if (type == kF32) cc_.vmovss(to.as<x86::Xmm>(), from);
  else cc_.mov(to.as<x86::Gp>(), from);
}

void FunctionCompiler::store_slot(Mem to, ValType type, const BaseReg& from) {
  to.setSize(0);
  if (type == kV128) cc_.vmovups(to, from.as<x86::Xmm>());
  else if (type == kF64) cc_.vmovsd(to, from.as<x86::Xmm>());
  else if (type == kF32) cc_.vmovss(to, from.as<x86::Xmm>());
  else cc_.mov(to, from.as<x86::Gp>());
}

// ---- conditions

Condition negated(Condition c) {
  switch (c.kind) {
    case Condition::Kind::kFlag: return {.code = x86::negateCond(c.code)};
    case Condition::Kind::kEqualOrdered: return {.kind = Condition::Kind::kUnequalOrNot};
    case Condition::Kind::kUnequalOrNot: break;
  }
  return {.kind = Condition::Kind::kEqualOrdered};
}

void FunctionCompiler::jump_if(Condition c, const Label& to) {
  switch (c.kind) {
    case Condition::Kind::kFlag: cc_.j(c.code, to); break;
    case Condition::Kind::kEqualOrdered: {
      Label over = cc_.newLabel();
      cc_.jp(over);
      cc_.je(to);
      cc_.bind(over);
      break;
    }
    case Condition::Kind::kUnequalOrNot:
      cc_.jp(to);
      cc_.jne(to);
      break;
  }
}

Condition FunctionCompiler::condition_of(const Value& v) {
  if (v.kind == Value::Kind::kFlags) return v.condition;
  x86::Gp r = gp(v);
  cc_.test(r.r32(), r.r32());
  return {.code = x86::CondCode::kNZ};
}

Condition FunctionCompiler::is_zero(const Gp& r) {
  cc_.test(r, r);
  return {.code = x86::CondCode::kZ};
}

void FunctionCompiler::jump(const Label& to) { cc_.jmp(to); }
void FunctionCompiler::trap_if(x86::CondCode code, Trap trap) { cc_.j(code, trap_label(trap)); }
void FunctionCompiler::trap_if_zero(const Gp& r, Trap trap) {
  cc_.test(r, r);
  trap_if(x86::CondCode::kZ, trap);
}
void FunctionCompiler::check_flag(const x86::Gp& flag, Trap trap) {
  cc_.test(flag.r32(), flag.r32());
  trap_if(x86::CondCode::kZ, trap);
}
void FunctionCompiler::fail_here() { cc_.ud2(); }
void FunctionCompiler::read(const Gp& at) { cc_.test(x86::dword_ptr(at), at.r32()); }
void FunctionCompiler::compare_with(const Gp& left, const Mem& right) { cc_.cmp(left, right); }
void FunctionCompiler::compare_with(const Mem& left, u32 right) { cc_.cmp(left, right); }

void FunctionCompiler::jump_unless_below(const Gp& index, u32 count, const Label& to) {
  cc_.cmp(index.r32(), count);
  cc_.jae(to);
}

void FunctionCompiler::jump_by_table(const Gp& index, const Label& table, JumpAnnotation* annotation) {
  x86::Gp base = make_int(), offset = make_int();
  cc_.lea(base, x86::ptr(table));
  cc_.movsxd(offset, x86::dword_ptr(base, index, 2));
  cc_.add(base, offset);
  cc_.jmp(base, annotation);
}

void FunctionCompiler::select(ValType type) {
  Value condition = pop(), second = pop(), first = pop();
  if (type == kBottom) type = first.type;
  // Operands first: what makes them may change the flags that a comparison left, unless it left none yet.
  Condition c = condition_of(condition);
  BaseReg d = make_register(type);
  move(d, first);
  if (is_integer(type) && c.kind == Condition::Kind::kFlag) {
    cc_.cmov(x86::negateCond(c.code), d.as<x86::Gp>(), gp(second));
  } else {
    Label over = cc_.newLabel();
    jump_if(c, over);
    move(d, second);
    cc_.bind(over);
  }
  push_register(type, d);
}

// ---- the frame

void FunctionCompiler::prepare_frame() { function_->frame().setAvxEnabled(); }

void FunctionCompiler::check_stack(const Label& too_deep) {
  cc_.cmp(x86::rsp, x86::qword_ptr(vm_, static_cast<std::int32_t>(offsetof(Vm, native_limit))));
  cc_.jb(too_deep);
}

void FunctionCompiler::describe_frame(CompiledFunction& out) {
  out.link_bytes = function_->frame().saOffsetFromSP() - 8;
  if (keep_vm_register()) out.link_bytes -= 8;
  out.frame_bytes = out.link_bytes + 8;
}

// The allocator saves the instance's register where it is only read. In a function that calls nothing and has nothing on the stack it need not: true where that
// was undone.
bool FunctionCompiler::keep_vm_register() {
  u32 integers = 0, floats = 0;
  for (ValType t : type_.params) ++(is_integer(t) ? integers : floats);
  if (calls_ || function_->frame().stackAdjustment() != 0 || integers > 5 || floats > 8) return false;
  std::vector<BaseNode*> saves;
  for (BaseNode* node = cc_.firstNode(); node != nullptr; node = node->next()) {
    if (!node->isInst()) continue;
    auto* inst = node->as<InstNode>();
    if (inst->opCount() == 0 || !inst->op(0).isReg() || !x86::Reg::isGp(inst->op(0)) || inst->op(0).id() != kVmRegister.id()) continue;
    if (inst->id() == x86::Inst::kIdPush || inst->id() == x86::Inst::kIdPop) saves.push_back(node);
    else if (inst->id() != x86::Inst::kIdCmp && inst->id() != x86::Inst::kIdTest) return false;
  }
  for (BaseNode* node : saves) cc_.removeNode(node);
  return !saves.empty();
}

// The interpreter's blocks, charged before they run; how much is known at their end. Counted in a register, for a sum in memory would be waited for by the next
// one, and stored each time: wherever the function ends, what is left stands there.
void FunctionCompiler::charge() {
  if (!native_.fuel) return;
  settle_charge();
  charged_ = 0;
  used(fuel_weight_);
  cc_.sub(fuel_, 0x7fff'ffff);
  charge_ = cc_.cursor()->as<InstNode>();
  cc_.mov(at(vm_, offsetof(Vm, fuel)), fuel_);
  trap_if(x86::CondCode::kS, Trap::kFuel);
}

void FunctionCompiler::settle_charge() {
  if (charge_ != nullptr) charge_->setOp(1, Imm(charged_));
}

// ---- calls

InvokeNode* FunctionCompiler::invoke_node(const Operand& target, const FuncSignatureBuilder& signature) {
  place(Trap::kNone);
  InvokeNode* node = nullptr;
  cc_.addInvokeNode(&node, x86::Inst::kIdCall, target, signature);
  return node;
}

Operand FunctionCompiler::entry_at(const Gp& natives, u32 function) { return at(natives, std::size_t{function} * 8); }

void FunctionCompiler::callee_or(const Gp& target, const Gp& object_at, const Gp& foreign) {
  cc_.cmp(at(object_at, offsetof(FunctionObject, vm)), vm_);
  cc_.cmovne(target, foreign);
}

}  // namespace monopod::wasm::jit
