// From a failing instruction to C++ with the registers as they were, and from there to who catches an exception with those that were saved on the way.
#include <cstddef>

#include "wasm/jit/signals.h"

#define AT(number) "i"(offsetof(SavedRegisters, by_number) + (number) * 8)

namespace monopod::wasm::jit {

static_assert(sizeof(SavedRegisters) == 272);

extern "C" [[gnu::naked]] void monopod_wasm_trapped() {
  asm volatile(
      "subq $280, %%rsp\n\t"
      "movq %%rbx, %c0(%%rsp)\n\t"
      "movq %%rbp, %c1(%%rsp)\n\t"
      "movq %%r12, %c2(%%rsp)\n\t"
      "movq %%r13, %c3(%%rsp)\n\t"
      "movq %%r14, %c4(%%rsp)\n\t"
      "movq %%r15, %c5(%%rsp)\n\t"
      "movq %%rsp, %%r9\n\t"
      "call monopod_wasm_on_trap\n\t"
      "movq %c0(%%rsp), %%rbx\n\t"
      "movq %c1(%%rsp), %%rbp\n\t"
      "movq %c2(%%rsp), %%r12\n\t"
      "movq %c3(%%rsp), %%r13\n\t"
      "movq %c4(%%rsp), %%r14\n\t"
      "movq %c5(%%rsp), %%r15\n\t"
      "movq %c6(%%rsp), %%rax\n\t"
      "movq %c7(%%rsp), %%rsp\n\t"
      "jmpq *%%rax" ::AT(3),
      AT(5), AT(12), AT(13), AT(14), AT(15), "i"(offsetof(SavedRegisters, pc)), "i"(offsetof(SavedRegisters, stack)));
}

// As a signal would at the instruction behind the call, in a hundredth of the time.
extern "C" [[gnu::naked]] void monopod_wasm_raise() {
  asm volatile(
      "popq %rdi\n\t"
      "movq %rsp, %rsi\n\t"
      "movq %r15, %rcx\n\t"
      "movq %r13, %r8\n\t"
      "andq $-16, %rsp\n\t"
      "subq $8, %rsp\n\t"
      "jmp monopod_wasm_trapped");
}

}  // namespace monopod::wasm::jit
