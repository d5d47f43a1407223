#include "wasm/pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

namespace monopod::wasm {

Pool::~Pool() {
  for (const Range& r : free_) ::munmap(r.base, r.reserved);
}

Pool::Range Pool::take(std::uint64_t reserved) {
  std::lock_guard lock(mutex_);
  for (std::size_t i = free_.size(); i-- > 0;) {
    if (free_[i].reserved != reserved) continue;
    Range out = free_[i];
    free_[i] = free_.back();
    free_.pop_back();
    return out;
  }
  return {};
}

bool Pool::give(Range range) {
  {
    std::lock_guard lock(mutex_);
    if (free_.size() >= ranges_max_) return false;
  }
  std::uint64_t resident = std::min<std::uint64_t>(range.accessible, kResidentBytes);
  if (range.accessible > resident && ::madvise(range.base + resident, range.accessible - resident, MADV_DONTNEED) != 0) return false;
  if (resident != 0) std::memset(range.base, 0, resident);
  std::lock_guard lock(mutex_);
  if (free_.size() >= ranges_max_) return false;
  free_.push_back(range);
  return true;
}

}  // namespace monopod::wasm
