// The lines that a trap's message ends with. What repeats, as recursion does, is counted instead.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "wasm/module.h"
#include "wasm/runtime.h"

namespace monopod::wasm {

class Backtrace {
 public:
  // Appends to the machine's, of which the lines that other parts of the same stack wrote count.
  explicit Backtrace(Machine& machine) : lines_(machine.backtrace), frames_(machine.trap_frames) {}
  void again();  // the place of the line before
  void add(const ModuleData& module, std::uint32_t function, std::uint32_t offset);
  bool full() const { return lines_.size() > kBacktraceLinesMax; }

 private:
  std::vector<BacktraceLine>& lines_;
  std::vector<TrapFrame>& frames_;
};

// "\n  #0 lower (src/d.c:4:5), inlined\n  #1 $outer (src/d.c:9:10) at 0x1dd\n  #2 $main at 0x20e": names of the name section, and where the module carries
// DWARF, files and lines. 0x1dd is the byte of the module.
std::string format_backtrace(std::span<const BacktraceLine> lines);

}  // namespace monopod::wasm
