// Where memories are accessed: addresses, loads, stores.
#include "wasm/jit/lowering.h"
#include "wasm/limits.h"

namespace monopod::wasm::jit {

using namespace asmjit;

// Where memory 0 has guard pages, the processor compares: 32 bits of address and an offset below kGuardBytes reach nothing else. What is left is compared here.
x86::Mem Lowering::address(u32 memory, u64 offset, const Value& v, u32 bytes) {
  const SizeLimits& type = module_.memories[memory];
  bool first = memory == 0;
  x86::Gp base = first ? memory_base() : x86::Gp();
  if (first && native_.guarded && !type.is64) {
    if (v.kind == Value::Kind::kConst && v.bits[0] + offset < kGuardBytes) return x86::ptr(base, static_cast<std::int32_t>(v.bits[0] + offset), bytes);
    if (offset < kGuardBytes) return x86::ptr(base, gp(v), 0, static_cast<std::int32_t>(offset), bytes);
  }
  x86::Gp address = gp(v), end = make_int(), object_at = first ? make_int() : object(offsetof(Vm, memories), memory);
  if (first) cc_.mov(object_at, at(vm_, offsetof(Vm, memory)));
  // The end of what is accessed, of which a sum may have more than 64 bits.
  if (offset <= 0x7fff'0000 && !type.is64) {
    cc_.lea(end, x86::ptr(address, static_cast<std::int32_t>(offset + bytes)));
  } else {
    if (offset > ~u64{0} - bytes) {
      cc_.jmp(trap_label(Trap::kMemory));
      offset = 0;  // never there
    }
    cc_.mov(end, offset + bytes);
    cc_.add(end, address);
    if (type.is64) trap_if(x86::CondCode::kC, Trap::kMemory);
  }
  cc_.cmp(end, at(object_at, offsetof(MemoryObject, bytes)));
  trap_if(x86::CondCode::kA, Trap::kMemory);
  if (!first) {
    base = make_int();
    cc_.mov(base, at(object_at, offsetof(MemoryObject, base)));
  }
  return x86::ptr(base, end, 0, -static_cast<std::int32_t>(bytes), bytes);
}

// A load that the next instruction takes as its right operand is that instruction's operand.
bool Lowering::load_into_next(u32 code, const x86::Mem& from, ValType type) {
  using Id = x86::Inst::Id;
  static constexpr InstId kFloats[2][4] = {{Id::kIdVaddss, Id::kIdVsubss, Id::kIdVmulss, Id::kIdVdivss}, {Id::kIdVaddsd, Id::kIdVsubsd, Id::kIdVmulsd, Id::kIdVdivsd}};
  u32 next = reader_.peek();
  if (type == kF32 || type == kF64) {
    if (native_.deterministic) return false;
    u32 kind = next - (type == kF32 ? 0x92 : 0xa0);
    if (kind >= 4) return false;
    reader_.byte();
    ++charged_;
    x86::Xmm left = vec(pop()), d = result_vec(type);
    place(Trap::kMemory);
    cc_.emit(kFloats[type == kF64][kind], d, left, from);
    push_register(type, d);
    return true;
  }
  if (code != 0x28 && code != 0x29) return false;
  InstId id = 0;
  switch (next - (code == 0x29 ? 0x12 : 0)) {
    case 0x6a: id = Id::kIdAdd; break;
    case 0x6b: id = Id::kIdSub; break;
    case 0x71: id = Id::kIdAnd; break;
    case 0x72: id = Id::kIdOr; break;
    case 0x73: id = Id::kIdXor; break;
    default: return false;
  }
  reader_.byte();
  ++charged_;
  Value left = pop();
  x86::Gp d = result_over(left);
  if (d.id() == from.baseId() || d.id() == from.indexId()) d = make_int();
  move(d, left);
  place(Trap::kMemory);
  cc_.emit(id, code == 0x28 ? d.r32() : d, from);
  push_register(type, d);
  return true;
}

void Lowering::load_memory(u32 code, const x86::Mem& from, ValType type) {
  if (load_into_next(code, from, type)) return;
  if (type == kF32 || type == kF64) {
    x86::Xmm d = result_vec(type);
    place(Trap::kMemory);
    if (type == kF32) cc_.vmovss(d, from);
    else cc_.vmovsd(d, from);
    return push_register(type, d);
  }
  x86::Gp d = result_gp(type);
  place(Trap::kMemory);
  switch (code) {
    case 0x28: case 0x35: cc_.mov(d.r32(), from); break;
    case 0x29: cc_.mov(d, from); break;
    case 0x2c: case 0x2e: cc_.movsx(d.r32(), from); break;
    case 0x30: case 0x32: cc_.movsx(d, from); break;
    case 0x34: cc_.movsxd(d, from); break;
    default: cc_.movzx(d.r32(), from);  // 0x2d 0x2f 0x31 0x33
  }
  push_register(type, d);
}

void Lowering::store_memory(u32, const x86::Mem& to, const Value& v) {
  if (v.type == kF32 || v.type == kF64) {
    x86::Xmm s = vec(v);
    place(Trap::kMemory);
    if (v.type == kF32) cc_.vmovss(to, s);
    else cc_.vmovsd(to, s);
    return;
  }
  if (v.kind == Value::Kind::kConst && (to.size() != 8 || static_cast<std::int64_t>(v.bits[0]) == static_cast<std::int32_t>(v.bits[0]))) {
    auto n = static_cast<std::int32_t>(v.bits[0]);
    place(Trap::kMemory);
    cc_.mov(to, to.size() == 1 ? static_cast<std::int8_t>(n) : to.size() == 2 ? static_cast<std::int16_t>(n) : n);
    return;
  }
  x86::Gp s = gp(v);
  place(Trap::kMemory);
  switch (to.size()) {
    case 1: cc_.mov(to, s.r8()); break;
    case 2: cc_.mov(to, s.r16()); break;
    case 4: cc_.mov(to, s.r32()); break;
    default: cc_.mov(to, s);
  }
}

}  // namespace monopod::wasm::jit
