// What the shared files of the compiler ask of a processor: registers, moves, conditions, the frame.
#include <bit>

#include "wasm/jit/compiler.h"
#include "wasm/jit/stubs.h"

namespace monopod::wasm::jit {

using namespace asmjit;
using arm::CondCode;

std::string_view missing_features() { return ""; }

// ---- registers

BaseReg FunctionCompiler::make_register(ValType type) {
  if (type == kF32) return cc_.newVecS();
  if (type == kF64) return cc_.newVecD();
  if (type == kV128) return cc_.newVecQ();
  return cc_.newUInt64();
}

void FunctionCompiler::move(const BaseReg& to, const Value& from) {
  if (!is_integer(from.type)) {
    Vec d = to.as<Vec>();
    if (from.kind == Value::Kind::kConst) {
      if ((from.bits[0] | from.bits[1]) == 0) cc_.movi(d.b16(), 0);
      else if (from.type == kF32 && a64::Utils::isFP32Imm8(static_cast<u32>(from.bits[0]))) cc_.fmov(d.s(), Imm(double{std::bit_cast<float>(static_cast<u32>(from.bits[0]))}));
      else if (from.type == kF64 && a64::Utils::isFP64Imm8(from.bits[0])) cc_.fmov(d.d(), Imm(std::bit_cast<double>(from.bits[0])));
      else if (from.type == kF32) cc_.ldr(d.s(), constant32(static_cast<u32>(from.bits[0])));
      else if (from.type == kF64) cc_.ldr(d.d(), constant64(from.bits[0]));
      else cc_.ldr(d.q(), constant128(from.bits[0], from.bits[1]));
      return;
    }
    Vec s = vec(from);
    if (s.id() == d.id()) return;
    if (from.type == kF32) cc_.fmov(d.s(), s.s());
    else if (from.type == kF64) cc_.fmov(d.d(), s.d());
    else cc_.mov(d.b16(), s.b16());
    return;
  }
  Gp d = to.as<Gp>();
  switch (from.kind) {
    case Value::Kind::kConst:
      if (from.bits[0] <= 0xffff'ffff) cc_.mov(d.w(), static_cast<u32>(from.bits[0]));
      else cc_.mov(d, from.bits[0]);
      break;
    case Value::Kind::kScaled:
      if (from.type == kI32) cc_.lsl(d.w(), scaled_index(from).w(), from.shift);
      else cc_.lsl(d, scaled_index(from), from.shift);
      break;
    case Value::Kind::kFlags: {
      CondCode code = from.condition.code;
      if (from.condition.kind != Condition::Kind::kFlag) {
        cc_.cmp(from.condition.tested, 0);
        code = from.condition.kind == Condition::Kind::kZero ? CondCode::kEQ : CondCode::kNE;
      }
      cc_.cset(d.w(), Imm(code));
      break;
    }
    case Value::Kind::kLocal: case Value::Kind::kRegister: {
      Gp s = gp(from);
      if (s.id() != d.id()) cc_.mov(d, s);
      break;
    }
  }
}

// ---- memory of the host's

namespace {

// Whether an instruction of that many bytes reaches it: a multiple of them in 12 bits, or 9 bits with a sign.
bool in_reach(std::int64_t offset, std::uint32_t bytes) { return (offset >= -256 && offset < 256) || (offset >= 0 && offset % bytes == 0 && offset / bytes < 4096); }

}  // namespace

target::Mem FunctionCompiler::within_reach(const Mem& m, u32 bytes) {
  if (m.isRegHome()) {  // where on the stack is known later
    if (bytes <= 8) return m;
    Gp t = make_int();
    cc_.loadAddressOf(t, m);
    return a64::ptr(t);
  }
  if (m.hasIndex() || in_reach(m.offset(), bytes)) return m;
  Gp t = make_int(), base = a64::x(m.baseId());
  cc_.mov(t, m.offset());
  cc_.add(t, t, base);
  return a64::ptr(t);
}

void FunctionCompiler::load_word(const Gp& to, const Mem& from) { cc_.ldr(to, within_reach(from, 8)); }
void FunctionCompiler::store_word(const Mem& to, const Gp& from) { cc_.str(from, within_reach(to, 8)); }
void FunctionCompiler::load_element(const Gp& to, const Gp& data, const Gp& index) { cc_.ldr(to, a64::ptr(data, index, arm::lsl(3))); }
void FunctionCompiler::store_element(const Gp& data, const Gp& index, const Gp& from) { cc_.str(from, a64::ptr(data, index, arm::lsl(3))); }
void FunctionCompiler::shift_right(const Gp& r, u32 count) { cc_.lsr(r, r, count); }
void FunctionCompiler::address_of(const Gp& to, const Mem& area) { cc_.loadAddressOf(to, area); }

void FunctionCompiler::add_bytes(const Gp& to, const Gp& from, u32 bytes) {
  if (bytes < 4096) return void(cc_.add(to, from, bytes));
  Gp t = make_int();
  cc_.mov(t, bytes);
  cc_.add(to, from, t);
}

void FunctionCompiler::load_slot(const BaseReg& to, ValType type, Mem from) {
  if (type == kV128) cc_.ldr(to.as<Vec>().q(), within_reach(from, 16));
  else if (type == kF64) cc_.ldr(to.as<Vec>().d(), within_reach(from, 8));
  else if (type == kF32) cc_.ldr(to.as<Vec>().s(), within_reach(from, 4));
  else load_word(to.as<Gp>(), from);
}

void FunctionCompiler::store_slot(Mem to, ValType type, const BaseReg& from) {
  if (type == kV128) cc_.str(from.as<Vec>().q(), within_reach(to, 16));
  else if (type == kF64) cc_.str(from.as<Vec>().d(), within_reach(to, 8));
  else if (type == kF32) cc_.str(from.as<Vec>().s(), within_reach(to, 4));
  else store_word(to, from.as<Gp>());
}

// ---- conditions

Condition negated(Condition c) {
  switch (c.kind) {
    case Condition::Kind::kFlag: return {.code = arm::negateCond(c.code)};
    case Condition::Kind::kZero: return {.kind = Condition::Kind::kNotZero, .tested = c.tested};
    case Condition::Kind::kNotZero: break;
  }
  return {.kind = Condition::Kind::kZero, .tested = c.tested};
}

void FunctionCompiler::jump_if(Condition c, const Label& to) {
  switch (c.kind) {
    case Condition::Kind::kFlag: cc_.b(c.code, to); break;
    case Condition::Kind::kZero: cc_.cbz(c.tested, to); break;
    case Condition::Kind::kNotZero: cc_.cbnz(c.tested, to); break;
  }
}

Condition FunctionCompiler::condition_of(const Value& v) {
  if (v.kind == Value::Kind::kFlags) return v.condition;
  return {.kind = Condition::Kind::kNotZero, .tested = gp(v).w()};
}

Condition FunctionCompiler::is_zero(const Gp& r) { return {.kind = Condition::Kind::kZero, .tested = r}; }

void FunctionCompiler::jump(const Label& to) { cc_.b(to); }
void FunctionCompiler::trap_if(CondCode code, Trap trap) { cc_.b(code, trap_label(trap)); }
void FunctionCompiler::trap_if_zero(const Gp& r, Trap trap) { cc_.cbz(r, trap_label(trap)); }
void FunctionCompiler::check_flag(const Gp& flag, Trap trap) { cc_.cbz(flag.w(), trap_label(trap)); }
void FunctionCompiler::fail_here() { cc_.udf(0); }
void FunctionCompiler::read(const Gp& at) { cc_.ldr(a64::wzr, a64::ptr(at)); }

void FunctionCompiler::compare_number(const Gp& left, u64 bits) {
  bool wide = left.isGpX();
  u64 negative = wide ? ~bits + 1 : (~bits + 1) & 0xffff'ffff;
  auto fits = [](u64 n) { return n < 4096 || (n & ~u64{0xfff000}) == 0; };
  if (fits(bits)) return void(cc_.cmp(left, bits));
  if (fits(negative)) return void(cc_.cmn(left, negative));
  Gp t = make_int();
  cc_.mov(wide ? t : t.w(), bits);
  cc_.cmp(left, wide ? t : t.w());
}

void FunctionCompiler::compare_with(const Gp& left, const Mem& right) {
  Gp t = make_int();
  load_word(t, right);
  cc_.cmp(left, t);
}

void FunctionCompiler::compare_with(const Mem& left, u32 right) {
  Gp t = make_int();
  cc_.ldr(t.w(), left);
  compare_number(t.w(), right);
}

void FunctionCompiler::jump_unless_below(const Gp& index, u32 count, const Label& to) {
  compare_number(index.w(), count);
  cc_.b(CondCode::kHS, to);
}

void FunctionCompiler::jump_by_table(const Gp& index, const Label& table, JumpAnnotation* annotation) {
  Gp base = make_int(), offset = make_int();
  cc_.adr(base, table);
  cc_.ldrsw(offset, a64::ptr(base, index, arm::lsl(2)));
  cc_.add(base, base, offset);
  cc_.br(base, annotation);
}

void FunctionCompiler::select(ValType type) {
  Value condition = pop(), second = pop(), first = pop();
  if (type == kBottom) type = first.type;
  // Operands first: what makes them may change the flags that a comparison left, unless it left none yet.
  Condition c = condition_of(condition);
  if (type == kV128) {
    BaseReg d = make_register(type);
    Label over = cc_.newLabel();
    move(d, first);
    jump_if(c, over);
    move(d, second);
    cc_.bind(over);
    return push_register(type, d);
  }
  BaseReg a = in_register(first), b = in_register(second), d = make_register(type);
  if (c.kind != Condition::Kind::kFlag) {
    cc_.cmp(c.tested, 0);
    c.code = c.kind == Condition::Kind::kZero ? CondCode::kEQ : CondCode::kNE;
  }
  if (type == kF32) cc_.fcsel(d.as<Vec>().s(), a.as<Vec>().s(), b.as<Vec>().s(), Imm(c.code));
  else if (type == kF64) cc_.fcsel(d.as<Vec>().d(), a.as<Vec>().d(), b.as<Vec>().d(), Imm(c.code));
  else cc_.csel(d.as<Gp>(), a.as<Gp>(), b.as<Gp>(), Imm(c.code));
  push_register(type, d);
}

// ---- the frame

// Compiled code preserves no vector registers: of v8 to v15 the ABI's callees would preserve a half, which the allocator does not know. emit_enter() does, for C++.
void FunctionCompiler::prepare_frame() { function_->frame()._preservedRegs[RegGroup::kVec] = 0; }

void FunctionCompiler::check_stack(const Label& too_deep) {
  Gp limit = make_int();
  load_word(limit, at(vm_, offsetof(Vm, native_limit)));
  cc_.cmp(a64::sp, limit);
  cc_.b(CondCode::kLO, too_deep);
}

// Saved registers stand in pairs above what else is on the stack, in ascending order: x30, the return address, is the last.
void FunctionCompiler::describe_frame(CompiledFunction& out) {
  const FuncFrame& frame = function_->frame();
  tidy_instructions();
  u32 integers = frame.savedRegs(RegGroup::kGp);
  auto saved = static_cast<u32>(std::popcount(integers));
  if (keep_vm_register()) saved = 0;
  out.frame_bytes = frame.stackAdjustment() + 16 * ((saved + 1) / 2);
  out.link_bytes = (integers >> 30 & 1) != 0 ? frame.stackAdjustment() + 8 * (saved - 1) : CompiledFunction::kLinkKept;
}

// Moves of a register to itself go, which the allocator leaves, and those that grant_wishes() made.
void FunctionCompiler::tidy_instructions() {
  for (BaseNode* node = cc_.firstNode(); node != nullptr;) {
    BaseNode* next = node->next();
    if (node->isInst()) {
      auto* inst = node->as<InstNode>();
      if (inst->id() == a64::Inst::kIdMov && inst->op(1).isReg() && inst->op(0) == inst->op(1) && inst->op(0).as<a64::Reg>().isGpX()) cc_.removeNode(node);
      else if (inst->id() == target::kSubtract) inst->setId(a64::Inst::kIdSub);
    }
    node = next;
  }
}

// The allocator saves the instance's register where it is only read. In a function that calls nothing and saves nothing else it need not: true where that was undone.
bool FunctionCompiler::keep_vm_register() {
  const FuncFrame& frame = function_->frame();
  if (calls_ || frame.savedRegs(RegGroup::kGp) != 1u << kVmRegister.id() || function_->detail().hasStackArgs()) return false;
  std::vector<BaseNode*> saves;
  for (BaseNode* node = cc_.firstNode(); node != nullptr; node = node->next()) {
    if (!node->isInst()) continue;
    auto* inst = node->as<InstNode>();
    if (inst->opCount() == 0 || !inst->op(0).isReg() || !inst->op(0).as<a64::Reg>().isGp() || inst->op(0).id() != kVmRegister.id()) continue;
    bool on_stack = inst->opCount() == 2 && inst->op(1).isMem() && inst->op(1).as<Mem>().isPreOrPost();
    if (on_stack && (inst->id() == a64::Inst::kIdStr || inst->id() == a64::Inst::kIdLdr)) saves.push_back(node);
    else if (inst->id() != a64::Inst::kIdCmp && inst->id() != a64::Inst::kIdStr) return false;
  }
  for (BaseNode* node : saves) cc_.removeNode(node);
  return !saves.empty();
}

// The interpreter's blocks, charged before they run; how much is known at their end.
void FunctionCompiler::charge() {
  address_local_ = kNoLocal;
  if (!native_.fuel) return;
  settle_charge();
  charged_ = 0;
  used(fuel_weight_);
  cc_.subs(fuel_, fuel_, 0);
  charge_ = cc_.cursor()->as<InstNode>();
  cc_.str(fuel_, at(vm_, offsetof(Vm, fuel)));
  trap_if(CondCode::kMI, Trap::kFuel);
}

void FunctionCompiler::settle_charge() {
  if (charge_ == nullptr) return;
  if (charged_ >= 4096) return unsupported();
  charge_->setOp(2, Imm(charged_));
}

// ---- calls

InvokeNode* FunctionCompiler::invoke_node(const Operand& target, const FuncSignatureBuilder& signature) {
  address_local_ = kNoLocal;
  place(Trap::kNone);
  InvokeNode* node = nullptr;
  cc_.addInvokeNode(&node, target.isReg() ? a64::Inst::kIdBlr : a64::Inst::kIdBl, target, signature);
  if (node != nullptr) node->detail()._callConv.setPreservedRegs(RegGroup::kVec, 0);
  return node;
}

Operand FunctionCompiler::entry_at(const Gp& natives, u32 function) {
  Gp target = make_int();
  load_word(target, at(natives, std::size_t{function} * 8));
  return target;
}

void FunctionCompiler::callee_or(const Gp& target, const Gp& object_at, const Gp& foreign) {
  compare_with(vm_, at(object_at, offsetof(FunctionObject, vm)));
  cc_.csel(target, target, foreign, Imm(CondCode::kEQ));
}

}  // namespace monopod::wasm::jit
