// Value and function types. Function types are numbered by an Engine, equal types having equal numbers also in different modules, and references to
// functions name that number: a type check is a comparison of integers wherever two modules meet.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace monopod::wasm {

// Number types are their byte of the binary format; references have the top bit set and carry nullability and what they point to.
struct ValType {
  std::uint32_t bits = 0;
  friend bool operator==(ValType, ValType) = default;
  bool is_ref() const { return (bits & 0x8000'0000) != 0; }
  bool nullable() const { return (bits & 0x4000'0000) != 0; }
  std::uint32_t heap() const { return bits & 0xff'ffff; }  // a type number, or kHeap*
  bool defaultable() const { return !is_ref() || nullable(); }
};

inline constexpr std::uint32_t kHeapAbstract = 0xff'0000;
inline constexpr std::uint32_t kHeapFunc = 0xff'0070, kHeapExtern = 0xff'006f, kHeapExn = 0xff'0069;
inline constexpr std::uint32_t kHeapNoFunc = 0xff'0073, kHeapNoExtern = 0xff'0072, kHeapNoExn = 0xff'0074;
inline constexpr ValType make_ref(std::uint32_t heap, bool nullable) { return {0x8000'0000 | (nullable ? 0x4000'0000u : 0u) | heap}; }

inline constexpr ValType kBottom{0};  // of unreachable code: any type
inline constexpr ValType kI32{0x7f}, kI64{0x7e}, kF32{0x7d}, kF64{0x7c}, kV128{0x7b};
inline constexpr ValType kFuncRef = make_ref(kHeapFunc, true), kExternRef = make_ref(kHeapExtern, true), kExnRef = make_ref(kHeapExn, true);

inline std::uint32_t slots_of(ValType type) { return type == kV128 ? 2 : 1; }

// A value of type `type` may stand where `wanted` is asked for.
bool matches_slow(ValType type, ValType wanted);
inline bool matches(ValType type, ValType wanted) { return type == wanted || matches_slow(type, wanted); }

struct FuncType {
  std::vector<ValType> params;
  std::vector<ValType> results;
  std::uint32_t param_slots = 0;
  std::uint32_t result_slots = 0;
  friend bool operator==(const FuncType& a, const FuncType& b) { return a.params == b.params && a.results == b.results; }
};

std::string format_type(ValType type);         // "i32", "funcref", "(ref null 3)"
std::string format_type(const FuncType& type); // "(i32, i32) -> i64"

// Every function type that modules of one engine have named. Types are never removed: they are few and small. Thread safe.
class TypeRegistry {
 public:
  static constexpr std::uint32_t kSelf = 0xfe'ffff;  // in a reference: the type being defined
  static constexpr std::uint32_t kTypesOfEngineMax = 0xfe'0000;
  // kTypesOfEngineMax where there is no more room.
  std::uint32_t number_of(FuncType type);
  const FuncType& type(std::uint32_t number) const;  // stays where it is

 private:
  mutable std::mutex mutex_;
  std::map<std::vector<std::uint32_t>, std::uint32_t> numbers_;
  std::deque<FuncType> types_;
};

}  // namespace monopod::wasm
