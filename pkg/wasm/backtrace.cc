#include "wasm/backtrace.h"

#include <algorithm>

#include "base/strings.h"

namespace monopod::wasm {
namespace {

std::string hex(std::uint32_t n) {
  std::string out;
  for (; n != 0 || out.empty(); n >>= 4) out.insert(out.begin(), "0123456789abcdef"[n & 15]);
  return "0x" + out;
}

}  // namespace

Backtrace::Backtrace(Machine& machine) : to_(machine.backtrace), frames_(machine.trap_frames), lines_(std::ranges::count(to_, '\n')) {}

void Backtrace::again() {
  ++repeats_;
  if (!frames_.empty() && frames_.size() < kTrapFramesMax) frames_.push_back(frames_.back());
}

void Backtrace::add(const ModuleData& module, std::uint32_t function, std::uint32_t offset) {
  flush();
  if (frames_.size() < kTrapFramesMax) frames_.push_back({&module, function, offset});
  if (++lines_ <= kLinesMax) to_ += cat("\n  at ", module.describe_function(function), " (byte ", hex(offset), ")");
}

void Backtrace::flush() {
  if (repeats_ != 0 && lines_ <= kLinesMax) to_ += cat("\n  … ", repeats_, " times more");
  repeats_ = 0;
  if (full() && !to_.ends_with("…")) to_ += "\n  …";
}

}  // namespace monopod::wasm
