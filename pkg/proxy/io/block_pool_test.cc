#include "proxy/io/block_pool.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace monopod::proxy {
namespace {

TEST(BlockPool, ABlockOfASizeComesAgain) {
  BlockPool pool;
  void* first = pool.take(100);
  BlockPool::give(first);
  EXPECT_EQ(pool.take(128), first) << "of the same kind";
  void* second = pool.take(129);
  EXPECT_NE(second, first);
  BlockPool::give(first);
  BlockPool::give(second);
  BlockPool::give(nullptr);
}

TEST(BlockPool, BlocksOfAllSizesHoldWhatIsWritten) {
  BlockPool pool;
  std::vector<std::pair<char*, std::size_t>> blocks;
  for (std::size_t size : {0U, 1U, 63U, 64U, 65U, 4095U, 4096U, 4097U, 100'000U}) {
    blocks.emplace_back(static_cast<char*>(pool.take(size)), size);
    std::memset(blocks.back().first, static_cast<int>(size % 251), size);
  }
  for (auto [block, size] : blocks) {
    EXPECT_EQ(std::string(block, size), std::string(size, static_cast<char>(size % 251)));
    auto* larger = static_cast<char*>(pool.resize(block, 2 * size + 1));
    EXPECT_EQ(std::string(larger, size), std::string(size, static_cast<char>(size % 251)));
    BlockPool::give(larger);
  }
}

TEST(BlockPool, SharedObjectsComeFromIt) {
  BlockPool pool;
  std::shared_ptr<int> a = std::allocate_shared<int>(BlockAllocator<int>(pool), 5);
  int* place = a.get();
  a.reset();
  EXPECT_EQ(std::allocate_shared<int>(BlockAllocator<int>(pool), 6).get(), place);
}

}  // namespace
}  // namespace monopod::proxy
