// User namespaces: their maps, and one without a process.
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sched.h>
#include <sys/syscall.h>
#include <linux/sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "base/strings.h"
#include "sys/namespaces.h"
#include "sys/process.h"
#include "sys/root.h"

namespace monopod::sys {
namespace {

std::string format_map(const std::vector<IdMap>& map) {
  std::string out;
  for (const IdMap& line : map) out += cat(line.inside, " ", line.outside, " ", line.size, "\n");
  return out;
}

// The set-user-id helpers of shadow-utils know what /etc/subuid gives the caller.
Result<> run_helper(const char* program, pid_t pid, const std::vector<IdMap>& map) {
  std::vector<std::string> words = {program, cat(pid)};
  for (const IdMap& line : map) {
    for (std::uint32_t number : {line.inside, line.outside, line.size}) words.push_back(cat(number));
  }
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t child = -1;
  if (int error = ::posix_spawnp(&child, program, nullptr, nullptr, argv.data(), environ); error != 0) return fail(errno_error(error, cat("run ", program)));
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (status != 0) return fail(Code::kPermissionDenied, cat(program, " refuses the map"));
  return {};
}

}  // namespace

bool in_initial_user_namespace() {
  static const bool initial = [] {
    auto map = read_host_file("/proc/self/uid_map");
    return !map || trim(*map).ends_with("4294967295");
  }();
  return initial;
}

bool has_group_id(unsigned id) {
  auto map = read_host_file("/proc/self/gid_map");
  if (!map) return true;
  for (std::string_view line : split(*map, '\n')) {
    std::vector<std::uint64_t> numbers;
    for (std::string_view word : split(line, ' '))
      if (auto n = parse_int<std::uint64_t>(word)) numbers.push_back(*n);
    if (numbers.size() == 3 && id >= numbers[0] && id < numbers[0] + numbers[2]) return true;
  }
  return false;
}

bool may_set_groups() {
  static const bool may = [] {
    auto text = read_host_file("/proc/self/setgroups");
    return !text || trim(*text) != "deny";
  }();
  return may;
}

Result<> write_id_maps(pid_t pid, const std::vector<IdMap>& uids, const std::vector<IdMap>& gids) {
  Result<> groups = write_host_file(cat("/proc/", pid, "/gid_map"), format_map(gids));
  if (!groups && groups.error().code() == Code::kPermissionDenied) {
    if (gids.size() == 1 && gids[0].size == 1 && gids[0].outside == ::getegid()) {
      // Our own group alone, at the price of setgroups(2) (user_namespaces(7)).
      TRY(write_host_file(cat("/proc/", pid, "/setgroups"), "deny"));
      groups = write_host_file(cat("/proc/", pid, "/gid_map"), format_map(gids));
    } else {
      groups = run_helper("newgidmap", pid, gids);
    }
  }
  if (!groups) return fail(std::move(groups).error().with("group id maps"));
  Result<> users = write_host_file(cat("/proc/", pid, "/uid_map"), format_map(uids));
  if (!users && users.error().code() == Code::kPermissionDenied && !(uids.size() == 1 && uids[0].size == 1 && uids[0].outside == ::geteuid()))
    users = run_helper("newuidmap", pid, uids);
  if (!users) return fail(std::move(users).error().with("user id maps"));
  return {};
}

Result<Fd> make_user_namespace(const std::vector<IdMap>& uids, const std::vector<IdMap>& gids) {
  TRY_ASSIGN(std::vector<Fd> made, make_mapped_namespaces(0, {uids, gids}, {"user"}));
  return std::move(made[0]);
}

Result<std::vector<Fd>> make_mapped_namespaces(int flags, const IdMaps& maps, const std::vector<const char*>& names) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return fail_errno("make pipe");
  Fd wait(ends[0]);
  Fd hold(ends[1]);
  int pidfd = -1;
  struct clone_args args = {};
  args.flags = static_cast<std::uint64_t>(flags) | CLONE_NEWUSER | CLONE_PIDFD;
  args.pidfd = reinterpret_cast<std::uintptr_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  long pid = ::syscall(SYS_clone3, &args, sizeof args);
  if (pid == 0) {
    // Ends with the last holder of the pipe, whoever that is.
    ::close(ends[1]);
    char byte;
    while (::read(ends[0], &byte, 1) < 0 && errno == EINTR) {
    }
    ::_exit(0);
  }
  if (pid < 0) return fail_errno("make user namespace");
  Pidfd child(static_cast<pid_t>(pid), Fd(pidfd));
  Result<> done = write_id_maps(child.pid(), maps.uids, maps.gids);
  std::vector<Fd> out;
  for (std::size_t i = 0; done && i < names.size(); ++i) {
    Result<Fd> fd = open_namespace(cat("/proc/", child.pid(), "/ns/", names[i]));
    if (fd) out.push_back(std::move(*fd));
    else done = fail(std::move(fd).error());
  }
  (void)child.send_signal(SIGKILL);
  (void)child.reap();
  if (!done) return fail(std::move(done).error());
  return out;
}

}  // namespace monopod::sys
