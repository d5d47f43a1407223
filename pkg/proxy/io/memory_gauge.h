// How much of the memory that a configuration allows is in use: looked at ten times a second at most, by whoever asks. Any thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace monopod::proxy {

class MemoryGauge {
 public:
  // Of the process; 0: no ceiling.
  void allow(std::uint64_t bytes_max) { bytes_max_.store(bytes_max, std::memory_order_relaxed); }
  // 100: all of it. 0 where there is no ceiling.
  std::uint32_t percent(std::uint64_t now_ms);

 private:
  std::atomic<std::uint64_t> bytes_max_{0}, looked_ms_{0}, resident_bytes_{0};
};

}  // namespace monopod::proxy
