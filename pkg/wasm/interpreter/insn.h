// Register code: what a function is translated to when it is first called. Every value has a slot of the frame (8 bytes; a v128 two); an instruction is the
// address of its handler and three operands. Handlers end by calling the next one in tail position with the machine's state in registers (preserve_none), so
// that a step of the interpreter is: fetch operands, do the work, jump.
//
//   frame:  | parameters | locals | return address | operands … | arguments of a call = frame of the callee …
//
// The last result is also kept in a register (`acc` for integers and references, `facc` for floats and vectors): an instruction that uses the result of
// the one before takes it from there, and where nobody else wants it the store is left out.
#pragma once

#include <cstdint>
#include <cstring>

#include "wasm/runtime.h"

namespace monopod::wasm {

typedef float V128 __attribute__((vector_size(16)));

#define MONOPOD_WASM_STATE const Insn *ip, std::uint64_t *fp, std::uint8_t *mem, std::uint64_t msize, Vm *vm, std::uint64_t acc, V128 facc
#define MONOPOD_WASM_PASS(ip) ip, fp, mem, msize, vm, acc, facc

typedef void (__attribute__((preserve_none)) *Handler)(MONOPOD_WASM_STATE);
#define MONOPOD_WASM_HANDLER __attribute__((preserve_none, no_sanitize("address", "undefined"))) void

struct Insn {
  Handler handler = nullptr;
  std::uint16_t a = 0;
  std::uint16_t b = 0;
  std::uint32_t i = 0;  // an immediate, an offset in instructions, or two operands
  std::uint16_t c() const { return static_cast<std::uint16_t>(i); }
  std::uint16_t d() const { return static_cast<std::uint16_t>(i >> 16); }
};
static_assert(sizeof(Insn) == 16);

#define MONOPOD_WASM_NEXT(n) [[clang::musttail]] return ip[n].handler(MONOPOD_WASM_PASS(ip + (n)))
#define MONOPOD_WASM_JUMP(target)                  \
  do {                                             \
    const Insn* to_ = (target);                    \
    [[clang::musttail]] return to_->handler(MONOPOD_WASM_PASS(to_)); \
  } while (false)

template <Trap kTrap>
[[gnu::noinline]] MONOPOD_WASM_HANDLER trap_here(MONOPOD_WASM_STATE) {
  (void)mem, (void)msize, (void)acc, (void)facc;
  vm->machine->trap = kTrap;
  vm->machine->trap_ip = ip;
  vm->machine->trap_fp = fp;
}
#define MONOPOD_WASM_TRAP(kind) [[clang::musttail]] return trap_here<kind>(MONOPOD_WASM_PASS(ip))

// Where an operand comes from: a slot, an immediate, the register of the last result.
enum Source : std::uint8_t { kSlot, kImmediate, kLast };

// Variants of a row of handlers. Binary: kBinary[left][right] * 2 + (1: the result goes to the register alone).
enum Pair : std::uint8_t { kSS, kSI, kLS, kSL, kLI, kPairs };

const Handler* binary_handlers(std::uint8_t op);  // null: no such row; [kPairs * 2]: a = to, b = left, i = right (slot or immediate)
// [kPairs * 2 * 2]: [pair][branches when false][backwards]; a = left, b = right (slot or 16-bit immediate), i = offset
const Handler* branch_handlers(std::uint8_t op);
// Beside instructions, behind their numbers: the one NaN of a type for every other.
enum : std::uint16_t { kCanonicalFloat = 0x1f0, kCanonicalDouble, kCanonicalF32x4, kCanonicalF64x2 };
const Handler* unary_handlers(std::uint16_t op);  // [source kSlot, kLast][register alone]: a = to, b = from
const Handler* load_handlers(std::uint8_t op);    // [slot, last, raw, sum of two slots][register alone]: a = to, b = address, i = offset (sum: c, d = 16-bit offset)
const Handler* store_handlers(std::uint8_t op);   // [address slot or last or raw or sum][value slot, immediate, last]: a = value, b = address, i = offset
enum LoadAddress : std::uint8_t { kAddressSlot, kAddressLast, kAddressRaw, kAddressSum, kAddresses };

// Vectors: a = to, b, c = operands (slots), d = third operand or lane. Loads and stores: a = value, b = address or, in the next instruction word's `a`, … see simd.cc.
Handler simd_handler(std::uint32_t op, bool raw_address);

namespace handlers {
// b of the unconditional ones is unused; i = offset.
extern const Handler kJump, kJumpBack;
extern const Handler kBranchIf[2][2][2];    // [slot, last][when false][backwards]: a = condition, i = offset
extern const Handler kBranchNull[2][2];     // [when not null][backwards]
extern const Handler kBranchTable[2];         // a = index, i = count; count + 1 words follow, i = offset from the first
extern const Handler kMove, kMoveVector, kConstI, kConstF, kConst64, kConst64F, kConstV;  // a = to
extern const Handler kSelectInt[2], kSelectFloat[2], kSelectVector[2];  // [slot, last]: a = to, b = first, c = second, d = condition
extern const Handler kEnter, kEnterZero, kTranslate;
extern const Handler kWarmCall, kWarmLoop;  // i = function; of loops a = slot of the return address, and i of the next word = where in the module
extern const Handler kToTier;               // i = function
extern const Handler kReturnNone, kReturnInt[2], kReturnFloat[2], kReturnVector, kReturnMany;
extern const Handler kCall, kCallImport, kCallIndirect, kCallReference, kTailCall, kTailCallIndirect, kTailCallReference, kHalt;
extern const Handler kUnreachable, kFuel;
extern const Handler kGlobalGetInt, kGlobalGetFloat, kGlobalGetVector, kGlobalSet, kGlobalSetVector;
extern const Handler kTableGet, kTableSet, kTableSize, kTableGrow, kTableFill, kTableCopy, kTableInit, kElementsDrop;
extern const Handler kMemorySize, kMemoryGrow, kMemoryFill, kMemoryCopy, kMemoryInit, kDataDrop, kAddress;
extern const Handler kRefFunc, kRefAsNonNull, kThrow, kThrowRef;
}  // namespace handlers

}  // namespace monopod::wasm
