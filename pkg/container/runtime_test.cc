#include "container/runtime.h"

#include <gtest/gtest.h>

#include "async/test_support.h"
#include "base/strings.h"
#include "container/node_support.h"

namespace monopod::container {
namespace {

MONOPOD_NODE_TEST(Runtime, ExitCodeOutputAndEnvironment) {
  ContainerConfig config = node.config({"sh", "-c", "echo $A; echo err >&2; pwd; hostname; exit 7"});
  config.process.env.push_back("A=hello");
  config.process.cwd = "/made/on/demand";
  config.hostname = "box";
  CO_TRY_ASSIGN(auto out, co_await node.run_container("c1", config));
  EXPECT_EQ(out.state.exit_code, 7);
  EXPECT_EQ(out.state.signal, 0);
  EXPECT_FALSE(out.state.oom_killed);
  EXPECT_NE(out.log.find("stdout F hello\n"), std::string::npos) << out.log;
  EXPECT_NE(out.log.find("stderr F err\n"), std::string::npos);
  EXPECT_NE(out.log.find("stdout F /made/on/demand\n"), std::string::npos);
  EXPECT_NE(out.log.find("stdout F box\n"), std::string::npos);
  co_return Result<>();
}

}  // namespace
}  // namespace monopod::container
