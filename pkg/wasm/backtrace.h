// The lines that a trap's message ends with. What repeats, as recursion does, is counted instead.
#pragma once

#include <cstdint>
#include <string>

#include "wasm/module.h"

namespace monopod::wasm {

class Backtrace {
 public:
  // Appends to `to`, of which the lines that other parts of the same stack wrote count.
  explicit Backtrace(std::string& to);
  ~Backtrace() { flush(); }
  void again() { ++repeats_; }  // the place of the line before
  void add(const ModuleData& module, std::uint32_t function, std::uint32_t offset);
  bool full() const { return lines_ > kLinesMax; }

 private:
  static constexpr std::ptrdiff_t kLinesMax = 50;
  void flush();
  std::string& to_;
  std::uint64_t repeats_ = 0;
  std::ptrdiff_t lines_ = 0;
};

}  // namespace monopod::wasm
