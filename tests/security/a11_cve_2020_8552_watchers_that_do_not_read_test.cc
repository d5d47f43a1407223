// A11: watchers that do not read, lists that nobody takes: each costs its bound and no more, writers and readers go on, and who comes back
// late is told to begin anew (410).
#include <gtest/gtest.h>
#include <malloc.h>

#include <cstdlib>

#include "api/limits.h"
#include "api/testing.h"
#include "base/bytes.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

const std::string kMaps = "/api/v1/namespaces/default/configmaps";

std::size_t heap_bytes() { return mallinfo2().uordblks + mallinfo2().hblkhd; }

// All that a watch gives until it ends.
async::Task<Result<std::string>> rest_of(http::Response& watch) {
  std::string out;
  for (;;) {
    Result<SharedBytes> chunk = co_await watch.body->read_chunk();
    if (!chunk) co_return fail(std::move(chunk).error());
    if (!*chunk) co_return out;
    out += **chunk;
  }
}

async::Task<Result<>> deaf(TestCluster& cluster) {
  std::size_t watchers = std::getenv("MONOPOD_LONG") != nullptr ? 10'000 : 200;
  int changes = 3 * static_cast<int>(kWatcherEventsMax);  // its queue, what was taken of it, and what is on its way
  CO_CALL(made, "POST", kMaps, R"({"metadata":{"name":"x"},"data":{"n":"0"}})");
  CO_EXPECT_STATUS(made, 201);
  std::vector<http::Response> open;
  for (std::size_t i = 0; i < watchers; ++i) {
    CO_TRY_ASSIGN(http::Response watch, co_await cluster.open("GET", kMaps + "?watch=1&resourceVersion=" + made.text({"metadata", "resourceVersion"})));
    EXPECT_EQ(watch.status, 200);
    open.push_back(std::move(watch));
  }
  std::size_t before = heap_bytes();
  for (int i = 1; i <= changes; ++i) {
    CO_CALL(changed, "PATCH", kMaps + "/x", cat(R"({"data":{"n":")", i, R"("}})"), {{"content-type", "application/merge-patch+json"}});
    if (changed.status != 200) co_return fail(Code::kInternal, changed.body);
  }
  std::size_t each = (heap_bytes() - before) / watchers;
  EXPECT_LT(each, 320U << 10) << "bytes a watcher that does not read: its queue, as much again that was taken of it, two chunks of text";
  CO_CALL(read, "GET", kMaps + "/x");
  EXPECT_EQ(read.text({"data", "n"}), std::to_string(changes)) << "others go on";
  int told = 0;
  for (http::Response& watch : open) {
    CO_TRY_ASSIGN(std::string all, co_await rest_of(watch));
    told += all.find("\"code\":410") != std::string::npos && all.find("\"reason\":\"Expired\"") != std::string::npos;
    EXPECT_LT(all.size(), 1U << 20);
    EXPECT_EQ(all.find(cat("\"n\":\"", changes, "\"")), std::string::npos) << "it was closed before";
  }
  EXPECT_EQ(static_cast<std::size_t>(told), watchers);
  co_return Result<>();
}
TEST(A11Watchers, ThatDoNotReadCostTheirBoundAndAreTold) { with_cluster(deaf, std::chrono::minutes(5)); }

async::Task<Result<>> lists(TestCluster& cluster) {
  std::string filler(100'000, 'x');
  for (int i = 0; i < 60; ++i) {
    CO_CALL(made, "POST", kMaps, cat(R"({"metadata":{"name":"m)", i, R"("},"data":{"k":")", filler, R"("}})"));
    CO_EXPECT_STATUS(made, 201);
  }
  std::size_t before = heap_bytes();
  {
    std::vector<http::Response> open;
    for (int i = 0; i < 40; ++i) {
      CO_TRY_ASSIGN(http::Response list, co_await cluster.open("GET", kMaps));
      open.push_back(std::move(list));
    }
    EXPECT_LT((heap_bytes() - before) / open.size(), 1U << 20) << "of six megabytes, what one answer may hold unread";
    CO_CALL(read, "GET", kMaps + "/m1");
    CO_EXPECT_STATUS(read, 200);
    std::string head;
    CO_TRY_ASSIGN(head, co_await open.front().body->read_all(16U << 20));
    EXPECT_GT(head.size(), 6'000'000U) << "who reads gets all of it";
  }
  co_return Result<>();
}
TEST(A11Lists, ThatNobodyTakesHoldNothing) { with_cluster(lists); }

}  // namespace
}  // namespace monopod::api
