// Small blocks of one thread, kept by size between uses: what a stream of HTTP/2 is made of comes and goes a hundred at a time, more than malloc's own
// thread cache holds. A block knows its pool, so that it is given back without it. The pool outlives its blocks.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

namespace monopod::proxy {

class BlockPool {
 public:
  BlockPool() = default;
  ~BlockPool() {
    for (Block*& list : free_)
      while (list != nullptr) std::free(take_first(list));
  }
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  // Null: no memory.
  void* take(std::size_t size) {
    std::size_t kind = (size + kStep - 1) / kStep;
    if (kind >= kKinds) return make(nullptr, size);
    if (Block*& list = free_[kind]; list != nullptr) {
      kept_bytes_ -= kind * kStep;
      return take_first(list) + 1;
    }
    return make(this, kind * kStep);
  }
  // block: of any pool, or null.
  static void give(void* block) {
    if (block == nullptr) return;
    Block* head = static_cast<Block*>(block) - 1;
    BlockPool* pool = head->pool;
    if (pool == nullptr || pool->kept_bytes_ >= kKeptBytesMax) return std::free(head);
    pool->kept_bytes_ += head->bytes;
    Block*& list = pool->free_[head->bytes / kStep];
    head->next = list;
    list = head;
  }
  // As realloc(3).
  void* resize(void* block, std::size_t size) {
    void* out = take(size);
    if (out == nullptr || block == nullptr) return out;
    std::memcpy(out, block, std::min(size, (static_cast<Block*>(block) - 1)->bytes));
    give(block);
    return out;
  }

 private:
  struct alignas(16) Block {
    BlockPool* pool;    // null: none keeps it
    std::size_t bytes;  // without this head
    Block* next;        // while it is free
  };
  static constexpr std::size_t kStep = 64, kKinds = 65;  // up to 4 KB
  static constexpr std::size_t kKeptBytesMax = 2U << 20;
  static void* make(BlockPool* pool, std::size_t bytes) {
    auto* head = static_cast<Block*>(std::malloc(sizeof(Block) + bytes));
    if (head == nullptr) return nullptr;
    *head = {pool, bytes, nullptr};
    return head + 1;
  }
  static Block* take_first(Block*& list) {
    Block* first = list;
    list = first->next;
    return first;
  }
  std::array<Block*, kKinds> free_{};
  std::size_t kept_bytes_ = 0;
};

// For std::allocate_shared.
template <typename T>
struct BlockAllocator {
  using value_type = T;
  explicit BlockAllocator(BlockPool& p) : pool(&p) {}
  template <typename U>
  explicit(false) BlockAllocator(const BlockAllocator<U>& other) : pool(other.pool) {}
  T* allocate(std::size_t count) {
    void* out = pool->take(count * sizeof(T));
    if (out == nullptr) throw std::bad_alloc();
    return static_cast<T*>(out);
  }
  void deallocate(T* block, std::size_t) { BlockPool::give(block); }
  bool operator==(const BlockAllocator&) const = default;
  BlockPool* pool;
};

// A class whose objects come from a pool: new (pool) T.
struct Pooled {
  static void* operator new(std::size_t size, BlockPool& pool) {
    void* out = pool.take(size);
    if (out == nullptr) throw std::bad_alloc();
    return out;
  }
  static void operator delete(void* block) { BlockPool::give(block); }
  static void operator delete(void* block, BlockPool&) { BlockPool::give(block); }
};

}  // namespace monopod::proxy
