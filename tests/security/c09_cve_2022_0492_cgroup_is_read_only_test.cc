// release_agent and writable control groups (also CVE-2023-25809): the view is read-only, of the container's own groups, in a cgroup namespace of its own.
#include <gtest/gtest.h>

#include "async/test_support.h"
#include "container/node_support.h"
#include "sys/root.h"

namespace monopod::container {
namespace {

MONOPOD_NODE_TEST(C09Cgroup, NothingInItCanBeWrittenAndTheHostIsNotSeen) {
  ContainerConfig config = node.config({"sh", "-c",
                                        "find /sys/fs/cgroup -type f 2>/dev/null | while read f; do { echo 1 > $f; } 2>/dev/null && echo written $f; done;"
                                        "find /sys/fs/cgroup -name release_agent; cut -d: -f3 /proc/self/cgroup | sort -u; mkdir /sys/fs/cgroup/x 2>&1"});
  for (const char* applet : {"find", "cut"}) CO_TRY(sys::Root::open(node.dir + "/rootfs")->make_symlink("busybox", std::string("bin/") + applet));
  config.process.args[2] += "; echo end";
  CO_TRY_ASSIGN(auto out, co_await node.run_container("c1", config));
  EXPECT_EQ(out.log.find("written"), std::string::npos) << out.log;
  EXPECT_EQ(out.log.find("release_agent"), std::string::npos) << out.log;
  EXPECT_EQ(out.log.find("monopod-test"), std::string::npos) << out.log;
  EXPECT_NE(out.log.find("Read-only file system"), std::string::npos) << out.log;
  EXPECT_TRUE(out.log.ends_with("stdout F end\n")) << out.log;
  co_return Result<>();
}

}  // namespace
}  // namespace monopod::container
