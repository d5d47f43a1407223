// Buffers of one size, kept between uses: an idle connection holds none.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace monopod::proxy {

inline constexpr std::size_t kSlabBytes = 16U << 10;  // a TLS record, and a head with room to spare
inline constexpr std::size_t kSlabsKeptMax = 256;     // free ones that are not given back to the heap: a hundred streams hold two or three each

class SlabPool {
 public:
  char* take() {
    if (free_.empty()) return new char[kSlabBytes];
    char* slab = free_.back();
    free_.pop_back();
    return slab;
  }
  void give(char* slab) {
    if (slab == nullptr) return;
    if (free_.size() < kSlabsKeptMax) free_.push_back(slab);
    else delete[] slab;
  }
  ~SlabPool() {
    for (char* slab : free_) delete[] slab;
  }

 private:
  std::vector<char*> free_;
};

}  // namespace monopod::proxy
