#include "base/block_cache.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/rng.h"

// Blocks of the sanitizer end where they were asked to: they are not glibc's.
#if !__has_feature(address_sanitizer)
namespace monopod {
namespace {

TEST(BlockCache, GivesBackBlocksThatAreLargeEnough) {
  BlockCache cache(1 << 20);
  for (std::size_t size = 0; size <= BlockCache::kBlockBytesMax + 64; ++size) {
    void* block = std::malloc(size);
    const std::size_t usable = malloc_usable_size(block);
    if (!cache.keep(block, usable)) {
      EXPECT_GT(usable, BlockCache::kBlockBytesMax);
      std::free(block);
      continue;
    }
    EXPECT_EQ(cache.take(usable + 1), nullptr) << size;
    EXPECT_EQ(cache.take(size), block) << size;
    EXPECT_EQ(cache.take(size), nullptr) << size;
    std::free(block);
  }
  EXPECT_EQ(cache.bytes(), 0U);
}

TEST(BlockCache, KeepsNoMoreThanItsBound) {
  BlockCache cache(1000);
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(cache.keep(std::malloc(100), 100));
  EXPECT_LE(cache.bytes(), 1000U);
  EXPECT_EQ(cache.bytes(), 1000U / 112 * 112);  // with what the C library adds
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(cache.keep(std::malloc(300), 300));  // others make way
  EXPECT_LE(cache.bytes(), 1000U);
  EXPECT_EQ(cache.take(100), nullptr);
  for (int i = 0; i < 3; ++i) {
    void* block = cache.take(300);
    EXPECT_NE(block, nullptr);
    std::free(block);
  }
  EXPECT_EQ(cache.bytes(), 0U);
  void* large = std::malloc(1001);
  EXPECT_FALSE(cache.keep(large, 1001));
  std::free(large);
  cache.clear();
  EXPECT_EQ(cache.bytes(), 0U);
}

TEST(BlockCache, ServesTheThreadThatMadeItAndOnlyThat) {
  BlockCache cache(1 << 16);
  auto freed = std::make_unique<std::string>(300, 'x');
  const std::size_t before = cache.bytes();
  freed.reset();
  EXPECT_GE(cache.bytes(), before + 300);
  const std::size_t mine = cache.bytes();
  std::thread([&] {
    auto text = std::make_unique<std::string>(300, 'y');
    text.reset();
  }).join();
  EXPECT_LE(cache.bytes(), mine + 300);  // joining may free what starting allocated, never the other thread's
  {
    BlockCache inner(1 << 16);
    std::string(200, 'z').clear();
    EXPECT_GT(inner.bytes(), 0U);
  }
}

TEST(BlockCache, BlocksKeepTheirContentUntilFreed) {
  BlockCache cache(1 << 14);
  SeededRng rng(7);
  std::vector<std::string> live;
  for (int i = 0; i < 20'000; ++i) {
    const std::size_t at = rng.next() % 64;
    if (live.size() <= at) {
      live.emplace_back(rng.next() % 1500, static_cast<char>('a' + live.size() % 26));
    } else {
      for (char c : live[at]) ASSERT_EQ(c, live[at][0]);
      live[at] = std::string(rng.next() % 1500, static_cast<char>('a' + i % 26));
    }
  }
}

}  // namespace
}  // namespace monopod
#endif
