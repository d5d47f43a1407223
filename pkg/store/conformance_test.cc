#include "store/conformance.h"

namespace monopod::store {
namespace {

class SqliteConformance : public ::testing::TestWithParam<conformance::Fact> {};

async::Task<Result<>> run_fact(StoreTest& t, conformance::Fact fact) {
  conformance::Subject subject{t.store, 0};
  co_return co_await fact.body(subject);
}

TEST_P(SqliteConformance, Holds) {
  test_store({.path = ":memory:", .compaction = {.interval = std::chrono::seconds(0)}}, [fact = GetParam()](StoreTest& t) { return run_fact(t, fact); });
}
INSTANTIATE_TEST_SUITE_P(Backend, SqliteConformance, ::testing::ValuesIn(conformance::kFacts), [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace monopod::store
