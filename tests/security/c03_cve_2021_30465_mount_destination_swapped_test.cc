// Another container that shares a volume swaps a mount's destination for a symlink while we mount (also CVE-2019-19921, CVE-2023-27561).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "async/test_support.h"
#include "base/strings.h"
#include "container/node_support.h"

namespace monopod::container {
namespace {

int rounds() { return ::getenv("MONOPOD_LONG") != nullptr ? 10'000 : 60; }

MONOPOD_NODE_TEST(C03MountDestination, SwappedForASymlinkNeverLeavesTheRoot) {
  std::string volume = node.dir + "/volume";
  std::string outside = node.dir + "/outside";
  std::filesystem::create_directories(volume + "/a");
  std::filesystem::create_directories(outside);
  std::filesystem::create_directory_symlink("../../../../../../../.." + outside, volume + "/s");
  std::atomic<bool> stop = false;
  std::thread swapper([&] {
    while (!stop) ::renameat2(AT_FDCWD, (volume + "/a").c_str(), AT_FDCWD, (volume + "/s").c_str(), RENAME_EXCHANGE);
  });
  int started = 0;
  for (int i = 0, end = rounds(); i < end; ++i) {
    ContainerConfig config = node.config({"true"});
    config.mounts.push_back({"/volume", "bind", volume, {"rbind"}, {}});
    config.mounts.push_back({"/volume/a/deep", "tmpfs", "tmpfs", {}, {}});
    config.mounts.push_back({"/volume/a/file", "bind", "/etc/hostname", {"bind", "ro"}, {}});
    auto out = co_await node.run_container("c1", config);  // may fail, may succeed: inside the root either way
    started += out.has_value();
    EXPECT_TRUE(std::filesystem::is_empty(outside)) << "round " << i;
    if (!std::filesystem::is_empty(outside)) break;
  }
  stop = true;
  swapper.join();
  EXPECT_GT(started, 0);
  co_return Result<>();
}

MONOPOD_NODE_TEST(C03MountDestination, SymlinkInTheImageIsResolvedInside) {
  std::string outside = node.dir + "/outside";
  std::filesystem::create_directories(outside);
  std::filesystem::create_directory_symlink(outside, node.dir + "/rootfs/link");
  ContainerConfig config = node.config({"sh", "-c", "touch /link/x && ls " + outside});
  config.mounts.push_back({"/link/sub", "tmpfs", "tmpfs", {}, {}});
  auto out = co_await node.run_container("c1", config);
  EXPECT_FALSE(out) << "the link's target does not exist inside, and is not made";
  std::filesystem::create_directories(node.dir + "/rootfs" + outside);
  CO_TRY_ASSIGN(auto inside, co_await node.run_container("c2", config));
  EXPECT_NE(inside.log.find("F sub\n"), std::string::npos) << inside.log;
  EXPECT_TRUE(std::filesystem::is_empty(outside));
  co_return Result<>();
}

}  // namespace
}  // namespace monopod::container
