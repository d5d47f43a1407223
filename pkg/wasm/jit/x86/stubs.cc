#include "wasm/jit/stubs.h"

#include <cstddef>
#include <cstring>

#include "wasm/jit/helpers.h"

namespace monopod::wasm::jit {

using namespace asmjit;

namespace {

void load_float(x86::Assembler& a, ValType t, const x86::Xmm& to, const x86::Mem& from) {
  if (t == kV128) a.vmovups(to, from);
  else if (t == kF64) a.vmovsd(to, from);
  else a.vmovss(to, from);
}
void store_float(x86::Assembler& a, ValType t, const x86::Mem& to, const x86::Xmm& from) {
  if (t == kV128) a.vmovups(to, from);
  else if (t == kF64) a.vmovsd(to, from);
  else a.vmovss(to, from);
}
x86::Mem slot_of(const x86::Gp& base, std::uint32_t slot) { return x86::ptr(base, static_cast<std::int32_t>(slot * 8)); }

void call_helper(x86::Assembler& a, const void* helper) {
  a.mov(x86::rax, x86::ptr(kVmRegister, offsetof(Vm, helpers)));
  a.call(x86::ptr(x86::rax, static_cast<std::int32_t>(helper_number(helper) * 8)));
}

void load_fuel(x86::Assembler& a) { a.mov(kFuel, x86::ptr(kVmRegister, offsetof(Vm, fuel))); }
void store_fuel(x86::Assembler& a) { a.mov(x86::ptr(kVmRegister, offsetof(Vm, fuel)), kFuel); }

// Parameters to the machine's stack, the helper, the result from there. Slots in rbx afterwards.
void emit_to_slots(x86::Assembler& a, const FuncType& type, const void* helper, bool passes_index, bool fuel) {
  Label failed = a.newLabel();
  bool packs = in_registers(type);
  a.push(x86::rbx);
  if (packs) {
    a.mov(x86::r10, x86::ptr(kVmRegister, offsetof(Vm, machine)));
    a.mov(x86::rbx, x86::ptr(x86::r10, offsetof(Machine, sp)));
    each_parameter(type, [&a](ValType t, std::uint32_t slot, int reg, std::uint32_t stack) {
      if (reg < 0) {
        a.mov(x86::r11, x86::ptr(x86::rsp, static_cast<std::int32_t>(16 + stack * 8)));
        a.mov(slot_of(x86::rbx, slot), x86::r11);
      } else if (is_integer(t)) {
        a.mov(slot_of(x86::rbx, slot), target::kIntegers[reg]);
      } else {
        store_float(a, t, slot_of(x86::rbx, slot), x86::xmm(static_cast<std::uint32_t>(reg)));
      }
    });
  } else {
    a.mov(x86::rbx, x86::rsi);
  }
  a.mov(x86::rdi, kVmRegister);
  if (fuel) store_fuel(a);
  if (passes_index) a.mov(x86::esi, x86::eax);
  a.mov(x86::rdx, x86::rbx);
  a.lea(x86::rcx, x86::ptr(x86::rsp, 16));
  a.mov(x86::r8, x86::ptr(x86::rsp, 8));
  call_helper(a, helper);
  a.test(x86::eax, x86::eax);
  a.jz(failed);
  if (fuel) load_fuel(a);
  if (packs && !type.results.empty()) {
    if (is_integer(type.results[0])) a.mov(x86::rax, x86::ptr(x86::rbx));
    else load_float(a, type.results[0], x86::xmm0, x86::ptr(x86::rbx));
  }
  a.pop(x86::rbx);
  a.ret();
  a.bind(failed);
  a.pop(x86::rbx);
  a.ud2();  // with the stack as the caller's call left it
}

}  // namespace

void place_vm(FuncDetail& detail) { detail.arg(0).initReg(RegType::kX86_Gpq, kVmRegister.id(), TypeId::kUInt64); }
void place_memory(FuncDetail& detail, std::uint32_t argument) { detail.arg(argument).initReg(RegType::kX86_Gpq, kMemory.id(), TypeId::kUInt64); }

// What is pushed here, in this order, is what leave() in signals.cc takes back.
void emit_enter(x86::Assembler& a, const FuncType& type, bool by_slots, bool fuel) {
  for (const x86::Gp& r : {x86::rbp, x86::rbx, x86::r12, x86::r13, x86::r14, x86::r15, x86::rcx}) a.push(r);
  a.push(x86::ptr(x86::rcx, 0, 8));
  a.push(x86::rsi);
  a.mov(x86::ptr(x86::rcx), x86::rsp);
  a.mov(x86::rax, x86::rdx);
  a.mov(kVmRegister, x86::rdi);
  a.mov(kMemory, x86::ptr(kVmRegister, offsetof(Vm, memory_base)));
  if (fuel) load_fuel(a);
  bool packs = !by_slots && in_registers(type);
  a.sub(x86::rsp, target::kEntryWords * 8);
  if (packs) {
    a.mov(x86::rbx, x86::rsi);
    each_parameter(type, [&a](ValType t, std::uint32_t slot, int reg, std::uint32_t stack) {
      if (reg < 0) {
        a.mov(x86::r11, slot_of(x86::rbx, slot));
        a.mov(x86::ptr(x86::rsp, static_cast<std::int32_t>(stack * 8)), x86::r11);
      } else if (is_integer(t)) {
        a.mov(target::kIntegers[reg], slot_of(x86::rbx, slot));
      } else {
        load_float(a, t, x86::xmm(static_cast<std::uint32_t>(reg)), slot_of(x86::rbx, slot));
      }
    });
  }
  a.call(x86::rax);
  if (fuel) store_fuel(a);
  a.add(x86::rsp, target::kEntryWords * 8);
  if (packs && !type.results.empty()) {
    if (is_integer(type.results[0])) a.mov(x86::ptr(x86::rbx), x86::rax);
    else store_float(a, type.results[0], x86::ptr(x86::rbx), x86::xmm0);
  }
  a.mov(x86::eax, 1);
  for (const x86::Gp& r : {x86::rsi, x86::rdx, x86::rcx}) a.pop(r);
  a.mov(x86::ptr(x86::rcx), x86::rdx);
  for (const x86::Gp& r : {x86::r15, x86::r14, x86::r13, x86::r12, x86::rbx, x86::rbp}) a.pop(r);
  a.ret();
}

void emit_interpret(x86::Assembler& a, const FuncType& type, bool fuel) { emit_to_slots(a, type, reinterpret_cast<const void*>(&help_interpret), true, fuel); }
void emit_foreign(x86::Assembler& a, const FuncType& type, bool fuel) { emit_to_slots(a, type, reinterpret_cast<const void*>(&help_foreign), false, fuel); }

void emit_first_call(x86::Assembler& a) {
  constexpr std::int32_t kVectors = target::kFloats * 16;
  for (const x86::Gp& r : {x86::rdi, x86::rsi, x86::rdx, x86::rcx, x86::r8, x86::r9, x86::rax}) a.push(r);
  a.sub(x86::rsp, kVectors);
  for (std::uint32_t i = 0; i < target::kFloats; ++i) a.vmovups(x86::ptr(x86::rsp, static_cast<std::int32_t>(i * 16)), x86::xmm(i));
  a.mov(x86::rdi, kVmRegister);
  a.mov(x86::esi, x86::eax);
  call_helper(a, reinterpret_cast<const void*>(&help_prepare));
  a.mov(x86::r11, x86::rax);
  for (std::uint32_t i = 0; i < target::kFloats; ++i) a.vmovups(x86::xmm(i), x86::ptr(x86::rsp, static_cast<std::int32_t>(i * 16)));
  a.add(x86::rsp, kVectors);
  for (const x86::Gp& r : {x86::rax, x86::r9, x86::r8, x86::rcx, x86::rdx, x86::rsi, x86::rdi}) a.pop(r);
  a.jmp(x86::r11);
}

// mov eax, function; jmp to
void write_jump_stub(std::uint8_t* write, const std::uint8_t* run, std::uint32_t function, const void* to) {
  auto distance = static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(to) - reinterpret_cast<std::uintptr_t>(run + 10));
  write[0] = 0xb8;
  std::memcpy(write + 1, &function, 4);
  write[5] = 0xe9;
  std::memcpy(write + 6, &distance, 4);
}

}  // namespace monopod::wasm::jit
