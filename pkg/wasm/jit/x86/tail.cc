// What stands between a tail call and its callee where the two pass what they pass in different places (stubs.h). Each frame that is put in between has, from the
// stack pointer up, once its address is taken from there: what it keeps, and the return address that was there before. At most one of a sort is on the stack: who
// finds that the return address is its own, or its opposite's, uses that one, or takes it away.
#include <cstddef>

#include "wasm/jit/stubs.h"

#define VM(field) "i"(offsetof(Vm, field))

namespace monopod::wasm::jit {

// From vm->tail_words to where the callee looks for them: room for as many as there can be, below which the return address stands.
extern "C" [[gnu::naked]] void monopod_wasm_tail_grow() {
  asm volatile(
      "movq (%%rsp), %%rax\n\t"
      "leaq monopod_wasm_tail_grown(%%rip), %%r11\n\t"
      "cmpq %%r11, %%rax\n\t"
      "je 1f\n\t"
      "pushq %%rax\n\t"
      "subq $64, %%rsp\n\t"
      "pushq %%r11\n\t"
      "1: vmovups %c0(%%r15), %%xmm8\n\t"
      "vmovups %c0+16(%%r15), %%xmm9\n\t"
      "vmovups %c0+32(%%r15), %%xmm10\n\t"
      "vmovups %c0+48(%%r15), %%xmm11\n\t"
      "vmovups %%xmm8, 8(%%rsp)\n\t"
      "vmovups %%xmm9, 24(%%rsp)\n\t"
      "vmovups %%xmm10, 40(%%rsp)\n\t"
      "vmovups %%xmm11, 56(%%rsp)\n\t"
      "jmpq *%c1(%%r15)" ::VM(tail_words),
      VM(tail_target));
}
extern "C" [[gnu::naked]] void monopod_wasm_tail_grown() { asm volatile("addq $72, %rsp\n\tret"); }

// To a callee by slots, which are at rsi (rcx of them; rdx is the room they need), from where the result is expected in a register; and the other way round.
#define MONOPOD_TAIL(kind, keep, take)                                                                                                                \
  extern "C" [[gnu::naked]] void monopod_wasm_result_kept_##kind() { asm volatile("popq %rcx\n\t" keep "ret"); }                                     \
  extern "C" [[gnu::naked]] void monopod_wasm_result_taken_##kind() {                                                                                 \
    asm volatile("popq %%rcx\n\tmovq %c0(%%r15), %%rdx\n\tmovq %%rcx, %c1(%%rdx)\n\t" take "ret" ::VM(machine), "i"(offsetof(Machine, sp)));          \
  }                                                                                                                                                   \
  extern "C" [[gnu::naked]] void monopod_wasm_tail_to_slots_##kind() {                                                                                \
    asm volatile(                                                                                                                                     \
        "leaq monopod_wasm_result_kept_" #kind "(%%rip), %%r11\n\t"                                                                                   \
        "cmpq %%r11, (%%rsp)\n\t"                                                                                                                     \
        "je 1f\n\t"                                                                                                                                   \
        "leaq monopod_wasm_result_taken_" #kind "(%%rip), %%r11\n\t"                                                                                  \
        "pushq %%rsi\n\t"                                                                                                                             \
        "pushq %%r11\n\t"                                                                                                                             \
        "jmpq *%c0(%%r15)\n\t"                                                                                                                        \
        "1: movq 8(%%rsp), %%rdi\n\t"                                                                                                                 \
        "addq $16, %%rsp\n\t"                                                                                                                         \
        "movq %%rdi, %%r8\n\t"                                                                                                                        \
        "rep movsq\n\t"                                                                                                                               \
        "movq %%r8, %%rsi\n\t"                                                                                                                        \
        "leaq (%%r8,%%rdx,8), %%rdx\n\t"                                                                                                              \
        "movq %c1(%%r15), %%rax\n\t"                                                                                                                  \
        "movq %%rdx, %c2(%%rax)\n\t"                                                                                                                  \
        "jmpq *%c0(%%r15)" ::VM(tail_target),                                                                                                         \
        VM(machine), "i"(offsetof(Machine, sp)));                                                                                                     \
  }                                                                                                                                                   \
  extern "C" [[gnu::naked]] void monopod_wasm_tail_to_registers_##kind() {                                                                            \
    asm volatile(                                                                                                                                     \
        "leaq monopod_wasm_result_taken_" #kind "(%%rip), %%r11\n\t"                                                                                  \
        "cmpq %%r11, (%%rsp)\n\t"                                                                                                                     \
        "je 1f\n\t"                                                                                                                                   \
        "leaq monopod_wasm_result_kept_" #kind "(%%rip), %%r11\n\t"                                                                                   \
        "pushq %c3(%%r15)\n\t"                                                                                                                        \
        "pushq %%r11\n\t"                                                                                                                             \
        "jmp 2f\n\t"                                                                                                                                  \
        "1: movq 8(%%rsp), %%r10\n\t"                                                                                                                 \
        "addq $16, %%rsp\n\t"                                                                                                                         \
        "movq %c1(%%r15), %%r11\n\t"                                                                                                                  \
        "movq %%r10, %c2(%%r11)\n\t"                                                                                                                  \
        "2: testl %%eax, %%eax\n\t"                                                                                                                   \
        "jnz monopod_wasm_tail_grow\n\t"                                                                                                              \
        "jmpq *%c0(%%r15)" ::VM(tail_target),                                                                                                         \
        VM(machine), "i"(offsetof(Machine, sp)), VM(tail_slots));                                                                                     \
  }

MONOPOD_TAIL(none, "", "")
MONOPOD_TAIL(int, "movq %rax, (%rcx)\n\t", "movq (%%rcx), %%rax\n\t")
MONOPOD_TAIL(float, "vmovsd %xmm0, (%rcx)\n\t", "vmovsd (%%rcx), %%xmm0\n\t")
MONOPOD_TAIL(vector, "vmovups %xmm0, (%rcx)\n\t", "vmovups (%%rcx), %%xmm0\n\t")

}  // namespace monopod::wasm::jit
