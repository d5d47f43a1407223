// The numbers of WebAssembly: what C++ leaves open (shifts, division, conversion, NaN) made exact. Core specification, "Numerics".
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "wasm/runtime.h"

namespace monopod::wasm::numeric {

template <typename T>
using Unsigned = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
template <typename T>
using Signed = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;

// float to int, at the bounds of the target; NaN is 0. The bounds are powers of two and exact in both float types.
template <typename To, typename From>
constexpr From kAbove = static_cast<From>(std::numeric_limits<To>::max() / 2 + 1) * 2;
template <typename To, typename From>
inline To truncate_saturated(From x) {
  if (!(x == x)) return 0;
  if (x >= kAbove<To, From>) return std::numeric_limits<To>::max();
  if constexpr (std::is_signed_v<To>) {
    if (x < -kAbove<To, From>) return std::numeric_limits<To>::min();
  } else {
    if (x <= 0) return 0;
  }
  return static_cast<To>(x);
}
template <typename To, typename From>
inline Trap truncate_trap(From x) {
  if (!(x == x)) return Trap::kConversion;
  From whole = std::trunc(x);
  if (whole >= kAbove<To, From> || whole < (std::is_signed_v<To> ? -kAbove<To, From> : From{0})) return Trap::kOverflow;
  return Trap::kNone;
}

// An arithmetic NaN: the quiet bit set, which an operation on a signalling one does by itself.
template <typename F>
inline F quiet(F x) { return x + x; }
template <typename F>
inline F float_min(F a, F b) {
  if (a != a || b != b) return a + b;
  if (a == b) return std::signbit(a) ? a : b;
  return a < b ? a : b;
}
template <typename F>
inline F float_max(F a, F b) {
  if (a != a || b != b) return a + b;
  if (a == b) return std::signbit(a) ? b : a;
  return a > b ? a : b;
}
template <typename F>
inline F round_with(F x, F (*how)(F)) { return x != x ? quiet(x) : how(x); }
inline float nearest(float x) { return x != x ? quiet(x) : __builtin_roundevenf(x); }
inline double nearest(double x) { return x != x ? quiet(x) : __builtin_roundeven(x); }

#define MONOPOD_BIN(Name, Type, expression) \
  struct Name {                             \
    using T = Type;                         \
    static auto apply(T x, T y) { return expression; } \
  };
#define MONOPOD_CMP(Name, Type, op) MONOPOD_BIN(Name, Type, static_cast<std::uint32_t>(x op y))
#define MONOPOD_INT(P, U, S)                                                                                       \
  MONOPOD_CMP(P##Eq, U, ==) MONOPOD_CMP(P##Ne, U, !=) MONOPOD_CMP(P##LtS, S, <) MONOPOD_CMP(P##LtU, U, <)          \
  MONOPOD_CMP(P##GtS, S, >) MONOPOD_CMP(P##GtU, U, >) MONOPOD_CMP(P##LeS, S, <=) MONOPOD_CMP(P##LeU, U, <=)        \
  MONOPOD_CMP(P##GeS, S, >=) MONOPOD_CMP(P##GeU, U, >=)                                                            \
  MONOPOD_BIN(P##Add, U, x + y) MONOPOD_BIN(P##Sub, U, x - y) MONOPOD_BIN(P##Mul, U, x * y)                        \
  MONOPOD_BIN(P##And, U, x & y) MONOPOD_BIN(P##Or, U, x | y) MONOPOD_BIN(P##Xor, U, x ^ y)                         \
  MONOPOD_BIN(P##Shl, U, x << (y & (sizeof(T) * 8 - 1))) MONOPOD_BIN(P##ShrU, U, x >> (y & (sizeof(T) * 8 - 1)))   \
  MONOPOD_BIN(P##ShrS, S, x >> (y & static_cast<T>(sizeof(T) * 8 - 1)))                                            \
  MONOPOD_BIN(P##Rotl, U, std::rotl(x, static_cast<int>(y & (sizeof(T) * 8 - 1))))                                 \
  MONOPOD_BIN(P##Rotr, U, std::rotr(x, static_cast<int>(y & (sizeof(T) * 8 - 1))))                                 \
  struct P##DivU { using T = U; static T apply(T x, T y) { return x / y; }                                         \
    static Trap trap(T, T y) { return y == 0 ? Trap::kDivideByZero : Trap::kNone; } };                             \
  struct P##RemU { using T = U; static T apply(T x, T y) { return x % y; }                                         \
    static Trap trap(T, T y) { return y == 0 ? Trap::kDivideByZero : Trap::kNone; } };                             \
  struct P##DivS { using T = S; static T apply(T x, T y) { return x / y; }                                         \
    static Trap trap(T x, T y) { return y == 0 ? Trap::kDivideByZero : y == -1 && x == std::numeric_limits<T>::min() ? Trap::kOverflow : Trap::kNone; } }; \
  struct P##RemS { using T = S; static T apply(T x, T y) { return y == -1 ? 0 : x % y; }                           \
    static Trap trap(T, T y) { return y == 0 ? Trap::kDivideByZero : Trap::kNone; } };
MONOPOD_INT(I32, std::uint32_t, std::int32_t)
MONOPOD_INT(I64, std::uint64_t, std::int64_t)

#define MONOPOD_FLOAT(P, F)                                                                                  \
  MONOPOD_CMP(P##Eq, F, ==) MONOPOD_CMP(P##Ne, F, !=) MONOPOD_CMP(P##Lt, F, <) MONOPOD_CMP(P##Gt, F, >)      \
  MONOPOD_CMP(P##Le, F, <=) MONOPOD_CMP(P##Ge, F, >=)                                                        \
  MONOPOD_BIN(P##Add, F, x + y) MONOPOD_BIN(P##Sub, F, x - y) MONOPOD_BIN(P##Mul, F, x * y) MONOPOD_BIN(P##Div, F, x / y) \
  MONOPOD_BIN(P##Min, F, float_min(x, y)) MONOPOD_BIN(P##Max, F, float_max(x, y)) MONOPOD_BIN(P##Copysign, F, std::copysign(x, y))
MONOPOD_FLOAT(F32, float)
MONOPOD_FLOAT(F64, double)

#define MONOPOD_UN(Name, Type, expression)         \
  template <typename Type_>                        \
  struct Name##Of {                                \
    using T = Type_;                               \
    static auto apply(T x) { return expression; }  \
  };
MONOPOD_UN(Eqz, , static_cast<std::uint32_t>(x == 0))
MONOPOD_UN(Clz, , static_cast<T>(std::countl_zero(x)))
MONOPOD_UN(Ctz, , static_cast<T>(std::countr_zero(x)))
MONOPOD_UN(Popcnt, , static_cast<T>(std::popcount(x)))
MONOPOD_UN(Abs, , std::fabs(x))
MONOPOD_UN(Neg, , -x)
MONOPOD_UN(Ceil, , round_with<T>(x, [](T y) { return std::ceil(y); }))
MONOPOD_UN(Floor, , round_with<T>(x, [](T y) { return std::floor(y); }))
MONOPOD_UN(Trunc, , round_with<T>(x, [](T y) { return std::trunc(y); }))
MONOPOD_UN(Nearest, , nearest(x))
MONOPOD_UN(Sqrt, , std::sqrt(x))
MONOPOD_UN(Canonical, , x == x ? x : std::numeric_limits<T>::quiet_NaN())

template <typename From, typename To>
struct Convert {
  using T = From;
  static To apply(T x) { return static_cast<To>(x); }
};
template <typename From, typename Narrow, typename To>
struct Extend {  // the low bits of Narrow, sign extended
  using T = From;
  static To apply(T x) { return static_cast<To>(static_cast<Signed<To>>(static_cast<Narrow>(x))); }
};
template <typename From, typename To>
struct Reinterpret {
  using T = From;
  static To apply(T x) { return std::bit_cast<To>(x); }
};
template <typename From, typename To>
struct Truncate {
  using T = From;
  static To apply(T x) { return static_cast<To>(x); }
  static Trap trap(T x) { return truncate_trap<To>(x); }
};
template <typename From, typename To>
struct TruncateSaturated {
  using T = From;
  static To apply(T x) { return truncate_saturated<To>(x); }
};

}  // namespace monopod::wasm::numeric
