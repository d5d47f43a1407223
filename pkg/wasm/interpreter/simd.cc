// Handlers of 128-bit vectors. One shape each: operands from slots, result to a slot. Lanes are written with the compiler's vector types; what has no
// vector form is a loop over lanes.
#include <array>
#include <bit>
#include <cmath>

#include "wasm/interpreter/insn.h"
#include "wasm/interpreter/numeric.h"
#include "wasm/ops.h"

namespace monopod::wasm {
namespace {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i8 = std::int8_t;
using i16 = std::int16_t;
using i32 = std::int32_t;
using i64 = std::int64_t;

template <typename T, int N = 16 / static_cast<int>(sizeof(T))>
using Vec = T __attribute__((ext_vector_type(N)));
template <typename T>
constexpr int kLanes = 16 / static_cast<int>(sizeof(T));
template <typename T>
using Bits = std::conditional_t<sizeof(T) == 1, u8, std::conditional_t<sizeof(T) == 2, u16, std::conditional_t<sizeof(T) == 4, u32, u64>>>;

template <typename V>
[[gnu::always_inline]] inline V get(const u64* fp, u32 slot) {
  V v;
  std::memcpy(&v, fp + slot, sizeof v);
  return v;
}
template <typename V>
[[gnu::always_inline]] inline void put(u64* fp, u32 slot, V v) {
  static_assert(sizeof v == 16);
  std::memcpy(fp + slot, &v, sizeof v);
}

// ---- shapes: O::A, O::B are what the operands are seen as

template <class O>
MONOPOD_WASM_HANDLER unary(MONOPOD_WASM_STATE) {
  put(fp, ip->a, O::apply(get<typename O::A>(fp, ip->b)));
  MONOPOD_WASM_NEXT(1);
}
template <class O>
MONOPOD_WASM_HANDLER binary(MONOPOD_WASM_STATE) {
  put(fp, ip->a, O::apply(get<typename O::A>(fp, ip->b), get<typename O::A>(fp, ip->c())));
  MONOPOD_WASM_NEXT(1);
}
template <class O>
MONOPOD_WASM_HANDLER ternary(MONOPOD_WASM_STATE) {
  put(fp, ip->a, O::apply(get<typename O::A>(fp, ip->b), get<typename O::A>(fp, ip->c()), get<typename O::A>(fp, ip->d())));
  MONOPOD_WASM_NEXT(1);
}
template <class O>
MONOPOD_WASM_HANDLER shift(MONOPOD_WASM_STATE) {
  put(fp, ip->a, O::apply(get<typename O::A>(fp, ip->b), static_cast<u32>(fp[ip->c()])));
  MONOPOD_WASM_NEXT(1);
}
template <class O>
MONOPOD_WASM_HANDLER test(MONOPOD_WASM_STATE) {
  fp[ip->a] = O::apply(get<typename O::A>(fp, ip->b));
  MONOPOD_WASM_NEXT(1);
}
template <typename T>
MONOPOD_WASM_HANDLER splat(MONOPOD_WASM_STATE) {
  T value;
  std::memcpy(&value, fp + ip->b, sizeof value);
  put(fp, ip->a, Vec<T>(value));
  MONOPOD_WASM_NEXT(1);
}
template <typename T, typename To>
MONOPOD_WASM_HANDLER extract(MONOPOD_WASM_STATE) {
  T value;
  std::memcpy(&value, reinterpret_cast<const u8*>(fp + ip->b) + ip->c() * sizeof(T), sizeof value);
  auto wide = static_cast<To>(value);
  u64 out = 0;
  std::memcpy(&out, &wide, sizeof wide);
  fp[ip->a] = out;
  MONOPOD_WASM_NEXT(1);
}
template <typename T>
MONOPOD_WASM_HANDLER replace(MONOPOD_WASM_STATE) {
  alignas(16) u8 v[16];
  std::memcpy(v, fp + ip->b, 16);
  std::memcpy(v + ip->d() * sizeof(T), fp + ip->c(), sizeof(T));
  std::memcpy(fp + ip->a, v, 16);
  MONOPOD_WASM_NEXT(1);
}
MONOPOD_WASM_HANDLER shuffle(MONOPOD_WASM_STATE) {
  u8 source[32], lanes[16], out[16];
  std::memcpy(source, fp + ip->b, 16);
  std::memcpy(source + 16, fp + ip->c(), 16);
  std::memcpy(lanes, ip + 1, 16);
  for (int i = 0; i < 16; ++i) out[i] = source[lanes[i] & 31];
  std::memcpy(fp + ip->a, out, 16);
  MONOPOD_WASM_NEXT(2);
}

// ---- memory

#define PLACE(bytes)                                                                              \
  u8* at = reinterpret_cast<u8*>(acc);                                                           \
  if constexpr (!kRaw) {                                                                          \
    u64 offset = u64{static_cast<u32>(fp[ip->b])} + ip->i;                                        \
    if (offset + (bytes) > msize) [[unlikely]] MONOPOD_WASM_TRAP(Trap::kMemory);                  \
    at = mem + offset;                                                                            \
  }                                                                                               \
  static_assert(true)

template <bool kRaw>
MONOPOD_WASM_HANDLER load(MONOPOD_WASM_STATE) {
  PLACE(16);
  std::memcpy(fp + ip->a, at, 16);
  MONOPOD_WASM_NEXT(1);
}
template <bool kRaw>
MONOPOD_WASM_HANDLER store(MONOPOD_WASM_STATE) {
  PLACE(16);
  std::memcpy(at, fp + ip->a, 16);
  MONOPOD_WASM_NEXT(1);
}
template <typename T, typename To, bool kRaw>
MONOPOD_WASM_HANDLER load_extend(MONOPOD_WASM_STATE) {
  PLACE(8);
  Vec<T, static_cast<int>(8 / sizeof(T))> half;
  std::memcpy(&half, at, 8);
  put(fp, ip->a, __builtin_convertvector(half, Vec<To>));
  MONOPOD_WASM_NEXT(1);
}
template <typename T, bool kRaw>
MONOPOD_WASM_HANDLER load_splat(MONOPOD_WASM_STATE) {
  PLACE(sizeof(T));
  T value;
  std::memcpy(&value, at, sizeof value);
  put(fp, ip->a, Vec<T>(value));
  MONOPOD_WASM_NEXT(1);
}
template <typename T, bool kRaw>
MONOPOD_WASM_HANDLER load_zero(MONOPOD_WASM_STATE) {
  PLACE(sizeof(T));
  u64 value = 0;
  std::memcpy(&value, at, sizeof(T));
  fp[ip->a] = value;
  fp[ip->a + 1] = 0;
  MONOPOD_WASM_NEXT(1);
}
template <typename T, bool kRaw>
MONOPOD_WASM_HANDLER load_lane(MONOPOD_WASM_STATE) {
  PLACE(sizeof(T));
  alignas(16) u8 v[16];
  std::memcpy(v, fp + ip[1].a, 16);
  std::memcpy(v + ip[1].b * sizeof(T), at, sizeof(T));
  std::memcpy(fp + ip->a, v, 16);
  MONOPOD_WASM_NEXT(2);
}
template <typename T, bool kRaw>
MONOPOD_WASM_HANDLER store_lane(MONOPOD_WASM_STATE) {
  PLACE(sizeof(T));
  std::memcpy(at, reinterpret_cast<const u8*>(fp + ip[1].a) + ip[1].b * sizeof(T), sizeof(T));
  MONOPOD_WASM_NEXT(2);
}

// ---- operations

#define BINARY_OP(Name, expression)                             \
  template <typename T>                                         \
  struct Name {                                                 \
    using A = Vec<T>;                                           \
    static auto apply(A x, A y) { return expression; }          \
  };
#define UNARY_OP(Name, expression)                              \
  template <typename T>                                         \
  struct Name {                                                 \
    using A = Vec<T>;                                           \
    static auto apply(A x) { return expression; }               \
  };
// Lane by lane.
#define BINARY_LANES(Name, expression)                          \
  template <typename T>                                         \
  struct Name {                                                 \
    using A = Vec<T>;                                           \
    static A apply(A a, A b) {                                  \
      A out;                                                    \
      for (int i = 0; i < kLanes<T>; ++i) {                     \
        T x = a[i], y = b[i];                                   \
        out[i] = expression;                                    \
      }                                                         \
      return out;                                               \
    }                                                           \
  };
#define UNARY_LANES(Name, expression)                           \
  template <typename T>                                         \
  struct Name {                                                 \
    using A = Vec<T>;                                           \
    static A apply(A a) {                                       \
      A out;                                                    \
      for (int i = 0; i < kLanes<T>; ++i) {                     \
        T x = a[i];                                             \
        out[i] = expression;                                    \
      }                                                         \
      return out;                                               \
    }                                                           \
  };

BINARY_OP(Eq, x == y) BINARY_OP(Ne, x != y) BINARY_OP(Lt, x < y) BINARY_OP(Gt, x > y) BINARY_OP(Le, x <= y) BINARY_OP(Ge, x >= y)
BINARY_OP(And, x & y) BINARY_OP(AndNot, x & ~y) BINARY_OP(Or, x | y) BINARY_OP(Xor, x ^ y)
UNARY_OP(Not, ~x)
BINARY_OP(Add, x + y) BINARY_OP(Sub, x - y) BINARY_OP(Mul, x * y) BINARY_OP(Div, x / y)
BINARY_OP(AddSat, __builtin_elementwise_add_sat(x, y)) BINARY_OP(SubSat, __builtin_elementwise_sub_sat(x, y))
BINARY_OP(Min, __builtin_elementwise_min(x, y)) BINARY_OP(Max, __builtin_elementwise_max(x, y))
UNARY_OP(Neg, -x)
UNARY_LANES(IntAbs, static_cast<T>(x < 0 ? Bits<T>{0} - static_cast<Bits<T>>(x) : static_cast<Bits<T>>(x)))
UNARY_LANES(FloatAbs, std::fabs(x))
UNARY_LANES(Sqrt, std::sqrt(x))
UNARY_LANES(Canonical, x == x ? x : std::numeric_limits<T>::quiet_NaN())
UNARY_LANES(Ceil, numeric::round_with<T>(x, [](T v) { return std::ceil(v); }))
UNARY_LANES(Floor, numeric::round_with<T>(x, [](T v) { return std::floor(v); }))
UNARY_LANES(Trunc, numeric::round_with<T>(x, [](T v) { return std::trunc(v); }))
UNARY_LANES(Nearest, numeric::nearest(x))
UNARY_LANES(Popcnt, static_cast<T>(std::popcount(x)))
BINARY_LANES(FloatMin, numeric::float_min(x, y))
BINARY_LANES(FloatMax, numeric::float_max(x, y))
BINARY_LANES(PseudoMin, y < x ? y : x)
BINARY_LANES(PseudoMax, x < y ? y : x)
BINARY_LANES(Average, static_cast<T>((u32{x} + u32{y} + 1) >> 1))
BINARY_LANES(Q15MulrSat, static_cast<T>(std::min((i32{x} * i32{y} + 0x4000) >> 15, 0x7fff)))
// The eighth bit of an index picks zero, as does every index past the end.
struct Swizzle {
  using A = Vec<u8>;
  static A apply(A v, A s) {
    A out;
    for (int i = 0; i < 16; ++i) out[i] = s[i] < 16 ? v[s[i] & 15] : u8{0};
    return out;
  }
};

#define SHIFT_OP(Name, op)                                                                                 \
  template <typename T>                                                                                    \
  struct Name {                                                                                            \
    using A = Vec<T>;                                                                                      \
    static A apply(A x, u32 by) { return x op A(static_cast<T>(by & (sizeof(T) * 8 - 1))); }               \
  };
SHIFT_OP(Shl, <<) SHIFT_OP(Shr, >>)

struct AnyTrue {
  using A = Vec<u64>;
  static u64 apply(A x) { return (x[0] | x[1]) != 0 ? 1 : 0; }
};
template <typename T>
struct AllTrue {
  using A = Vec<T>;
  static u64 apply(A x) {
    for (int i = 0; i < kLanes<T>; ++i)
      if (x[i] == 0) return 0;
    return 1;
  }
};
template <typename T>
struct Bitmask {
  using A = Vec<T>;
  static u64 apply(A x) {
    u64 out = 0;
    for (int i = 0; i < kLanes<T>; ++i) out |= u64{x[i] < 0} << i;
    return out;
  }
};
struct Bitselect {
  using A = Vec<u64>;
  static A apply(A x, A y, A mask) { return (x & mask) | (y & ~mask); }
};

template <typename From, typename To>
struct Narrow {
  using A = Vec<From>;
  static Vec<To> apply(A x, A y) {
    Vec<To> out;
    for (int i = 0; i < kLanes<To>; ++i) {
      From v = i < kLanes<From> ? x[i] : y[i - kLanes<From>];
      out[i] = static_cast<To>(std::min<i32>(std::max<i32>(v, std::numeric_limits<To>::min()), std::numeric_limits<To>::max()));
    }
    return out;
  }
};
template <typename From, typename To, bool kHigh>
[[gnu::always_inline]] inline Vec<To> extended(Vec<From> x) {
  Vec<To> out;
  for (int i = 0; i < kLanes<To>; ++i) out[i] = static_cast<To>(x[i + (kHigh ? kLanes<To> : 0)]);
  return out;
}
template <typename From, typename To, bool kHigh>
struct ExtendHalf {
  using A = Vec<From>;
  static Vec<To> apply(A x) { return extended<From, To, kHigh>(x); }
};
template <typename From, typename To, bool kHigh>
struct ExtMul {
  using A = Vec<From>;
  static auto apply(A x, A y) { return std::bit_cast<Vec<Bits<To>>>(extended<From, To, kHigh>(x)) * std::bit_cast<Vec<Bits<To>>>(extended<From, To, kHigh>(y)); }
};
template <typename From, typename To>
struct ExtAddPairwise {
  using A = Vec<From>;
  static Vec<To> apply(A x) {
    Vec<To> out;
    for (int i = 0; i < kLanes<To>; ++i) out[i] = static_cast<To>(static_cast<To>(x[2 * i]) + static_cast<To>(x[2 * i + 1]));
    return out;
  }
};
struct Dot {
  using A = Vec<i16>;
  static Vec<u32> apply(A x, A y) {
    Vec<u32> out;
    for (int i = 0; i < 4; ++i) out[i] = static_cast<u32>(i32{x[2 * i]} * i32{y[2 * i]}) + static_cast<u32>(i32{x[2 * i + 1]} * i32{y[2 * i + 1]});
    return out;
  }
};
// Lanes 0.. of From to To; what is left of the result is zero.
template <typename From, typename To, bool kSaturate>
struct ConvertLanes {
  using A = Vec<From>;
  static Vec<To> apply(A x) {
    Vec<To> out(To{0});
    for (int i = 0; i < std::min(kLanes<From>, kLanes<To>); ++i) {
      if constexpr (kSaturate) out[i] = numeric::truncate_saturated<To>(x[i]);
      else out[i] = static_cast<To>(x[i]);
    }
    return out;
  }
};
template <typename T, bool kNegate>
struct Madd {  // relaxed: not fused, everywhere the same
  using A = Vec<T>;
  static A apply(A x, A y, A z) {
    A product = x * y;
    return kNegate ? z - product : product + z;
  }
};
struct RelaxedDot {
  using A = Vec<i8>;
  static Vec<i16> apply(A x, A y) {
    Vec<i16> out;
    for (int i = 0; i < 8; ++i) out[i] = static_cast<i16>(x[2 * i] * y[2 * i] + x[2 * i + 1] * y[2 * i + 1]);
    return out;
  }
};
struct RelaxedDotAdd {
  using A = Vec<i8>;
  static Vec<u32> apply(A x, A y, A z) {
    Vec<i16> halves = RelaxedDot::apply(x, y);
    Vec<u32> out = std::bit_cast<Vec<u32>>(z);
    for (int i = 0; i < 4; ++i) out[i] += static_cast<u32>(i32{halves[2 * i]} + i32{halves[2 * i + 1]});
    return out;
  }
};

template <bool kRaw>
Handler memory_handler(u32 op) {
  switch (op) {
    case 0: return load<kRaw>;
    case 1: return load_extend<i8, i16, kRaw>;
    case 2: return load_extend<u8, u16, kRaw>;
    case 3: return load_extend<i16, i32, kRaw>;
    case 4: return load_extend<u16, u32, kRaw>;
    case 5: return load_extend<i32, i64, kRaw>;
    case 6: return load_extend<u32, u64, kRaw>;
    case 7: return load_splat<u8, kRaw>;
    case 8: return load_splat<u16, kRaw>;
    case 9: return load_splat<u32, kRaw>;
    case 10: return load_splat<u64, kRaw>;
    case 11: return store<kRaw>;
    case 84: return load_lane<u8, kRaw>;
    case 85: return load_lane<u16, kRaw>;
    case 86: return load_lane<u32, kRaw>;
    case 87: return load_lane<u64, kRaw>;
    case 88: return store_lane<u8, kRaw>;
    case 89: return store_lane<u16, kRaw>;
    case 90: return store_lane<u32, kRaw>;
    case 91: return store_lane<u64, kRaw>;
    case 92: return load_zero<u32, kRaw>;
    case 93: return load_zero<u64, kRaw>;
    default: return nullptr;
  }
}

#define INT_COMPARE(base, S, U)                                                                                                             \
  case base: return binary<Eq<U>>; case base + 1: return binary<Ne<U>>; case base + 2: return binary<Lt<S>>; case base + 3: return binary<Lt<U>>; \
  case base + 4: return binary<Gt<S>>; case base + 5: return binary<Gt<U>>; case base + 6: return binary<Le<S>>; case base + 7: return binary<Le<U>>; \
  case base + 8: return binary<Ge<S>>; case base + 9: return binary<Ge<U>>;
#define FLOAT_COMPARE(base, F)                                                                                          \
  case base: return binary<Eq<F>>; case base + 1: return binary<Ne<F>>; case base + 2: return binary<Lt<F>>;            \
  case base + 3: return binary<Gt<F>>; case base + 4: return binary<Le<F>>; case base + 5: return binary<Ge<F>>;
#define EXTEND(base, S, WS, U, WU)                                                                                      \
  case base: return unary<ExtendHalf<S, WS, false>>; case base + 1: return unary<ExtendHalf<S, WS, true>>;              \
  case base + 2: return unary<ExtendHalf<U, WU, false>>; case base + 3: return unary<ExtendHalf<U, WU, true>>;
#define EXTMUL(base, S, WS, U, WU)                                                                                      \
  case base: return binary<ExtMul<S, WS, false>>; case base + 1: return binary<ExtMul<S, WS, true>>;                    \
  case base + 2: return binary<ExtMul<U, WU, false>>; case base + 3: return binary<ExtMul<U, WU, true>>;
#define FLOAT_MATH(base, F)                                                                                             \
  case base: return unary<FloatAbs<F>>; case base + 1: return unary<Neg<F>>; case base + 3: return unary<Sqrt<F>>;      \
  case base + 4: return binary<Add<F>>; case base + 5: return binary<Sub<F>>; case base + 6: return binary<Mul<F>>;     \
  case base + 7: return binary<Div<F>>; case base + 8: return binary<FloatMin<F>>; case base + 9: return binary<FloatMax<F>>; \
  case base + 10: return binary<PseudoMin<F>>; case base + 11: return binary<PseudoMax<F>>;

}  // namespace

Handler simd_handler(std::uint32_t op, bool raw_address) {
  if (Handler memory = raw_address ? memory_handler<true>(op) : memory_handler<false>(op); memory != nullptr) return memory;
  switch (op) {
    case kI8x16Shuffle: return shuffle;
    case kCanonicalF32x4: return unary<Canonical<float>>;
    case kCanonicalF64x2: return unary<Canonical<double>>;
    case 14: case 256: return binary<Swizzle>;
    case 15: return splat<u8>;
    case 16: return splat<u16>;
    case 17: case 19: return splat<u32>;
    case 18: case 20: return splat<u64>;
    case 21: return extract<i8, i32>;
    case 22: return extract<u8, u32>;
    case 23: return replace<u8>;
    case 24: return extract<i16, i32>;
    case 25: return extract<u16, u32>;
    case 26: return replace<u16>;
    case 27: case 31: return extract<u32, u32>;
    case 28: case 32: return replace<u32>;
    case 29: case 33: return extract<u64, u64>;
    case 30: case 34: return replace<u64>;
    INT_COMPARE(35, i8, u8)
    INT_COMPARE(45, i16, u16)
    INT_COMPARE(55, i32, u32)
    FLOAT_COMPARE(65, float)
    FLOAT_COMPARE(71, double)
    case 77: return unary<Not<u64>>;
    case 78: return binary<And<u64>>;
    case 79: return binary<AndNot<u64>>;
    case 80: return binary<Or<u64>>;
    case 81: return binary<Xor<u64>>;
    case 82: case 265: case 266: case 267: case 268: return ternary<Bitselect>;
    case 83: return test<AnyTrue>;
    case 94: return unary<ConvertLanes<double, float, false>>;
    case 95: return unary<ConvertLanes<float, double, false>>;
    case 96: return unary<IntAbs<i8>>;
    case 97: return unary<Neg<u8>>;
    case 98: return unary<Popcnt<u8>>;
    case 99: return test<AllTrue<u8>>;
    case 100: return test<Bitmask<i8>>;
    case 101: return binary<Narrow<i16, i8>>;
    case 102: return binary<Narrow<i16, u8>>;
    case 103: return unary<Ceil<float>>;
    case 104: return unary<Floor<float>>;
    case 105: return unary<Trunc<float>>;
    case 106: return unary<Nearest<float>>;
    case 107: return shift<Shl<u8>>;
    case 108: return shift<Shr<i8>>;
    case 109: return shift<Shr<u8>>;
    case 110: return binary<Add<u8>>;
    case 111: return binary<AddSat<i8>>;
    case 112: return binary<AddSat<u8>>;
    case 113: return binary<Sub<u8>>;
    case 114: return binary<SubSat<i8>>;
    case 115: return binary<SubSat<u8>>;
    case 116: return unary<Ceil<double>>;
    case 117: return unary<Floor<double>>;
    case 118: return binary<Min<i8>>;
    case 119: return binary<Min<u8>>;
    case 120: return binary<Max<i8>>;
    case 121: return binary<Max<u8>>;
    case 122: return unary<Trunc<double>>;
    case 123: return binary<Average<u8>>;
    case 124: return unary<ExtAddPairwise<i8, i16>>;
    case 125: return unary<ExtAddPairwise<u8, u16>>;
    case 126: return unary<ExtAddPairwise<i16, i32>>;
    case 127: return unary<ExtAddPairwise<u16, u32>>;
    case 128: return unary<IntAbs<i16>>;
    case 129: return unary<Neg<u16>>;
    case 130: case 273: return binary<Q15MulrSat<i16>>;
    case 131: return test<AllTrue<u16>>;
    case 132: return test<Bitmask<i16>>;
    case 133: return binary<Narrow<i32, i16>>;
    case 134: return binary<Narrow<i32, u16>>;
    EXTEND(135, i8, i16, u8, u16)
    case 139: return shift<Shl<u16>>;
    case 140: return shift<Shr<i16>>;
    case 141: return shift<Shr<u16>>;
    case 142: return binary<Add<u16>>;
    case 143: return binary<AddSat<i16>>;
    case 144: return binary<AddSat<u16>>;
    case 145: return binary<Sub<u16>>;
    case 146: return binary<SubSat<i16>>;
    case 147: return binary<SubSat<u16>>;
    case 148: return unary<Nearest<double>>;
    case 149: return binary<Mul<u16>>;
    case 150: return binary<Min<i16>>;
    case 151: return binary<Min<u16>>;
    case 152: return binary<Max<i16>>;
    case 153: return binary<Max<u16>>;
    case 155: return binary<Average<u16>>;
    EXTMUL(156, i8, i16, u8, u16)
    case 160: return unary<IntAbs<i32>>;
    case 161: return unary<Neg<u32>>;
    case 163: return test<AllTrue<u32>>;
    case 164: return test<Bitmask<i32>>;
    EXTEND(167, i16, i32, u16, u32)
    case 171: return shift<Shl<u32>>;
    case 172: return shift<Shr<i32>>;
    case 173: return shift<Shr<u32>>;
    case 174: return binary<Add<u32>>;
    case 177: return binary<Sub<u32>>;
    case 181: return binary<Mul<u32>>;
    case 182: return binary<Min<i32>>;
    case 183: return binary<Min<u32>>;
    case 184: return binary<Max<i32>>;
    case 185: return binary<Max<u32>>;
    case 186: return binary<Dot>;
    EXTMUL(188, i16, i32, u16, u32)
    case 192: return unary<IntAbs<i64>>;
    case 193: return unary<Neg<u64>>;
    case 195: return test<AllTrue<u64>>;
    case 196: return test<Bitmask<i64>>;
    EXTEND(199, i32, i64, u32, u64)
    case 203: return shift<Shl<u64>>;
    case 204: return shift<Shr<i64>>;
    case 205: return shift<Shr<u64>>;
    case 206: return binary<Add<u64>>;
    case 209: return binary<Sub<u64>>;
    case 213: return binary<Mul<u64>>;
    case 214: return binary<Eq<u64>>;
    case 215: return binary<Ne<u64>>;
    case 216: return binary<Lt<i64>>;
    case 217: return binary<Gt<i64>>;
    case 218: return binary<Le<i64>>;
    case 219: return binary<Ge<i64>>;
    EXTMUL(220, i32, i64, u32, u64)
    FLOAT_MATH(224, float)
    FLOAT_MATH(236, double)
    case 248: case 257: return unary<ConvertLanes<float, i32, true>>;
    case 249: case 258: return unary<ConvertLanes<float, u32, true>>;
    case 250: return unary<ConvertLanes<i32, float, false>>;
    case 251: return unary<ConvertLanes<u32, float, false>>;
    case 252: case 259: return unary<ConvertLanes<double, i32, true>>;
    case 253: case 260: return unary<ConvertLanes<double, u32, true>>;
    case 254: return unary<ConvertLanes<i32, double, false>>;
    case 255: return unary<ConvertLanes<u32, double, false>>;
    case 261: return ternary<Madd<float, false>>;
    case 262: return ternary<Madd<float, true>>;
    case 263: return ternary<Madd<double, false>>;
    case 264: return ternary<Madd<double, true>>;
    case 269: return binary<FloatMin<float>>;
    case 270: return binary<FloatMax<float>>;
    case 271: return binary<FloatMin<double>>;
    case 272: return binary<FloatMax<double>>;
    case 274: return binary<RelaxedDot>;
    case 275: return ternary<RelaxedDotAdd>;
    default: return nullptr;
  }
}

}  // namespace monopod::wasm
