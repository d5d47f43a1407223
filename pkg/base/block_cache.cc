#include "base/block_cache.h"

#include <malloc.h>

#include <cstdlib>
#include <new>

#ifndef __GLIBC__
#error "the sizes of blocks here are glibc's"
#endif

namespace monopod {
namespace {

constinit thread_local BlockCache* serving = nullptr;

}  // namespace

BlockCache::BlockCache(std::size_t bytes_max) : bytes_max_(bytes_max), outer_(serving) { serving = this; }

BlockCache::~BlockCache() {
  serving = outer_;
  clear();
}

void* BlockCache::take(std::size_t size) noexcept {
  if (size > kBlockBytesMax) return nullptr;
  const std::size_t k = class_of(size);
  Block* block = kept_[k];
  if (block == nullptr) return nullptr;
  kept_[k] = block->next;
  bytes_ -= k * kStep;
  return block;
}

bool BlockCache::keep(void* block, std::size_t size) noexcept {
  if (size > kBlockBytesMax) return false;
  const std::size_t k = class_of(size);
  if (k * kStep > bytes_max_) return false;
  while (bytes_ + k * kStep > bytes_max_) evict();
  kept_[k] = new (block) Block{kept_[k]};
  bytes_ += k * kStep;
  return true;
}

// One block of the next size that has any: what nobody asks for makes way in the end, what is in use comes back.
void BlockCache::evict() noexcept {
  do next_evicted_ = (next_evicted_ + 1) % kept_.size();
  while (kept_[next_evicted_] == nullptr);
  Block* block = kept_[next_evicted_];
  kept_[next_evicted_] = block->next;
  bytes_ -= next_evicted_ * kStep;
  std::free(block);
}

void BlockCache::clear() noexcept {
  for (Block*& first : kept_)
    while (Block* block = first) {
      first = block->next;
      std::free(block);
    }
  bytes_ = 0;
}

#if !__has_feature(address_sanitizer)
namespace {

void* allocate(std::size_t size) {
  if (serving != nullptr)
    if (void* block = serving->take(size)) return block;
  for (;;) {
    if (void* block = std::malloc(size == 0 ? 1 : size)) return block;
    std::new_handler handler = std::get_new_handler();
    if (handler == nullptr) throw std::bad_alloc();
    handler();
  }
}

void release(void* block, std::size_t size) noexcept {
  if (serving != nullptr && block != nullptr && serving->keep(block, size)) return;
  std::free(block);
}

}  // namespace
#endif

}  // namespace monopod

#if !__has_feature(address_sanitizer)
// The forms for arrays and without exceptions are made of these by the standard library; the aligned ones are its own.
void* operator new(std::size_t size) { return monopod::allocate(size); }
void operator delete(void* block) noexcept { monopod::release(block, malloc_usable_size(block)); }
void operator delete(void* block, std::size_t size) noexcept { monopod::release(block, size); }
#endif
