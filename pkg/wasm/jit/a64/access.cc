// Where memories are accessed: addresses, loads, stores.
#include "wasm/jit/lowering.h"
#include "wasm/limits.h"

namespace monopod::wasm::jit {

using namespace asmjit;
using arm::CondCode;

target::Gp Lowering::address_of_local(u32 local) {
  if (address_local_ != local) {
    address_ = make_int();
    cc_.add(address_, memory_base(), gp({.kind = Value::Kind::kLocal, .type = kI32, .local = local}));
    address_local_ = local;
  }
  return address_;
}

// Where memory 0 has guard pages, the processor compares: 32 bits of address and an offset below kGuardBytes reach nothing else. What is left is compared here.
target::Mem Lowering::address(u32 memory, u64 offset, const Value& v, u32 bytes) {
  const SizeLimits& type = module_.memories[memory];
  bool first = memory == 0;
  Gp base = first ? memory_base() : Gp();
  if (first && native_.guarded && !type.is64 && offset < kGuardBytes) {
    // Integers of 32 bits are kept zero extended: an index as it is.
    if (v.kind == Value::Kind::kConst && offset + v.bits[0] < kGuardBytes) return within_reach(a64::ptr(base, static_cast<std::int32_t>(offset + v.bits[0])), bytes);
    if (offset == 0) return a64::ptr(base, gp(v));
    bool near = offset % bytes == 0 && offset / bytes < 4096;
    if (near && v.kind == Value::Kind::kLocal) return a64::ptr(address_of_local(v.local), static_cast<std::int32_t>(offset));
    Gp t = make_int(), index = gp(v);
    if (near) {
      cc_.add(t, base, index);
      return a64::ptr(t, static_cast<std::int32_t>(offset));
    }
    cc_.mov(t, offset);
    cc_.add(t, t, index);
    return a64::ptr(base, t);
  }
  Gp address = gp(v), end = make_int(), size = make_int(), object_at = first ? make_int() : object(offsetof(Vm, memories), memory);
  if (first) load_word(object_at, at(vm_, offsetof(Vm, memory)));
  // The end of what is accessed, of which a sum may have more than 64 bits.
  if (offset > ~u64{0} - bytes) {
    jump(trap_label(Trap::kMemory));
    offset = 0;  // never there
  }
  cc_.mov(end, offset + bytes);
  cc_.adds(end, end, address);
  if (type.is64) trap_if(CondCode::kCS, Trap::kMemory);
  load_word(size, at(object_at, offsetof(MemoryObject, bytes)));
  cc_.cmp(end, size);
  trap_if(CondCode::kHI, Trap::kMemory);
  if (!first) {
    base = make_int();
    load_word(base, at(object_at, offsetof(MemoryObject, base)));
  }
  cc_.add(end, end, base);
  return a64::ptr(end, -static_cast<std::int32_t>(bytes));
}

void Lowering::load_memory(u32 code, const Mem& from, ValType type) {
  if (type == kF32 || type == kF64) {
    Vec d = result_vec(type);
    place(Trap::kMemory);
    if (type == kF32) cc_.ldr(d.s(), from);
    else cc_.ldr(d.d(), from);
    return push_register(type, d);
  }
  Gp d = result_gp(type);
  place(Trap::kMemory);
  switch (code) {
    case 0x28: case 0x35: cc_.ldr(d.w(), from); break;
    case 0x29: cc_.ldr(d, from); break;
    case 0x2c: cc_.ldrsb(d.w(), from); break;
    case 0x2d: case 0x31: cc_.ldrb(d.w(), from); break;
    case 0x2e: cc_.ldrsh(d.w(), from); break;
    case 0x2f: case 0x33: cc_.ldrh(d.w(), from); break;
    case 0x30: cc_.ldrsb(d, from); break;
    case 0x32: cc_.ldrsh(d, from); break;
    default: cc_.ldrsw(d, from);  // 0x34
  }
  push_register(type, d);
}

void Lowering::store_memory(u32 code, const Mem& to, const Value& v) {
  if (v.type == kF32 || v.type == kF64) {
    Vec s = vec(v);
    place(Trap::kMemory);
    if (v.type == kF32) cc_.str(s.s(), to);
    else cc_.str(s.d(), to);
    return;
  }
  Gp s = v.kind == Value::Kind::kConst && v.bits[0] == 0 ? Gp(a64::xzr) : gp(v);
  place(Trap::kMemory);
  switch (code) {
    case 0x3a: case 0x3c: cc_.strb(s.w(), to); break;
    case 0x3b: case 0x3d: cc_.strh(s.w(), to); break;
    case 0x37: cc_.str(s.x(), to); break;
    default: cc_.str(s.w(), to);  // 0x36 0x3e
  }
}

}  // namespace monopod::wasm::jit
