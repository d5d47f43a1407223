// Which operation of one processor (its scalar.cc, simd.cc) an instruction is.
#include "wasm/jit/lowering.h"

namespace monopod::wasm::jit {

void Lowering::integer_operation(u32 k, ValType type) {  // from clz on, as i32's and i64's instructions are numbered alike
  switch (k) {
    case 0: case 1: case 2: count_bits(k, type); break;
    case 3: add(type); break;
    case 4: alu(target::kSubtract, type, false); break;
    case 5: multiply(type); break;
    case 6: case 7: case 8: case 9: divide(k - 6, type); break;
    case 10: alu(target::kAnd, type, true); break;
    case 11: alu(target::kOr, type, true); break;
    case 12: alu(target::kXor, type, true); break;
    default: shift(k - 13, type);
  }
}

bool Lowering::conversion(u32 code) {
  switch (code) {
    case 0xa7: wrap(); break;
    case 0xa8: case 0xa9: truncate(kF32, kI32, code == 0xa8, false); break;
    case 0xaa: case 0xab: truncate(kF64, kI32, code == 0xaa, false); break;
    case 0xac: extend(32, kI32, kI64); break;
    case 0xad: {  // i64.extend_i32_u: integers of 32 bits are kept zero extended
      Value v = pop();
      if (v.kind == Value::Kind::kScaled || v.kind == Value::Kind::kFlags) v = {.reg = in_register(v)};
      v.type = kI64;
      push(v);
      break;
    }
    case 0xae: case 0xaf: truncate(kF32, kI64, code == 0xae, false); break;
    case 0xb0: case 0xb1: truncate(kF64, kI64, code == 0xb0, false); break;
    case 0xb2: case 0xb3: case 0xb4: case 0xb5: case 0xb7: case 0xb8: case 0xb9: case 0xba: convert(code); break;
    case 0xb6: change_width(kF32); break;
    case 0xbb: change_width(kF64); break;
    case 0xbc: case 0xbd: bits_of_float(code == 0xbc ? kI32 : kI64); break;
    case 0xbe: case 0xbf: float_of_bits(code == 0xbe ? kF32 : kF64); break;
    case 0xc0: extend(8, kI32, kI32); break;
    case 0xc1: extend(16, kI32, kI32); break;
    case 0xc2: extend(8, kI64, kI64); break;
    case 0xc3: extend(16, kI64, kI64); break;
    case 0xc4: extend(32, kI64, kI64); break;
    default: return false;
  }
  return true;
}

bool Lowering::scalar(u32 code) {
  if (code >= kPrefixMisc && code < kPrefixMisc + 8) {
    u32 k = code - kPrefixMisc;
    truncate((k & 2) != 0 ? kF64 : kF32, k < 4 ? kI32 : kI64, (k & 1) == 0, true);
    return true;
  }
  if (code == 0x45 || code == 0x50) {
    Value v = pop();
    if (v.kind == Value::Kind::kFlags) return push_condition(negated(v.condition)), true;
    return push_condition(is_zero(gp(v), code == 0x45 ? kI32 : kI64)), true;
  }
  if (code >= 0x46 && code <= 0x4f) return compare(code - 0x46, false), true;
  if (code >= 0x51 && code <= 0x5a) return compare(code - 0x51, true), true;
  if (code >= 0x5b && code <= 0x60) return compare_float(code - 0x5b, false), true;
  if (code >= 0x61 && code <= 0x66) return compare_float(code - 0x61, true), true;
  if (code >= 0x67 && code <= 0x78) return integer_operation(code - 0x67, kI32), true;
  if (code >= 0x79 && code <= 0x8a) return integer_operation(code - 0x79, kI64), true;
  if (code >= 0x8b && code <= 0x98) return float_operation(code - 0x8b, kF32), true;
  if (code >= 0x99 && code <= 0xa6) return float_operation(code - 0x99, kF64), true;
  return conversion(code);
}

bool Lowering::vector_access(u32 code, const Op& op) {
  u32 flags = reader_.u32();
  u32 memory = (flags & 0x40) != 0 ? reader_.u32() : 0;
  u64 offset = module_.memories[memory].is64 ? reader_.u64() : reader_.u32();
  bool lanes = has_lane(op.immediates), is_store = op.result == 0;
  u32 lane = lanes ? reader_.byte() : 0, width = natural_alignment(op.immediates);
  Value v;
  if (lanes || is_store) v = pop();
  Value where = pop();
  Vec s;
  if (lanes || is_store) s = vec(v);
  Mem m = address(memory, offset, where, 1u << width);
  if (!lanes) return is_store ? store_vector(m, s) : load_vector(code, m, width), true;
  if (is_store) store_lane(m, s, lane, width);
  else load_lane(m, s, lane, width);
  return true;
}

bool Lowering::vector(u32 full, const Op& op) {
  u32 code = full - kPrefixSimd;
  if (is_memory(op.immediates)) return vector_access(code, op);
  if (code == kV128Const) {
    Value v{.kind = Value::Kind::kConst, .type = kV128};
    v.bits[0] = reader_.raw<u64>();
    v.bits[1] = reader_.raw<u64>();
    return push(v), true;
  }
  if (code == kI8x16Shuffle) return shuffle(), true;
  if (code >= 0x0f && code <= 0x14) return splat_lane(code), true;
  if (op.immediates == Immediates::Lane) {
    bool replaces = code == 0x17 || code == 0x1a || code == 0x1c || code == 0x1e || code == 0x20 || code == 0x22;
    return replaces ? replace_lane(code) : extract_lane(code), true;
  }
  if (one_instruction(code)) return true;
  switch (code) {
    case 0x53: return any_true(), true;
    case 0x63: case 0x83: case 0xa3: case 0xc3: return all_true((code - 0x63) / 0x20), true;
    case 0x64: case 0x84: case 0xa4: case 0xc4: return bitmask((code - 0x64) / 0x20), true;
    case 0x6b: case 0x6c: case 0x6d: return shift_lanes(code - 0x6b, 0), true;
    case 0x8b: case 0x8c: case 0x8d: return shift_lanes(code - 0x8b, 1), true;
    case 0xab: case 0xac: case 0xad: return shift_lanes(code - 0xab, 2), true;
    case 0xcb: case 0xcc: case 0xcd: return shift_lanes(code - 0xcb, 3), true;
    default: break;
  }
  if (op.operand_count == 1) return special_unary(code);
  if (op.operand_count == 2) return special_binary(code);
  return special_ternary(code);
}

}  // namespace monopod::wasm::jit
