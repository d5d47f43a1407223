#include "container/runtime.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "async/event.h"
#include "async/test_support.h"
#include "base/bytes.h"
#include "base/strings.h"
#include "container/node_support.h"
#include "sys/root.h"

namespace monopod::container {
namespace {

using testing_support::die_by_kill;

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

MONOPOD_NODE_TEST(Runtime, UserGroupsAndHomeComeFromTheImage) {
  ContainerConfig config = node.config({"sh", "-c", "id; echo $HOME; umask"});
  config.process.username = "user";
  CO_TRY_ASSIGN(auto out, co_await node.run_container("c1", config));
  EXPECT_NE(out.log.find("uid=1000(user) gid=1000(user) groups=1000(user),2000(extra)"), std::string::npos) << out.log;
  EXPECT_NE(out.log.find("F /home/user\n"), std::string::npos) << out.log;
  EXPECT_NE(out.log.find("F 0022\n"), std::string::npos) << out.log;
  config.process.username = "nobody-here";
  auto unknown = co_await node.run_container("c2", config);
  CO_ASSERT_TRUE(!unknown);
  EXPECT_EQ(unknown.error().message(), "unable to find user nobody-here: no matching entries in passwd file");
  co_return Result<>();
}

MONOPOD_NODE_TEST(Runtime, ProcessStatusMatchesTheGoldenSets) {
  CO_TRY_ASSIGN(auto out, co_await node.run_container("c1", node.config({"grep", "-E", "Cap|NoNewPrivs|Seccomp:|NStgid|^Pid", "/proc/self/status"})));
  EXPECT_EQ(out.log,
            "stdout F Pid:\t1\nstdout F NStgid:\t1\nstdout F CapInh:\t0000000000000000\nstdout F CapPrm:\t00000000a80425fb\nstdout F CapEff:\t00000000a80425fb\n"
            "stdout F CapBnd:\t00000000a80425fb\nstdout F CapAmb:\t0000000000000000\nstdout F NoNewPrivs:\t0\nstdout F Seccomp:\t2\n");
  ContainerConfig config = node.config({"grep", "-E", "CapEff|CapPrm|NoNewPrivs|Seccomp:", "/proc/self/status"});
  config.process.user.uid = 1000;
  config.process.no_new_privileges = true;
  CO_TRY_ASSIGN(out, co_await node.run_container("c2", config));
  EXPECT_EQ(out.log, "stdout F CapPrm:\t0000000000000000\nstdout F CapEff:\t0000000000000000\nstdout F NoNewPrivs:\t1\nstdout F Seccomp:\t2\n");
  co_return Result<>();
}

MONOPOD_NODE_TEST(Runtime, FilterDeniesWhatTheDefaultProfileDenies) {
  ContainerConfig config = node.config({"sh", "-c", "unshare -U true; echo $?; mount -t tmpfs x /tmp; echo $?"});
  CO_TRY_ASSIGN(auto out, co_await node.run_container("c1", config));
  EXPECT_NE(out.log.find("unshare(0x10000000): Operation not permitted"), std::string::npos) << out.log;
  EXPECT_NE(out.log.find("Operation not permitted"), std::string::npos) << out.log;
  config.seccomp.reset();
  config.process.args = {"sh", "-c", "unshare -U true; echo $?"};
  CO_TRY_ASSIGN(out, co_await node.run_container("c2", config));
  EXPECT_NE(out.log.find("F 0\n"), std::string::npos) << "unconfined: " << out.log;
  co_return Result<>();
}

MONOPOD_NODE_TEST(Runtime, MountsAreWhatWasAsked) {
  std::string volume = node.dir + "/volume";
  ::mkdir(volume.c_str(), 0755);
  ::mkdir((volume + "/sub").c_str(), 0755);
  CO_TRY(sys::Root::open(volume)->write_file("file", "from-volume", 0644));
  CO_TRY(sys::Root::open(volume)->write_file("sub/inner", "from-sub", 0644));
  ContainerConfig config = node.config({"sh", "-c",
                                        "touch /x 2>&1; cat /data/file; echo; touch /data/new 2>&1; touch /rw/new && echo rw; cat /sub/inner; echo; cat /one; echo;"
                                        "touch /scratch/x && echo tmpfs; cat /proc/kcore | wc -c; ls /proc/acpi /sys/firmware | wc -l; touch /proc/sys/kernel/x 2>&1; "
                                        "ls /dev; ls /sys/fs/cgroup; touch /sys/fs/cgroup/x 2>&1; grep -c . /proc/1/mountinfo"});
  config.rootfs_readonly = true;
  config.mounts.push_back({"/data", "bind", volume, {"rbind", "ro"}, {}});
  config.mounts.push_back({"/rw", "bind", volume, {"rbind", "rw"}, {}});
  config.mounts.push_back({"/sub", "bind", volume, {"bind"}, "sub"});
  config.mounts.push_back({"/one", "bind", volume + "/file", {"bind", "ro"}, {}});
  config.mounts.push_back({"/scratch", "tmpfs", "tmpfs", {"size=1m", "mode=0777"}, {}});
  CO_TRY_ASSIGN(auto out, co_await node.run_container("c1", config));
  auto has = [&](const char* text) { EXPECT_NE(out.log.find(text), std::string::npos) << text << " is missing in\n" << out.log; };
  has("touch: /x: Read-only file system");
  has("F from-volume\n");
  has("touch: /data/new: Read-only file system");
  has("F rw\n");
  has("F from-sub\n");
  has("F tmpfs\n");
  has("touch: /proc/sys/kernel/x: ");
  has("touch: /sys/fs/cgroup/x: Read-only file system");
  for (const char* name : {"F full\n", "F null\n", "F ptmx\n", "F urandom\n", "F stdout\n", "F shm\n", "F mqueue\n"}) has(name);
  EXPECT_EQ(out.log.find("F console\n"), std::string::npos);
  co_return Result<>();
}

MONOPOD_NODE_TEST(Runtime, StartErrorsAreTheFieldsTexts) {
  struct Case {
    std::vector<std::string> args;
    const char* text;
    Code code;
  };
  const std::vector<Case> cases = {
      {{"nothing-such"}, "exec: \"nothing-such\": executable file not found in $PATH", Code::kNotFound},
      {{"/bin/nothing"}, "exec: \"/bin/nothing\": stat /bin/nothing: no such file or directory", Code::kNotFound},
      {{"/etc/passwd"}, "exec: \"/etc/passwd\": permission denied", Code::kPermissionDenied},
      {{"/etc"}, "exec: \"/etc\": is a directory", Code::kPermissionDenied},
  };
  for (const Case& one : cases) {
    auto out = co_await node.run_container("c1", node.config(one.args));
    CO_ASSERT_TRUE(!out);
    EXPECT_EQ(out.error().message(), one.text);
    EXPECT_EQ(out.error().code(), one.code);
  }
  ContainerConfig config = node.config({"true"});
  config.mounts.push_back({"/x", "bind", "/no/such/source", {"bind"}, {}});
  auto out = co_await node.run_container("c2", config);
  CO_ASSERT_TRUE(!out);
  EXPECT_EQ(out.error().message(), "mount /x: open /no/such/source: No such file or directory");
  EXPECT_EQ(node.runtime.list().size(), 0U);
  co_return Result<>();
}

MONOPOD_NODE_TEST(Runtime, FailedStartLeavesTheExitCode) {
  CO_TRY(co_await node.runtime.create("c1", node.config({"nothing-such"}), node.stdio("c1")));
  EXPECT_FALSE(co_await node.runtime.start("c1"));
  CO_TRY_ASSIGN(ContainerState state, co_await node.runtime.wait("c1"));
  EXPECT_EQ(state.exit_code, 127);
  co_return co_await node.runtime.remove("c1");
}

// Waits until the log holds text; the log has no event to wait on.
async::Task<Result<>> log_shows(testing_support::NodeCase& node, std::string id, std::string text) {
  while (node.read_log(id).find(text) == std::string::npos) CO_TRY(co_await node.time.sleep_for(std::chrono::milliseconds(5)));
  co_return Result<>();
}

MONOPOD_NODE_TEST(Runtime, StopSignalsThenKills) {
  CO_TRY(co_await node.runtime.create("c1", node.config({"sh", "-c", "trap 'exit 3' TERM; echo up; while :; do sleep 0.05; done"}), node.stdio("c1")));
  CO_TRY(co_await node.runtime.start("c1"));
  Result<> again = co_await node.runtime.start("c1");
  EXPECT_EQ(again.error().code(), Code::kFailedPrecondition);
  CO_TRY(co_await log_shows(node, "c1", "up"));
  CO_TRY(co_await node.runtime.stop("c1", SIGTERM, std::chrono::seconds(20)));
  EXPECT_EQ(node.runtime.state("c1")->exit_code, 3);
  CO_TRY(co_await node.runtime.create("c2", node.config({"sh", "-c", "trap '' TERM; echo up; sleep 1000"}), node.stdio("c2")));
  CO_TRY(co_await node.runtime.start("c2"));
  CO_TRY(co_await log_shows(node, "c2", "up"));
  CO_TRY(co_await node.runtime.stop("c2", SIGTERM, std::chrono::milliseconds(50)));
  EXPECT_EQ(node.runtime.state("c2")->exit_code, 137);
  EXPECT_EQ(node.runtime.state("c2")->signal, SIGKILL);
  Result<> dead = co_await node.runtime.kill("c2", SIGTERM);
  EXPECT_EQ(dead.error().code(), Code::kFailedPrecondition);
  CO_TRY(co_await node.runtime.remove("c1"));
  CO_TRY(co_await node.runtime.remove("c2"));
  CO_TRY(co_await node.runtime.remove("c2"));
  co_return Result<>();
}

MONOPOD_NODE_TEST(Runtime, MemoryLimitKillsAndIsReported) {
  if (!node.cgroups.has_memory()) {
    std::fprintf(stderr, "SKIPPED: needs the memory control group\n");
    co_return Result<>();
  }
  ContainerConfig config = node.config({"sh", "-c", "exec awk 'BEGIN { s = \"x\"; while (1) s = s s }'"});
  config.resources.limits.memory_bytes_max = 16 << 20;
  config.resources.limits.memory_swap_bytes_max = 16 << 20;
  CO_TRY_ASSIGN(auto out, co_await node.run_container("c1", config));
  EXPECT_EQ(out.state.exit_code, 137) << out.log;
  EXPECT_TRUE(out.state.oom_killed);
  co_return Result<>();
}

MONOPOD_NODE_TEST(Runtime, ProcessLimitHolds) {
  if (!node.cgroups.has_pids()) {
    std::fprintf(stderr, "SKIPPED: needs the pids control group\n");
    co_return Result<>();
  }
  ContainerConfig config = node.config({"sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 100 & done; echo survived"});
  config.resources.limits.pids_max = 5;
  CO_TRY_ASSIGN(auto out, co_await node.run_container("c1", config));
  EXPECT_NE(out.log.find("can't fork"), std::string::npos) << out.log;
  co_return Result<>();
}

MONOPOD_NODE_TEST(Runtime, DevicesOutsideTheListAreRefused) {
  ContainerConfig config = node.config({"sh", "-c", "mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk; mknod /tmp/null c 1 3 && echo ok > /tmp/null && echo null-works"});
  CO_TRY_ASSIGN(auto out, co_await node.run_container("c1", config));
  EXPECT_NE(out.log.find("/tmp/disk: Operation not permitted"), std::string::npos) << out.log;
  EXPECT_NE(out.log.find("null-works"), std::string::npos) << out.log;
  co_return Result<>();
}

MONOPOD_NODE_TEST(Runtime, ExecRunsInsideWithItsOwnStreams) {
  CO_TRY(co_await node.runtime.create("c1", node.config({"sleep", "1000"}), node.stdio("c1")));
  CO_TRY(co_await node.runtime.start("c1"));
  ExecOptions options;
  options.args = {"sh", "-c", "echo out $B; echo err >&2; ps | grep -c sleep; grep -E 'CapEff|Seccomp:' /proc/self/status; cat /proc/self/cgroup | grep pids; exit 5"};
  options.env = {"B=added"};
  CO_TRY_ASSIGN(ExecSyncOutput out, co_await node.runtime.exec_sync("c1", options, std::chrono::seconds(20)));
  EXPECT_EQ(out.exit_code, 5);
  EXPECT_EQ(out.stderr_text, "err\n");
  EXPECT_TRUE(out.stdout_text.starts_with("out added\n")) << out.stdout_text;
  EXPECT_NE(out.stdout_text.find("CapEff:\t00000000a80425fb\nSeccomp:\t2\n"), std::string::npos) << out.stdout_text;
  EXPECT_TRUE(out.stdout_text.ends_with(":/\n")) << "own control group namespace: " << out.stdout_text;
  options.args = {"nothing-such"};
  auto missing = co_await node.runtime.exec_sync("c1", options, std::chrono::seconds(20));
  CO_ASSERT_TRUE(!missing);
  EXPECT_EQ(missing.error().code(), Code::kNotFound);
  options.args = {"sleep", "1000"};
  auto slow = co_await node.runtime.exec_sync("c1", options, std::chrono::milliseconds(50));
  CO_ASSERT_TRUE(!slow);
  EXPECT_EQ(slow.error().code(), Code::kDeadlineExceeded);

  options.args = {"cat"};
  options.stdin_open = true;
  CO_TRY_ASSIGN(std::unique_ptr<ExecSession> session, co_await node.runtime.exec("c1", options));
  CO_TRY(co_await session->stdin_stream()->write_all(as_bytes("through")));
  CO_TRY(co_await session->stdin_stream()->shutdown_write());
  std::array<std::byte, 100> buffer;
  CO_TRY_ASSIGN(std::size_t n, co_await session->stdout_stream()->read_some(buffer));
  EXPECT_EQ(as_text(std::span(buffer).first(n)), "through");
  CO_TRY_ASSIGN(ExecResult ended, co_await session->wait());
  EXPECT_EQ(ended.exit_code, 0);
  co_return co_await node.runtime.remove("c1");
}

MONOPOD_NODE_TEST(Runtime, ExecWithATerminal) {
  CO_TRY(co_await node.runtime.create("c1", node.config({"sleep", "1000"}), node.stdio("c1")));
  CO_TRY(co_await node.runtime.start("c1"));
  ExecOptions options;
  options.args = {"sh", "-c", "tty; stty size; read line; stty size; exit 4"};
  options.terminal = true;
  options.columns = 100;
  options.rows = 40;
  CO_TRY_ASSIGN(std::unique_ptr<ExecSession> session, co_await node.runtime.exec("c1", options));
  std::string text;
  std::array<std::byte, 1000> buffer;
  while (text.find("40 100") == std::string::npos) {
    CO_TRY_ASSIGN(std::size_t n, co_await session->stdout_stream()->read_some(buffer));
    CO_ASSERT_TRUE(n > 0);
    text += as_text(std::span(buffer).first(n));
  }
  EXPECT_NE(text.find("/dev/pts/"), std::string::npos) << text;
  CO_TRY(co_await session->resize(50, 20));
  CO_TRY(co_await session->stdin_stream()->write_all(as_bytes("go\n")));
  for (;;) {
    CO_TRY_ASSIGN(std::size_t n, co_await session->stdout_stream()->read_some(buffer));
    if (n == 0) break;
    text += as_text(std::span(buffer).first(n));
  }
  EXPECT_NE(text.find("20 50"), std::string::npos) << text;
  CO_TRY_ASSIGN(ExecResult ended, co_await session->wait());
  EXPECT_EQ(ended.exit_code, 4);
  co_return co_await node.runtime.remove("c1");
}

MONOPOD_NODE_TEST(Runtime, TerminalAttachInputAndResize) {
  ContainerConfig config = node.config({"sh", "-c", "tty; read line; echo got-$line; stty size; ls -l /dev/console"});
  config.process.terminal = true;
  supervisor::StdioOptions stdio = node.stdio("c1");
  stdio.stdin_open = true;
  CO_TRY(co_await node.runtime.create("c1", config, stdio));
  CO_TRY_ASSIGN(AttachedStreams attached, co_await node.runtime.attach("c1", true, true, true));
  CO_TRY(co_await node.runtime.resize("c1", 132, 50));
  CO_TRY(co_await node.runtime.start("c1"));
  CO_TRY(co_await attached.stdin_stream->write_all(as_bytes("word\n")));
  std::string text;
  std::array<std::byte, 1000> buffer;
  for (;;) {
    CO_TRY_ASSIGN(std::size_t n, co_await attached.stdout_stream->read_some(buffer));
    if (n == 0) break;
    text += as_text(std::span(buffer).first(n));
  }
  EXPECT_NE(text.find("/dev/pts/0"), std::string::npos) << text;
  EXPECT_NE(text.find("got-word"), std::string::npos) << text;
  EXPECT_NE(text.find("50 132"), std::string::npos) << text;
  CO_TRY(co_await node.runtime.wait("c1"));
  CO_TRY(co_await node.runtime.remove("c1"));
  EXPECT_NE(node.read_log("c1").find("got-word"), std::string::npos) << "also in the log";
  co_return Result<>();
}

MONOPOD_NODE_TEST(Runtime, StdinOnceEndsWithItsClient) {
  ContainerConfig config = node.config({"sh", "-c", "cat; echo end"});
  supervisor::StdioOptions stdio = node.stdio("c1");
  stdio.stdin_open = true;
  stdio.stdin_once = true;
  CO_TRY(co_await node.runtime.create("c1", config, stdio));
  CO_TRY(co_await node.runtime.start("c1"));
  CO_TRY_ASSIGN(AttachedStreams attached, co_await node.runtime.attach("c1", true, true, true));
  CO_TRY(co_await attached.stdin_stream->write_all(as_bytes("line\n")));
  CO_TRY(co_await attached.stdin_stream->shutdown_write());
  CO_TRY(co_await node.runtime.wait("c1"));
  CO_TRY(co_await node.runtime.remove("c1"));
  EXPECT_EQ(node.read_log("c1"), "stdout F line\nstdout F end\n");
  co_return Result<>();
}

MONOPOD_NODE_TEST(Runtime, LogsRotateAndLongLinesArePartial) {
  ContainerConfig config = node.config({"sh", "-c", "head -c 40000 /dev/zero | tr '\\0' x; echo; for i in $(seq 1 3000); do echo line-$i; done; printf last"});
  config.process.args[2] = "busybox head -c 40000 /dev/zero | busybox tr '\\0' x; echo; for i in $(seq 1 3000); do echo line-$i; done; printf last";
  supervisor::StdioOptions stdio = node.stdio("c1");
  stdio.log_bytes_max = 64 << 10;
  stdio.log_files_max = 3;
  CO_TRY(co_await node.runtime.create("c1", config, stdio));
  CO_TRY(co_await node.runtime.start("c1"));
  CO_TRY(co_await node.runtime.wait("c1"));
  CO_TRY(co_await node.runtime.remove("c1"));
  std::string all;
  for (const char* suffix : {".2", ".1", ""}) {
    Result<std::string> text = sys::read_host_file(node.log_path("c1") + suffix);
    CO_ASSERT_TRUE(text);
    EXPECT_LE(text->size(), 64U << 10);
    EXPECT_TRUE(text->ends_with('\n'));
    all += *text;
  }
  EXPECT_FALSE(sys::read_host_file(node.log_path("c1") + ".3"));
  EXPECT_TRUE(all.ends_with(" stdout F last\n")) << all.substr(all.size() - 100);
  EXPECT_NE(all.find(" stdout F line-2999\n"), std::string::npos);
  co_return Result<>();
}

MONOPOD_NODE_TEST(Runtime, SharedProcessNamespaceSeesTheOthers) {
  ContainerConfig pause = node.config({"pause"});
  pause.pause = true;
  CO_TRY(co_await node.runtime.create("pause", pause, {}));
  CO_TRY(co_await node.runtime.start("pause"));
  ContainerConfig config = node.config({"sh", "-c", "ps -o pid,comm | grep monopod:init; echo $$"});
  config.pid_namespace_of = "pause";
  CO_TRY_ASSIGN(auto out, co_await node.run_container("c1", config));
  EXPECT_NE(out.log.find(" 1 monopod:init"), std::string::npos) << out.log;
  EXPECT_EQ(out.log.find("F 1\n"), std::string::npos) << out.log;
  CO_TRY(co_await node.runtime.stop("pause", SIGTERM, std::chrono::seconds(20)));
  EXPECT_EQ(node.runtime.state("pause")->exit_code, 0);
  co_return co_await node.runtime.remove("pause");
}

MONOPOD_NODE_TEST(Runtime, InitReapsAndForwards) {
  ContainerConfig config = node.config({"sh", "-c", "trap 'exit 9' TERM; echo pid-$$; while :; do sleep 0.05; done"});
  config.init = true;
  CO_TRY(co_await node.runtime.create("c1", config, node.stdio("c1")));
  CO_TRY(co_await node.runtime.start("c1"));
  CO_TRY(co_await log_shows(node, "c1", "pid-2"));
  CO_TRY(co_await node.runtime.stop("c1", SIGTERM, std::chrono::seconds(20)));
  EXPECT_EQ(node.runtime.state("c1")->exit_code, 9);
  co_return co_await node.runtime.remove("c1");
}

MONOPOD_NODE_TEST(Runtime, StatsAndPause) {
  CO_TRY(co_await node.runtime.create("c1", node.config({"sh", "-c", "while :; do :; done"}), node.stdio("c1")));
  CO_TRY(co_await node.runtime.start("c1"));
  CO_TRY(co_await node.runtime.set_paused("c1", true));
  CO_TRY(co_await node.runtime.set_paused("c1", false));
  ContainerStats stats;
  do {
    CO_TRY(co_await node.time.sleep_for(std::chrono::milliseconds(10)));
    CO_TRY_ASSIGN(stats, co_await node.runtime.stats("c1"));
  } while (stats.cgroup.cpu_usage_ns == 0);
  if (node.cgroups.has_pids()) { EXPECT_EQ(stats.cgroup.pids_current, 1U); }
  co_return co_await node.runtime.remove("c1");
}

// The node dies by SIGKILL twice: once with a container running (found running, log unbroken), once across an exit (status known).
MONOPOD_NODE_TEST(Runtime, ContainersOutliveTheNode) {
  if (node.run == 0) {
    CO_TRY(co_await node.runtime.create("c1", node.config({"sh", "-c", "i=0; while [ ! -e /tmp/stop ]; do i=$((i+1)); echo n-$i; usleep 2000; done; exit 42"}), node.stdio("c1")));
    CO_TRY(co_await node.runtime.start("c1"));
    CO_TRY(co_await log_shows(node, "c1", "n-10\n"));
    CO_TRY(sys::Root::open(node.dir)->write_file("run", "1", 0644));
    die_by_kill();
  }
  if (node.run == 1) {
    Result<ContainerState> state = node.runtime.state("c1");
    CO_ASSERT_TRUE(state);
    EXPECT_EQ(state->status, Status::kRunning);
    ExecOptions options;
    options.args = {"echo", "still here"};
    CO_TRY_ASSIGN(ExecSyncOutput out, co_await node.runtime.exec_sync("c1", options, std::chrono::seconds(20)));
    EXPECT_EQ(out.stdout_text, "still here\n");
    CO_TRY(co_await log_shows(node, "c1", "n-100\n"));
    CO_TRY(sys::Root::open(node.dir)->write_file("run", "2", 0644));
    CO_TRY(sys::Root::open(node.dir)->write_file("rootfs/tmp/stop", "", 0644));
    die_by_kill();
  }
  CO_TRY_ASSIGN(ContainerState state, co_await node.runtime.wait("c1"));
  EXPECT_EQ(state.exit_code, 42);
  EXPECT_NE(state.finished_at, WallTime{});
  CO_TRY(co_await node.runtime.remove("c1"));
  int expected = 1;
  std::string text = node.read_log("c1");
  for (std::string_view line : split(text, '\n')) {
    if (!line.empty()) { EXPECT_EQ(line, cat("stdout F n-", expected++)); }
  }
  EXPECT_GT(expected, 100);
  co_return Result<>();
}

async::Task<Result<>> run_one(testing_support::NodeCase& node, std::string id, ContainerConfig config) {
  CO_TRY_ASSIGN(auto out, co_await node.run_container(std::move(id), std::move(config)));
  EXPECT_EQ(out.state.exit_code, 0);
  co_return Result<>();
}

// systemctl stop: the supervisor asks the node to stop its pods, waits, and kills what the node did not stop.
MONOPOD_NODE_TEST(Runtime, TermOfTheSupervisorAsksTheNodeToStop) {
  async::Event asked(node.loop.executor());
  node.supervisor.on_terminate([&] { asked.set(); });
  CO_TRY(co_await node.supervisor.notify_ready("ready"));
  CO_TRY(co_await node.supervisor.notify_alive());
  CO_TRY(co_await node.runtime.create("c1", node.config({"sleep", "1000"}), node.stdio("c1")));
  CO_TRY(co_await node.runtime.start("c1"));
  ::kill(::getppid(), SIGTERM);
  CO_TRY(co_await asked.wait());
  node.supervisor.on_terminate({});
  CO_TRY(co_await node.runtime.stop("c1", SIGTERM, std::chrono::milliseconds(10)));
  co_return co_await node.runtime.remove("c1");
}

// Where only the v2 tree is seen (hybrid machines): entry at birth, device rules, freeze and kill work; limits without controllers are warnings.
MONOPOD_NODE_TEST(Runtime, WholeLifeOnV2) {
  if (node.cgroups.mode() != sys::CgroupMode::kV2) {
    std::fprintf(stderr, "SKIPPED: needs a cgroup2 tree at /sys/fs/cgroup/unified\n");
    co_return Result<>();
  }
  ContainerConfig config = node.config({"sh", "-c", "cat /proc/self/cgroup | grep ^0; ls /sys/fs/cgroup | grep -c cgroup.procs; mknod /tmp/d b 254 0; head -c 1 /tmp/d; sleep 1000"});
  config.resources.limits.memory_bytes_max = 64 << 20;
  config.resources.limits.pids_max = 100;
  config.resources.limits.cpu_shares = 100;
  CO_TRY(co_await node.runtime.create("c1", config, node.stdio("c1")));
  CO_TRY(co_await node.runtime.start("c1"));
  CO_TRY(co_await log_shows(node, "c1", "/tmp/d: Operation not permitted"));
  CO_TRY(co_await node.runtime.set_paused("c1", true));
  CO_TRY(co_await node.runtime.set_paused("c1", false));
  ExecOptions options;
  options.args = {"true"};
  CO_TRY_ASSIGN(ExecSyncOutput out, co_await node.runtime.exec_sync("c1", options, std::chrono::seconds(20)));
  EXPECT_EQ(out.exit_code, 0);
  CO_TRY_ASSIGN(ContainerStats stats, co_await node.runtime.stats("c1"));
  EXPECT_GT(stats.cgroup.cpu_usage_ns, 0U);
  CO_TRY(co_await node.runtime.remove("c1"));
  std::string text = node.read_log("c1");
  EXPECT_NE(text.find("stdout F 0::/\nstdout F 1\n"), std::string::npos) << text;
  co_return Result<>();
}

std::size_t descriptors_of(int pid) { return sys::Root::open(cat("/proc/", pid, "/fd"))->read_directory("")->size(); }

// The supervisor is killed with its node: the next one adopts what runs, reads on where the log stopped, and cannot know the exit code.
MONOPOD_NODE_TEST(Runtime, ContainersOutliveTheSupervisor) {
  CO_TRY_ASSIGN(sys::Root dir, sys::Root::open(node.dir));
  if (node.run == 0) {
    CO_TRY(co_await node.runtime.create("c1", node.config({"sh", "-c", "i=0; while [ ! -e /tmp/stop ]; do i=$((i+1)); echo n-$i; usleep 2000; done; exit 42"}), node.stdio("c1")));
    CO_TRY(co_await node.runtime.start("c1"));
    CO_TRY(co_await log_shows(node, "c1", "n-10\n"));
    CO_TRY(dir.write_file("run", "1", 0644));
    CO_TRY(dir.write_file("again", "", 0644));
    ::kill(::getppid(), SIGKILL);
    die_by_kill();
  }
  EXPECT_EQ(node.runtime.state("c1")->status, Status::kRunning);
  CO_TRY(co_await log_shows(node, "c1", "n-100\n"));
  ExecOptions options;
  options.args = {"touch", "/tmp/stop"};
  CO_TRY(co_await node.runtime.exec_sync("c1", options, std::chrono::seconds(20)));
  CO_TRY_ASSIGN(ContainerState state, co_await node.runtime.wait("c1"));
  EXPECT_EQ(state.exit_code, -1);
  CO_TRY(co_await node.runtime.remove("c1"));
  int expected = 1;
  std::string text = node.read_log("c1");
  for (std::string_view line : split(text, '\n')) {
    if (!line.empty()) { EXPECT_EQ(line, cat("stdout F n-", expected++)); }
  }
  EXPECT_GT(expected, 100);
  co_return Result<>();
}

MONOPOD_NODE_TEST(Runtime, DescriptorsOfNodeAndSupervisorDoNotGrow) {
  std::size_t node_before = 0;
  std::size_t supervisor_before = 0;
  for (int i = 0; i < 8; ++i) {
    std::string id = cat("c", i);
    CO_TRY(co_await node.runtime.create(id, node.config({"sleep", "1000"}), node.stdio(id)));
    CO_TRY(co_await node.runtime.start(id));
    ExecOptions options;
    options.args = {"true"};
    CO_TRY(co_await node.runtime.exec_sync(id, options, std::chrono::seconds(20)));
    options.terminal = true;
    CO_TRY_ASSIGN(std::unique_ptr<ExecSession> session, co_await node.runtime.exec(id, options));
    CO_TRY(co_await session->wait());
    CO_TRY(co_await node.runtime.attach(id, true, true, true));
    CO_TRY(co_await node.runtime.remove(id));
    session.reset();
    if (i == 1) {
      node_before = descriptors_of(::getpid());
      supervisor_before = descriptors_of(::getppid());
    }
  }
  CO_TRY(co_await node.supervisor.list());
  EXPECT_EQ(descriptors_of(::getpid()), node_before);
  EXPECT_LE(descriptors_of(::getppid()), supervisor_before + 1) << "one attached client may still be on its way out";
  co_return Result<>();
}

MONOPOD_NODE_TEST(Runtime, ManyAtOnceLeaveNothing) {
  async::Scope scope(node.loop.executor());
  for (int i = 0; i < 20; ++i) {
    ContainerConfig config = node.config({"true"});
    config.cgroup_path = cat(node.group, "/many-", i);
    scope.spawn(run_one(node, cat("m", i), config));
  }
  CO_TRY(co_await scope.join());
  EXPECT_TRUE(node.runtime.list().empty());
  co_return Result<>();
}

}  // namespace
}  // namespace monopod::container
