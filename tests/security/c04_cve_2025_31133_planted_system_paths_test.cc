// /proc, /sys, /dev, /dev/pts or /dev/null planted by the image (CVE-2025-31133, CVE-2025-52565, CVE-2025-52881, CVE-2023-28642).
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "async/test_support.h"
#include "base/strings.h"
#include "container/node_support.h"

namespace monopod::container {
namespace {

namespace fs = std::filesystem;

MONOPOD_NODE_TEST(C04PlantedPaths, SystemMountOverASymlinkIsRefused) {
  fs::create_directories(node.dir + "/rootfs/elsewhere");
  for (const char* name : {"proc", "sys", "dev"}) {
    std::string path = node.dir + "/rootfs/" + name;
    fs::remove_all(path);
    fs::create_directory_symlink("/elsewhere", path);
    auto out = co_await node.run_container("c1", node.config({"true"}));
    CO_ASSERT_TRUE(!out);
    EXPECT_NE(out.error().message().find("it is a symbolic link in the image"), std::string::npos) << out.error().message();
    fs::remove(path);
    fs::create_directory(path);
  }
  CO_TRY_ASSIGN(auto out, co_await node.run_container("c1", node.config({"true"})));
  EXPECT_EQ(out.state.exit_code, 0);
  co_return Result<>();
}

MONOPOD_NODE_TEST(C04PlantedPaths, DevOfTheImageIsCovered) {
  std::ofstream(node.dir + "/rootfs/dev/null") << "planted";
  fs::create_directory_symlink("/tmp", node.dir + "/rootfs/dev/pts");
  CO_TRY_ASSIGN(auto out, co_await node.run_container("c1", node.config({"sh", "-c", "cat /dev/null | wc -c; stat -c %t:%T /dev/null; readlink /dev/pts; wc -c < /proc/interrupts"})));
  EXPECT_EQ(out.log, "stdout F 0\nstdout F 1:3\nstdout F 0\n");
  co_return Result<>();
}

MONOPOD_NODE_TEST(C04PlantedPaths, MaskingWithAFalseNullDeviceIsRefused) {
  fs::remove_all(node.dir + "/rootfs/dev");
  fs::create_directory(node.dir + "/rootfs/dev");
  for (bool link : {false, true}) {
    fs::remove(node.dir + "/rootfs/dev/null");
    if (link) fs::create_symlink("/etc/passwd", node.dir + "/rootfs/dev/null");
    else std::ofstream(node.dir + "/rootfs/dev/null") << "planted";
    ContainerConfig config = node.config({"true"});
    std::erase_if(config.mounts, [](const Mount& m) { return m.destination.starts_with("/dev"); });
    auto out = co_await node.run_container("c1", config);
    CO_ASSERT_TRUE(!out);
    EXPECT_NE(out.error().message().find("/dev/null of the container is not the device that it should be"), std::string::npos) << out.error().message();
  }
  co_return Result<>();
}

MONOPOD_NODE_TEST(C04PlantedPaths, ConsoleOnAFalseDevptsIsRefused) {
  fs::create_directories(node.dir + "/rootfs/dev/pts");
  std::ofstream(node.dir + "/rootfs/dev/pts/ptmx") << "planted";
  ContainerConfig config = node.config({"true"});
  config.process.terminal = true;
  config.masked_paths.clear();
  std::erase_if(config.mounts, [](const Mount& m) { return m.destination.starts_with("/dev"); });
  auto out = co_await node.run_container("c1", config);
  CO_ASSERT_TRUE(!out);
  EXPECT_NE(out.error().message().find("is not a devpts file system"), std::string::npos) << out.error().message();
  co_return Result<>();
}

}  // namespace
}  // namespace monopod::container
