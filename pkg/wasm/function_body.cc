#include "wasm/function_body.h"

#include "wasm/ops.h"

namespace monopod::wasm {
namespace {

using u32 = std::uint32_t;

void skip_catches(Reader& r) {
  for (u32 n = r.u32(); n-- > 0;) {
    if (r.byte() < 2) r.u32();
    r.u32();
  }
}

}  // namespace

void skip_block_type(Reader& r, const ModuleData& module) {
  std::uint8_t first = r.peek();
  if (first == 0x40) r.byte();
  else if ((first & 0xc0) == 0x40) read_value_type(r, module);
  else r.s33();
}

void skip_immediates(Reader& r, const ModuleData& module, std::uint8_t code) {
  auto simple_op = [&](const Op& op) {
    if (is_memory(op.immediates)) {
      u32 flags = r.u32();
      u32 memory = (flags & 0x40) != 0 ? r.u32() : 0;
      if (module.memories[memory].is64) r.u64();
      else r.u32();
    }
    if (has_lane(op.immediates)) r.byte();
  };
  switch (code) {
    case kBr: case kBrIf: case kCall: case kReturnCall: case kCallRef: case kReturnCallRef: case kThrow: case kLocalGet: case kLocalSet: case kLocalTee:
    case kGlobalGet: case kGlobalSet: case kTableGet: case kTableSet: case kMemorySize: case kMemoryGrow: case kRefFunc: case kBrOnNull: case kBrOnNonNull: r.u32(); break;
    case kCallIndirect: case kReturnCallIndirect: r.u32(), r.u32(); break;
    case kBrTable:
      for (u32 n = r.u32() + 1; n-- > 0;) r.u32();
      break;
    case kSelectTyped:
      for (u32 n = r.u32(); n-- > 0;) read_value_type(r, module);
      break;
    case kI32Const: r.s32(); break;
    case kI64Const: r.s64(); break;
    case kF32Const: r.bytes(4); break;
    case kF64Const: r.bytes(8); break;
    case kRefNull: read_heap_type(r, module); break;
    case kPrefixByteMisc: {
      u32 sub = r.u32();
      if (sub < 8) break;
      r.u32();
      if (sub == kMemoryInit || sub == kMemoryCopy || sub == kTableInit || sub == kTableCopy) r.u32();
      break;
    }
    case kPrefixByteSimd: {
      u32 sub = r.u32();
      if (sub == kV128Const || sub == kI8x16Shuffle) r.bytes(16);
      else simple_op(kOps.simd[sub]);
      break;
    }
    default: simple_op(kOps.plain[code]);
  }
}

void read_block_type(Reader& r, const ModuleData& module, std::vector<ValType>& params, std::vector<ValType>& results) {
  std::uint8_t first = r.peek();
  if (first == 0x40) {
    r.byte();
  } else if ((first & 0xc0) == 0x40) {
    results = {read_value_type(r, module)};
  } else {
    const FuncType& type = *module.type_of[static_cast<std::size_t>(r.s33())];
    params = type.params;
    results = type.results;
  }
}

void skip_dead_code(Reader& r, const ModuleData& module) {
  for (u32 depth = 0;;) {
    std::uint8_t code = r.peek();
    if (depth == 0 && (code == kEnd || code == kElse)) return;
    r.byte();
    if (code == kBlock || code == kLoop || code == kIf || code == kTryTable) {
      skip_block_type(r, module);
      if (code == kTryTable) skip_catches(r);
      ++depth;
    } else if (code == kEnd) {
      --depth;
    } else if (code != kElse) {
      skip_immediates(r, module, code);
    }
  }
}

}  // namespace monopod::wasm
