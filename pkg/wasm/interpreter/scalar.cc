// Handlers of numbers, loads, stores and branches on comparisons: one template per shape, one row of variants per instruction.
#include <bit>
#include <cmath>
#include <limits>
#include <type_traits>

#include "wasm/interpreter/insn.h"
#include "wasm/interpreter/numeric.h"

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
typedef double D128 __attribute__((vector_size(16)));

template <typename T>
[[gnu::always_inline]] inline T from_slot(const u64* slot) {
  T out;
  std::memcpy(&out, slot, sizeof out);
  return out;
}

template <typename T>
[[gnu::always_inline]] inline T from_last(u64 acc, V128 facc) {
  if constexpr (std::is_same_v<T, float>) return facc[0];
  else if constexpr (std::is_same_v<T, double>) return reinterpret_cast<D128>(facc)[0];
  else return static_cast<T>(acc);
}

template <typename T>
[[gnu::always_inline]] inline void to_last(T value, u64& acc, V128& facc) {
  if constexpr (std::is_same_v<T, float>) {
    V128 v = {value, value, value, value};
    facc = __builtin_shufflevector(v, v, 0, -1, -1, -1);  // the other lanes are nobody's
  } else if constexpr (std::is_same_v<T, double>) {
    D128 v = {value, value};
    facc = reinterpret_cast<V128>(__builtin_shufflevector(v, v, 0, -1));
  } else if constexpr (sizeof(T) == 4) {
    acc = static_cast<u32>(value);
  } else {
    acc = static_cast<u64>(value);
  }
}

template <typename T>
[[gnu::always_inline]] inline void store_last(u64* slot, u64 acc, V128 facc) {
  if constexpr (std::is_floating_point_v<T>) {
    typedef u64 U128 __attribute__((vector_size(16)));
    *slot = reinterpret_cast<U128>(facc)[0];
  } else {
    *slot = acc;
  }
}

// An immediate of 32 bits: integers sign extended, floats as the bits of a float (a double that is one exactly).
template <typename T>
[[gnu::always_inline]] inline T from_immediate(u32 bits) {
  if constexpr (std::is_floating_point_v<T>) return static_cast<T>(std::bit_cast<float>(bits));
  else return static_cast<T>(static_cast<i32>(bits));
}

constexpr bool left_is_last(int pair) { return pair == kLS || pair == kLI; }
constexpr bool right_is_last(int pair) { return pair == kSL; }
constexpr bool right_is_immediate(int pair) { return pair == kSI || pair == kLI; }

template <class O, int kPair, bool kAlone>
MONOPOD_WASM_HANDLER binary(MONOPOD_WASM_STATE) {
  using T = typename O::T;
  T left = left_is_last(kPair) ? from_last<T>(acc, facc) : from_slot<T>(fp + ip->b);
  T right = right_is_last(kPair) ? from_last<T>(acc, facc) : right_is_immediate(kPair) ? from_immediate<T>(ip->i) : from_slot<T>(fp + ip->c());
  if constexpr (requires { O::trap(left, right); }) {
    if (Trap trap = O::trap(left, right); trap != Trap::kNone) [[unlikely]] {
      if (trap == Trap::kDivideByZero) MONOPOD_WASM_TRAP(Trap::kDivideByZero);
      MONOPOD_WASM_TRAP(Trap::kOverflow);
    }
  }
  auto result = O::apply(left, right);
  to_last(result, acc, facc);
  if constexpr (!kAlone) store_last<decltype(result)>(fp + ip->a, acc, facc);
  MONOPOD_WASM_NEXT(1);
}

[[gnu::noinline]] MONOPOD_WASM_HANDLER interrupted(MONOPOD_WASM_STATE) { MONOPOD_WASM_TRAP(Trap::kInterrupted); }

template <class O, int kPair, bool kWhenFalse, bool kBack>
MONOPOD_WASM_HANDLER compare_branch(MONOPOD_WASM_STATE) {
  using T = typename O::T;
  T left = left_is_last(kPair) ? from_last<T>(acc, facc) : from_slot<T>(fp + ip->a);
  T right = right_is_last(kPair) ? from_last<T>(acc, facc) : right_is_immediate(kPair) ? static_cast<T>(static_cast<i16>(ip->b)) : from_slot<T>(fp + ip->b);
  if ((O::apply(left, right) != 0) != kWhenFalse) {
    if constexpr (kBack)
      if (vm->interrupt->load(std::memory_order_relaxed) != 0) [[unlikely]] [[clang::musttail]] return interrupted(MONOPOD_WASM_PASS(ip));
    MONOPOD_WASM_JUMP(ip + static_cast<i32>(ip->i));
  }
  MONOPOD_WASM_NEXT(1);
}

template <class O, bool kFromLast, bool kAlone>
MONOPOD_WASM_HANDLER unary(MONOPOD_WASM_STATE) {
  using T = typename O::T;
  T value = kFromLast ? from_last<T>(acc, facc) : from_slot<T>(fp + ip->b);
  if constexpr (requires { O::trap(value); }) {
    if (Trap trap = O::trap(value); trap != Trap::kNone) [[unlikely]] {
      if (trap == Trap::kConversion) MONOPOD_WASM_TRAP(Trap::kConversion);
      MONOPOD_WASM_TRAP(Trap::kOverflow);
    }
  }
  auto result = O::apply(value);
  to_last(result, acc, facc);
  if constexpr (!kAlone) store_last<decltype(result)>(fp + ip->a, acc, facc);
  MONOPOD_WASM_NEXT(1);
}

// The place in memory; false where it is outside. Raw: the address was computed and checked before (other memories than the first, 64-bit ones).
template <int kAddress, std::size_t kBytes>
[[gnu::always_inline]] inline bool find_place(const Insn* ip, const u64* fp, u8* mem, u64 msize, u64 acc, u8*& out) {
  if constexpr (kAddress == kAddressRaw) return out = reinterpret_cast<u8*>(acc), true;
  u64 at = 0;
  if constexpr (kAddress == kAddressSum) at = u64{static_cast<u32>(from_slot<u32>(fp + ip->b) + from_slot<u32>(fp + ip->c()))} + ip->d();
  else at = u64{kAddress == kAddressLast ? static_cast<u32>(acc) : from_slot<u32>(fp + ip->b)} + ip->i;
  out = mem + at;
  return at + kBytes <= msize;
}

template <typename Stored, typename T, int kAddress, bool kAlone>
MONOPOD_WASM_HANDLER load(MONOPOD_WASM_STATE) {
  u8* from = nullptr;
  if (!find_place<kAddress, sizeof(Stored)>(ip, fp, mem, msize, acc, from)) [[unlikely]] MONOPOD_WASM_TRAP(Trap::kMemory);
  Stored value;
  std::memcpy(&value, from, sizeof value);
  to_last(static_cast<T>(value), acc, facc);
  if constexpr (!kAlone) store_last<T>(fp + ip->a, acc, facc);
  MONOPOD_WASM_NEXT(1);
}

template <typename Stored, typename T, int kAddress, int kValue>
MONOPOD_WASM_HANDLER store(MONOPOD_WASM_STATE) {
  u8* to = nullptr;
  if (!find_place<kAddress, sizeof(Stored)>(ip, fp, mem, msize, acc, to)) [[unlikely]] MONOPOD_WASM_TRAP(Trap::kMemory);
  T value = kValue == kLast ? from_last<T>(acc, facc) : kValue == kImmediate ? static_cast<T>(static_cast<i16>(ip->a)) : from_slot<T>(fp + ip->a);
  auto stored = static_cast<Stored>(value);
  std::memcpy(to, &stored, sizeof stored);
  MONOPOD_WASM_NEXT(1);
}

template <class O>
constexpr Handler kBinaryRow[kPairs * 2] = {binary<O, kSS, false>, binary<O, kSS, true>, binary<O, kSI, false>, binary<O, kSI, true>, binary<O, kLS, false>,
                                            binary<O, kLS, true>,  binary<O, kSL, false>, binary<O, kSL, true>, binary<O, kLI, false>, binary<O, kLI, true>};
#define BRANCH_PART(O, P) compare_branch<O, P, false, false>, compare_branch<O, P, false, true>, compare_branch<O, P, true, false>, compare_branch<O, P, true, true>
template <class O>
constexpr Handler kBranchRow[kPairs * 4] = {BRANCH_PART(O, kSS), BRANCH_PART(O, kSI), BRANCH_PART(O, kLS), BRANCH_PART(O, kSL), BRANCH_PART(O, kLI)};
template <class O>
constexpr Handler kUnaryRow[4] = {unary<O, false, false>, unary<O, false, true>, unary<O, true, false>, unary<O, true, true>};
#define LOAD_PART(A) load<S, T, A, false>, load<S, T, A, true>
template <typename S, typename T>
constexpr Handler kLoadRow[kAddresses * 2] = {LOAD_PART(kAddressSlot), LOAD_PART(kAddressLast), LOAD_PART(kAddressRaw), LOAD_PART(kAddressSum)};
#define STORE_PART(A) store<S, T, A, kSlot>, store<S, T, A, kImmediate>, store<S, T, A, kLast>
template <typename S, typename T>
constexpr Handler kStoreRow[kAddresses * 3] = {STORE_PART(kAddressSlot), STORE_PART(kAddressLast), STORE_PART(kAddressRaw), STORE_PART(kAddressSum)};

}  // namespace

const Handler* binary_handlers(std::uint8_t op) {
  switch (op) {
#define BINARY(code, O) \
  case code: return kBinaryRow<numeric::O>;
#include "wasm/interpreter/binary.def"
#undef BINARY
    default: return nullptr;
  }
}

const Handler* branch_handlers(std::uint8_t op) {
  switch (op) {
#define COMPARISONS_ONLY
#define BINARY(code, O) \
  case code: return kBranchRow<numeric::O>;
#include "wasm/interpreter/binary.def"
#undef BINARY
#undef COMPARISONS_ONLY
    default: return nullptr;
  }
}

const Handler* unary_handlers(std::uint16_t op) {
  switch (op) {
#define UNARY(code, ...) \
  case code: return kUnaryRow<numeric::__VA_ARGS__>;
#include "wasm/interpreter/unary.def"
#undef UNARY
    default: return nullptr;
  }
}

const Handler* load_handlers(std::uint8_t op) {
  switch (op) {
    case 0x28: return kLoadRow<u32, u32>;
    case 0x29: return kLoadRow<u64, u64>;
    case 0x2a: return kLoadRow<float, float>;
    case 0x2b: return kLoadRow<double, double>;
    case 0x2c: return kLoadRow<i8, i32>;
    case 0x2d: return kLoadRow<u8, u32>;
    case 0x2e: return kLoadRow<i16, i32>;
    case 0x2f: return kLoadRow<u16, u32>;
    case 0x30: return kLoadRow<i8, i64>;
    case 0x31: return kLoadRow<u8, u64>;
    case 0x32: return kLoadRow<i16, i64>;
    case 0x33: return kLoadRow<u16, u64>;
    case 0x34: return kLoadRow<i32, i64>;
    case 0x35: return kLoadRow<u32, u64>;
    default: return nullptr;
  }
}

const Handler* store_handlers(std::uint8_t op) {
  switch (op) {
    case 0x36: return kStoreRow<u32, u32>;
    case 0x37: return kStoreRow<u64, u64>;
    case 0x38: return kStoreRow<float, float>;
    case 0x39: return kStoreRow<double, double>;
    case 0x3a:
    case 0x3c: return kStoreRow<u8, u32>;
    case 0x3b:
    case 0x3d: return kStoreRow<u16, u32>;
    case 0x3e: return kStoreRow<u32, u32>;
    default: return nullptr;
  }
}

}  // namespace monopod::wasm
