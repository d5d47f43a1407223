// Address ranges of ended stores, kept for the next ones: making a memory is then a memset of a few pages instead of system calls and page faults. What a guest
// wrote is gone before another one gets the range. Shared by threads; outlives the stores that use it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

namespace monopod::wasm {

class Pool {
 public:
  // ranges_max: of each sort (memories, stacks) kept while unused, each with up to kResidentBytes of real memory.
  explicit Pool(std::size_t ranges_max) : ranges_max_(ranges_max) {}
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  static constexpr std::size_t kResidentBytes = 128 << 10;

  struct Range {
    std::uint8_t* base = nullptr;
    std::uint64_t reserved = 0;
    std::uint64_t accessible = 0;  // from base on; zeros
  };
  // A range of at least (memories: exactly) this size; base null where there is none.
  Range take(std::uint64_t reserved);
  // Zeroes it and keeps it; false: it is full, unmap it yourself.
  bool give(Range range);

 private:
  const std::size_t ranges_max_;
  std::mutex mutex_;
  std::vector<Range> free_;
};

}  // namespace monopod::wasm
