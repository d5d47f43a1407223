// From a failing instruction to C++ with the registers as they were, and from there to who catches an exception with those that were saved on the way.
#include <cstddef>

#include "wasm/jit/signals.h"

namespace monopod::wasm::jit {

static_assert(sizeof(SavedRegisters) == 272 && offsetof(SavedRegisters, pc) == 256);

#define EACH(op)                                                                                                                        \
  op " x19, x20, [sp, #152]\n\t" op " x21, x22, [sp, #168]\n\t" op " x23, x24, [sp, #184]\n\t" op " x25, x26, [sp, #200]\n\t"           \
  op " x27, x28, [sp, #216]\n\t" op " x29, x30, [sp, #232]\n\t"

extern "C" [[gnu::naked]] void monopod_wasm_trapped() {
  asm volatile("sub sp, sp, #272\n\t" EACH("stp")
               "mov x4, #0\n\t"
               "mov x5, sp\n\t"
               "bl monopod_wasm_on_trap\n\t" EACH("ldp")
               "ldp x16, x17, [sp, #256]\n\t"
               "mov sp, x17\n\t"
               "br x16");
}

// As a signal would at the instruction behind the call, in a hundredth of the time.
extern "C" [[gnu::naked]] void monopod_wasm_raise() { asm volatile("mov x0, x30\n\tmov x1, sp\n\tmov x2, x30\n\tmov x3, x28\n\tb monopod_wasm_trapped"); }

}  // namespace monopod::wasm::jit
