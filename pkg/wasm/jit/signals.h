// Traps. Machine code does not compare where the processor does: an access behind a memory's end, and `ud2` or `udf` where a check failed, are signals of the thread itself.
// What does not come from machine code of ours goes to whom it went before.
#pragma once

#include <cstdint>

#include "wasm/runtime.h"

namespace monopod::wasm::jit {

// Of the registers, by number, those that calls preserve; and where to go on. Read by <processor>/unwind.cc.
struct SavedRegisters {
  std::uintptr_t by_number[32] = {};
  std::uintptr_t pc = 0, stack = 0;
};

// The registers where machine code failed.
struct Failure {
  std::uintptr_t pc = 0;  // of the instruction
  const std::uintptr_t* stack = nullptr;
  std::uintptr_t link = 0;  // what calls leave the return address in, where there is such a register
  Vm* vm = nullptr;
  std::int64_t fuel = 0;  // where code counts it and has it in a register
  SavedRegisters* saved = nullptr;
};

// Who knows the machine code of a range of addresses.
class CodeOwner {
 public:
  virtual ~CodeOwner() = default;
  // Says in machine.trap why it fails, and in its backtrace where. True: it was an exception, and somebody is there to catch it, at failure.saved.
  virtual bool on_trap(Machine& machine, const Failure& failure) = 0;
};

inline constexpr std::uint32_t kCodeRangesMax = 1'024;
// False where there is no more room: such code must not run. Installs the handlers the first time.
bool add_code(std::uintptr_t from, std::uintptr_t to, CodeOwner& owner);
void remove_code(std::uintptr_t from);

extern "C" void monopod_wasm_trapped();  // <processor>/unwind.cc: of the registers, what calls it as if the failing instruction had

extern "C" void monopod_wasm_raise();    // the same, called by machine code; does not return to it

// Ends the innermost run of machine code, which returns as after a trap.
[[noreturn]] void leave_code(Machine& machine);

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
