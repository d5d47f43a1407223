// Sysctls outside of the container's own namespaces, and values that smuggle more than one.
#include <gtest/gtest.h>

#include "async/test_support.h"
#include "container/node_support.h"
#include "sys/root.h"

namespace monopod::container {
namespace {

MONOPOD_NODE_TEST(C10Sysctl, OnlyNamespacedOnesAreSet) {
  std::string pattern = sys::read_host_file("/proc/sys/kernel/core_pattern").value_or("");
  const std::vector<std::pair<std::string, std::string>> refused = {{"kernel.core_pattern", "|/bin/sh"},
                                                                    {"kernel/core_pattern", "x"},
                                                                    {"kernel.shm_rmid_forced", "1+kernel.core_pattern=|/x"},
                                                                    {"kernel.shm_rmid_forced", "1\nkernel.core_pattern=x"},
                                                                    {"net.ipv4../../kernel/core_pattern", "x"},
                                                                    {"vm.overcommit_memory", "1"}};
  for (const auto& [name, value] : refused) {
    ContainerConfig config = node.config({"true"});
    config.sysctl[name] = value;
    auto out = co_await node.run_container("c1", config);
    CO_ASSERT_TRUE(!out);
    EXPECT_EQ(out.error().code(), Code::kInvalidArgument) << name;
  }
  EXPECT_EQ(sys::read_host_file("/proc/sys/kernel/core_pattern").value_or(""), pattern);
  ContainerConfig config = node.config({"cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start", "/proc/sys/kernel/shm_rmid_forced"});
  config.sysctl["net.ipv4.ip_unprivileged_port_start"] = "42";
  config.sysctl["kernel.shm_rmid_forced"] = "1";
  CO_TRY_ASSIGN(auto out, co_await node.run_container("c2", config));
  EXPECT_EQ(out.log, "stdout F 42\nstdout F 1\n");
  co_return Result<>();
}

}  // namespace
}  // namespace monopod::container
