#include "container/node_support.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "async/test_support.h"
#include "base/strings.h"
#include "container/init.h"
#include "supervisor/server.h"
#include "sys/features.h"
#include "sys/process.h"
#include "sys/root.h"

namespace monopod::container::testing_support {
namespace {

namespace fs = std::filesystem;

constexpr int kCaseFailed = 64;  // final for the supervisor
constexpr auto kCaseMax = std::chrono::seconds(90);

// One small file per pair: what the node's database does, for tests that kill the node.
class FileStateStore final : public async::StateStore {
 public:
  explicit FileStateStore(std::string dir) : dir_(std::move(dir)) { fs::create_directories(dir_); }
  async::Task<Result<>> apply(std::string bucket, std::vector<async::StateChange> changes, async::Lasts) override {
    for (const async::StateChange& change : changes) {
      std::string path = cat(dir_, "/", bucket, "@", change.key);
      if (change.value) std::ofstream(path) << *change.value;
      else fs::remove(path);
    }
    co_return Result<>();
  }
  async::Task<Result<std::vector<std::pair<std::string, std::string>>>> list(std::string bucket) override {
    std::vector<std::pair<std::string, std::string>> out;
    for (const auto& file : fs::directory_iterator(dir_)) {
      std::string name = file.path().filename();
      if (!name.starts_with(bucket + "@")) continue;
      std::ifstream in(file.path());
      out.emplace_back(name.substr(bucket.size() + 1), std::string(std::istreambuf_iterator<char>(in), {}));
    }
    std::sort(out.begin(), out.end());
    co_return out;
  }

 private:
  std::string dir_;
};

void make_rootfs(const std::string& root) {
  for (const char* dir : {"bin", "etc", "tmp", "proc", "sys", "dev", "root", "home/user"}) fs::create_directories(root + "/" + dir);
  fs::copy_file("/bin/busybox", root + "/bin/busybox");
  for (const char* name : {"sh",   "true", "false", "cat",  "echo",  "ls",    "sleep", "id",   "mount", "umount", "unshare", "mkdir",  "touch", "rm",   "dd",
                           "kill", "ps",   "seq",   "wc",   "head",  "grep",  "stty",  "tty",  "env",   "pwd",    "hostname", "sysctl", "chroot", "mknod", "awk",
                           "printf", "readlink", "tail", "yes", "usleep", "chown", "chmod", "stat", "ln", "mkfifo", "sort", "uname", "ulimit"})
    fs::create_symlink("busybox", root + "/bin/" + name);
  std::ofstream(root + "/etc/passwd") << "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n";
  std::ofstream(root + "/etc/group") << "root:x:0:\nuser:x:1000:\nextra:x:2000:user\n";
  fs::permissions(root + "/tmp", fs::perms::all | fs::perms::sticky_bit);
}

// Other tests on the machine mount and unmount beside us: only what stands on this test's directory is ours.
std::vector<std::string> mounts_on(const std::string& dir) {
  std::vector<std::string> out;
  std::string text = sys::read_host_file("/proc/self/mountinfo", 16U << 20).value_or("");
  for (std::string_view line : split(text, '\n')) {
    if (line.find(dir) != std::string_view::npos) out.emplace_back(line);
  }
  return out;
}

async::Task<Result<>> node_main(async::Loop& loop, CaseBody body, std::string name, std::string dir) {
  async::RealTime time;
  async::Pool pool(2);
  FileStateStore store(dir + "/state");
  auto socket = supervisor::inherited_socket();
  CO_ASSERT_TRUE(socket.has_value());
  supervisor::Supervisor supervisor(loop.executor(), std::move(*socket));
  // The v2 tree beside v1 has no controllers, but all else of v2: cases that say so see it alone.
  sys::CgroupOptions group_options;
  if (name.ends_with("OnV2") && ::access("/sys/fs/cgroup/unified/cgroup.procs", F_OK) == 0) group_options.mount = "/sys/fs/cgroup/unified";
  Result<std::unique_ptr<sys::Cgroups>> groups = sys::open_cgroups(group_options);
  if (!groups) co_return fail(std::move(groups).error());
  async::Scope scope(loop.executor());
  Result<> result;
  {
    Runtime runtime(loop.executor(), time, pool, store, supervisor, **groups, {});
    scope.spawn(supervisor.run());
    result = co_await runtime.open();
    NodeCase node{loop, time, pool, supervisor, **groups, runtime, dir, 0, "monopod-test-" + dir.substr(dir.rfind('.') + 1)};
    std::ifstream(dir + "/run") >> node.run;
    if (result) result = co_await async::with_timeout<void>(time, kCaseMax / 2, "case", body(node));
    for (const ContainerState& left : runtime.list()) {
      if (result) ADD_FAILURE() << "container " << left.id << " is left by the case";
      (void)co_await runtime.remove(left.id);
    }
    Result<> removed = co_await runtime.remove_group(node.group);
    if (!removed && result) result = removed;
  }
  scope.cancel();
  (void)co_await scope.join();
  co_return result;
}

int run_node(const std::string& name, const std::string& dir) {
  auto it = case_table().cases.find(name);
  if (it == case_table().cases.end()) return kCaseFailed;
  async::Loop loop;
  Result<> result = loop.run(node_main(loop, it->second, name, dir));
  EXPECT_TRUE(result) << (result ? "" : result.error().message());
  return ::testing::UnitTest::GetInstance()->ad_hoc_test_result().Failed() ? kCaseFailed : 0;
}

int run_supervisor(const std::string& name, const std::string& dir) {
  supervisor::ServerOptions options;
  options.run_dir = dir + "/supervisor";
  options.node_argv = {"test", "node", name, dir};
  options.init_argv = {"test", "init"};
  options.node_env = {"PATH=/usr/bin:/bin", cat("MONOPOD_TEST_PROGRAM=", program_path())};
  options.restart_delay_ms_min = 1;
  return supervisor::run_server(std::move(options));
}

}  // namespace

CaseTable& case_table() {
  static CaseTable table;
  return table;
}

const char* program_path() {
  // The test process runs from disk; those below it run from sealed memory and are told.
  static const std::string path = [] {
    const char* told = ::getenv("MONOPOD_TEST_PROGRAM");
    return told != nullptr ? std::string(told) : fs::read_symlink("/proc/self/exe").string();
  }();
  return path.c_str();
}

// System calls made raw, the way an attacker's program would. Exit code: 0 for success, else errno.
int run_probe(std::string_view what) {
  auto outcome = [](long result) { return result < 0 ? errno : 0; };
  if (what == "new-call") return outcome(::syscall(470 + 30));                               // nobody has it
  if (what == "fchmodat2") return outcome(::syscall(452, AT_FDCWD, "/nothing", 0644, 0));    // newer than libseccomp, allowed
  if (what == "vsock") return outcome(::syscall(SYS_socket, 40, 1, 0));
  if (what == "clone3") return outcome(::syscall(SYS_clone3, nullptr, 0));
  if (what == "clone-newuser") return outcome(::syscall(SYS_clone, 0x10000000 | SIGCHLD, 0, 0, 0, 0));
#if defined(__x86_64__)
  if (what == "x32-mount") return outcome(::syscall(0x40000000 | SYS_mount, "x", "/tmp", "tmpfs", 0, nullptr));
  if (what == "i386-mount") {
    int result = 0;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(21), "b"(0), "c"(0), "d"(0), "S"(0), "D"(0) : "memory");
    return result < 0 ? -result : 0;
  }
#endif
  return 250;
}

std::optional<int> run_hidden_role(int argc, char** argv) {
  std::string_view role = argc > 1 ? argv[1] : "";
  if (role == "init") return init_main(argc, argv);
  if (role == "probe" && argc == 3) return run_probe(argv[2]);
  if (role == "node" && argc == 4) return run_node(argv[2], argv[3]);
  if (role == "supervisor" && argc == 4) return run_supervisor(argv[2], argv[3]);
  return std::nullopt;
}

ContainerConfig NodeCase::config(std::vector<std::string> args) const {
  ContainerConfig out = default_config();
  out.rootfs = dir + "/rootfs";
  out.process.args = std::move(args);
  out.namespaces.push_back({NamespaceType::kNetwork, {}});
  out.cgroup_path = group + "/c" + std::to_string(std::hash<std::string>()(join(out.process.args, " ")) % 100000);
  return out;
}

supervisor::StdioOptions NodeCase::stdio(const std::string& id) const {
  supervisor::StdioOptions out;
  out.log_path = log_path(id);
  return out;
}

std::string NodeCase::read_log(const std::string& id) const {
  std::string out;
  std::string text = sys::read_host_file(log_path(id), 64U << 20).value_or("");
  for (std::string_view line : split(text, '\n')) {
    if (line.empty()) continue;
    auto [stamp, rest] = split_once(line, ' ');
    EXPECT_TRUE(parse_rfc3339(stamp)) << line;
    out += cat(rest.value_or(""), "\n");
  }
  return out;
}

async::Task<Result<NodeCase::Outcome>> NodeCase::run_container(std::string id, ContainerConfig config) {
  Outcome out;
  CO_TRY(co_await runtime.create(id, std::move(config), stdio(id)));
  Result<> started = co_await runtime.start(id);
  if (!started) {
    (void)co_await runtime.remove(id);
    co_return fail(std::move(started).error());
  }
  CO_TRY_ASSIGN(out.state, co_await runtime.wait(id));
  CO_TRY(co_await runtime.remove(id));
  out.log = read_log(id);
  co_return out;
}

void die_by_kill() {
  ::kill(::getpid(), SIGKILL);
  ::_exit(1);
}

void run_node_case(const std::string& name) {
  if (!sys::probe_features().cap_sys_admin) {
    GTEST_SKIP() << name << " needs root";
  }
  if (::access("/bin/busybox", X_OK) < 0) {
    GTEST_SKIP() << name << " needs /bin/busybox (packaging/scripts/install-deps build)";
  }
  char dir_name[] = "/tmp/monopod-container.XXXXXX";
  ASSERT_NE(::mkdtemp(dir_name), nullptr);
  std::string dir = dir_name;
  make_rootfs(dir + "/rootfs");

  sys::Fd self(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  sys::SpawnOptions spawn;
  spawn.executable = self.get();
  spawn.argv = {"test", "supervisor", name, dir};
  spawn.env = {"PATH=/usr/bin:/bin", cat("MONOPOD_TEST_PROGRAM=", program_path())};
  spawn.fds = {0, 1, 2};
  for (bool again = true; again;) {
    Result<sys::Pidfd> process = sys::spawn(spawn);
    ASSERT_TRUE(process) << process.error().message();
    struct pollfd wait = {process->fd(), POLLIN, 0};
    bool ended = ::poll(&wait, 1, static_cast<int>(std::chrono::milliseconds(kCaseMax).count())) == 1;
    EXPECT_TRUE(ended) << "the supervisor does not end";
    if (!ended) (void)process->send_signal(SIGKILL);
    ::poll(&wait, 1, 5000);
    auto status = process->try_reap();
    ASSERT_TRUE(status && *status);
    // A case may kill its supervisor; it says so, and gets another one.
    again = fs::remove(dir + "/again");
    EXPECT_EQ((*status)->code, again ? 128 + SIGKILL : 0);
  }
  EXPECT_EQ(mounts_on(dir), std::vector<std::string>()) << "mounts are left";
  if (::testing::Test::HasFailure()) std::fprintf(stderr, "left for inspection: %s\n", dir.c_str());
  else fs::remove_all(dir);
}

}  // namespace monopod::container::testing_support

int main(int argc, char** argv) {
  if (auto code = monopod::container::testing_support::run_hidden_role(argc, argv)) return *code;
  if (argc > 1 && !std::string_view(argv[1]).starts_with("--")) return 2;  // run as an interpreter inside a container, say
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
