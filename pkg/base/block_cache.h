// Small blocks that a thread has freed, kept for its next allocations. A server that answers in batches frees hundreds of coroutine
// frames and strings at once and allocates as many again; the C library's own cache keeps seven of a size and sends the rest the slow
// way (measured: a fifth of what a put of the datastore costs).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

namespace monopod {

// Serves operator new and delete of the thread that made it, as long as it lives, which must be on that thread. Holds at most bytes_max
// of freed memory, of every size in turn making room for what is freed later, and gives it back when it ends. A second one on the same thread serves instead of the first until it ends.
// Blocks may be freed by other threads, and those of other threads here. Over kBlockBytesMax the C library serves alone. Relies on what
// glibc's blocks are: 16 k - 8 bytes for some k.
// Under AddressSanitizer it does nothing: there every block must be the sanitizer's.
class BlockCache {
 public:
  static constexpr std::size_t kBlockBytesMax = 1032;

  explicit BlockCache(std::size_t bytes_max);
  ~BlockCache();
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;

  // A kept block of at least `size` bytes, or null.
  void* take(std::size_t size) noexcept;
  // Keeps a block that the C library allocated for `size` bytes or that malloc_usable_size() says is that long; false if it is too large.
  bool keep(void* block, std::size_t size) noexcept;
  // Gives all kept blocks back to the C library.
  void clear() noexcept;
  std::size_t bytes() const { return bytes_; }

 private:
  void evict() noexcept;

  struct Block {
    Block* next;
  };
  static constexpr std::size_t kStep = 16;   // glibc's granularity
  static constexpr std::size_t kHeader = 8;  // what it adds to a block
  static constexpr std::size_t class_of(std::size_t size) { return (std::max<std::size_t>(size, kStep) + kHeader + kStep - 1) / kStep; }

  std::array<Block*, (kBlockBytesMax + kHeader) / kStep + 1> kept_{};  // [k]: blocks of k * kStep - kHeader bytes
  std::size_t bytes_ = 0;
  std::size_t bytes_max_;
  std::size_t next_evicted_ = 0;  // class
  BlockCache* outer_;
};

}  // namespace monopod
