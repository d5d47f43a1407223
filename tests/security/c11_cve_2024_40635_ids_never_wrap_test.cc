// User and group ids beyond 32 bits, negative ones, and supplementary groups (CVE-2023-25173).
#include <gtest/gtest.h>

#include "async/test_support.h"
#include "container/node_support.h"

namespace monopod::container {
namespace {

MONOPOD_NODE_TEST(C11Ids, OutOfRangeNeverBecomesRoot) {
  for (const char* user : {"4294967296", "4294967296:0", "-1", "2147483648", "0:4294967296", "99999999999999999999"}) {
    ContainerConfig config = node.config({"id"});
    config.process.username = user;
    auto out = co_await node.run_container("c1", config);
    EXPECT_FALSE(out) << user;
  }
  co_return Result<>();
}

MONOPOD_NODE_TEST(C11Ids, PrimaryGroupIsAmongTheSupplementaryOnesAndTheHostsAreNot) {
  ContainerConfig config = node.config({"id", "-G"});
  config.process.user = {5000, 6000, {7000}, {}};
  CO_TRY_ASSIGN(auto out, co_await node.run_container("c1", config));
  EXPECT_EQ(out.log, "stdout F 6000 7000\n");
  co_return Result<>();
}

}  // namespace
}  // namespace monopod::container
