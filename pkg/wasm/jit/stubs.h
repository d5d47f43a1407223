// How functions are called in machine code, and the pieces between it and everything else.
//
// Compiled code: R f(Vm*, parameters…) by the System V or the AAPCS64 ABI, but that the Vm is in kVmRegister and, where target::kMemoryRegister, the base of memory 0 in kMemory, both of which calls preserve, and no vector register is preserved; 32-bit
// integers zero extended, references as 64 bits, vectors in registers. Types of many parameters or several results: void f(Vm*, slots), results where the parameters were. The type alone says which.
#pragma once

#include <iterator>

#include "wasm/jit/target.h"
#include "wasm/runtime.h"

namespace monopod::wasm::jit {

inline bool is_integer(ValType t) { return t != kF32 && t != kF64 && t != kV128; }
bool in_registers(const FuncType& type);
void describe(const FuncType& type, asmjit::FuncSignatureBuilder& out);
void place_vm(asmjit::FuncDetail& detail);  // of a function or call with such a signature
void place_memory(asmjit::FuncDetail& detail, std::uint32_t argument);  // behind the parameters, where target::kMemoryRegister

// Where parameters are: place(type, slot, register or -1, place on the stack).
template <typename F>
void each_parameter(const FuncType& type, F place) {
  std::uint32_t integers = 0, floats = 0, stack = 0, slot = 0;
  for (ValType t : type.params) {
    std::uint32_t& used = is_integer(t) ? integers : floats;
    bool in_register = used < (is_integer(t) ? std::size(target::kIntegers) : target::kFloats);
    place(t, slot, in_register ? static_cast<int>(used) : -1, in_register ? 0 : stack);
    ++(in_register ? used : stack);
    slot += slots_of(t);
  }
}

std::uint32_t stack_words(const FuncType& type);  // of parameters on the stack, where they are in registers

// Tail calls (<processor>/tail.cc). The caller's frame is gone, and what it was called with is in the callee's place. Where the callee takes words on the stack and
// the caller took fewer, or takes slots and the caller registers, or the other way round, code jumps to one of these, with vm->tail_target to go on to.
enum class ResultKind : std::uint8_t { kNone, kInt, kFloat, kVector };
ResultKind result_kind(const FuncType& type);  // of a type of at most one
extern "C" {
void monopod_wasm_tail_grow();
void monopod_wasm_tail_grown();
#define MONOPOD_TAIL(kind)                     \
  void monopod_wasm_tail_to_slots_##kind();     \
  void monopod_wasm_tail_to_registers_##kind(); \
  void monopod_wasm_result_kept_##kind();       \
  void monopod_wasm_result_taken_##kind();
MONOPOD_TAIL(none) MONOPOD_TAIL(int) MONOPOD_TAIL(float) MONOPOD_TAIL(vector)
#undef MONOPOD_TAIL
}
// Of the frame that such a jump left, where it is what a function returns to: its words, of which the last is the next return address. 0: it is no such place.
std::uint32_t tail_frame_words(std::uintptr_t link);

// fuel: whether code counts it, which may be in a register then.
// bool enter(Vm*, slots, code, void** native_frame): from C++; false after a trap.
using Enter = bool (*)(Vm* vm, std::uint64_t* slots, const void* code, void** native_frame);
void emit_enter(target::Assembler& a, const FuncType& type, bool by_slots, bool fuel);
// As a compiled function of the type, but for the function whose index write_jump_stub says: interprets it.
void emit_interpret(target::Assembler& a, const FuncType& type, bool fuel);
// The same for vm->callee, of the host or of another instance.
void emit_foreign(target::Assembler& a, const FuncType& type, bool fuel);
// Whatever its type: asks helpers.h's prepare() where the function that is, and goes there.
void emit_first_call(target::Assembler& a);
// For one function: says which it is, and goes on to one of those. write: kJumpStubBytes that will run at run.
void write_jump_stub(std::uint8_t* write, const std::uint8_t* run, std::uint32_t function, const void* to);

}  // namespace monopod::wasm::jit
