// E8: a retention below zero is refused at the start; it never becomes a compaction that runs for ever.
#include "store/test_support.h"

namespace monopod::testing {
namespace {

using namespace store;

async::Task<Result<>> nothing(StoreTest&) { co_return Result<>(); }

TEST(Retention, BelowZeroIsRefused) {
  using std::chrono::seconds;
  for (CompactionPolicy policy : {CompactionPolicy{.keep_revisions = -1}, CompactionPolicy{.keep_age = seconds(-1)}, CompactionPolicy{.interval = seconds(-1)},
                                  CompactionPolicy{.keep_revisions = INT64_MIN}}) {
    Result<> opened = run_store({.path = ":memory:", .compaction = policy}, nothing);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code(), Code::kInvalidArgument) << opened.error().message();
    EXPECT_TRUE(opened.error().message().contains("negative")) << opened.error().message();
  }
  test_store({.path = ":memory:", .compaction = {.keep_revisions = 0, .keep_age = seconds(0), .interval = seconds(0)}}, nothing);
}

}  // namespace
}  // namespace monopod::testing
