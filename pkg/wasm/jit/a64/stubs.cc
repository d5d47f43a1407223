#include "wasm/jit/stubs.h"

#include <cstddef>

#include "wasm/jit/helpers.h"

namespace monopod::wasm::jit {

using namespace asmjit;

namespace {

void load_float(a64::Assembler& a, ValType t, const a64::Vec& to, const a64::Mem& from) { a.ldr(t == kV128 ? a64::Vec(to.q()) : t == kF64 ? a64::Vec(to.d()) : a64::Vec(to.s()), from); }
void store_float(a64::Assembler& a, ValType t, const a64::Mem& to, const a64::Vec& from) { a.str(t == kV128 ? a64::Vec(from.q()) : t == kF64 ? a64::Vec(from.d()) : a64::Vec(from.s()), to); }
a64::Mem slot_of(const a64::Gp& base, std::uint32_t slot) { return a64::ptr(base, static_cast<std::int32_t>(slot * 8)); }
a64::Vec vector_register(int id) { return a64::v(static_cast<std::uint32_t>(id)); }

void call_helper(a64::Assembler& a, const void* helper) {
  a.ldr(a64::x16, a64::ptr(kVmRegister, offsetof(Vm, helpers)));
  a.ldr(a64::x16, a64::ptr(a64::x16, static_cast<std::int32_t>(helper_number(helper) * 8)));
  a.blr(a64::x16);
}

// Parameters to the machine's stack, the helper, the result from there. Slots in x19 afterwards.
void emit_to_slots(a64::Assembler& a, const FuncType& type, const void* helper, bool passes_index) {
  Label failed = a.newLabel();
  bool packs = in_registers(type);
  a.stp(a64::x19, a64::x30, a64::ptr_pre(a64::sp, -16));
  if (packs) {
    a.ldr(a64::x10, a64::ptr(kVmRegister, offsetof(Vm, machine)));
    a.ldr(a64::x19, a64::ptr(a64::x10, offsetof(Machine, sp)));
    each_parameter(type, [&a](ValType t, std::uint32_t slot, int reg, std::uint32_t stack) {
      if (reg < 0) {
        a.ldr(a64::x11, slot_of(a64::sp, 2 + stack));
        a.str(a64::x11, slot_of(a64::x19, slot));
      } else if (is_integer(t)) {
        a.str(target::kIntegers[reg], slot_of(a64::x19, slot));
      } else {
        store_float(a, t, slot_of(a64::x19, slot), vector_register(reg));
      }
    });
  } else {
    a.mov(a64::x19, a64::x1);
  }
  a.mov(a64::x0, kVmRegister);
  if (passes_index) a.mov(a64::w1, a64::w17);
  a.mov(a64::x2, a64::x19);
  a.add(a64::x3, a64::sp, 16);
  a.ldr(a64::x4, a64::ptr(a64::sp, 8));
  call_helper(a, helper);
  a.cbz(a64::w0, failed);
  if (packs && !type.results.empty()) {
    if (is_integer(type.results[0])) a.ldr(a64::x0, a64::ptr(a64::x19));
    else load_float(a, type.results[0], vector_register(0), a64::ptr(a64::x19));
  }
  a.ldp(a64::x19, a64::x30, a64::ptr_post(a64::sp, 16));
  a.ret(a64::x30);
  a.bind(failed);
  a.ldp(a64::x19, a64::x30, a64::ptr_post(a64::sp, 16));
  a.udf(0);  // with the stack and the return address as the caller's call left them
}

constexpr a64::GpX kSaved[] = {a64::x19, a64::x20, a64::x21, a64::x22, a64::x23, a64::x24, a64::x25, a64::x26, a64::x27, a64::x28, a64::x29, a64::x30};
constexpr std::int32_t kFloatsAt = 96, kOuterAt = 160, kSlotsAt = 176, kEntryBytes = 192;

// Of pairs, from where they are saved: store or load.
template <typename F>
void each_saved_pair(F pair) {
  for (std::uint32_t i = 0; i < std::size(kSaved); i += 2) pair(kSaved[i], kSaved[i + 1], a64::ptr(a64::sp, static_cast<std::int32_t>(i * 8)));
  for (std::uint32_t i = 0; i < 8; i += 2) pair(a64::v(8 + i).d(), a64::v(9 + i).d(), a64::ptr(a64::sp, kFloatsAt + static_cast<std::int32_t>(i * 8)));
}

}  // namespace

void place_memory(FuncDetail&, std::uint32_t) {}  // there is no such register

void place_vm(FuncDetail& detail) {
  detail.arg(0).initReg(RegType::kARM_GpX, kVmRegister.id(), TypeId::kUInt64);
  // Each a word, as each_parameter() says; asmjit would leave a float half of one.
  std::uint32_t stack = 0;
  for (std::uint32_t i = 1; i < detail.argCount(); ++i)
    if (FuncValue& v = detail.arg(i); v.isStack()) v.initStack(static_cast<std::int32_t>(8 * stack++), v.typeId());
  detail._argStackSize = stack * 8;
}

// What is saved here, and how, is what leave() in trap.h takes back.
void emit_enter(a64::Assembler& a, const FuncType& type, bool by_slots, bool) {
  a.sub(a64::sp, a64::sp, kEntryBytes);
  each_saved_pair([&a](const auto& first, const auto& second, const a64::Mem& at) { a.stp(first, second, at); });
  a.ldr(a64::x9, a64::ptr(a64::x3));
  a.stp(a64::x3, a64::x9, a64::ptr(a64::sp, kOuterAt));
  a.str(a64::x1, a64::ptr(a64::sp, kSlotsAt));
  a.mov(a64::x9, a64::sp);
  a.str(a64::x9, a64::ptr(a64::x3));
  a.mov(a64::x16, a64::x2);
  a.mov(kVmRegister, a64::x0);
  bool packs = !by_slots && in_registers(type);
  a.sub(a64::sp, a64::sp, target::kEntryWords * 8);
  if (packs) {
    a.mov(a64::x9, a64::x1);
    each_parameter(type, [&a](ValType t, std::uint32_t slot, int reg, std::uint32_t stack) {
      if (reg < 0) {
        a.ldr(a64::x11, slot_of(a64::x9, slot));
        a.str(a64::x11, slot_of(a64::sp, stack));
      } else if (is_integer(t)) {
        a.ldr(target::kIntegers[reg], slot_of(a64::x9, slot));
      } else {
        load_float(a, t, vector_register(reg), slot_of(a64::x9, slot));
      }
    });
  }
  a.blr(a64::x16);
  a.add(a64::sp, a64::sp, target::kEntryWords * 8);
  if (packs && !type.results.empty()) {
    a.ldr(a64::x9, a64::ptr(a64::sp, kSlotsAt));
    if (is_integer(type.results[0])) a.str(a64::x0, a64::ptr(a64::x9));
    else store_float(a, type.results[0], a64::ptr(a64::x9), vector_register(0));
  }
  a.mov(a64::w0, 1);
  a.ldp(a64::x3, a64::x4, a64::ptr(a64::sp, kOuterAt));
  a.str(a64::x4, a64::ptr(a64::x3));
  each_saved_pair([&a](const auto& first, const auto& second, const a64::Mem& at) { a.ldp(first, second, at); });
  a.add(a64::sp, a64::sp, kEntryBytes);
  a.ret(a64::x30);
}

void emit_interpret(a64::Assembler& a, const FuncType& type, bool) { emit_to_slots(a, type, reinterpret_cast<const void*>(&help_interpret), true); }
void emit_foreign(a64::Assembler& a, const FuncType& type, bool) { emit_to_slots(a, type, reinterpret_cast<const void*>(&help_foreign), false); }

void emit_first_call(a64::Assembler& a) {
  constexpr std::int32_t kVectorBytes = target::kFloats * 16, kBytes = kVectorBytes + 80;
  auto each = [](auto pair) {
    for (std::uint32_t i = 0; i < target::kFloats; i += 2) pair(a64::v(i).q(), a64::v(i + 1).q(), a64::ptr(a64::sp, static_cast<std::int32_t>(i * 16)));
    for (std::uint32_t i = 0; i < 8; i += 2) pair(a64::x(i), a64::x(i + 1), a64::ptr(a64::sp, kVectorBytes + static_cast<std::int32_t>(i * 8)));
    pair(a64::x17, a64::x30, a64::ptr(a64::sp, kVectorBytes + 64));
  };
  a.sub(a64::sp, a64::sp, kBytes);
  each([&a](const auto& first, const auto& second, const a64::Mem& at) { a.stp(first, second, at); });
  a.mov(a64::x0, kVmRegister);
  a.mov(a64::w1, a64::w17);
  call_helper(a, reinterpret_cast<const void*>(&help_prepare));
  a.mov(a64::x16, a64::x0);
  each([&a](const auto& first, const auto& second, const a64::Mem& at) { a.ldp(first, second, at); });
  a.add(a64::sp, a64::sp, kBytes);
  a.br(a64::x16);
}

// movz w17, function; movk w17, function >> 16; b to
void write_jump_stub(std::uint8_t* write, const std::uint8_t* run, std::uint32_t function, const void* to) {
  auto distance = static_cast<std::uint32_t>((reinterpret_cast<std::uintptr_t>(to) - reinterpret_cast<std::uintptr_t>(run + 8)) >> 2);
  std::uint32_t code[] = {0x52800011 | (function & 0xffff) << 5, 0x72a00011 | (function >> 16) << 5, 0x14000000 | (distance & 0x3ffffff)};
  std::memcpy(write, code, sizeof code);
}

}  // namespace monopod::wasm::jit
