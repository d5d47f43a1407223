// How functions are called in machine code, and the pieces between it and everything else.
//
// Compiled code: R f(Vm*, parameters…) by the System V ABI, but that the Vm is in kVmRegister, which calls preserve; 32-bit integers zero extended, references as
// 64 bits, vectors in registers. Types of many parameters or several results: void f(Vm*, slots), results where the parameters were. The type alone says which.
#pragma once

#include <asmjit/x86.h>

#include "wasm/runtime.h"

namespace monopod::wasm::jit {

inline constexpr asmjit::x86::Gp kVmRegister = asmjit::x86::r15;
bool in_registers(const FuncType& type);
void describe(const FuncType& type, asmjit::FuncSignatureBuilder& out);
void place_vm(asmjit::FuncDetail& detail);  // of a function or call with such a signature

// bool enter(Vm*, slots, code, void** native_frame): from C++; false after a trap.
using Enter = bool (*)(Vm* vm, std::uint64_t* slots, const void* code, void** native_frame);
void emit_enter(asmjit::x86::Assembler& a, const FuncType& type, bool by_slots);
// As a compiled function of the type, but for the function whose index is in eax: interprets it.
void emit_interpret(asmjit::x86::Assembler& a, const FuncType& type);
// The same for vm->callee, of the host or of another instance.
void emit_foreign(asmjit::x86::Assembler& a, const FuncType& type);
// Whatever its type: asks helpers.h's prepare() where the function whose index is in eax is, and goes there.
void emit_first_call(asmjit::x86::Assembler& a);

}  // namespace monopod::wasm::jit
