// How a signal is left, and machine code with it. Only for signals.cc.
#pragma once

#include <ucontext.h>

#include <cstdint>

namespace monopod::wasm::jit {

using Trapped = void (*)();  // of monopod_wasm_on_trap()'s arguments in their registers, but the last

inline std::uintptr_t pc_of(const mcontext_t& registers) { return registers.pc; }

// The handler returns into this, below what the failing code has on the stack.
inline void go_to(mcontext_t& registers, Trapped handler) {
  registers.regs[0] = registers.pc;
  registers.regs[1] = registers.sp;
  registers.regs[2] = registers.regs[30];
  registers.regs[3] = registers.regs[28];
  registers.sp = (registers.sp - 256) & ~std::uintptr_t{15};
  registers.pc = reinterpret_cast<std::uintptr_t>(handler);
}

// Back to who entered machine code: see the stub of entries in stubs.cc, which left this behind.
[[noreturn]] inline void leave(void* frame) {
  asm volatile(
      "mov sp, %0\n\t"
      "mov w0, #0\n\t"
      "ldp x3, x4, [sp, #160]\n\t"
      "str x4, [x3]\n\t"
      "ldp d8, d9, [sp, #96]\n\tldp d10, d11, [sp, #112]\n\tldp d12, d13, [sp, #128]\n\tldp d14, d15, [sp, #144]\n\t"
      "ldp x19, x20, [sp]\n\tldp x21, x22, [sp, #16]\n\tldp x23, x24, [sp, #32]\n\tldp x25, x26, [sp, #48]\n\tldp x27, x28, [sp, #64]\n\tldp x29, x30, [sp, #80]\n\t"
      "add sp, sp, #192\n\t"
      "ret"
      :
      : "r"(frame)
      : "memory");
  __builtin_unreachable();
}

}  // namespace monopod::wasm::jit
