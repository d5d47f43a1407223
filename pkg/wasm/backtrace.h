// The lines that a trap's message ends with. What repeats, as recursion does, is counted instead.
#pragma once

#include <cstdint>
#include <string>

#include "wasm/module.h"
#include "wasm/runtime.h"

namespace monopod::wasm {

class Backtrace {
 public:
  // Appends to the machine's, of which the lines that other parts of the same stack wrote count.
  explicit Backtrace(Machine& machine);
  ~Backtrace() { flush(); }
  void again();  // the place of the line before
  void add(const ModuleData& module, std::uint32_t function, std::uint32_t offset);
  bool full() const { return lines_ > kLinesMax; }

 private:
  static constexpr std::ptrdiff_t kLinesMax = 50;
  void flush();
  std::string& to_;
  std::vector<TrapFrame>& frames_;
  std::uint64_t repeats_ = 0;
  std::ptrdiff_t lines_ = 0;
};

}  // namespace monopod::wasm
