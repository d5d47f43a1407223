// What the shared files of the compilers ask of a processor: moves, conditions, traps.
#include <bit>

#include "wasm/jit/helpers.h"
#include "wasm/jit/lowering.h"
#include "wasm/jit/stubs.h"

namespace monopod::wasm::jit {

using namespace asmjit;
using arm::CondCode;

std::string_view missing_features() { return ""; }

// ---- moves

void Lowering::move(const BaseReg& to, const Value& from) {
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
    return load(to, from);
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
    default: load(to, from);
  }
}

void Lowering::move_register(ValType type, const BaseReg& to, const BaseReg& from) {
  if (from.id() == to.id()) return;
  if (is_integer(type)) cc_.mov(to.as<Gp>(), from.as<Gp>());
  else if (type == kF32) cc_.fmov(to.as<Vec>().s(), from.as<Vec>().s());
  else if (type == kF64) cc_.fmov(to.as<Vec>().d(), from.as<Vec>().d());
  else cc_.mov(to.as<Vec>().b16(), from.as<Vec>().b16());
}

// ---- memory of the host's

namespace {

// Whether an instruction of that many bytes reaches it: a multiple of them in 12 bits, or 9 bits with a sign.
bool in_reach(std::int64_t offset, std::uint32_t bytes) { return (offset >= -256 && offset < 256) || (offset >= 0 && offset % bytes == 0 && offset / bytes < 4096); }

}  // namespace

target::Mem Lowering::within_reach(const Mem& m, u32 bytes) {
  if (m.isRegHome()) {  // where on the stack is known later
    if (bytes <= 8) return m;
    Gp t = make_int();
    cc_.emit(a64::Inst::kIdAdr, t, m);
    return a64::ptr(t);
  }
  if (m.hasIndex() || in_reach(m.offset(), bytes)) return m;
  Gp t = make_int(), base = a64::x(m.baseId());
  cc_.mov(t, m.offset());
  cc_.add(t, t, base);
  return a64::ptr(t);
}

void Lowering::load_word(const Gp& to, const Mem& from) { cc_.ldr(to, within_reach(from, 8)); }
void Lowering::store_word(const Mem& to, const Gp& from) { cc_.str(from, within_reach(to, 8)); }
void Lowering::load_element(const Gp& to, const Gp& data, const Gp& index) { cc_.ldr(to, a64::ptr(data, index, arm::lsl(3))); }
void Lowering::store_element(const Gp& data, const Gp& index, const Gp& from) { cc_.str(from, a64::ptr(data, index, arm::lsl(3))); }
void Lowering::shift_right(const Gp& r, u32 count) { cc_.lsr(r, r, count); }
void Lowering::address_of(const Gp& to, const Mem& area) { cc_.emit(a64::Inst::kIdAdr, to, area); }

void Lowering::add_bytes(const Gp& to, const Gp& from, u32 bytes) {
  if (bytes < 4096) return void(cc_.add(to, from, bytes));
  Gp t = make_int();
  cc_.mov(t, bytes);
  cc_.add(to, from, t);
}

void Lowering::load_slot(const BaseReg& to, ValType type, Mem from) {
  if (type == kV128) cc_.ldr(to.as<Vec>().q(), within_reach(from, 16));
  else if (type == kF64) cc_.ldr(to.as<Vec>().d(), within_reach(from, 8));
  else if (type == kF32) cc_.ldr(to.as<Vec>().s(), within_reach(from, 4));
  else load_word(to.as<Gp>(), from);
}

void Lowering::store_slot(Mem to, ValType type, const BaseReg& from) {
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

void Lowering::jump_if(Condition c, const Label& to) {
  switch (c.kind) {
    case Condition::Kind::kFlag: cc_.b(c.code, to); break;
    case Condition::Kind::kZero: cc_.cbz(c.tested, to); break;
    case Condition::Kind::kNotZero: cc_.cbnz(c.tested, to); break;
  }
}

Condition Lowering::condition_of(const Value& v) {
  if (v.kind == Value::Kind::kFlags) return v.condition;
  return {.kind = Condition::Kind::kNotZero, .tested = gp(v).w()};
}

Condition Lowering::is_zero(const Gp& r, ValType type) { return {.kind = Condition::Kind::kZero, .tested = type == kI32 ? Gp(r.w()) : r}; }

void Lowering::jump(const Label& to) { cc_.b(to); }
void Lowering::trap_if(CondCode code, Trap trap) { cc_.b(code, trap_label(trap)); }
void Lowering::trap_if_zero(const Gp& r, Trap trap) { cc_.cbz(r, trap_label(trap)); }
void Lowering::check_flag(const Gp& flag, Trap trap) { cc_.cbz(flag.w(), trap_label(trap)); }
void Lowering::fail_here() { cc_.udf(0); }
void Lowering::read(const Gp& at) { cc_.ldr(a64::wzr, a64::ptr(at)); }

void Lowering::compare_number(const Gp& left, u64 bits) {
  bool wide = left.isGpX();
  u64 negative = wide ? ~bits + 1 : (~bits + 1) & 0xffff'ffff;
  auto fits = [](u64 n) { return n < 4096 || (n & ~u64{0xfff000}) == 0; };
  if (fits(bits)) return void(cc_.cmp(left, bits));
  if (fits(negative)) return void(cc_.cmn(left, negative));
  Gp t = make_int();
  cc_.mov(wide ? t : t.w(), bits);
  cc_.cmp(left, wide ? t : t.w());
}

void Lowering::compare_with(const Gp& left, const Mem& right) {
  Gp t = make_int();
  load_word(t, right);
  cc_.cmp(left, t);
}

void Lowering::compare_with(const Mem& left, u32 right) {
  Gp t = make_int();
  cc_.ldr(t.w(), left);
  compare_number(t.w(), right);
}

void Lowering::jump_unless_below(const Gp& index, u32 count, const Label& to) {
  compare_number(index.w(), count);
  cc_.b(CondCode::kHS, to);
}

void Lowering::select(ValType type) {
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

void Lowering::check_stack(const Label& too_deep) {
  Gp limit = make_int();
  load_word(limit, at(vm_, offsetof(Vm, native_limit)));
  cc_.cmp(a64::sp, limit);
  cc_.b(CondCode::kLO, too_deep);
}

// ---- calls

Operand Lowering::entry_at(const Gp& natives, u32 function) {
  Gp target = make_int();
  load_word(target, at(natives, std::size_t{function} * 8));
  return target;
}

void Lowering::emit_tail_jump(const TailSite& site) {
  if (site.stub != nullptr) {
    cc_.mov(a64::w9, site.room != 0 ? site.slots : site.words);
    if (site.room != 0) cc_.mov(a64::w10, site.room);
    cc_.ldr(a64::x16, at(kVmRegister, offsetof(Vm, helpers)));
    cc_.ldr(a64::x16, at(a64::x16, helper_number(site.stub) * 8));
    cc_.br(a64::x16);
    return;
  }
  for (u32 i = 0; i < site.words; ++i) {
    cc_.ldr(a64::x16, at(kVmRegister, offsetof(Vm, tail_words) + std::size_t{i} * 8));
    cc_.str(a64::x16, at(a64::sp, std::size_t{i} * 8));
  }
  if (site.own) return void(cc_.b(own_entry().as<Label>()));
  std::size_t offset = std::size_t{site.function} * 8;
  if (site.function == kNoLocal) {
    cc_.ldr(a64::x16, at(kVmRegister, offsetof(Vm, tail_target)));
  } else if (cc_.ldr(a64::x16, at(kVmRegister, offsetof(Vm, natives))); offset < 32'768) {
    cc_.ldr(a64::x16, at(a64::x16, offset));
  } else {
    cc_.mov(a64::x17, offset);
    cc_.ldr(a64::x16, a64::ptr(a64::x16, a64::x17));
  }
  cc_.br(a64::x16);
}

void Lowering::jump_if_caught(const Label& to) {
  Gp t = make_int();
  load_word(t, at(vm_, offsetof(Vm, caught)));
  cc_.cbnz(t, to);
}

void Lowering::jump_if_foreign(const Gp& object_at, const Label& to) {
  compare_with(vm_, at(object_at, offsetof(FunctionObject, vm)));
  cc_.b(CondCode::kNE, to);
}

}  // namespace monopod::wasm::jit
