// An etcd cluster as the store: the facts of every Backend, on one member of Debian's etcd.
#include "etcd/cluster/cluster_backend.h"

#include "async/test_support.h"
#include "etcd/cluster/test_cluster.h"
#include "store/conformance.h"

namespace monopod::etcd {
namespace {

using async::Task;
namespace conformance = store::conformance;

// One member for all tests of the suite: starting one takes most of a second.
class ClusterConformance : public ::testing::TestWithParam<conformance::Fact> {
 public:
  static void SetUpTestSuite() {
    if (!EtcdCluster::available()) return;
    pki::initialise();
    cluster_ = std::make_unique<EtcdCluster>(EtcdClusterOptions{.members = 1, .heartbeat_ms = 20, .election_ms = 200});
    Result<> started = cluster_->start();
    ASSERT_TRUE(started) << started.error().message();
  }
  static void TearDownTestSuite() { cluster_.reset(); }
  static std::unique_ptr<EtcdCluster> cluster_;
};
std::unique_ptr<EtcdCluster> ClusterConformance::cluster_;

Task<Result<>> empty(store::Backend& store) {
  store::Txn txn;
  txn.success.emplace_back(store::DeleteRequest{.key = std::string(1, '\0'), .range_end = std::string(1, '\0')});
  CO_TRY(co_await store.txn(std::move(txn)));
  CO_TRY_ASSIGN(std::vector<store::LeaseId> leases, co_await store.leases());
  for (store::LeaseId id : leases) CO_TRY(co_await store.lease_revoke(id));
  co_return Result<>();
}

Task<Result<>> run_fact(const EtcdCluster& cluster, conformance::Fact fact) {
  async::RealTime time;
  CO_TRY_ASSIGN(auto store, co_await ClusterBackend::open({.client = {.endpoints = cluster.urls()}, .open_timeout = std::chrono::seconds(10)}, time));
  Result<> emptied = co_await empty(*store);
  conformance::Subject subject{*store, store->current_revision().value - 1};
  Result<> result = emptied ? co_await fact.body(subject) : std::move(emptied);
  CO_TRY(co_await store->close());
  co_return result;
}

TEST_P(ClusterConformance, Holds) {
  if (!cluster_) GTEST_SKIP() << EtcdCluster::kNeeds;
  async::run_test([fact = GetParam()](async::Loop&) { return run_fact(*cluster_, fact); });
}
INSTANTIATE_TEST_SUITE_P(Backend, ClusterConformance, ::testing::ValuesIn(conformance::kFacts), [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace monopod::etcd
