// Inheritable capabilities stay empty whatever the config says; unknown, double and ambient-without-permitted ones are errors.
#include <gtest/gtest.h>

#include "async/test_support.h"
#include "codec/json.h"
#include "container/node_support.h"

namespace monopod::container {
namespace {

MONOPOD_NODE_TEST(C08Inheritable, SetIsEmptyWhateverIsAsked) {
  json::Value value = format_config(node.config({"grep", "CapInh", "/proc/self/status"}));
  value.as_object()["process"].as_object()["capabilities"].as_object()["inheritable"] = json::Array{"CAP_CHOWN", "CAP_KILL"};
  CO_TRY_ASSIGN(ContainerConfig config, parse_config(value));
  CO_TRY_ASSIGN(auto out, co_await node.run_container("c1", config));
  EXPECT_EQ(out.log, "stdout F CapInh:\t0000000000000000\n");
  co_return Result<>();
}

MONOPOD_NODE_TEST(C08Inheritable, AmbientReachesAnotherUserAndNothingElseDoes) {
  ContainerConfig config = node.config({"grep", "Cap", "/proc/self/status"});
  config.process.user.uid = 1000;
  config.process.capabilities.ambient = {"CAP_NET_BIND_SERVICE"};
  CO_TRY_ASSIGN(auto out, co_await node.run_container("c1", config));
  EXPECT_NE(out.log.find("CapEff:\t0000000000000400\n"), std::string::npos) << out.log;
  EXPECT_NE(out.log.find("CapPrm:\t0000000000000400\n"), std::string::npos) << out.log;
  config.process.capabilities.ambient = {"CAP_SYS_ADMIN"};
  EXPECT_FALSE(validate_config(config));
  config.process.capabilities.ambient = {"CAP_FLY"};
  EXPECT_FALSE(validate_config(config));
  co_return Result<>();
}

}  // namespace
}  // namespace monopod::container
