// What one container was given never shows in another, nor does the node's own environment.
#include <gtest/gtest.h>
#include <unistd.h>

#include "async/test_support.h"
#include "base/strings.h"
#include "container/node_support.h"

namespace monopod::container {
namespace {

MONOPOD_NODE_TEST(C18Environment, IsBuiltFromScratchEachTime) {
  for (int i = 0; i < 6; ++i) {
    ContainerConfig config = node.config({"env"});
    config.process.env.push_back(cat("SECRET_", i, "=", i));
    if (i % 2 == 1) config.process.capabilities = Capabilities{};
    CO_TRY_ASSIGN(auto out, co_await node.run_container("c1", config));
    EXPECT_EQ(out.log, cat("stdout F PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nstdout F SECRET_", i, "=", i, "\nstdout F HOME=/root\n"));
    EXPECT_TRUE(out.log.find("MONOPOD") == std::string::npos);
    ::unlink(node.log_path("c1").c_str());
  }
  co_return Result<>();
}

}  // namespace
}  // namespace monopod::container
