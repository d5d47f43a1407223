// How a signal is left, and machine code with it. Only for signals.cc.
#pragma once

#include <ucontext.h>

#include <cstdint>

namespace monopod::wasm::jit {

using Trapped = void (*)();  // of monopod_wasm_on_trap()'s arguments in their registers, but the last

inline std::uintptr_t pc_of(const mcontext_t& registers) { return static_cast<std::uintptr_t>(registers.gregs[REG_RIP]); }

// The handler returns into this, below what the failing code has on the stack.
inline void go_to(mcontext_t& registers, Trapped handler) {
  auto stack = static_cast<std::uintptr_t>(registers.gregs[REG_RSP]);
  registers.gregs[REG_RDI] = registers.gregs[REG_RIP];
  registers.gregs[REG_RSI] = static_cast<greg_t>(stack);
  registers.gregs[REG_RCX] = registers.gregs[REG_R15];
  registers.gregs[REG_R8] = registers.gregs[REG_R13];
  registers.gregs[REG_RSP] = static_cast<greg_t>(((stack - 256) & ~std::uintptr_t{15}) - 8);
  registers.gregs[REG_RIP] = static_cast<greg_t>(reinterpret_cast<std::uintptr_t>(handler));
}

// Back to who entered machine code: see the stub of entries in stubs.cc, which left this behind.
[[noreturn]] inline void leave(void* frame) {
  asm volatile(
      "movq %0, %%rsp\n\t"
      "xorl %%eax, %%eax\n\t"
      "popq %%rsi\n\tpopq %%rdx\n\tpopq %%rcx\n\t"
      "movq %%rdx, (%%rcx)\n\t"
      "popq %%r15\n\tpopq %%r14\n\tpopq %%r13\n\tpopq %%r12\n\tpopq %%rbx\n\tpopq %%rbp\n\t"
      "ret"
      :
      : "r"(frame)
      : "memory");
  __builtin_unreachable();
}

}  // namespace monopod::wasm::jit
