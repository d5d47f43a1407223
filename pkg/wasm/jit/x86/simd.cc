// Vectors: mostly an instruction each, in tables; what the processor has no instruction for (bytes shifted, unsigned comparisons, minima with NaN) below.
#include "wasm/jit/lowering.h"

namespace monopod::wasm::jit {

using namespace asmjit;
using Id = x86::Inst::Id;
using u8 = std::uint8_t;
using u64 = std::uint64_t;

namespace {

struct Row {
  std::uint16_t code;  // ops.def without the prefix
  std::uint16_t id;
};

constexpr Row kBinary[] = {
    {0x23, Id::kIdVpcmpeqb}, {0x27, Id::kIdVpcmpgtb}, {0x2d, Id::kIdVpcmpeqw}, {0x31, Id::kIdVpcmpgtw}, {0x37, Id::kIdVpcmpeqd}, {0x3b, Id::kIdVpcmpgtd},
    {0x4e, Id::kIdVpand}, {0x50, Id::kIdVpor}, {0x51, Id::kIdVpxor}, {0x65, Id::kIdVpacksswb}, {0x66, Id::kIdVpackuswb}, {0x6e, Id::kIdVpaddb}, {0x6f, Id::kIdVpaddsb},
    {0x70, Id::kIdVpaddusb}, {0x71, Id::kIdVpsubb}, {0x72, Id::kIdVpsubsb}, {0x73, Id::kIdVpsubusb}, {0x76, Id::kIdVpminsb}, {0x77, Id::kIdVpminub}, {0x78, Id::kIdVpmaxsb},
    {0x79, Id::kIdVpmaxub}, {0x7b, Id::kIdVpavgb}, {0x85, Id::kIdVpackssdw}, {0x86, Id::kIdVpackusdw}, {0x8e, Id::kIdVpaddw}, {0x8f, Id::kIdVpaddsw}, {0x90, Id::kIdVpaddusw},
    {0x91, Id::kIdVpsubw}, {0x92, Id::kIdVpsubsw}, {0x93, Id::kIdVpsubusw}, {0x95, Id::kIdVpmullw}, {0x96, Id::kIdVpminsw}, {0x97, Id::kIdVpminuw}, {0x98, Id::kIdVpmaxsw},
    {0x99, Id::kIdVpmaxuw}, {0x9b, Id::kIdVpavgw}, {0xae, Id::kIdVpaddd}, {0xb1, Id::kIdVpsubd}, {0xb5, Id::kIdVpmulld}, {0xb6, Id::kIdVpminsd}, {0xb7, Id::kIdVpminud},
    {0xb8, Id::kIdVpmaxsd}, {0xb9, Id::kIdVpmaxud}, {0xba, Id::kIdVpmaddwd}, {0xce, Id::kIdVpaddq}, {0xd1, Id::kIdVpsubq}, {0xd6, Id::kIdVpcmpeqq}, {0xd9, Id::kIdVpcmpgtq},
    {0xe4, Id::kIdVaddps}, {0xe5, Id::kIdVsubps}, {0xe6, Id::kIdVmulps}, {0xe7, Id::kIdVdivps}, {0xf0, Id::kIdVaddpd}, {0xf1, Id::kIdVsubpd}, {0xf2, Id::kIdVmulpd}, {0xf3, Id::kIdVdivpd},
};
// Operands the other way round.
constexpr Row kSwapped[] = {
    {0x25, Id::kIdVpcmpgtb}, {0x2f, Id::kIdVpcmpgtw}, {0x39, Id::kIdVpcmpgtd}, {0xd8, Id::kIdVpcmpgtq}, {0x4f, Id::kIdVpandn},
    {0xea, Id::kIdVminps}, {0xeb, Id::kIdVmaxps}, {0xf6, Id::kIdVminpd}, {0xf7, Id::kIdVmaxpd},
};
constexpr Row kUnary[] = {
    {0x5e, Id::kIdVcvtpd2ps}, {0x5f, Id::kIdVcvtps2pd}, {0x60, Id::kIdVpabsb}, {0x80, Id::kIdVpabsw}, {0xa0, Id::kIdVpabsd}, {0x87, Id::kIdVpmovsxbw}, {0x89, Id::kIdVpmovzxbw},
    {0xa7, Id::kIdVpmovsxwd}, {0xa9, Id::kIdVpmovzxwd}, {0xc7, Id::kIdVpmovsxdq}, {0xc9, Id::kIdVpmovzxdq}, {0xe3, Id::kIdVsqrtps}, {0xef, Id::kIdVsqrtpd}, {0xfa, Id::kIdVcvtdq2ps},
    {0xfe, Id::kIdVcvtdq2pd},
};
// Of memory, or of a register's lower half for the extensions of the upper one.
constexpr Row kLoads[] = {
    {0x00, Id::kIdVmovups}, {0x01, Id::kIdVpmovsxbw}, {0x02, Id::kIdVpmovzxbw}, {0x03, Id::kIdVpmovsxwd}, {0x04, Id::kIdVpmovzxwd}, {0x05, Id::kIdVpmovsxdq}, {0x06, Id::kIdVpmovzxdq},
    {0x07, Id::kIdVpbroadcastb}, {0x08, Id::kIdVpbroadcastw}, {0x09, Id::kIdVbroadcastss}, {0x0a, Id::kIdVmovddup}, {0x5c, Id::kIdVmovss}, {0x5d, Id::kIdVmovsd},
};

template <std::size_t N>
std::uint16_t find(const Row (&rows)[N], std::uint32_t code) {
  for (const Row& row : rows)
    if (row.code == code) return row.id;
  return 0;
}

constexpr u64 splat(u64 n, int bits) {
  u64 out = 0;
  for (int at = 0; at < 64; at += bits) out |= n << at;
  return out;
}

// Lanes of 8, 16, 32, 64 bits.
constexpr Id kEqual[] = {Id::kIdVpcmpeqb, Id::kIdVpcmpeqw, Id::kIdVpcmpeqd, Id::kIdVpcmpeqq};
constexpr Id kGreater[] = {Id::kIdVpcmpgtb, Id::kIdVpcmpgtw, Id::kIdVpcmpgtd, Id::kIdVpcmpgtq};
constexpr Id kMinUnsigned[] = {Id::kIdVpminub, Id::kIdVpminuw, Id::kIdVpminud};
constexpr Id kMaxUnsigned[] = {Id::kIdVpmaxub, Id::kIdVpmaxuw, Id::kIdVpmaxud};
constexpr Id kSubtract[] = {Id::kIdVpsubb, Id::kIdVpsubw, Id::kIdVpsubd, Id::kIdVpsubq};
constexpr Id kInsert[] = {Id::kIdVpinsrb, Id::kIdVpinsrw, Id::kIdVpinsrd, Id::kIdVpinsrq};
constexpr Id kExtract[] = {Id::kIdVpextrb, Id::kIdVpextrw, Id::kIdVpextrd, Id::kIdVpextrq};

}  // namespace

// ---- loads, stores, constants, lanes

void Lowering::load_vector(u32 code, const x86::Mem& from, u32) {
  x86::Xmm d = result_vec(kV128);
  place(Trap::kMemory);
  cc_.emit(find(kLoads, code), d, from);
  push_register(kV128, d);
}

void Lowering::store_vector(const x86::Mem& to, const x86::Xmm& s) {
  place(Trap::kMemory);
  cc_.vmovups(to, s);
}

void Lowering::load_lane(const x86::Mem& from, const x86::Xmm& s, u32 lane, u32 width) {
  x86::Xmm d = result_vec(kV128);
  place(Trap::kMemory);
  cc_.emit(kInsert[width], d, s, from, lane);
  push_register(kV128, d);
}

void Lowering::store_lane(const x86::Mem& to, const x86::Xmm& s, u32 lane, u32 width) {
  place(Trap::kMemory);
  cc_.emit(kExtract[width], to, s, lane);
}

bool Lowering::one_instruction(u32 code) {
  if (std::uint16_t id = find(kUnary, code); id != 0) {
    x86::Xmm s = vec(pop()), d = result_vec(kV128);
    cc_.emit(id, d, s);
    return push_register(kV128, d), true;
  }
  std::uint16_t id = find(kBinary, code), swapped = find(kSwapped, code);
  if (id == 0 && swapped == 0) return false;
  x86::Xmm b = vec(pop()), a = vec(pop()), d = result_vec(kV128);
  if (id != 0) cc_.emit(id, d, a, b);
  else cc_.emit(swapped, d, b, a);
  return push_register(kV128, d), true;
}

void Lowering::shuffle() {
  std::span<const u8> lanes = reader_.bytes(16);
  Value vb = pop(), va = pop();
  u8 from_a[16], from_b[16];
  bool any_a = false, any_b = false;
  for (std::size_t i = 0; i < 16; ++i) {
    from_a[i] = lanes[i] < 16 ? lanes[i] : 0x80;
    from_b[i] = lanes[i] < 16 ? 0x80 : static_cast<u8>(lanes[i] - 16);
    (lanes[i] < 16 ? any_a : any_b) = true;
  }
  x86::Xmm d = make_vec(), t = make_vec();
  if (any_a) cc_.vpshufb(d, vec(va), constant(from_a, 16));
  if (any_b) cc_.vpshufb(any_a ? t : d, vec(vb), constant(from_b, 16));
  if (any_a && any_b) cc_.vpor(d, d, t);
  push_register(kV128, d);
}

void Lowering::splat_lane(u32 code) {
  Value v = pop();
  x86::Xmm d = make_vec();
  if (code == 0x13) {
    cc_.vbroadcastss(d, vec(v));
  } else if (code == 0x14) {
    cc_.vmovddup(d, vec(v));
  } else if (code == 0x12) {
    cc_.vmovq(d, gp(v));
    cc_.vpbroadcastq(d, d);
  } else {
    static constexpr Id kBroadcast[] = {Id::kIdVpbroadcastb, Id::kIdVpbroadcastw, Id::kIdVpbroadcastd};
    cc_.vmovd(d, gp(v).r32());
    cc_.emit(kBroadcast[code - 0x0f], d, d);
  }
  push_register(kV128, d);
}

void Lowering::extract_lane(u32 code) {
  u32 lane = reader_.byte();
  x86::Xmm s = vec(pop());
  if (code == 0x1f || code == 0x21) {
    ValType type = code == 0x1f ? kF32 : kF64;
    x86::Xmm whole = make_vec(), d = make_register(type).as<x86::Xmm>();
    if (code == 0x1f) cc_.vpshufd(whole, s, lane);
    else cc_.vpshufd(whole, s, lane == 0 ? 0x44 : 0xee);
    cc_.vmovaps(d, whole);
    return push_register(type, d);
  }
  x86::Gp d = make_int();
  switch (code) {
    case 0x15: case 0x16: cc_.vpextrb(d.r32(), s, lane); break;
    case 0x18: case 0x19: cc_.vpextrw(d.r32(), s, lane); break;
    case 0x1b: cc_.vpextrd(d.r32(), s, lane); break;
    default: cc_.vpextrq(d, s, lane);
  }
  if (code == 0x15) cc_.movsx(d.r32(), d.r8());
  if (code == 0x18) cc_.movsx(d.r32(), d.r16());
  push_register(code == 0x1d ? kI64 : kI32, d);
}

void Lowering::replace_lane(u32 code) {
  u32 lane = reader_.byte();
  Value v = pop();
  x86::Xmm s = vec(pop()), d = make_vec();
  switch (code) {
    case 0x17: cc_.vpinsrb(d, s, gp(v).r32(), lane); break;
    case 0x1a: cc_.vpinsrw(d, s, gp(v).r32(), lane); break;
    case 0x1c: cc_.vpinsrd(d, s, gp(v).r32(), lane); break;
    case 0x1e: cc_.vpinsrq(d, s, gp(v), lane); break;
    case 0x20: cc_.vinsertps(d, s, vec(v), lane << 4); break;
    default:
      if (lane == 0) cc_.vblendpd(d, s, vec(v), 1);
      else cc_.vunpcklpd(d, s, vec(v));
  }
  push_register(kV128, d);
}

// ---- comparisons and bits

x86::Xmm Lowering::ones() {
  x86::Xmm d = make_vec();
  cc_.vpcmpeqd(d, d, d);
  return d;
}
x86::Xmm Lowering::zeros() {
  x86::Xmm d = make_vec();
  cc_.vpxor(d, d, d);
  return d;
}

// 1 ne, 3 lt_u, 5 gt_u, 6 le_s, 7 le_u, 8 ge_s, 9 ge_u; the others are instructions
bool Lowering::compare_lanes(u32 kind, u32 width) {
  x86::Xmm b = vec(pop()), a = vec(pop()), d = make_vec();
  bool invert = true;
  switch (kind) {
    case 1: cc_.emit(kEqual[width], d, a, b); break;
    case 6: cc_.emit(kGreater[width], d, a, b); break;
    case 8: cc_.emit(kGreater[width], d, b, a); break;
    case 3: case 9:
      cc_.emit(kMaxUnsigned[width], d, a, b);
      cc_.emit(kEqual[width], d, d, a);
      invert = kind == 3;
      break;
    default:
      cc_.emit(kMinUnsigned[width], d, a, b);
      cc_.emit(kEqual[width], d, d, a);
      invert = kind == 5;
  }
  if (invert) cc_.vpxor(d, d, ones());
  push_register(kV128, d);
  return true;
}

void Lowering::compare_floats(u32 kind, bool is_double) {  // eq, ne, lt, gt, le, ge
  static constexpr u8 kPredicates[] = {0, 4, 1, 1, 2, 2};
  x86::Xmm b = vec(pop()), a = vec(pop()), d = make_vec();
  if (kind == 3 || kind == 5) std::swap(a, b);
  cc_.emit(is_double ? Id::kIdVcmppd : Id::kIdVcmpps, d, a, b, kPredicates[kind]);
  push_register(kV128, d);
}

void Lowering::truth(x86::CondCode code) {
  x86::Gp d = make_int();
  cc_.mov(d.r32(), 0);
  cc_.set(code, d.r8());
  push_register(kI32, d);
}

void Lowering::any_true() {
  x86::Xmm s = vec(pop());
  cc_.vptest(s, s);
  truth(x86::CondCode::kNZ);
}

void Lowering::all_true(u32 width) {
  x86::Xmm s = vec(pop()), t = make_vec();
  cc_.emit(kEqual[width], t, s, zeros());
  cc_.vptest(t, t);
  truth(x86::CondCode::kZ);
}

void Lowering::bitmask(u32 width) {
  x86::Xmm s = vec(pop());
  x86::Gp d = make_int();
  if (width == 2) {
    cc_.vmovmskps(d.r32(), s);
  } else if (width == 3) {
    cc_.vmovmskpd(d.r32(), s);
  } else if (width == 0) {
    cc_.vpmovmskb(d.r32(), s);
  } else {
    x86::Xmm t = make_vec();
    cc_.vpacksswb(t, s, zeros());
    cc_.vpmovmskb(d.r32(), t);
  }
  push_register(kI32, d);
}

void Lowering::shift_lanes(u32 kind, u32 width) {  // shl, shr_s, shr_u
  static constexpr Id kIds[3][4] = {{Id::kIdVpsllw, Id::kIdVpsllw, Id::kIdVpslld, Id::kIdVpsllq}, {Id::kIdVpsraw, Id::kIdVpsraw, Id::kIdVpsrad, Id::kIdVpsrlq}, {Id::kIdVpsrlw, Id::kIdVpsrlw, Id::kIdVpsrld, Id::kIdVpsrlq}};
  Value count = pop();
  x86::Xmm s = vec(pop()), d = make_vec(), by = make_vec();
  x86::Gp n = make_int();
  cc_.mov(n.r32(), gp(count).r32());
  cc_.and_(n.r32(), (8 << width) - 1);
  if (width == 0 && kind == 1) {  // as the upper bytes of words
    x86::Xmm high = make_vec();
    cc_.add(n.r32(), 8);
    cc_.vmovd(by, n.r32());
    cc_.vpunpcklbw(d, s, s);
    cc_.vpunpckhbw(high, s, s);
    cc_.vpsraw(d, d, by);
    cc_.vpsraw(high, high, by);
    cc_.vpacksswb(d, d, high);
    return push_register(kV128, d);
  }
  cc_.vmovd(by, n.r32());
  if (width == 3 && kind == 1) {  // the sign comes down with the rest, and is spread from there
    x86::Xmm sign = make_vec();
    u64 top = u64{1} << 63;
    cc_.vmovups(sign, constant128(top, top));
    cc_.vpsrlq(sign, sign, by);
    cc_.vpsrlq(d, s, by);
    cc_.vpxor(d, d, sign);
    cc_.vpsubq(d, d, sign);
    return push_register(kV128, d);
  }
  cc_.emit(kIds[kind][width], d, s, by);
  if (width == 0) {  // what came over from the neighbour goes
    x86::Xmm mask = make_vec();
    x86::Gp bits = make_int();
    cc_.mov(bits.r32(), 0xff);
    if (kind == 0) cc_.shlx(bits.r32(), bits.r32(), n.r32());
    else cc_.shrx(bits.r32(), bits.r32(), n.r32());
    cc_.vmovd(mask, bits.r32());
    cc_.vpbroadcastb(mask, mask);
    cc_.vpand(d, d, mask);
  }
  push_register(kV128, d);
}

// ---- arithmetic

x86::Xmm Lowering::upper_half(const x86::Xmm& s) {
  x86::Xmm d = make_vec();
  cc_.vpshufd(d, s, 0xee);
  return d;
}

// Both halves of two vectors, extended and multiplied. kind: low_s, high_s, low_u, high_u; width: of the lanes that come out.
void Lowering::multiply_extended(u32 kind, u32 width) {
  static constexpr Id kExtend[2][2] = {{Id::kIdVpmovsxbw, Id::kIdVpmovzxbw}, {Id::kIdVpmovsxwd, Id::kIdVpmovzxwd}};
  x86::Xmm b = vec(pop()), a = vec(pop()), x = make_vec(), y = make_vec();
  bool high = kind % 2 != 0, is_unsigned = kind >= 2;
  if (width == 3) {
    u32 order = high ? 0xfa : 0x50;
    cc_.vpshufd(x, a, order);
    cc_.vpshufd(y, b, order);
    cc_.emit(is_unsigned ? Id::kIdVpmuludq : Id::kIdVpmuldq, x, x, y);
  } else {
    Id extend = kExtend[width - 1][is_unsigned];
    cc_.emit(extend, x, high ? upper_half(a) : a);
    cc_.emit(extend, y, high ? upper_half(b) : b);
    cc_.emit(width == 1 ? Id::kIdVpmullw : Id::kIdVpmulld, x, x, y);
  }
  push_register(kV128, x);
}

void Lowering::multiply_64() {
  x86::Xmm b = vec(pop()), a = vec(pop()), t = make_vec(), u = make_vec(), d = make_vec();
  cc_.vpsrlq(t, a, 32);
  cc_.vpmuludq(t, t, b);
  cc_.vpsrlq(u, b, 32);
  cc_.vpmuludq(u, u, a);
  cc_.vpaddq(t, t, u);
  cc_.vpsllq(t, t, 32);
  cc_.vpmuludq(d, a, b);
  cc_.vpaddq(d, d, t);
  push_register(kV128, d);
}

void Lowering::min_max_floats(bool is_max, bool is_double) {
  x86::Xmm b = vec(pop()), a = vec(pop()), d = make_vec(), other = make_vec(), nan = make_vec();
  InstId id = is_max ? (is_double ? Id::kIdVmaxpd : Id::kIdVmaxps) : (is_double ? Id::kIdVminpd : Id::kIdVminps);
  cc_.emit(id, d, a, b);
  cc_.emit(id, other, b, a);
  cc_.emit(is_double ? Id::kIdVcmppd : Id::kIdVcmpps, nan, a, b, 3);
  cc_.emit(is_max ? Id::kIdVpand : Id::kIdVpor, d, d, other);  // of two zeros
  cc_.vpor(d, d, nan);
  if (is_double) cc_.vpsrlq(nan, nan, 13);
  else cc_.vpsrld(nan, nan, 10);
  cc_.vpandn(d, nan, d);  // of all ones: a quiet NaN
  push_register(kV128, d);
}

// Products of signed bytes, those of each pair added, in 16 bits.
x86::Xmm Lowering::relaxed_dot(const x86::Xmm& a, const x86::Xmm& b) {
  x86::Xmm d = make_vec(), t = make_vec(), u = make_vec();
  cc_.vpsllw(t, a, 8);
  cc_.vpsllw(u, b, 8);
  cc_.vpsraw(t, t, 8);
  cc_.vpsraw(u, u, 8);
  cc_.vpmullw(d, t, u);
  cc_.vpsraw(t, a, 8);
  cc_.vpsraw(u, b, 8);
  cc_.vpmullw(t, t, u);
  cc_.vpaddw(d, d, t);
  return d;
}

bool Lowering::special_unary(u32 code) {
  x86::Xmm s = vec(pop()), d = make_vec(), t = make_vec();
  auto both = [this](u64 n) { return constant128(n, n); };
  auto doubles = [&both](double n) { return both(std::bit_cast<u64>(n)); };
  switch (code) {
    case 0x4d: cc_.vpxor(d, s, ones()); break;
    case 0x61: case 0x81: case 0xa1: case 0xc1: cc_.emit(kSubtract[(code - 0x61) / 0x20], d, zeros(), s); break;
    case 0x62: {  // popcnt: of each half a byte, from a table
      x86::Xmm table = make_vec(), low = make_vec();
      cc_.vmovups(table, constant128(0x0302020102010100, 0x0403030203020201));
      cc_.vpand(low, s, both(splat(0x0f, 8)));
      cc_.vpsrlw(t, s, 4);
      cc_.vpand(t, t, both(splat(0x0f, 8)));
      cc_.vpshufb(d, table, low);
      cc_.vpshufb(t, table, t);
      cc_.vpaddb(d, d, t);
      break;
    }
    case 0x7c:
      cc_.vmovups(t, both(splat(1, 8)));
      cc_.vpmaddubsw(d, t, s);
      break;
    case 0x7d: cc_.vpmaddubsw(d, s, both(splat(1, 8))); break;
    case 0x7e: cc_.vpmaddwd(d, s, both(splat(1, 16))); break;
    case 0x7f:  // as signed, moved by 2^15 each
      cc_.vpxor(d, s, both(splat(0x8000, 16)));
      cc_.vpmaddwd(d, d, both(splat(1, 16)));
      cc_.vpaddd(d, d, both(splat(0x10000, 32)));
      break;
    case 0x88: cc_.vpmovsxbw(d, upper_half(s)); break;
    case 0x8a: cc_.vpmovzxbw(d, upper_half(s)); break;
    case 0xa8: cc_.vpmovsxwd(d, upper_half(s)); break;
    case 0xaa: cc_.vpmovzxwd(d, upper_half(s)); break;
    case 0xc8: cc_.vpmovsxdq(d, upper_half(s)); break;
    case 0xca: cc_.vpmovzxdq(d, upper_half(s)); break;
    case 0xc0:
      cc_.vpcmpgtq(t, zeros(), s);
      cc_.vpxor(d, s, t);
      cc_.vpsubq(d, d, t);
      break;
    case 0xe0: cc_.vandps(d, s, both(splat(0x7fff'ffff, 32))); break;
    case 0xe1: cc_.vxorps(d, s, both(splat(0x8000'0000, 32))); break;
    case 0xec: cc_.vandps(d, s, both(~u64{0} >> 1)); break;
    case 0xed: cc_.vxorps(d, s, both(u64{1} << 63)); break;
    case 0x67: case 0x68: case 0x69: case 0x6a: {
      static constexpr u8 kModes[] = {2, 1, 3, 0};
      cc_.vroundps(d, s, kModes[code - 0x67] | 8);
      break;
    }
    case 0x74: cc_.vroundpd(d, s, 2 | 8); break;
    case 0x75: cc_.vroundpd(d, s, 1 | 8); break;
    case 0x7a: cc_.vroundpd(d, s, 3 | 8); break;
    case 0x94: cc_.vroundpd(d, s, 0 | 8); break;
    case 0xf8: case 0x101:
      cc_.vcmpps(t, s, s, 7);
      cc_.vpand(d, s, t);
      cc_.vcmpps(t, d, both(splat(0x4f000000, 32)), 13);  // 2^31 or more
      cc_.vcvttps2dq(d, d);
      cc_.vpxor(d, d, t);
      break;
    case 0xf9: case 0x102: {  // what exceeds 2^31 apart
      x86::Xmm limit = make_vec(), rest = make_vec();
      cc_.vmovups(limit, both(splat(0x4f000000, 32)));
      cc_.vmaxps(t, s, zeros());
      cc_.vsubps(rest, t, limit);
      cc_.vcmpps(limit, limit, rest, 2);
      cc_.vcvttps2dq(rest, rest);
      cc_.vpxor(rest, rest, limit);
      cc_.vpmaxsd(rest, rest, zeros());
      cc_.vcvttps2dq(d, t);
      cc_.vpaddd(d, d, rest);
      break;
    }
    case 0xfb:  // halves of 16 bits, each exact
      cc_.vpand(t, s, both(splat(0xffff, 32)));
      cc_.vpsrld(d, s, 16);
      cc_.vcvtdq2ps(t, t);
      cc_.vcvtdq2ps(d, d);
      cc_.vmulps(d, d, both(splat(0x47800000, 32)));
      cc_.vaddps(d, d, t);
      break;
    case 0xfc: case 0x103:
      cc_.vcmppd(t, s, s, 7);
      cc_.vpand(d, s, t);
      cc_.vminpd(d, d, doubles(2147483647.0));
      cc_.vcvttpd2dq(d, d);
      break;
    case 0xfd: case 0x104:
      cc_.vmaxpd(d, s, zeros());
      cc_.vminpd(d, d, doubles(4294967295.0));
      cc_.vroundpd(d, d, 3 | 8);
      cc_.vaddpd(d, d, doubles(4503599627370496.0));
      cc_.vshufps(d, d, zeros(), 0x88);
      break;
    case 0xff:
      cc_.vunpcklps(d, s, both(splat(0x43300000, 32)));
      cc_.vsubpd(d, d, doubles(4503599627370496.0));
      break;
    default: return false;
  }
  push_register(kV128, d);
  return true;
}

bool Lowering::special_binary(u32 code) {
  if (code >= 0x23 && code <= 0x40) return compare_lanes((code - 0x23) % 10, (code - 0x23) / 10);
  if (code >= 0x41 && code <= 0x4c) return compare_floats((code - 0x41) % 6, code >= 0x47), true;
  switch (code) {
    case 0xd7: return compare_lanes(1, 3);
    case 0xda: return compare_lanes(6, 3);
    case 0xdb: return compare_lanes(8, 3);
    case 0x9c: case 0x9d: case 0x9e: case 0x9f: return multiply_extended(code - 0x9c, 1), true;
    case 0xbc: case 0xbd: case 0xbe: case 0xbf: return multiply_extended(code - 0xbc, 2), true;
    case 0xdc: case 0xdd: case 0xde: case 0xdf: return multiply_extended(code - 0xdc, 3), true;
    case 0xd5: return multiply_64(), true;
    case 0xe8: case 0xe9: return min_max_floats(code == 0xe9, false), true;
    case 0xf4: case 0xf5: return min_max_floats(code == 0xf5, true), true;
    case 0x10d: case 0x10e: return min_max_floats(code == 0x10e, false), true;
    case 0x10f: case 0x110: return min_max_floats(code == 0x110, true), true;
    case 0x112: {
      x86::Xmm b = vec(pop()), a = vec(pop());
      return push_register(kV128, relaxed_dot(a, b)), true;
    }
    default: break;
  }
  x86::Xmm b = vec(pop()), a = vec(pop()), d = make_vec(), t = make_vec();
  switch (code) {
    case 0x0e: case 0x100:  // indices beyond 15 get the top bit
      cc_.vpaddusb(t, b, constant128(splat(0x70, 8), splat(0x70, 8)));
      cc_.vpshufb(d, a, t);
      break;
    case 0x82: case 0x111:
      cc_.vpmulhrsw(d, a, b);
      cc_.vpcmpeqw(t, d, constant128(splat(0x8000, 16), splat(0x8000, 16)));  // of -1 times -1
      cc_.vpxor(d, d, t);
      break;
    default: return false;
  }
  push_register(kV128, d);
  return true;
}

bool Lowering::special_ternary(u32 code) {
  x86::Xmm c = vec(pop()), b = vec(pop()), a = vec(pop()), d = make_vec(), t = make_vec();
  switch (code) {
    case 0x52: case 0x109: case 0x10a: case 0x10b: case 0x10c:
      cc_.vpand(d, a, c);
      cc_.vpandn(t, c, b);
      cc_.vpor(d, d, t);
      break;
    case 0x105: case 0x106:  // two roundings, as in the interpreter
      cc_.vmulps(t, a, b);
      if (code == 0x105) cc_.vaddps(d, t, c);
      else cc_.vsubps(d, c, t);
      break;
    case 0x107: case 0x108:
      cc_.vmulpd(t, a, b);
      if (code == 0x107) cc_.vaddpd(d, t, c);
      else cc_.vsubpd(d, c, t);
      break;
    case 0x113:
      release(t);
      cc_.vpmaddwd(d, relaxed_dot(a, b), constant128(splat(1, 16), splat(1, 16)));
      cc_.vpaddd(d, d, c);
      break;
    default: return false;
  }
  push_register(kV128, d);
  return true;
}

}  // namespace monopod::wasm::jit
