#include "client/delta_fifo.h"

#include <gtest/gtest.h>

#include "async/test_support.h"

namespace monopod::client {
namespace {

ObjectPtr object(std::string name, std::string version) {
  return std::make_shared<const Object>(
      Object{.bytes = share("{}"), .ns = "ns", .name = std::move(name), .uid = "u", .resource_version = std::move(version)});
}

async::Task<Result<>> vanished(async::Loop& loop) {
  Indexer known;
  known.put(object("a", "1"));
  known.put(object("b", "1"));
  DeltaFifo fifo(loop.executor(), known);
  fifo.replace({object("a", "2")});
  CO_TRY_ASSIGN(auto first, co_await fifo.pop());
  EXPECT_EQ(first.at(0).type, DeltaType::kReplaced);
  EXPECT_FALSE(fifo.has_synced());
  CO_TRY_ASSIGN(auto second, co_await fifo.pop());
  EXPECT_EQ(second.at(0).type, DeltaType::kDeleted);
  EXPECT_EQ(second.at(0).object->name, "b");
  EXPECT_TRUE(fifo.has_synced());
  co_return Result<>();
}
TEST(DeltaFifo, ReplaceReportsWhatVanished) { async::run_test(vanished); }

async::Task<Result<>> ordered(async::Loop& loop) {
  Indexer known;
  DeltaFifo fifo(loop.executor(), known);
  fifo.add(DeltaType::kAdded, object("a", "1"));
  fifo.add(DeltaType::kAdded, object("b", "2"));
  fifo.add(DeltaType::kUpdated, object("a", "3"));
  fifo.add(DeltaType::kDeleted, object("a", "4"));
  fifo.add(DeltaType::kDeleted, object("a", "4"));
  CO_TRY_ASSIGN(auto deltas, co_await fifo.pop());
  EXPECT_EQ(deltas.size(), 3U);
  EXPECT_EQ(deltas.back().type, DeltaType::kDeleted);
  fifo.add(DeltaType::kDeleted, object("nobody", "5"));
  CO_TRY_ASSIGN(auto next, co_await fifo.pop());
  EXPECT_EQ(next.at(0).object->name, "b");
  co_return Result<>();
}
TEST(DeltaFifo, ChangesOfOneKeyStayTogetherInOrder) { async::run_test(ordered); }

TEST(Indexer, FindsByNamespaceAndByOwnIndex) {
  Indexer indexer;
  indexer.add_index("version", [](const Object& o) { return std::vector<std::string>{o.resource_version}; });
  indexer.put(object("a", "1"));
  indexer.put(object("b", "1"));
  EXPECT_EQ(indexer.by_index("version", "1").size(), 2U);
  indexer.put(object("b", "2"));
  EXPECT_EQ(indexer.by_index("version", "1").size(), 1U);
  EXPECT_EQ(indexer.by_index(kNamespaceIndex, "ns").size(), 2U);
  indexer.remove("ns/a");
  EXPECT_TRUE(indexer.by_index("version", "1").empty());
  EXPECT_EQ(indexer.find("ns/b")->resource_version, "2");
}

}  // namespace
}  // namespace monopod::client
