// What stands between a tail call and its callee where the two pass what they pass in different places (stubs.h). Each frame that is put in between has, from the
// stack pointer up, what it keeps, and last the return address that was there before. At most one of a sort is on the stack: who finds that the return address is
// its own, or its opposite's, uses that one, or takes it away.
#include <cstddef>

#include "wasm/jit/stubs.h"

#define VM(field) "i"(offsetof(Vm, field))
#define ADDRESS(to, symbol) "adrp " to ", " symbol "\n\tadd " to ", " to ", :lo12:" symbol "\n\t"
#define GO "ldr x16, [x28, %0]\n\tbr x16"

namespace monopod::wasm::jit {

// From vm->tail_words to where the callee looks for them: room for as many as there can be, below which the return address stands.
extern "C" [[gnu::naked]] void monopod_wasm_tail_grow() {
  asm volatile(ADDRESS("x16", "monopod_wasm_tail_grown")
               "cmp x30, x16\n\t"
               "b.eq 1f\n\t"
               "sub sp, sp, #64\n\t"
               "str x30, [sp, #56]\n\t"
               "mov x30, x16\n"
               "1: add x11, x28, %1\n\t"
               "ldp q16, q17, [x11]\n\t"
               "ldr q18, [x11, #32]\n\t"
               "stp q16, q17, [sp]\n\t"
               "str q18, [sp, #32]\n\t" GO ::VM(tail_target),
               VM(tail_words));
}
extern "C" [[gnu::naked]] void monopod_wasm_tail_grown() { asm volatile("ldr x30, [sp, #56]\n\tadd sp, sp, #64\n\tret"); }

// To a callee by slots, which are at x1 (w9 of them; w10 is the room they need), from where the result is expected in a register; and the other way round.
#define MONOPOD_TAIL(kind, keep, take)                                                                                                                \
  extern "C" [[gnu::naked]] void monopod_wasm_result_kept_##kind() { asm volatile("ldp x9, x30, [sp], #16\n\t" keep "ret"); }                        \
  extern "C" [[gnu::naked]] void monopod_wasm_result_taken_##kind() {                                                                                 \
    asm volatile("ldp x9, x30, [sp], #16\n\tldr x10, [x28, %0]\n\tstr x9, [x10, %1]\n\t" take "ret" ::VM(machine), "i"(offsetof(Machine, sp)));       \
  }                                                                                                                                                   \
  extern "C" [[gnu::naked]] void monopod_wasm_tail_to_slots_##kind() {                                                                                \
    asm volatile(ADDRESS("x16", "monopod_wasm_result_kept_" #kind)                                                                                    \
                 "cmp x30, x16\n\t"                                                                                                                   \
                 "b.eq 1f\n\t"                                                                                                                        \
                 "stp x1, x30, [sp, #-16]!\n\t" ADDRESS("x30", "monopod_wasm_result_taken_" #kind) GO "\n"                                            \
                 "1: ldp x11, x30, [sp], #16\n\t"                                                                                                     \
                 "mov x12, x11\n\t"                                                                                                                   \
                 "cbz w9, 3f\n"                                                                                                                       \
                 "2: ldr x13, [x1], #8\n\t"                                                                                                           \
                 "str x13, [x11], #8\n\t"                                                                                                             \
                 "subs w9, w9, #1\n\t"                                                                                                                \
                 "b.ne 2b\n"                                                                                                                          \
                 "3: mov x1, x12\n\t"                                                                                                                 \
                 "add x13, x12, w10, uxtw #3\n\t"                                                                                                     \
                 "ldr x11, [x28, %1]\n\t"                                                                                                             \
                 "str x13, [x11, %2]\n\t" GO ::VM(tail_target),                                                                                       \
                 VM(machine), "i"(offsetof(Machine, sp)));                                                                                            \
  }                                                                                                                                                   \
  extern "C" [[gnu::naked]] void monopod_wasm_tail_to_registers_##kind() {                                                                            \
    asm volatile(ADDRESS("x16", "monopod_wasm_result_taken_" #kind)                                                                                   \
                 "cmp x30, x16\n\t"                                                                                                                   \
                 "b.eq 1f\n\t"                                                                                                                        \
                 "ldr x10, [x28, %3]\n\t"                                                                                                             \
                 "stp x10, x30, [sp, #-16]!\n\t" ADDRESS("x30", "monopod_wasm_result_kept_" #kind)                                                    \
                 "b 2f\n"                                                                                                                             \
                 "1: ldp x10, x30, [sp], #16\n\t"                                                                                                     \
                 "ldr x11, [x28, %1]\n\t"                                                                                                             \
                 "str x10, [x11, %2]\n"                                                                                                               \
                 "2: cbnz w9, 3f\n\t" GO "\n"                                                                                                         \
                 "3: b monopod_wasm_tail_grow" ::VM(tail_target),                                                                                     \
                 VM(machine), "i"(offsetof(Machine, sp)), VM(tail_slots));                                                                            \
  }

MONOPOD_TAIL(none, "", "")
MONOPOD_TAIL(int, "str x0, [x9]\n\t", "ldr x0, [x9]\n\t")
MONOPOD_TAIL(float, "str d0, [x9]\n\t", "ldr d0, [x9]\n\t")
MONOPOD_TAIL(vector, "str q0, [x9]\n\t", "ldr q0, [x9]\n\t")

}  // namespace monopod::wasm::jit
