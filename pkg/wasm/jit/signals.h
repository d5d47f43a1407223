// Traps. Machine code does not compare where the processor does: an access behind a memory's end, and `ud2` or `udf` where a check failed, are signals of the thread itself.
// What does not come from machine code of ours goes to whom it went before.
#pragma once

#include <cstdint>

#include "wasm/runtime.h"

namespace monopod::wasm::jit {

// Who knows the machine code of a range of addresses.
class CodeOwner {
 public:
  virtual ~CodeOwner() = default;
  // pc: in its code, of the instruction that failed; stack: the stack pointer there; link: the register that calls
  // leave the return address in, where there is one. Says in machine.trap why it fails, and in its backtrace where.
  virtual void on_trap(Machine& machine, std::uintptr_t pc, const std::uintptr_t* stack, std::uintptr_t link) = 0;
};

inline constexpr std::uint32_t kCodeRangesMax = 1'024;
// False where there is no more room: such code must not run. Installs the handlers the first time.
bool add_code(std::uintptr_t from, std::uintptr_t to, CodeOwner& owner);
void remove_code(std::uintptr_t from);

// Around every run of machine code on this thread.
class Running {
 public:
  explicit Running(Machine& machine);
  ~Running();
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

 private:
  Machine* outer_;
};

}  // namespace monopod::wasm::jit
