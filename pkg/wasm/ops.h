// The instruction table (ops.def) as data: names for people, signatures for the validator and the translator.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "wasm/types.h"

namespace monopod::wasm {

enum class Immediates : std::uint8_t { None, Lane, Own, Mem0, Mem1, Mem2, Mem3, Mem4, Mem0Lane, Mem1Lane, Mem2Lane, Mem3Lane };
inline bool is_memory(Immediates i) { return i >= Immediates::Mem0; }
inline bool has_lane(Immediates i) { return i == Immediates::Lane || i >= Immediates::Mem0Lane; }
inline std::uint32_t natural_alignment(Immediates i) {  // as a power of two
  return static_cast<std::uint32_t>(i) - static_cast<std::uint32_t>(i >= Immediates::Mem0Lane ? Immediates::Mem0Lane : Immediates::Mem0);
}

struct Op {
  const char* name = nullptr;  // null: no such instruction, or one with a rule of its own
  Immediates immediates = Immediates::None;
  std::uint8_t operand_count = 0;
  std::uint8_t operands[3] = {};  // ValType bits; 0 = an address
  std::uint8_t result = 0;        // 0 = none
};

inline constexpr std::uint32_t kPrefixMisc = 0x1000, kPrefixSimd = 0x2000;
inline constexpr std::uint32_t kSimdOps = 276;

constexpr std::uint8_t type_of_letter(char c) {
  switch (c) {
    case 'i': return 0x7f;
    case 'l': return 0x7e;
    case 'f': return 0x7d;
    case 'd': return 0x7c;
    case 'v': return 0x7b;
    default: return 0;
  }
}

constexpr Op make_op(const char* name, Immediates immediates, const char* signature) {
  Op op{name, immediates, 0, {}, 0};
  for (; *signature != ':'; ++signature) op.operands[op.operand_count++] = type_of_letter(*signature);
  op.result = type_of_letter(signature[1]);
  return op;
}

struct OpTables {
  std::array<Op, 256> plain{};
  std::array<Op, 8> misc{};
  std::array<Op, kSimdOps> simd{};
};

constexpr OpTables make_op_tables() {
  OpTables t;
#define OP(code, name, imm, sig)                                                                                       \
  ((code) >= kPrefixSimd ? t.simd[(code) & 0xfff] : (code) >= kPrefixMisc ? t.misc[(code) & 7] : t.plain[(code) & 0xff]) = \
      make_op(name, Immediates::imm, sig);
#include "wasm/ops.def"
#undef OP
  return t;
}
extern const OpTables kOps;

// Codes of what the table does not describe.
enum Control : std::uint8_t {
  kUnreachable = 0x00, kNop = 0x01, kBlock = 0x02, kLoop = 0x03, kIf = 0x04, kElse = 0x05, kThrow = 0x08, kThrowRef = 0x0a, kEnd = 0x0b,
  kBr = 0x0c, kBrIf = 0x0d, kBrTable = 0x0e, kReturn = 0x0f, kCall = 0x10, kCallIndirect = 0x11, kReturnCall = 0x12, kReturnCallIndirect = 0x13,
  kCallRef = 0x14, kReturnCallRef = 0x15, kDrop = 0x1a, kSelect = 0x1b, kSelectTyped = 0x1c, kTryTable = 0x1f,
  kLocalGet = 0x20, kLocalSet = 0x21, kLocalTee = 0x22, kGlobalGet = 0x23, kGlobalSet = 0x24, kTableGet = 0x25, kTableSet = 0x26,
  kMemorySize = 0x3f, kMemoryGrow = 0x40, kI32Const = 0x41, kI64Const = 0x42, kF32Const = 0x43, kF64Const = 0x44,
  kRefNull = 0xd0, kRefIsNull = 0xd1, kRefFunc = 0xd2, kRefAsNonNull = 0xd4, kBrOnNull = 0xd5, kBrOnNonNull = 0xd6,
  kPrefixByteGc = 0xfb, kPrefixByteMisc = 0xfc, kPrefixByteSimd = 0xfd, kPrefixByteThreads = 0xfe,
};
enum Misc : std::uint32_t {
  kMemoryInit = 8, kDataDrop = 9, kMemoryCopy = 10, kMemoryFill = 11, kTableInit = 12, kElemDrop = 13, kTableCopy = 14, kTableGrow = 15, kTableSize = 16, kTableFill = 17,
};
enum Simd : std::uint32_t { kV128Const = 12, kI8x16Shuffle = 13 };

}  // namespace monopod::wasm
