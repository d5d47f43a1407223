// x86-64, of the level that has AVX2, BMI2 and LZCNT (unavailable() in emit.cc).
#pragma once

#include <asmjit/x86.h>

namespace monopod::wasm::jit {

namespace x86 = asmjit::x86;

namespace target {

using Assembler = x86::Assembler;
using Compiler = x86::Compiler;
using Emitter = x86::Emitter;
using Gp = x86::Gp;
using Vec = x86::Xmm;
using Mem = x86::Mem;
using CondCode = x86::CondCode;

inline constexpr CondCode kNotEqual = CondCode::kNE, kAbove = CondCode::kA, kAboveEqual = CondCode::kAE, kNegative = CondCode::kS;
inline constexpr asmjit::CallConvId kCallConv = asmjit::CallConvId::kX64SystemV;
inline constexpr asmjit::RegType kGpType = asmjit::RegType::kX86_Gpq;
inline constexpr Gp kIntegers[] = {x86::rsi, x86::rdx, x86::rcx, x86::r8, x86::r9};  // parameters; rdi would have the Vm
inline constexpr std::uint32_t kFloats = 8;
inline constexpr Gp kPreserved[] = {x86::rbx, x86::rbp, x86::r12, x86::r13, x86::r14};  // by callees; and kVmRegister
inline constexpr Gp kFree[] = {x86::rdi, x86::r8, x86::r9, x86::r10, x86::r11, x86::rsi};
inline constexpr std::size_t kJumpStubBytes = 16;
inline constexpr std::uint32_t kLoopAlignment = 64;  // of loop heads, and so of functions that have some: with less a small loop is in one line or in two, as luck has it, and up to a third slower
inline constexpr bool kBaseline = true;  // whether it has a compiler of one pass
inline constexpr std::uint32_t kFuelNumber = 13;
inline constexpr bool kFuelRegister = true;  // whether fuel is in one, and in memory only where other code runs
inline constexpr bool kMemoryRegister = true;  // whether calls hand on the base of memory 0 in one
inline constexpr bool kLinkRegister = false;  // whether calls leave the return address in one

// Words on the stack: of the frame that makes room for a tail call's, its return address last; below what an entry saved; and there the word that holds the slots.
inline constexpr std::uint32_t kGrownWords = 10, kEntryWords = 8, kEntrySlots = 0;

inline constexpr asmjit::InstId kSubtract = x86::Inst::kIdSub, kAnd = x86::Inst::kIdAnd, kOr = x86::Inst::kIdOr, kXor = x86::Inst::kIdXor;

inline Mem at(const Gp& base, std::size_t offset, std::uint32_t size = 8) { return x86::ptr(base, static_cast<std::int32_t>(offset), size); }

}  // namespace target

inline constexpr x86::Gp kVmRegister = x86::r15;
inline constexpr x86::Gp kMemory = x86::r14;  // base of memory 0, in all code of a module that has one: it never moves
inline constexpr x86::Gp kFuel = x86::r13;  // of code that counts it, all of which the baseline compiler makes

// Of the processor's flags after a comparison.
struct Condition {
  // Of floats, equality is two flags: equal, and ordered.
  enum class Kind : std::uint8_t { kFlag, kEqualOrdered, kUnequalOrNot };
  Kind kind = Kind::kFlag;
  x86::CondCode code = x86::CondCode::kE;
};

}  // namespace monopod::wasm::jit
