#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>

#include "async/test_support.h"
#include "base/bytes.h"
#include "base/strings.h"
#include "sys/capabilities.h"
#include "sys/cgroup.h"
#include "sys/features.h"
#include "sys/mounts.h"
#include "sys/namespaces.h"
#include "sys/packet_socket.h"
#include "sys/process.h"
#include "sys/root.h"
#include "sys/stream.h"

namespace monopod::sys {
namespace {

bool privileged(const char* what) {
  if (probe_features().cap_sys_admin) return true;
  std::fprintf(stderr, "SKIPPED: %s needs root\n", what);
  return false;
}

TEST(Process, SpawnedFromADescriptorAndReaped) {
  Fd shell(::open("/bin/busybox", O_RDONLY | O_CLOEXEC));
  if (!shell) GTEST_SKIP() << "needs /bin/busybox (busybox-static)";
  Result<Pipe> pipe = make_pipe();
  ASSERT_TRUE(pipe);
  SpawnOptions options;
  options.executable = shell.get();
  options.argv = {"sh", "-c", "echo $A; ls /proc/self/fd | wc -l; exit 7"};
  options.env = {"A=b", "PATH=/bin"};
  options.fds = {-1, pipe->write.get(), pipe->write.get()};
  Result<Pidfd> child = spawn(options);
  ASSERT_TRUE(child) << child.error().message();
  pipe->write.reset();
  std::string out = read_all(pipe->read.get(), 1000).value();
  EXPECT_TRUE(out.starts_with("b\n")) << out;
  struct pollfd wait = {child->fd(), POLLIN, 0};
  ASSERT_EQ(::poll(&wait, 1, 10'000), 1);
  auto status = child->try_reap();
  ASSERT_TRUE(status && *status);
  EXPECT_EQ((*status)->code, 7);
  EXPECT_EQ(child->send_signal(SIGTERM).error().code(), Code::kNotFound);
}

// The child's numbers may be ours for something else, in any order.
TEST(Process, DescriptorsComeToTheirNumbersFromAnyNumbers) {
  Fd shell(::open("/bin/busybox", O_RDONLY | O_CLOEXEC));
  if (!shell) GTEST_SKIP() << "needs /bin/busybox (busybox-static)";
  std::vector<Pipe> pipes;
  for (int i = 0; i < 4; ++i) pipes.push_back(make_pipe().value());
  // Each is the read end of a pipe that holds its own letter.
  std::array<int, 4> ends = {};
  for (std::size_t i = 0; i < ends.size(); ++i) ends[i] = pipes[i].read.get();
  std::sort(ends.begin(), ends.end());
  int first = ends[0];
  do {
    Pipe out = make_pipe().value();
    for (std::size_t i = 0; i < pipes.size(); ++i) ASSERT_TRUE(write_all(pipes[i].write.get(), std::string(1, static_cast<char>('a' + i))));
    SpawnOptions options;
    options.executable = shell.get();
    options.argv = {"sh", "-c", ""};
    options.fds = {-1, out.write.get(), 2};
    while (static_cast<int>(options.fds.size()) < first) options.fds.push_back(-1);
    std::string wanted;
    for (int end : ends) {
      wanted += static_cast<char>('a' + (std::find_if(pipes.begin(), pipes.end(), [&](const Pipe& p) { return p.read.get() == end; }) - pipes.begin()));
      options.argv[2] += cat("head -c 1 <&", options.fds.size(), ";");
      options.fds.push_back(end);
    }
    options.env = {"PATH=/bin:/usr/bin"};
    Result<Pidfd> child = spawn(options);
    ASSERT_TRUE(child) << child.error().message();
    out.write.reset();
    EXPECT_EQ(read_all(out.read.get(), 1000).value(), wanted);
    ASSERT_TRUE(child->reap());
  } while (std::next_permutation(ends.begin(), ends.end()));
}

TEST(Process, SealedMemoryCannotBeChanged) {
  Result<Fd> fd = sealed_memfd("t", "abc");
  ASSERT_TRUE(fd);
  EXPECT_EQ(read_all(fd->get(), 10).value(), "abc");
  EXPECT_LT(::write(fd->get(), "x", 1), 0);
  Result<Fd> self = sealed_self_executable();
  ASSERT_TRUE(self) << self.error().message();
  Fd writable(::open(fd_path(self->get()).c_str(), O_RDWR | O_CLOEXEC));
  if (writable) {
    EXPECT_LT(::write(writable.get(), "x", 1), 0);
    EXPECT_LT(::ftruncate(writable.get(), 0), 0);
  }
}

TEST(PacketSocket, CarriesBytesAndDescriptors) {
  Result<SocketPair> pair = make_packet_pair();
  ASSERT_TRUE(pair);
  Result<Pipe> pipe = make_pipe();
  ASSERT_TRUE(send_packet(pair->first.get(), "hello", {pipe->write.get()}));
  Result<Packet> packet = receive_packet(pair->second.get());
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->bytes, "hello");
  ASSERT_EQ(packet->fds.size(), 1U);
  EXPECT_TRUE(write_all(packet->fds[0].get(), "x"));
  pair->first.reset();
  EXPECT_TRUE(receive_packet(pair->second.get())->bytes.empty());
  EXPECT_FALSE(send_packet(pair->second.get(), std::string(kPacketBytesMax + 1, 'x')));
}

async::Task<Result<>> echo_streams(async::Executor executor) {
  Result<Pipe> pipe = make_pipe();
  CO_ASSERT_TRUE(pipe);
  auto reader = make_stream(executor, std::move(pipe->read));
  auto writer = make_stream(executor, std::move(pipe->write));
  CO_TRY(co_await writer->write_all(as_bytes("abc")));
  std::array<std::byte, 10> buffer;
  CO_TRY_ASSIGN(std::size_t n, co_await reader->read_some(buffer));
  EXPECT_EQ(as_text(std::span(buffer).first(n)), "abc");
  CO_TRY(co_await writer->shutdown_write());
  CO_TRY_ASSIGN(n, co_await reader->read_some(buffer));
  EXPECT_EQ(n, 0U);
  co_return Result<>();
}

TEST(Stream, PipeEndsWithTheWriter) {
  async::run_test([](async::Loop& loop) { return echo_streams(loop.executor()); });
}

async::Task<Result<>> write_to_nobody(async::Executor executor) {
  Result<Pipe> pipe = make_pipe();
  CO_ASSERT_TRUE(pipe);
  auto writer = make_stream(executor, std::move(pipe->write));
  pipe->read.reset();
  EXPECT_FALSE(co_await writer->write_all(as_bytes("abc")));
  co_return Result<>();
}

TEST(Stream, AReaderThatWentAwayIsAnErrorAndNotASignal) {
  async::run_test([](async::Loop& loop) { return write_to_nobody(loop.executor()); });
}

TEST(Namespaces, PinnedWithoutAProcessAndEntered) {
  if (!privileged("pinning namespaces")) GTEST_SKIP() << "needs root";
  std::string directory = cat("/tmp/ns_test.", ::getpid());
  Result<> made = pin_new_namespaces(CLONE_NEWNET | CLONE_NEWUTS, directory, [] {
    return ::sethostname("pinned", 6) < 0 ? Result<>(fail_errno("set host name")) : Result<>();
  });
  ASSERT_TRUE(made) << made.error().message();
  Result<Fd> uts = open_namespace(directory + "/uts");
  ASSERT_TRUE(uts);
  std::string seen;
  ASSERT_TRUE(run_in_namespace(uts->get(), CLONE_NEWUTS, [&]() -> Result<> {
    char name[65] = {};
    ::gethostname(name, sizeof name);
    seen = name;
    return {};
  }));
  EXPECT_EQ(seen, "pinned");
  char own[65] = {};
  ::gethostname(own, sizeof own);
  EXPECT_STRNE(own, "pinned");
  EXPECT_FALSE(open_namespace("/etc/passwd"));
  ASSERT_TRUE(unpin_namespaces(directory));
  ASSERT_TRUE(unpin_namespaces(directory));
  EXPECT_FALSE(std::filesystem::exists(directory));
}

TEST(Namespaces, OfAUserNamespaceAreItsOwn) {
  if (!privileged("pinning namespaces")) GTEST_SKIP() << "needs root";
  std::string directory = cat("/tmp/ns_test.", ::getpid());
  IdMaps maps{{{0, 100000, 10}}, {{0, 200000, 10}}};
  Result<> made = pin_new_namespaces(CLONE_NEWNET, directory, {}, maps);
  ASSERT_TRUE(made) << made.error().message();
  Result<Fd> user = open_namespace(directory + "/user"), net = open_namespace(directory + "/net");
  ASSERT_TRUE(user && net);
  Fd owner(::ioctl(net->get(), 0xb701 /* NS_GET_USERNS */));
  struct stat a = {}, b = {};
  ASSERT_TRUE(owner && ::fstat(owner.get(), &a) == 0 && ::fstat(user->get(), &b) == 0);
  EXPECT_EQ(a.st_ino, b.st_ino);
  user->reset();
  net->reset();
  owner.reset();
  ASSERT_TRUE(unpin_namespaces(directory));
  EXPECT_FALSE(std::filesystem::exists(directory));
  Result<> refused = pin_new_namespaces(CLONE_NEWNET, directory, [] { return fail(Code::kInternal, "no"); }, maps);
  EXPECT_FALSE(refused);
  EXPECT_FALSE(std::filesystem::exists(directory));
}

TEST(Namespaces, MountsOfATaskOfItsOwnGoWithIt) {
  if (!privileged("mounting")) GTEST_SKIP() << "needs root";
  std::string directory = cat("/tmp/mounts_test.", ::getpid());
  std::filesystem::create_directories(directory);
  Fd kept;
  Result<> done = run_with_private_mounts([&]() -> Result<> {
    if (!mount_at_once("tmpfs", "x", {}, 0, directory)) return fail_errno("mount");
    std::ofstream(directory + "/file") << "x";
    TRY_ASSIGN(kept, clone_mount(directory, false));
    return {};
  });
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_TRUE(std::filesystem::is_empty(directory)) << "nobody else sees it";
  EXPECT_EQ(::faccessat(kept.get(), "file", F_OK, 0), 0) << "what was kept goes on";
  std::filesystem::remove(directory);
}

TEST(Capabilities, NamesRoundTrip) {
  EXPECT_EQ(find_capability("CAP_SYS_ADMIN"), 21);
  EXPECT_EQ(format_capability(40), "CAP_CHECKPOINT_RESTORE");
  EXPECT_FALSE(find_capability("CAP_EVERYTHING"));
  EXPECT_EQ(capability_names().size(), 41U);
  EXPECT_TRUE(find_rlimit("RLIMIT_NOFILE"));
  EXPECT_FALSE(find_rlimit("RLIMIT_FOO"));
}

TEST(Features, MissingMemoryGroupNamesTheExactChange) {
  Features f = probe_features();
  f.cgroup_mode = CgroupMode::kV2;
  f.memory_controller = false;
  bool found = false;
  for (const Finding& finding : judge_features(f)) found |= finding.advice.find("cgroup_enable=memory") != std::string::npos && !finding.fatal;
  EXPECT_TRUE(found);
  f.kernel_major = 4;
  EXPECT_TRUE(judge_features(f).front().fatal);
  // Each lack that no node can live with is named, and nothing else is.
  struct Row {
    bool Features::*member;
    const char* text;
  };
  for (const Row& row : {Row{&Features::overlayfs, "no overlayfs"}, Row{&Features::nf_tables, "no nf_tables"}, Row{&Features::cap_net_admin, "no CAP_NET_ADMIN"},
                         Row{&Features::cap_sys_admin, "no CAP_SYS_ADMIN"}, Row{&Features::mount_api, "no fsopen"}, Row{&Features::pidfd, "no pidfd"}}) {
    Features one{.kernel_major = 6, .kernel_minor = 1, .kernel_release = "6.1", .cgroup_mode = CgroupMode::kV2, .memory_controller = true, .cpu_controller = true,
                 .pids_controller = true, .overlayfs = true, .openat2 = true, .pidfd = true, .mount_api = true, .seccomp = true, .user_namespaces = true,
                 .pressure_stall = true, .cap_sys_resource = true, .cap_sys_admin = true, .cap_net_admin = true, .nf_tables = true};
    EXPECT_TRUE(judge_features(one).empty());
    one.*row.member = false;
    std::vector<Finding> findings = judge_features(one);
    ASSERT_EQ(findings.size(), 1U) << row.text;
    EXPECT_TRUE(findings[0].fatal);
    EXPECT_NE(findings[0].text.find(row.text), std::string::npos) << findings[0].text;
  }
}

TEST(Cgroups, SharesConvertToWeight) {
  for (auto [shares, weight] : {std::pair<std::uint64_t, std::uint64_t>{0, 1}, {2, 1}, {3, 2}, {100, 17}, {512, 59}, {1024, 100}, {2000, 170}, {4096, 303}, {262143, 10000}, {262144, 10000}, {1U << 20, 10000}})
    EXPECT_EQ(cpu_weight_of_shares(shares), weight) << shares;
}

TEST(Cgroups, CreateLimitEnterKillRemove) {
  if (!privileged("control groups")) GTEST_SKIP() << "needs root";
  if (probe_features().cgroup_mode == CgroupMode::kV2) GTEST_SKIP() << "would move this test's own processes: run in the VM";
  Result<std::unique_ptr<Cgroups>> groups = open_cgroups();
  if (!groups) GTEST_SKIP() << groups.error().message();
  std::string group = cat("monopod-test-", ::getpid(), "/a/b");
  ASSERT_TRUE((*groups)->create(group));
  ASSERT_TRUE((*groups)->create(group));
  CgroupLimits limits;
  limits.cpu_shares = 512;
  limits.cpu_quota_us = 50'000;
  limits.memory_bytes_max = 32 << 20;
  limits.pids_max = 10;
  ASSERT_TRUE((*groups)->set_limits(group, limits));
  ASSERT_TRUE((*groups)->set_devices(group, {{false, 'a', {}, {}, "rwm"}, {true, 'c', 1, 3, "rw"}}));
  Result<Cgroups::Entry> entry = (*groups)->open_entry(group);
  ASSERT_TRUE(entry) << entry.error().message();
  Fd shell(::open("/bin/busybox", O_RDONLY | O_CLOEXEC));
  SpawnOptions options;
  options.executable = shell.get();
  options.argv = {"sleep", "1000"};
  options.fds = {-1, -1, 2};
  options.cgroup_fd = entry->cgroup.get();
  Result<Pidfd> child = spawn(options);
  ASSERT_TRUE(child);
  for (const Fd& procs : entry->procs) ASSERT_TRUE(write_all(procs.get(), cat(child->pid())));
  EXPECT_EQ((*groups)->processes(group).value(), std::vector<int>{child->pid()});
  Result<CgroupStats> stats = (*groups)->stats(group);
  ASSERT_TRUE(stats);
  if ((*groups)->has_memory()) { EXPECT_EQ(stats->memory_limit_bytes, 32U << 20); }
  if ((*groups)->has_pids()) {
    EXPECT_EQ(stats->pids_limit, 10U);
    EXPECT_EQ(stats->pids_current, 1U);
  }
  ASSERT_TRUE((*groups)->kill_all(group));
  struct pollfd wait = {child->fd(), POLLIN, 0};
  ASSERT_EQ(::poll(&wait, 1, 10'000), 1);
  EXPECT_EQ(child->try_reap().value()->signal, SIGKILL);
  std::string top = group.substr(0, group.find('/'));
  Result<> removed = (*groups)->remove(top);
  ASSERT_TRUE(removed) << removed.error().message();
  ASSERT_TRUE((*groups)->remove(top));
  EXPECT_EQ((*groups)->stats(group).error().code(), Code::kNotFound);
}

}  // namespace
}  // namespace monopod::sys
