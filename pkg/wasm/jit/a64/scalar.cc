// Arithmetic of integers and floats. Core specification, "Numerics": most of it is what the processor does.
#include "wasm/jit/lowering.h"

namespace monopod::wasm::jit {

using namespace asmjit;
using arm::CondCode;
using Id = a64::Inst::Id;

namespace {

a64::Gp sized(const a64::Gp& r, ValType type) { return type == kI32 ? a64::Gp(r.w()) : r; }
a64::Vec sized(const a64::Vec& r, ValType type) { return type == kF32 ? a64::Vec(r.s()) : a64::Vec(r.d()); }
std::uint32_t bits_of(ValType type) { return type == kI32 ? 32 : 64; }
bool is_sum_immediate(std::uint64_t n) { return n < 4096 || (n & ~std::uint64_t{0xfff000}) == 0; }
std::uint64_t minus(std::uint64_t n, ValType type) { return type == kI32 ? (~n + 1) & 0xffff'ffff : ~n + 1; }

}  // namespace

// ---- integers

void Lowering::compare(u32 code, bool wide) {
  static constexpr CondCode kCodes[] = {CondCode::kEQ, CondCode::kNE, CondCode::kLT, CondCode::kLO, CondCode::kGT, CondCode::kHI, CondCode::kLE, CondCode::kLS, CondCode::kGE, CondCode::kHS};
  static constexpr std::uint8_t kSwapped[] = {0, 1, 4, 5, 2, 3, 8, 9, 6, 7};
  ValType type = wide ? kI64 : kI32;
  Value b = pop(), a = pop();
  if (a.kind == Value::Kind::kConst && b.kind != Value::Kind::kConst) {
    std::swap(a, b);
    code = kSwapped[code];
  }
  Gp left = sized(gp(a), type);
  if (b.kind != Value::Kind::kConst) {
    cc_.cmp(left, sized(gp(b), type));
  } else if (b.bits[0] == 0 && code <= 1) {
    return push_condition({.kind = code == 0 ? Condition::Kind::kZero : Condition::Kind::kNotZero, .tested = left});
  } else {
    compare_number(left, b.bits[0]);
  }
  push_condition({.code = kCodes[code]});
}

// With a right operand as it stands in instructions: a number, a shifted register, or a register.
void Lowering::alu(InstId id, ValType type, bool commutative) {
  Value b = pop(), a = pop();
  if (commutative && (a.kind == Value::Kind::kConst || (a.kind == Value::Kind::kScaled && b.kind != Value::Kind::kConst))) std::swap(a, b);
  Gp left = sized(gp(a), type);
  bool sum = id == Id::kIdAdd || id == target::kSubtract;
  if (b.kind == Value::Kind::kConst) {
    u64 n = b.bits[0], negative = minus(n, type);
    if (sum && is_sum_immediate(n)) {
      Gp d = result_gp(type);
      cc_.emit(id, sized(d, type), left, Imm(n));
      return push_register(type, d);
    }
    if (sum && is_sum_immediate(negative)) {
      Gp d = result_gp(type);
      cc_.emit(id == Id::kIdAdd ? target::kSubtract : InstId{Id::kIdAdd}, sized(d, type), left, Imm(negative));
      return push_register(type, d);
    }
    if (!sum && a64::Utils::isLogicalImm(n, bits_of(type))) {
      Gp d = result_gp(type);
      cc_.emit(id, sized(d, type), left, Imm(n));
      return push_register(type, d);
    }
    if (id == Id::kIdEor && negative == 1) {
      Gp d = result_gp(type);
      cc_.mvn(sized(d, type), left);
      return push_register(type, d);
    }
  }
  if (b.kind == Value::Kind::kScaled) {
    Gp right = sized(scaled_index(b), type), d = result_gp(type);
    cc_.emit(id, sized(d, type), left, right, Imm(arm::lsl(b.shift)));
    return push_register(type, d);
  }
  Gp right = sized(gp(b), type), d = result_gp(type);
  cc_.emit(id, sized(d, type), left, right);
  push_register(type, d);
}

void Lowering::add(ValType type) { alu(Id::kIdAdd, type, true); }

// A sum that takes the product at once is one instruction with it.
void Lowering::multiply(ValType type) {
  Value b = pop(), a = pop();
  if (a.kind == Value::Kind::kConst) std::swap(a, b);
  if (b.kind == Value::Kind::kConst && std::has_single_bit(b.bits[0])) {
    push(a);
    push_const(type, static_cast<u64>(std::countr_zero(b.bits[0])));
    return shift(0, type);
  }
  Gp left = sized(gp(a), type), right = sized(gp(b), type);
  std::uint8_t next = reader_.peek();
  bool sum = next == (type == kI32 ? 0x6a : 0x7c), difference = next == (type == kI32 ? 0x6b : 0x7d);
  if (sum || difference) {
    reader_.byte();
    ++charged_;
    Gp to = sized(gp(pop()), type), d = result_gp(type);
    if (sum) cc_.madd(sized(d, type), left, right, to);
    else cc_.msub(sized(d, type), left, right, to);
    return push_register(type, d);
  }
  Gp d = result_gp(type);
  cc_.mul(sized(d, type), left, right);
  push_register(type, d);
}

// 0 shl, 1 shr_s, 2 shr_u, 3 rotl, 4 rotr. The processor takes counts modulo the width, as the specification does.
void Lowering::shift(u32 kind, ValType type) {
  static constexpr InstId kIds[] = {Id::kIdLsl, Id::kIdAsr, Id::kIdLsr, Id::kIdRor, Id::kIdRor};
  Value count = pop(), a = pop();
  u32 bits = bits_of(type);
  if (count.kind == Value::Kind::kConst) {
    u32 n = static_cast<u32>(count.bits[0]) & (bits - 1);
    if (n == 0) return push(a);
    if (kind == 0 && (a.kind == Value::Kind::kLocal || a.kind == Value::Kind::kRegister)) {
      a.kind = Value::Kind::kScaled;
      a.shift = static_cast<std::uint8_t>(n);
      return push(a);
    }
    Gp s = sized(gp(a), type), d = result_gp(type);
    cc_.emit(kIds[kind], sized(d, type), s, Imm(kind == 3 ? bits - n : n));
    return push_register(type, d);
  }
  Gp c = sized(gp(count), type), s = sized(gp(a), type);
  if (kind == 3) {
    Gp t = make_int();
    cc_.neg(sized(t, type), c);
    c = sized(t, type);
  }
  Gp d = result_gp(type);
  cc_.emit(kIds[kind], sized(d, type), s, c);
  push_register(type, d);
}

// 0 div_s, 1 div_u, 2 rem_s, 3 rem_u. The processor answers where the specification traps: asked before.
void Lowering::divide(u32 kind, ValType type) {
  Value b = pop(), a = pop();
  bool is_signed = kind % 2 == 0;
  bool any = b.kind != Value::Kind::kConst;
  Gp divisor = sized(gp(b), type), dividend = sized(gp(a), type);
  if (any || b.bits[0] == 0) trap_if_zero(divisor, Trap::kDivideByZero);
  if (kind == 0 && (any || minus(b.bits[0], type) == 1)) {  // minus one, and one less than the dividend overflows
    cc_.cmn(divisor, 1);
    cc_.ccmp(dividend, 1, 0, Imm(CondCode::kEQ));
    trap_if(CondCode::kVS, Trap::kOverflow);
  }
  Gp d = kind < 2 ? result_gp(type) : make_int();
  if (is_signed) cc_.sdiv(sized(d, type), dividend, divisor);
  else cc_.udiv(sized(d, type), dividend, divisor);
  if (kind >= 2) {
    Gp rest = result_gp(type);
    cc_.msub(sized(rest, type), sized(d, type), divisor, dividend);
    d = rest;
  }
  push_register(type, d);
}

void Lowering::count_bits(u32 kind, ValType type) {
  Gp s = sized(gp(pop()), type);
  if (kind == 2) {
    Vec t = make_vec(kF64);
    cc_.fmov(t.d(), s.x());
    cc_.cnt(t.b8(), t.b8());
    cc_.addv(t.b(), t.b8());
    Gp d = result_gp(type);
    cc_.fmov(d.w(), t.s());
    return push_register(type, d);
  }
  if (kind == 1) {
    Gp t = make_int();
    cc_.rbit(sized(t, type), s);
    s = sized(t, type);
  }
  Gp d = result_gp(type);
  cc_.clz(sized(d, type), s);
  push_register(type, d);
}

void Lowering::extend(std::uint8_t bits, ValType, ValType to) {
  Gp s = gp(pop()), d = result_gp(to);
  if (bits == 32) cc_.sxtw(d, s.w());
  else if (bits == 16) cc_.sxth(sized(d, to), s.w());
  else cc_.sxtb(sized(d, to), s.w());
  push_register(to, d);
}

// ---- floats

void Lowering::compare_float(u32 code, bool is_double) {  // eq, ne, lt, gt, le, ge: false of what is unordered, but ne
  static constexpr CondCode kCodes[] = {CondCode::kEQ, CondCode::kNE, CondCode::kMI, CondCode::kGT, CondCode::kLS, CondCode::kGE};
  ValType type = is_double ? kF64 : kF32;
  Value b = pop(), a = pop();
  Vec left = vec(a), right = vec(b);
  cc_.fcmp(sized(left, type), sized(right, type));
  push_condition({.code = kCodes[code]});
}

void Lowering::float_binary(InstId id, ValType type) {
  Value b = pop(), a = pop();
  Vec left = vec(a), right = vec(b), d = result_vec(type);
  cc_.emit(id, sized(d, type), sized(left, type), sized(right, type));
  push_register(type, d);
}

void Lowering::float_unary(InstId id, ValType type) {
  Vec s = vec(pop()), d = result_vec(type);
  cc_.emit(id, sized(d, type), sized(s, type));
  push_register(type, d);
}

void Lowering::copy_sign(ValType type) {
  Value b = pop(), a = pop();
  Vec right = vec(b), sign = make_vec(), d = make_register(type).as<Vec>();
  move(d, a);
  cc_.movi(sign.b16(), 0);
  if (type == kF64) cc_.fneg(sign.d2(), sign.d2());
  else cc_.fneg(sign.s4(), sign.s4());
  cc_.bit(d.b8(), right.b8(), sign.b8());
  push_register(type, d);
}

void Lowering::float_operation(u32 k, ValType type) {
  static constexpr InstId kUnary[] = {Id::kIdFabs_v, Id::kIdFneg_v, Id::kIdFrintp_v, Id::kIdFrintm_v, Id::kIdFrintz_v, Id::kIdFrintn_v, Id::kIdFsqrt_v};
  static constexpr InstId kBinary[] = {Id::kIdFadd_v, Id::kIdFsub_v, Id::kIdFmul_v, Id::kIdFdiv_v, Id::kIdFmin_v, Id::kIdFmax_v};
  if (k < 7) float_unary(kUnary[k], type);
  else if (k < 13) float_binary(kBinary[k - 7], type);
  else copy_sign(type);
}

// ---- conversions

void Lowering::canonicalise(NanShape shape) {
  Vec v = vec(pop());
  bool doubles = shape == NanShape::kF64 || shape == NanShape::kF64x2;
  if (shape == NanShape::kF32 || shape == NanShape::kF64) {
    ValType type = doubles ? kF64 : kF32;
    Label over = cc_.newLabel();
    cc_.fcmp(sized(v, type), sized(v, type));
    cc_.b(CondCode::kVC, over);
    cc_.ldr(sized(v, type), doubles ? constant64(kCanonicalF64) : constant32(kCanonicalF32));
    cc_.bind(over);
    return push_register(type, v);
  }
  u64 bits = doubles ? kCanonicalF64 : u64{kCanonicalF32} << 32 | kCanonicalF32;
  Vec ordered = make_vec(), nan = make_vec();
  cc_.ldr(nan.q(), constant128(bits, bits));
  if (doubles) cc_.fcmeq(ordered.d2(), v.d2(), v.d2());
  else cc_.fcmeq(ordered.s4(), v.s4(), v.s4());
  cc_.bif(v.b16(), nan.b16(), ordered.b16());
  push_register(kV128, v);
}

void Lowering::wrap() {
  Gp s = gp(pop()), d = result_gp(kI32);
  cc_.mov(d.w(), s.w());
  push_register(kI32, d);
}

void Lowering::change_width(ValType to) {
  Vec s = vec(pop()), d = result_vec(to);
  if (to == kF32) cc_.fcvt(d.s(), s.d());
  else cc_.fcvt(d.d(), s.s());
  push_register(to, d);
}

void Lowering::bits_of_float(ValType to) {
  Vec s = vec(pop());
  Gp d = result_gp(to);
  if (to == kI32) cc_.fmov(d.w(), s.s());
  else cc_.fmov(d, s.d());
  push_register(to, d);
}

void Lowering::float_of_bits(ValType to) {
  Gp s = gp(pop());
  Vec d = result_vec(to);
  if (to == kF32) cc_.fmov(d.s(), s.w());
  else cc_.fmov(d.d(), s);
  push_register(to, d);
}

void Lowering::truncate(ValType from, ValType to, bool is_signed, bool saturates) {
  Vec s = sized(vec(pop()), from);
  InstId id = is_signed ? Id::kIdFcvtzs_v : Id::kIdFcvtzu_v;
  if (saturates) {  // which is what the processor does
    Gp d = result_gp(to);
    cc_.emit(id, sized(d, to), s);
    return push_register(to, d);
  }
  cc_.fcmp(s, s);
  trap_if(CondCode::kVS, Trap::kConversion);
  if (to == kI32) {  // as 64 bits, which hold what there is to refuse
    Gp t = make_int();
    cc_.fcvtzs(t, s);
    cc_.cmp(t, t, Imm(arm::Shift(is_signed ? arm::ShiftOp::kSXTW : arm::ShiftOp::kUXTW, 0)));
    trap_if(CondCode::kNE, Trap::kOverflow);
    Gp d = result_gp(to);
    cc_.mov(d.w(), t.w());
    return push_register(to, d);
  }
  auto refuse = [&](double limit, CondCode code) {
    Value v{.kind = Value::Kind::kConst, .type = from};
    v.bits[0] = from == kF64 ? std::bit_cast<u64>(limit) : std::bit_cast<u32>(static_cast<float>(limit));
    Vec bound = sized(vec(v), from);
    cc_.fcmp(s, bound);
    trap_if(code, Trap::kOverflow);
  };
  constexpr double k2to63 = 9223372036854775808.0;
  refuse(is_signed ? k2to63 : 2 * k2to63, CondCode::kGE);
  refuse(is_signed ? -k2to63 : -1.0, is_signed ? CondCode::kLT : CondCode::kLE);
  Gp d = result_gp(to);
  cc_.emit(id, d, s);
  push_register(to, d);
}

void Lowering::convert(u32 code) {  // 0xb2 f32.convert_i32_s … 0xba f64.convert_i64_u, but demote and promote
  bool is_double = code >= 0xb7;
  u32 kind = code - (is_double ? 0xb7 : 0xb2);  // i32_s, i32_u, i64_s, i64_u
  ValType type = is_double ? kF64 : kF32;
  Gp s = sized(gp(pop()), kind < 2 ? kI32 : kI64);
  Vec d = result_vec(type);
  if (kind % 2 == 0) cc_.scvtf(sized(d, type), s);
  else cc_.ucvtf(sized(d, type), s);
  push_register(type, d);
}

}  // namespace monopod::wasm::jit
