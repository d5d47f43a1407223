// 64-bit ARM, version 8.0: what every such processor has.
#pragma once

#include <asmjit/arm/a64assembler.h>
#include <asmjit/arm/a64compiler.h>
#include <asmjit/arm/a64utils.h>
#include <asmjit/core.h>

namespace monopod::wasm::jit {

namespace a64 = asmjit::a64;

namespace target {

using Assembler = a64::Assembler;
using Compiler = a64::Compiler;
using Emitter = a64::Emitter;
using Gp = a64::Gp;
using Vec = a64::Vec;
using Mem = a64::Mem;
using CondCode = asmjit::arm::CondCode;

inline constexpr CondCode kNotEqual = CondCode::kNE, kAbove = CondCode::kHI, kAboveEqual = CondCode::kHS, kNegative = CondCode::kMI;
inline constexpr asmjit::CallConvId kCallConv = asmjit::CallConvId::kCDecl;
inline constexpr asmjit::RegType kGpType = asmjit::RegType::kARM_GpX;
inline constexpr a64::GpX kIntegers[] = {a64::x1, a64::x2, a64::x3, a64::x4, a64::x5, a64::x6, a64::x7};  // parameters; x0 would have the Vm
inline constexpr std::uint32_t kFloats = 8;
// By callees; and kVmRegister. asmjit wants x27 for itself where a jump goes by a register.
inline constexpr a64::GpX kPreserved[] = {a64::x19, a64::x20, a64::x21, a64::x22, a64::x23, a64::x24, a64::x25, a64::x26};
inline constexpr a64::GpX kFree[] = {a64::x0, a64::x8, a64::x9, a64::x10, a64::x11, a64::x12, a64::x13, a64::x14};
inline constexpr std::size_t kJumpStubBytes = 16;
inline constexpr std::uint32_t kLoopAlignment = 16;  // of loop heads, and so of functions
inline constexpr bool kBaseline = false;  // whether it has a compiler of one pass
inline constexpr std::uint32_t kFuelNumber = 0;
inline constexpr bool kFuelRegister = false;  // whether fuel is in one, and in memory only where other code runs
inline constexpr bool kMemoryRegister = false;  // whether calls hand on the base of memory 0 in one
inline constexpr bool kLinkRegister = true;  // whether calls leave the return address in one

// Words on the stack: of the frame that makes room for a tail call's, its return address last; below what an entry saved; and there the word that holds the slots.
inline constexpr std::uint32_t kGrownWords = 8, kEntryWords = 8, kEntrySlots = 22;

// sub, until registers are given out: asmjit's tables say that it reads its destination, which would be alive from the function's entry on. Instead it is what nobody
// uses, of the same operands; a64/emit.cc puts it right.
inline constexpr asmjit::InstId kSubtract = a64::Inst::kIdEon;
inline constexpr asmjit::InstId kAnd = a64::Inst::kIdAnd, kOr = a64::Inst::kIdOrr, kXor = a64::Inst::kIdEor;

inline Mem at(const Gp& base, std::size_t offset, std::uint32_t = 8) { return a64::ptr(base, static_cast<std::int32_t>(offset)); }

}  // namespace target

inline constexpr a64::GpX kVmRegister = a64::x28;

// Of the processor's flags after a comparison, or of a register that is zero or not, for which nothing was compared yet.
struct Condition {
  enum class Kind : std::uint8_t { kFlag, kZero, kNotZero };
  Kind kind = Kind::kFlag;
  target::CondCode code = target::CondCode::kEQ;
  a64::Gp tested;  // as wide as it is tested
};

}  // namespace monopod::wasm::jit
