// Vectors: mostly an instruction each, in tables; where it takes more, below.
#include "wasm/jit/lowering.h"

namespace monopod::wasm::jit {

using namespace asmjit;
using Id = a64::Inst::Id;
using a64::Vec;
using u8 = std::uint8_t;
using u64 = std::uint64_t;

namespace {

struct Row {
  std::uint16_t code;  // ops.def without the prefix
  std::uint16_t id;
  u8 width;       // of the lanes that come out: 8 << width bits
  u8 from = 255;  // of those that go in, where it is another one; the half of a vector where they are narrower
};

constexpr Row kBinary[] = {
    {0x4e, Id::kIdAnd_v, 0}, {0x4f, Id::kIdBic_v, 0}, {0x50, Id::kIdOrr_v, 0}, {0x51, Id::kIdEor_v, 0},
    {0x6e, Id::kIdAdd_v, 0}, {0x6f, Id::kIdSqadd_v, 0}, {0x70, Id::kIdUqadd_v, 0}, {0x71, Id::kIdSub_v, 0}, {0x72, Id::kIdSqsub_v, 0}, {0x73, Id::kIdUqsub_v, 0},
    {0x76, Id::kIdSmin_v, 0}, {0x77, Id::kIdUmin_v, 0}, {0x78, Id::kIdSmax_v, 0}, {0x79, Id::kIdUmax_v, 0}, {0x7b, Id::kIdUrhadd_v, 0},
    {0x82, Id::kIdSqrdmulh_v, 1}, {0x111, Id::kIdSqrdmulh_v, 1}, {0x8e, Id::kIdAdd_v, 1}, {0x8f, Id::kIdSqadd_v, 1}, {0x90, Id::kIdUqadd_v, 1}, {0x91, Id::kIdSub_v, 1},
    {0x92, Id::kIdSqsub_v, 1}, {0x93, Id::kIdUqsub_v, 1}, {0x95, Id::kIdMul_v, 1}, {0x96, Id::kIdSmin_v, 1}, {0x97, Id::kIdUmin_v, 1}, {0x98, Id::kIdSmax_v, 1},
    {0x99, Id::kIdUmax_v, 1}, {0x9b, Id::kIdUrhadd_v, 1}, {0xae, Id::kIdAdd_v, 2}, {0xb1, Id::kIdSub_v, 2}, {0xb5, Id::kIdMul_v, 2}, {0xb6, Id::kIdSmin_v, 2},
    {0xb7, Id::kIdUmin_v, 2}, {0xb8, Id::kIdSmax_v, 2}, {0xb9, Id::kIdUmax_v, 2}, {0xce, Id::kIdAdd_v, 3}, {0xd1, Id::kIdSub_v, 3},
    {0xe4, Id::kIdFadd_v, 2}, {0xe5, Id::kIdFsub_v, 2}, {0xe6, Id::kIdFmul_v, 2}, {0xe7, Id::kIdFdiv_v, 2}, {0xe8, Id::kIdFmin_v, 2}, {0xe9, Id::kIdFmax_v, 2},
    {0xf0, Id::kIdFadd_v, 3}, {0xf1, Id::kIdFsub_v, 3}, {0xf2, Id::kIdFmul_v, 3}, {0xf3, Id::kIdFdiv_v, 3}, {0xf4, Id::kIdFmin_v, 3}, {0xf5, Id::kIdFmax_v, 3},
    {0x10d, Id::kIdFmin_v, 2}, {0x10e, Id::kIdFmax_v, 2}, {0x10f, Id::kIdFmin_v, 3}, {0x110, Id::kIdFmax_v, 3}, {0x0e, Id::kIdTbl_v, 0}, {0x100, Id::kIdTbl_v, 0},
    {0x9c, Id::kIdSmull_v, 1, 0}, {0x9d, Id::kIdSmull2_v, 1, 0}, {0x9e, Id::kIdUmull_v, 1, 0}, {0x9f, Id::kIdUmull2_v, 1, 0},
    {0xbc, Id::kIdSmull_v, 2, 1}, {0xbd, Id::kIdSmull2_v, 2, 1}, {0xbe, Id::kIdUmull_v, 2, 1}, {0xbf, Id::kIdUmull2_v, 2, 1},
    {0xdc, Id::kIdSmull_v, 3, 2}, {0xdd, Id::kIdSmull2_v, 3, 2}, {0xde, Id::kIdUmull_v, 3, 2}, {0xdf, Id::kIdUmull2_v, 3, 2},
};
constexpr Row kUnary[] = {
    {0x4d, Id::kIdNot_v, 0}, {0x5f, Id::kIdFcvtl_v, 3, 2}, {0x60, Id::kIdAbs_v, 0}, {0x61, Id::kIdNeg_v, 0}, {0x62, Id::kIdCnt_v, 0}, {0x80, Id::kIdAbs_v, 1},
    {0x81, Id::kIdNeg_v, 1}, {0xa0, Id::kIdAbs_v, 2}, {0xa1, Id::kIdNeg_v, 2}, {0xc0, Id::kIdAbs_v, 3}, {0xc1, Id::kIdNeg_v, 3},
    {0x67, Id::kIdFrintp_v, 2}, {0x68, Id::kIdFrintm_v, 2}, {0x69, Id::kIdFrintz_v, 2}, {0x6a, Id::kIdFrintn_v, 2}, {0x74, Id::kIdFrintp_v, 3}, {0x75, Id::kIdFrintm_v, 3},
    {0x7a, Id::kIdFrintz_v, 3}, {0x94, Id::kIdFrintn_v, 3}, {0xe0, Id::kIdFabs_v, 2}, {0xe1, Id::kIdFneg_v, 2}, {0xe3, Id::kIdFsqrt_v, 2}, {0xec, Id::kIdFabs_v, 3},
    {0xed, Id::kIdFneg_v, 3}, {0xef, Id::kIdFsqrt_v, 3}, {0xf8, Id::kIdFcvtzs_v, 2}, {0x101, Id::kIdFcvtzs_v, 2}, {0xf9, Id::kIdFcvtzu_v, 2}, {0x102, Id::kIdFcvtzu_v, 2},
    {0xfa, Id::kIdScvtf_v, 2}, {0xfb, Id::kIdUcvtf_v, 2},
    {0x87, Id::kIdSxtl_v, 1, 0}, {0x88, Id::kIdSxtl2_v, 1, 0}, {0x89, Id::kIdUxtl_v, 1, 0}, {0x8a, Id::kIdUxtl2_v, 1, 0},
    {0xa7, Id::kIdSxtl_v, 2, 1}, {0xa8, Id::kIdSxtl2_v, 2, 1}, {0xa9, Id::kIdUxtl_v, 2, 1}, {0xaa, Id::kIdUxtl2_v, 2, 1},
    {0xc7, Id::kIdSxtl_v, 3, 2}, {0xc8, Id::kIdSxtl2_v, 3, 2}, {0xc9, Id::kIdUxtl_v, 3, 2}, {0xca, Id::kIdUxtl2_v, 3, 2},
    {0x7c, Id::kIdSaddlp_v, 1, 0}, {0x7d, Id::kIdUaddlp_v, 1, 0}, {0x7e, Id::kIdSaddlp_v, 2, 1}, {0x7f, Id::kIdUaddlp_v, 2, 1},
};

template <std::size_t N>
const Row* find(const Row (&rows)[N], std::uint32_t code) {
  for (const Row& row : rows)
    if (row.code == code) return &row;
  return nullptr;
}

Vec whole(const Vec& v, u8 width) {
  switch (width) {
    case 0: return v.b16();
    case 1: return v.h8();
    case 2: return v.s4();
    default: return v.d2();
  }
}
Vec half(const Vec& v, u8 width) {
  switch (width) {
    case 0: return v.b8();
    case 1: return v.h4();
    default: return v.s2();
  }
}
// A scalar of the lane's width.
Vec single(const Vec& v, std::uint32_t width) {
  switch (width) {
    case 0: return v.b();
    case 1: return v.h();
    case 2: return v.s();
    default: return v.d();
  }
}
Vec lane_of(const Vec& v, std::uint32_t width, std::uint32_t lane) {
  switch (width) {
    case 0: return v.b(lane);
    case 1: return v.h(lane);
    case 2: return v.s(lane);
    default: return v.d(lane);
  }
}
// As the row's instruction takes it: those of upper halves and of pairs take all of it.
Vec operand(const Vec& v, const Row& row) {
  bool all = row.id == Id::kIdSmull2_v || row.id == Id::kIdUmull2_v || row.id == Id::kIdSxtl2_v || row.id == Id::kIdUxtl2_v || row.id == Id::kIdSaddlp_v || row.id == Id::kIdUaddlp_v;
  return row.from == 255 ? whole(v, row.width) : all ? whole(v, row.from) : half(v, row.from);
}

}  // namespace

// ---- loads, stores, constants, lanes

void Lowering::load_vector(u32 code, const Mem& from, u32 width) {
  if (code == 0 || code == 0x5c || code == 0x5d) {  // the whole, or the lowest lane, above which zeros come
    Vec d = result_vec(kV128);
    place(Trap::kMemory);
    cc_.ldr(code == 0 ? Vec(d.q()) : single(d, width), from);
    return push_register(kV128, d);
  }
  Vec t = make_vec(), d = make_vec();
  place(Trap::kMemory);
  cc_.ldr(single(t, width), from);
  if (code >= 7) {
    cc_.dup(whole(d, static_cast<u8>(width)), lane_of(t, width, 0));
  } else {  // extended: 1 8x8_s, 2 8x8_u, 3 16x4_s …
    auto narrow = static_cast<u8>((code - 1) / 2);
    cc_.emit(code % 2 != 0 ? Id::kIdSxtl_v : Id::kIdUxtl_v, whole(d, narrow + 1), half(t, narrow));
  }
  push_register(kV128, d);
}

void Lowering::store_vector(const Mem& to, const Vec& s) {
  place(Trap::kMemory);
  cc_.str(s.q(), to);
}

void Lowering::load_lane(const Mem& from, const Vec& s, u32 lane, u32 width) {
  Vec t = make_vec(), d = make_vec();
  place(Trap::kMemory);
  cc_.ldr(single(t, width), from);
  cc_.mov(d.b16(), s.b16());
  cc_.ins(lane_of(d, width, lane), lane_of(t, width, 0));
  push_register(kV128, d);
}

void Lowering::store_lane(const Mem& to, const Vec& s, u32 lane, u32 width) {
  Vec t = make_vec();
  cc_.mov(single(t, width), lane_of(s, width, lane));
  place(Trap::kMemory);
  cc_.str(single(t, width), to);
}

bool Lowering::one_instruction(u32 code) {
  if (const Row* row = find(kUnary, code); row != nullptr) {
    Vec s = vec(pop()), d = result_vec(kV128);
    cc_.emit(row->id, whole(d, row->width), operand(s, *row));
    return push_register(kV128, d), true;
  }
  const Row* row = find(kBinary, code);
  if (row == nullptr) return false;
  Vec b = vec(pop()), a = vec(pop()), d = result_vec(kV128);
  cc_.emit(row->id, whole(d, row->width), operand(a, *row), operand(b, *row));
  return push_register(kV128, d), true;
}

// From each operand by a table of its own, which gives zeros where the other one's are; a table of both would want them in registers beside each other.
void Lowering::shuffle() {
  std::span<const u8> lanes = reader_.bytes(16);
  Value vb = pop(), va = pop();
  u8 from_a[16], from_b[16];
  bool any_a = false, any_b = false;
  for (std::size_t i = 0; i < 16; ++i) {
    from_a[i] = lanes[i] < 16 ? lanes[i] : 0xff;
    from_b[i] = lanes[i] < 16 ? 0xff : static_cast<u8>(lanes[i] - 16);
    (lanes[i] < 16 ? any_a : any_b) = true;
  }
  Vec d = make_vec(), t = make_vec();
  auto take = [this](const Vec& to, const Value& v, const u8* from) {
    Vec index = make_vec(), s = vec(v);
    cc_.ldr(index.q(), constant(from, 16));
    cc_.tbl(to.b16(), s.b16(), index.b16());
  };
  if (any_a) take(d, va, from_a);
  if (any_b) take(any_a ? t : d, vb, from_b);
  if (any_a && any_b) cc_.orr(d.b16(), d.b16(), t.b16());
  push_register(kV128, d);
}

void Lowering::splat_lane(u32 code) {
  Value v = pop();
  if (code >= 0x13) {
    Vec s = vec(v), d = result_vec(kV128);
    cc_.dup(whole(d, static_cast<u8>(code - 0x11)), lane_of(s, code - 0x11, 0));
    return push_register(kV128, d);
  }
  Gp s = gp(v);
  Vec d = result_vec(kV128);
  cc_.dup(whole(d, static_cast<u8>(code - 0x0f)), code == 0x12 ? s : Gp(s.w()));
  push_register(kV128, d);
}

void Lowering::extract_lane(u32 code) {
  u32 lane = reader_.byte();
  Vec s = vec(pop());
  if (code == 0x1f || code == 0x21) {
    ValType type = code == 0x1f ? kF32 : kF64;
    u32 width = code == 0x1f ? 2 : 3;
    Vec d = result_vec(type);
    cc_.mov(single(d, width), lane_of(s, width, lane));
    return push_register(type, d);
  }
  ValType type = code == 0x1d ? kI64 : kI32;
  Gp d = result_gp(type);
  switch (code) {
    case 0x15: cc_.smov(d.w(), s.b(lane)); break;
    case 0x16: cc_.umov(d.w(), s.b(lane)); break;
    case 0x18: cc_.smov(d.w(), s.h(lane)); break;
    case 0x19: cc_.umov(d.w(), s.h(lane)); break;
    case 0x1b: cc_.umov(d.w(), s.s(lane)); break;
    default: cc_.umov(d, s.d(lane));
  }
  push_register(type, d);
}

void Lowering::replace_lane(u32 code) {
  u32 lane = reader_.byte();
  Value v = pop();
  Vec s = vec(pop()), d = make_vec();
  if (code >= 0x20) {
    u32 width = code == 0x20 ? 2 : 3;
    Vec from = vec(v);
    cc_.mov(d.b16(), s.b16());
    cc_.ins(lane_of(d, width, lane), lane_of(from, width, 0));
  } else {
    u32 width = code == 0x17 ? 0 : code == 0x1a ? 1 : code == 0x1c ? 2 : 3;
    Gp from = gp(v);
    cc_.mov(d.b16(), s.b16());
    cc_.ins(lane_of(d, width, lane), width == 3 ? from : Gp(from.w()));
  }
  push_register(kV128, d);
}

// ---- comparisons and bits

// eq, ne, lt_s, lt_u, gt_s, gt_u, le_s, le_u, ge_s, ge_u
bool Lowering::compare_lanes(u32 kind, u32 width) {
  static constexpr Id kIds[] = {Id::kIdCmeq_v, Id::kIdCmeq_v, Id::kIdCmgt_v, Id::kIdCmhi_v, Id::kIdCmgt_v, Id::kIdCmhi_v, Id::kIdCmge_v, Id::kIdCmhs_v, Id::kIdCmge_v, Id::kIdCmhs_v};
  Vec b = vec(pop()), a = vec(pop()), d = make_vec();
  if (kind == 2 || kind == 3 || kind == 6 || kind == 7) std::swap(a, b);
  auto w = static_cast<u8>(width);
  cc_.emit(kIds[kind], whole(d, w), whole(a, w), whole(b, w));
  if (kind == 1) cc_.not_(d.b16(), d.b16());
  push_register(kV128, d);
  return true;
}

void Lowering::compare_floats(u32 kind, bool is_double) {  // eq, ne, lt, gt, le, ge
  static constexpr Id kIds[] = {Id::kIdFcmeq_v, Id::kIdFcmeq_v, Id::kIdFcmgt_v, Id::kIdFcmgt_v, Id::kIdFcmge_v, Id::kIdFcmge_v};
  Vec b = vec(pop()), a = vec(pop()), d = make_vec();
  if (kind == 2 || kind == 4) std::swap(a, b);
  u8 w = is_double ? 3 : 2;
  cc_.emit(kIds[kind], whole(d, w), whole(a, w), whole(b, w));
  if (kind == 1) cc_.not_(d.b16(), d.b16());
  push_register(kV128, d);
}

// Whether a vector's largest word is zero, or is not.
void Lowering::truth(const Vec& v, Condition::Kind kind) {
  Vec t = make_vec();
  Gp r = make_int();
  cc_.umaxv(t.s(), v.s4());
  cc_.fmov(r.w(), t.s());
  push_condition({.kind = kind, .tested = r.w()});
}

void Lowering::any_true() { truth(vec(pop()), Condition::Kind::kNotZero); }

void Lowering::all_true(u32 width) {
  Vec s = vec(pop()), t = make_vec();
  auto w = static_cast<u8>(width);
  cc_.cmeq(whole(t, w), whole(s, w), 0);
  truth(t, Condition::Kind::kZero);
}

// Each lane's sign, spread, leaves the bit that is the lane's; the sum of those.
void Lowering::bitmask(u32 width) {
  Vec s = vec(pop()), t = make_vec(), bits = make_vec();
  Gp d = make_int();
  if (width == 3) {
    Gp high = make_int();
    cc_.umov(d, s.d(0));
    cc_.umov(high, s.d(1));
    cc_.lsr(d, d, 63);
    cc_.lsr(high, high, 63);
    cc_.orr(d.w(), d.w(), high.w(), arm::lsl(1));
    return push_register(kI32, d);
  }
  constexpr u64 kBits[3][2] = {{0x8040'2010'0804'0201, 0x8040'2010'0804'0201}, {0x0008'0004'0002'0001, 0x0080'0040'0020'0010}, {0x0000'0002'0000'0001, 0x0000'0008'0000'0004}};
  auto w = static_cast<u8>(width);
  cc_.sshr(whole(t, w), whole(s, w), (8u << width) - 1);
  cc_.ldr(bits.q(), constant128(kBits[width][0], kBits[width][1]));
  cc_.and_(t.b16(), t.b16(), bits.b16());
  if (width == 0) {  // bytes of the upper half beside those of the lower one
    Vec high = make_vec();
    cc_.ext(high.b16(), t.b16(), t.b16(), 8);
    cc_.zip1(t.b16(), t.b16(), high.b16());
  }
  if (width == 2) cc_.addv(t.s(), t.s4());
  else cc_.addv(t.h(), t.h8());
  cc_.fmov(d.w(), t.s());
  push_register(kI32, d);
}

void Lowering::shift_lanes(u32 kind, u32 width) {  // shl, shr_s, shr_u
  Value count = pop();
  Vec s = vec(pop());
  auto w = static_cast<u8>(width);
  if (count.kind == Value::Kind::kConst) {
    static constexpr Id kByNumber[] = {Id::kIdShl_v, Id::kIdSshr_v, Id::kIdUshr_v};
    u32 n = static_cast<u32>(count.bits[0]) & ((8u << width) - 1);
    Vec d = make_vec();
    if (n == 0) cc_.mov(d.b16(), s.b16());
    else cc_.emit(kByNumber[kind], whole(d, w), whole(s, w), Imm(n));
    return push_register(kV128, d);
  }
  Vec by = make_vec(), d = make_vec();
  Gp n = make_int(), from = gp(count);
  cc_.and_(n, from, (8u << width) - 1);
  if (kind != 0) cc_.neg(n, n);  // to the right is to the left by less than nothing
  cc_.dup(whole(by, w), width == 3 ? n : Gp(n.w()));
  cc_.emit(kind == 1 ? Id::kIdSshl_v : Id::kIdUshl_v, whole(d, w), whole(s, w), whole(by, w));
  push_register(kV128, d);
}

// ---- arithmetic

// The lower words multiplied, and what each one's upper word adds.
void Lowering::multiply_64() {
  Vec b = vec(pop()), a = vec(pop()), t = make_vec(), u = make_vec(), d = make_vec();
  cc_.rev64(t.s4(), b.s4());
  cc_.mul(t.s4(), t.s4(), a.s4());
  cc_.uaddlp(t.d2(), t.s4());
  cc_.shl(d.d2(), t.d2(), 32);
  cc_.xtn(t.s2(), a.d2());
  cc_.xtn(u.s2(), b.d2());
  cc_.umlal(d.d2(), t.s2(), u.s2());
  push_register(kV128, d);
}

// Products of signed bytes, those of each pair added, in 16 bits.
target::Vec Lowering::relaxed_dot(const Vec& a, const Vec& b) {
  Vec d = make_vec(), t = make_vec();
  cc_.smull(t.h8(), a.b8(), b.b8());
  cc_.smull2(d.h8(), a.b16(), b.b16());
  cc_.addp(d.h8(), t.h8(), d.h8());
  return d;
}

bool Lowering::special_unary(u32 code) {
  Vec s = vec(pop()), d = make_vec(), t = make_vec();
  switch (code) {
    case 0x5e: cc_.fcvtn(d.s2(), s.d2()); break;
    case 0xfc: case 0x103:
      cc_.fcvtzs(t.d2(), s.d2());
      cc_.sqxtn(d.s2(), t.d2());
      break;
    case 0xfd: case 0x104:
      cc_.fcvtzu(t.d2(), s.d2());
      cc_.uqxtn(d.s2(), t.d2());
      break;
    case 0xfe:
      cc_.sxtl(t.d2(), s.s2());
      cc_.scvtf(d.d2(), t.d2());
      break;
    case 0xff:
      cc_.uxtl(t.d2(), s.s2());
      cc_.ucvtf(d.d2(), t.d2());
      break;
    default: return false;
  }
  push_register(kV128, d);
  return true;
}

bool Lowering::special_binary(u32 code) {
  if (code >= 0x23 && code <= 0x40) return compare_lanes((code - 0x23) % 10, (code - 0x23) / 10);
  if (code >= 0x41 && code <= 0x4c) return compare_floats((code - 0x41) % 6, code >= 0x47), true;
  static constexpr u8 kOf64[] = {0, 1, 2, 4, 6, 8};
  if (code >= 0xd6 && code <= 0xdb) return compare_lanes(kOf64[code - 0xd6], 3);
  if (code == 0xd5) return multiply_64(), true;
  if (code == 0x112) {
    Vec b = vec(pop()), a = vec(pop());
    return push_register(kV128, relaxed_dot(a, b)), true;
  }
  Vec b = vec(pop()), a = vec(pop()), d = make_vec(), t = make_vec();
  switch (code) {
    case 0x65: case 0x85: case 0x66: case 0x86: {
      u8 w = code >= 0x85 ? 1 : 0;
      bool is_signed = code % 2 != 0;
      cc_.emit(is_signed ? Id::kIdSqxtn_v : Id::kIdSqxtun_v, half(d, w), whole(a, w + 1));
      cc_.emit(is_signed ? Id::kIdSqxtn2_v : Id::kIdSqxtun2_v, whole(d, w), whole(b, w + 1));
      break;
    }
    case 0xba:
      cc_.smull(t.s4(), a.h4(), b.h4());
      cc_.smull2(d.s4(), a.h8(), b.h8());
      cc_.addp(d.s4(), t.s4(), d.s4());
      break;
    case 0xea: case 0xf6: case 0xeb: case 0xf7: {  // the second one only where it is less, or more
      u8 w = code >= 0xf6 ? 3 : 2;
      bool is_max = code == 0xeb || code == 0xf7;
      cc_.fcmgt(whole(d, w), whole(is_max ? b : a, w), whole(is_max ? a : b, w));
      cc_.bsl(d.b16(), b.b16(), a.b16());
      break;
    }
    default: return false;
  }
  push_register(kV128, d);
  return true;
}

bool Lowering::special_ternary(u32 code) {
  Vec c = vec(pop()), b = vec(pop()), a = vec(pop()), d = make_vec();
  switch (code) {
    case 0x52: case 0x109: case 0x10a: case 0x10b: case 0x10c:
      cc_.mov(d.b16(), c.b16());
      cc_.bsl(d.b16(), a.b16(), b.b16());
      break;
    case 0x105: case 0x106: case 0x107: case 0x108: {  // two roundings, as in the interpreter
      u8 w = code >= 0x107 ? 3 : 2;
      cc_.fmul(whole(d, w), whole(a, w), whole(b, w));
      if (code % 2 != 0) cc_.fadd(whole(d, w), whole(d, w), whole(c, w));
      else cc_.fsub(whole(d, w), whole(c, w), whole(d, w));
      break;
    }
    case 0x113:
      cc_.saddlp(d.s4(), relaxed_dot(a, b).h8());
      cc_.add(d.s4(), d.s4(), c.s4());
      break;
    default: return false;
  }
  push_register(kV128, d);
  return true;
}

}  // namespace monopod::wasm::jit
