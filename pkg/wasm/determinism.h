// The instructions whose result may be a NaN of which the specification leaves the bits open ("NaN Propagation"). In its deterministic profile there is one NaN
// for each type: deterministic code makes it of whatever came out.
#pragma once

#include <cstdint>

#include "wasm/ops.h"

namespace monopod::wasm {

enum class NanShape : std::uint8_t { kNone, kF32, kF64, kF32x4, kF64x2 };

inline constexpr std::uint32_t kCanonicalF32 = 0x7fc0'0000;
inline constexpr std::uint64_t kCanonicalF64 = 0x7ff8'0000'0000'0000;

// code: as in ops.def, with its prefix.
constexpr NanShape nan_shape(std::uint32_t code) {
  if (code < kPrefixMisc) {
    if ((code >= 0x8d && code <= 0x97) || code == 0xb6) return NanShape::kF32;
    return (code >= 0x9b && code <= 0xa5) || code == 0xbb ? NanShape::kF64 : NanShape::kNone;
  }
  if (code < kPrefixSimd) return NanShape::kNone;
  switch (code - kPrefixSimd) {
    case 0x5e: case 0x67: case 0x68: case 0x69: case 0x6a: case 0xe3: case 0xe4: case 0xe5: case 0xe6: case 0xe7: case 0xe8: case 0xe9: case 0x105: case 0x106: case 0x10d: case 0x10e: return NanShape::kF32x4;
    case 0x5f: case 0x74: case 0x75: case 0x7a: case 0x94: case 0xef: case 0xf0: case 0xf1: case 0xf2: case 0xf3: case 0xf4: case 0xf5: case 0x107: case 0x108: case 0x10f: case 0x110: return NanShape::kF64x2;
    default: return NanShape::kNone;
  }
}

}  // namespace monopod::wasm
