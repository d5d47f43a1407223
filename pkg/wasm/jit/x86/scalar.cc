// Arithmetic of integers and floats. Core specification, "Numerics": where the processor's answer is another one, this says so.
#include <limits>

#include "wasm/jit/lowering.h"

namespace monopod::wasm::jit {

using namespace asmjit;
using Id = x86::Inst::Id;

namespace {

x86::Gp sized(const x86::Gp& r, ValType type) { return type == kI32 ? r.r32() : r; }
// Whether a constant fits where instructions take one: 32 bits, sign extended.
bool is_immediate(std::uint64_t bits, ValType type) { return type == kI32 || static_cast<std::int64_t>(bits) == static_cast<std::int32_t>(bits); }
Imm immediate(std::uint64_t bits) { return Imm(static_cast<std::int64_t>(static_cast<std::int32_t>(bits))); }

}  // namespace

// ---- integers

void Lowering::compare(u32 code, bool wide) {
  static constexpr x86::CondCode kCodes[] = {x86::CondCode::kE, x86::CondCode::kNE, x86::CondCode::kL, x86::CondCode::kB, x86::CondCode::kG,
                                             x86::CondCode::kA, x86::CondCode::kLE, x86::CondCode::kBE, x86::CondCode::kGE, x86::CondCode::kAE};
  static constexpr std::uint8_t kSwapped[] = {0, 1, 4, 5, 2, 3, 8, 9, 6, 7};
  ValType type = wide ? kI64 : kI32;
  Value b = pop(), a = pop();
  if (a.kind == Value::Kind::kConst && b.kind != Value::Kind::kConst) {
    std::swap(a, b);
    code = kSwapped[code];
  }
  x86::Gp left = sized(gp(a), type);
  if (b.kind == Value::Kind::kConst && is_immediate(b.bits[0], type)) {
    if (b.bits[0] == 0 && code <= 1) cc_.test(left, left);
    else cc_.cmp(left, immediate(b.bits[0]));
  } else {
    cc_.cmp(left, sized(gp(b), type));
  }
  push_condition({.code = kCodes[code]});
}

void Lowering::alu(InstId id, ValType type, bool commutative) {
  Value b = pop(), a = pop();
  alu(id, type, commutative, a, b);
}

void Lowering::alu(InstId id, ValType type, bool commutative, Value a, Value b) {
  if (commutative && a.kind == Value::Kind::kConst) std::swap(a, b);
  bool constant_right = b.kind == Value::Kind::kConst && is_immediate(b.bits[0], type);
  x86::Gp right = constant_right ? x86::Gp() : gp(b);
  x86::Gp d = result_over(a);
  if (!constant_right && d.id() == right.id()) {
    if (commutative) {
      right = gp(a);
      a = b;
    } else {
      d = make_int();
    }
  }
  move(d, a);
  if (constant_right) cc_.emit(id, sized(d, type), immediate(b.bits[0]));
  else cc_.emit(id, sized(d, type), sized(right, type));
  push_register(type, d);
}

// Three operands, and for 32 bits a scaled one, by lea: sums are half of all arithmetic, and most are addresses.
void Lowering::add(ValType type) {
  Value b = pop(), a = pop();
  if (a.kind == Value::Kind::kConst || (a.kind == Value::Kind::kScaled && b.kind != Value::Kind::kConst)) std::swap(a, b);
  if (b.kind == Value::Kind::kConst && a.kind == Value::Kind::kScaled) {
    x86::Gp index = scaled_index(a), d = result_gp(type);
    cc_.lea(d.r32(), x86::ptr(static_cast<u64>(static_cast<std::int64_t>(static_cast<std::int32_t>(b.bits[0]))), index, a.shift));
    return push_register(type, d);
  }
  if (b.kind == Value::Kind::kConst && is_immediate(b.bits[0], type)) {
    x86::Gp left = gp(a), d = result_over(a);
    if (left.id() == d.id()) cc_.add(sized(d, type), immediate(b.bits[0]));
    else cc_.lea(sized(d, type), x86::ptr(left, static_cast<std::int32_t>(b.bits[0])));
    return push_register(type, d);
  }
  x86::Gp left = gp(a);
  if (b.kind == Value::Kind::kScaled) {
    x86::Gp index = scaled_index(b);
    x86::Gp d = result_gp(type);
    cc_.lea(d.r32(), x86::ptr(left, index, b.shift));
    return push_register(type, d);
  }
  x86::Gp right = gp(b), d = result_over(a.kind == Value::Kind::kRegister ? a : b);
  if (d.id() == left.id()) cc_.add(sized(d, type), sized(right, type));
  else if (d.id() == right.id()) cc_.add(sized(d, type), sized(left, type));
  else cc_.lea(sized(d, type), x86::ptr(left, right));
  push_register(type, d);
}

void Lowering::multiply(ValType type) {
  Value b = pop(), a = pop();
  if (a.kind == Value::Kind::kConst) std::swap(a, b);
  if (b.kind == Value::Kind::kConst && is_immediate(b.bits[0], type)) {
    x86::Gp left = gp(a), d = result_gp(type);
    cc_.imul(sized(d, type), sized(left, type), immediate(b.bits[0]));
    return push_register(type, d);
  }
  alu(Id::kIdImul, type, true, a, b);
}

// 0 shl, 1 shr_s, 2 shr_u, 3 rotl, 4 rotr
void Lowering::shift(u32 kind, ValType type) {
  static constexpr InstId kByCount[] = {Id::kIdShl, Id::kIdSar, Id::kIdShr, Id::kIdRol, Id::kIdRor};
  static constexpr InstId kByRegister[] = {Id::kIdShlx, Id::kIdSarx, Id::kIdShrx};
  bool by_register = kind >= 3 && stack_.back().kind != Value::Kind::kConst;
  x86::Gp c = by_register ? fixed(x86::rcx) : x86::Gp();
  Value count = pop(), a = pop();
  u32 bits = type == kI32 ? 32 : 64;
  if (count.kind == Value::Kind::kConst) {
    u32 n = static_cast<u32>(count.bits[0]) & (bits - 1);
    if (kind == 0 && type == kI32 && n >= 1 && n <= 3 && ((a.kind == Value::Kind::kLocal && locals_[a.local].isValid()) || a.kind == Value::Kind::kRegister)) {
      a.kind = Value::Kind::kScaled;
      a.shift = static_cast<std::uint8_t>(n);
      return push(a);
    }
    x86::Gp s = gp(a), d = result_over(a);
    if (kind >= 3) {
      cc_.rorx(sized(d, type), sized(s, type), (kind == 3 ? bits - n : n) & (bits - 1));
    } else {
      move(d, {.type = type, .reg = s});
      if (n != 0) cc_.emit(kByCount[kind], sized(d, type), Imm(n));
    }
    return push_register(type, d);
  }
  if (kind < 3) {
    x86::Gp by = gp(count), s = gp(a), d = result_gp(type);
    cc_.emit(kByRegister[kind], sized(d, type), sized(s, type), sized(by, type));
    return push_register(type, d);
  }
  x86::Gp s = gp(a), d = make_int();
  move(c, count);
  cc_.mov(d, s);
  cc_.emit(kByCount[kind], sized(d, type), c.r8());
  push_register(type, d);
}

// 0 div_s, 1 div_u, 2 rem_s, 3 rem_u
void Lowering::divide(u32 kind, ValType type) {
  x86::Gp quotient = fixed(x86::rax), rest = fixed(x86::rdx);
  Value b = pop(), a = pop();
  bool is_signed = kind % 2 == 0;
  bool any = b.kind != Value::Kind::kConst;
  std::int64_t by = any ? 0 : type == kI32 ? static_cast<std::int32_t>(b.bits[0]) : static_cast<std::int64_t>(b.bits[0]);
  x86::Gp divisor = sized(gp(b), type), dividend = sized(gp(a), type);
  if (any || by == 0) {
    cc_.test(divisor, divisor);
    trap_if(x86::CondCode::kZ, Trap::kDivideByZero);
  }
  x86::Gp result = make_int();
  Label done = cc_.newLabel();
  bool minus_one = is_signed && (any || by == -1);
  if (minus_one && kind == 2) cc_.mov(result.r32(), 0);
  if (minus_one) {  // the processor traps where the quotient is too large; a remainder is 0 then
    Label other = cc_.newLabel();
    cc_.cmp(divisor, -1);
    if (kind == 2) {
      cc_.je(done);
    } else {
      cc_.jne(other);
      cc_.cmp(dividend, 1);
      trap_if(x86::CondCode::kO, Trap::kOverflow);
      cc_.bind(other);
    }
  }
  cc_.mov(quotient, dividend.r64());
  x86::Gp q = sized(quotient, type), r = sized(rest, type);
  if (is_signed) {
    if (type == kI32) cc_.cdq(r, q);
    else cc_.cqo(r, q);
    cc_.idiv(r, q, divisor);
  } else {
    cc_.mov(rest.r32(), 0);
    cc_.div(r, q, divisor);
  }
  cc_.mov(sized(result, type), kind < 2 ? q : r);
  cc_.bind(done);
  push_register(type, result);
}

void Lowering::count_bits(u32 kind, ValType type) {
  static constexpr InstId kIds[] = {Id::kIdLzcnt, Id::kIdTzcnt, Id::kIdPopcnt};
  x86::Gp s = gp(pop()), d = result_gp(type);
  cc_.emit(kIds[kind], sized(d, type), sized(s, type));
  push_register(type, d);
}

void Lowering::extend(std::uint8_t bits, ValType, ValType to) {
  x86::Gp s = gp(pop()), d = result_gp(to);
  if (bits == 32) cc_.movsxd(d, s.r32());
  else if (bits == 16) cc_.movsx(sized(d, to), s.r16());
  else cc_.movsx(sized(d, to), s.r8());
  push_register(to, d);
}

// ---- floats

void Lowering::compare_float(u32 code, bool is_double) {  // 0 eq, 1 ne, 2 lt, 3 gt, 4 le, 5 ge
  Value b = pop(), a = pop();
  if (code == 2 || code == 4) std::swap(a, b);  // unordered sets the flags of "below": ask for "above"
  x86::Xmm left = vec(a), right = vec(b);
  if (is_double) cc_.vucomisd(left, right);
  else cc_.vucomiss(left, right);
  if (code == 0) return push_condition({.kind = Condition::Kind::kEqualOrdered});
  if (code == 1) return push_condition({.kind = Condition::Kind::kUnequalOrNot});
  push_condition({.code = code < 4 ? x86::CondCode::kA : x86::CondCode::kAE});
}

void Lowering::float_binary(InstId id, ValType type) {
  Value b = pop(), a = pop();
  x86::Xmm left = vec(a), right = vec(b), d = result_vec(type);
  cc_.emit(id, d, left, right);
  push_register(type, d);
}

// The processor's min and max answer with their second operand where they cannot tell.
void Lowering::float_min_max(bool is_max, ValType type) {
  Value vb = pop(), va = pop();
  x86::Xmm a = vec(va), b = vec(vb), d = make_register(type).as<x86::Xmm>();
  bool is_double = type == kF64;
  Label equal = cc_.newLabel(), unordered = cc_.newLabel(), done = cc_.newLabel();
  if (is_double) cc_.vucomisd(a, b);
  else cc_.vucomiss(a, b);
  cc_.jp(unordered);
  cc_.je(equal);
  cc_.emit(is_max ? (is_double ? Id::kIdVmaxsd : Id::kIdVmaxss) : (is_double ? Id::kIdVminsd : Id::kIdVminss), d, a, b);
  cc_.jmp(done);
  cc_.bind(equal);  // of two zeros
  cc_.emit(is_max ? Id::kIdVandps : Id::kIdVorps, d, a, b);
  cc_.jmp(done);
  cc_.bind(unordered);
  cc_.emit(is_double ? Id::kIdVaddsd : Id::kIdVaddss, d, a, b);
  cc_.bind(done);
  push_register(type, d);
}

void Lowering::float_sign(u32 kind, ValType type) {  // 0 abs, 1 neg, 2 copysign
  u64 sign = type == kF64 ? u64{1} << 63 : 0x8000'0000'8000'0000;
  x86::Mem signs = constant128(sign, sign), others = constant128(~sign, ~sign);
  if (kind == 2) {
    Value b = pop(), a = pop();
    x86::Xmm left = vec(a), right = vec(b), s = make_vec(), d = make_register(type).as<x86::Xmm>();
    cc_.vandps(s, right, signs);
    cc_.vandps(d, left, others);
    cc_.vorps(d, d, s);
    return push_register(type, d);
  }
  x86::Xmm s = vec(pop()), d = result_vec(type);
  if (kind == 0) cc_.vandps(d, s, others);
  else cc_.vxorps(d, s, signs);
  push_register(type, d);
}

void Lowering::float_round(u32 mode, ValType type) {
  x86::Xmm s = vec(pop()), d = result_vec(type);
  if (type == kF64) cc_.vroundsd(d, s, s, mode | 8);
  else cc_.vroundss(d, s, s, mode | 8);
  push_register(type, d);
}

void Lowering::float_unary(InstId id, ValType type) {
  x86::Xmm s = vec(pop()), d = result_vec(type);
  cc_.emit(id, d, s, s);
  push_register(type, d);
}

void Lowering::float_operation(u32 k, ValType type) {
  static constexpr InstId kBinary[2][4] = {{Id::kIdVaddss, Id::kIdVsubss, Id::kIdVmulss, Id::kIdVdivss}, {Id::kIdVaddsd, Id::kIdVsubsd, Id::kIdVmulsd, Id::kIdVdivsd}};
  static constexpr u32 kRounding[] = {2, 1, 3, 0};  // ceil, floor, trunc, nearest
  if (k < 2) float_sign(k, type);
  else if (k < 6) float_round(kRounding[k - 2], type);
  else if (k == 6) float_unary(type == kF64 ? Id::kIdVsqrtsd : Id::kIdVsqrtss, type);
  else if (k < 11) float_binary(kBinary[type == kF64][k - 7], type);
  else if (k < 13) float_min_max(k == 12, type);
  else float_sign(2, type);
}

// ---- conversions

void Lowering::canonicalise(NanShape shape) {
  x86::Xmm v = vec(pop());
  bool doubles = shape == NanShape::kF64 || shape == NanShape::kF64x2;
  if (shape == NanShape::kF32 || shape == NanShape::kF64) {
    Label over = cc_.newLabel();
    cc_.emit(doubles ? Id::kIdVucomisd : Id::kIdVucomiss, v, v);
    cc_.jnp(over);
    if (doubles) cc_.vmovsd(v, constant64(kCanonicalF64));
    else cc_.vmovss(v, constant32(kCanonicalF32));
    cc_.bind(over);
    return push_register(doubles ? kF64 : kF32, v);
  }
  u64 nan = doubles ? kCanonicalF64 : u64{kCanonicalF32} << 32 | kCanonicalF32;
  x86::Xmm ordered = make_vec();
  cc_.emit(doubles ? Id::kIdVcmppd : Id::kIdVcmpps, ordered, v, v, 7);
  cc_.vandps(v, v, ordered);
  cc_.vandnps(ordered, ordered, constant128(nan, nan));
  cc_.vorps(v, v, ordered);
  push_register(kV128, v);
}

void Lowering::wrap() {
  x86::Gp s = gp(pop()), d = make_int();
  cc_.mov(d.r32(), s.r32());
  push_register(kI32, d);
}

void Lowering::change_width(ValType to) { float_unary(to == kF32 ? Id::kIdVcvtsd2ss : Id::kIdVcvtss2sd, to); }

// Not vmovd and vmovq: where the allocator has spilled their source it writes them as loads into a vector register.
void Lowering::bits_of_float(ValType to) {
  x86::Xmm s = vec(pop());
  x86::Gp d = result_gp(to);
  if (to == kI32) cc_.vpextrd(d.r32(), s, 0);
  else cc_.vpextrq(d, s, 0);
  push_register(to, d);
}

void Lowering::float_of_bits(ValType to) {
  x86::Gp s = gp(pop());
  x86::Xmm d = result_vec(to);
  if (to == kF32) cc_.vmovd(d, s.r32());
  else cc_.vmovq(d, s);
  push_register(to, d);
}

x86::Xmm Lowering::as_double(const Value& v) {
  x86::Xmm s = vec(v);
  if (v.type == kF64) return s;
  x86::Xmm d = make_vec(kF64);
  cc_.vcvtss2sd(d, s, s);
  return d;
}

// By way of doubles, which hold every float: bounds are exact there.
void Lowering::truncate(ValType from, ValType to, bool is_signed, bool saturates) {
  Value v = pop();
  v.type = from;
  x86::Xmm x = as_double(v);
  x86::Gp d = make_int();
  auto number = [this](double n) { return constant64(std::bit_cast<u64>(n)); };
  constexpr double k2to63 = 9223372036854775808.0;
  if (saturates) {
    x86::Xmm y = make_vec(kF64), ordered = make_vec(kF64);
    cc_.vcmpsd(ordered, x, x, 7);
    cc_.vandpd(y, x, ordered);  // NaN is 0
    double low = !is_signed ? 0 : to == kI32 ? -2147483648.0 : -k2to63;
    cc_.vmaxsd(y, y, number(low));
    if (to == kI32) {
      cc_.vminsd(y, y, number(is_signed ? 2147483647.0 : 4294967295.0));
      if (is_signed) cc_.vcvttsd2si(d.r32(), y);
      else cc_.vcvttsd2si(d, y);
      return push_register(to, d);
    }
    x86::Gp most = make_int();
    if (is_signed) {
      cc_.vcvttsd2si(d, y);
      cc_.mov(most, std::numeric_limits<std::int64_t>::max());
      cc_.vucomisd(y, number(k2to63));
      cc_.cmovae(d, most);
    } else {
      x86::Xmm z = make_vec(kF64);
      x86::Gp big = make_int(), top = make_int();
      cc_.vcvttsd2si(d, y);
      cc_.vsubsd(z, y, number(k2to63));
      cc_.vcvttsd2si(big, z);
      cc_.mov(top, u64{1} << 63);
      cc_.xor_(big, top);
      cc_.mov(most, ~u64{0});
      cc_.vucomisd(y, number(k2to63));
      cc_.cmovae(d, big);
      cc_.vucomisd(y, number(2 * k2to63));
      cc_.cmovae(d, most);
    }
    return push_register(to, d);
  }
  cc_.vucomisd(x, x);
  trap_if(x86::CondCode::kP, Trap::kConversion);
  if (to == kI32) {
    x86::Gp t = make_int();
    cc_.vcvttsd2si(d, x);
    if (is_signed) cc_.movsxd(t, d.r32());
    else cc_.mov(t.r32(), d.r32());
    cc_.cmp(t, d);
    trap_if(x86::CondCode::kNE, Trap::kOverflow);
    cc_.mov(d.r32(), t.r32());
  } else if (is_signed) {
    cc_.vucomisd(x, number(k2to63));
    trap_if(x86::CondCode::kAE, Trap::kOverflow);
    cc_.vucomisd(x, number(-k2to63));
    trap_if(x86::CondCode::kB, Trap::kOverflow);
    cc_.vcvttsd2si(d, x);
  } else {
    Label small = cc_.newLabel(), done = cc_.newLabel();
    x86::Gp top = make_int();
    x86::Xmm z = make_vec(kF64);
    cc_.vucomisd(x, number(k2to63));
    cc_.jb(small);
    cc_.vucomisd(x, number(2 * k2to63));
    trap_if(x86::CondCode::kAE, Trap::kOverflow);
    cc_.vsubsd(z, x, number(k2to63));
    cc_.vcvttsd2si(d, z);
    cc_.mov(top, u64{1} << 63);
    cc_.xor_(d, top);
    cc_.jmp(done);
    cc_.bind(small);
    cc_.vucomisd(x, number(-1.0));
    trap_if(x86::CondCode::kBE, Trap::kOverflow);
    cc_.vcvttsd2si(d, x);
    cc_.bind(done);
  }
  push_register(to, d);
}

// Unsigned 64 bits: a number with the top bit is halved first, its lowest bit kept for rounding.
void Lowering::convert_unsigned(const x86::Gp& from, const x86::Xmm& to, bool is_double) {
  Label big = cc_.newLabel(), done = cc_.newLabel();
  x86::Gp half = make_int(), low = make_int();
  auto convert_one = [&](const x86::Gp& r) {
    if (is_double) cc_.vcvtsi2sd(to, to, r);
    else cc_.vcvtsi2ss(to, to, r);
  };
  cc_.vxorps(to, to, to);
  cc_.test(from, from);
  cc_.js(big);
  convert_one(from);
  cc_.jmp(done);
  cc_.bind(big);
  cc_.mov(half, from);
  cc_.mov(low, from);
  cc_.shr(half, 1);
  cc_.and_(low.r32(), 1);
  cc_.or_(half, low);
  convert_one(half);
  if (is_double) cc_.vaddsd(to, to, to);
  else cc_.vaddss(to, to, to);
  cc_.bind(done);
}

void Lowering::convert(u32 code) {  // 0xb2 f32.convert_i32_s … 0xba f64.convert_i64_u, but demote and promote
  bool is_double = code >= 0xb7;
  u32 kind = code - (is_double ? 0xb7 : 0xb2);  // i32_s, i32_u, i64_s, i64_u
  ValType type = is_double ? kF64 : kF32;
  x86::Gp s = gp(pop());
  x86::Xmm d = make_register(type).as<x86::Xmm>();
  if (kind == 3) {
    convert_unsigned(s, d, is_double);
    return push_register(type, d);
  }
  x86::Gp from = kind == 0 ? s.r32() : s;
  cc_.vxorps(d, d, d);  // no wait for what was there
  if (is_double) cc_.vcvtsi2sd(d, d, from);
  else cc_.vcvtsi2ss(d, d, from);
  push_register(type, d);
}

}  // namespace monopod::wasm::jit
