#include "cmd/engine/rootless.h"

#include <fcntl.h>
#include <grp.h>
#include <net/if.h>
#include <poll.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "base/log.h"
#include "base/strings.h"
#include "cmd/command.h"
#include "sys/namespaces.h"
#include "sys/packet_socket.h"
#include "sys/root.h"
#include "sys/world_socket.h"

namespace monopod::cmd {
namespace {

constexpr std::size_t kSubIdsBytesMax = 1U << 20;

// name:first:count, the first line that is ours (subuid(5)).
std::optional<sys::IdMap> sub_ids(const char* file, const std::string& name, unsigned id) {
  auto text = sys::read_host_file(file, kSubIdsBytesMax);
  if (!text) return std::nullopt;
  for (std::string_view line : split(*text, '\n')) {
    auto fields = split(trim(line), ':');
    if (fields.size() != 3 || (fields[0] != name && fields[0] != cat(id))) continue;
    auto first = parse_int<std::uint32_t>(fields[1]), count = parse_int<std::uint32_t>(fields[2]);
    if (first && count && *count > 0) return sys::IdMap{.inside = 1, .outside = *first, .size = *count};
  }
  return std::nullopt;
}

// The user's name by /etc/passwd; a static binary asks no other service.
std::string own_name(unsigned id) {
  auto text = sys::read_host_file("/etc/passwd", kSubIdsBytesMax);
  if (!text) return "";
  for (std::string_view line : split(*text, '\n')) {
    auto fields = split(line, ':');
    if (fields.size() > 2 && fields[2] == cat(id)) return std::string(fields[0]);
  }
  return "";
}

Result<> map_ids(pid_t child) {
  unsigned uid = ::geteuid(), gid = ::getegid();
  std::string name = own_name(uid);
  std::vector<sys::IdMap> uids{{0, uid, 1}}, gids{{0, gid, 1}};
  auto more_uids = sub_ids("/etc/subuid", name, uid), more_gids = sub_ids("/etc/subgid", name, uid);
  if (more_uids && more_gids) {
    std::vector<sys::IdMap> all_uids = uids, all_gids = gids;
    all_uids.push_back(*more_uids);
    all_gids.push_back(*more_gids);
    Result<> mapped = sys::write_id_maps(child, all_uids, all_gids);
    if (mapped) return mapped;
    log::warn("the ids of /etc/subuid and /etc/subgid cannot be used", {{"error", mapped.error()}});
  }
  log::warn("this user has one id alone: images with files of several owners, and programs that change their user, do not work",
            {{"advice", "install newuidmap (Debian: uidmap), and give the user ids: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 NAME"}});
  return sys::write_id_maps(child, uids, gids);
}

Result<> bring_loopback_up() {
  sys::Fd any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::memcpy(request.ifr_name, "lo", sizeof "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (!any || ::ioctl(any.get(), SIOCSIFFLAGS, &request) != 0) return fail_errno("bring lo up");
  return {};
}

// The child: in new namespaces once go is readable; does not return.
[[noreturn]] void become_inside(int ready, int go, int broker, const std::vector<std::string>& argv) {
  auto give_up = [](const Error& error) {
    (void)report(Error(error.code(), cat("run the engine without root: ", error.message())));
    ::_exit(1);
  };
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET) != 0) give_up(errno_error(errno, "make namespaces (is kernel.unprivileged_userns_clone or user.max_user_namespaces 0?)"));
  char byte = 0;
  if (::write(ready, "x", 1) != 1 || ::read(go, &byte, 1) != 1) ::_exit(1);  // the parent has said why
  if (::setresgid(0, 0, 0) != 0 || ::setresuid(0, 0, 0) != 0) give_up(errno_error(errno, "become root inside"));
  (void)::setgroups(0, nullptr);  // denied where only our own group is mapped
  if (::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) give_up(errno_error(errno, "make mounts private"));
  if (Result<> up = bring_loopback_up(); !up) give_up(up.error());
  if (::dup2(broker, kSocketBrokerFd) != kSocketBrokerFd) give_up(errno_error(errno, "keep the socket broker"));
  if (broker == kSocketBrokerFd) ::fcntl(broker, F_SETFD, 0);
  ::setenv(kRootlessVariable, "1", 1);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);  // a change of credentials forgets it
  std::vector<char*> words;
  for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  ::execv("/proc/self/exe", words.data());
  give_up(errno_error(errno, "execute ourselves"));
  ::_exit(1);
}

// A way from the child's network namespace out, by slirp4netns where it is installed; it ends with the descriptor it is given.
pid_t start_uplink(pid_t child, int end) {
  std::string fd = std::to_string(end), target = std::to_string(child);
  std::string words[] = {"slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback", "--exit-fd", fd, target, "tap0"};
  char* argv[std::size(words) + 1] = {};
  for (std::size_t i = 0; i < std::size(words); ++i) argv[i] = words[i].data();
  pid_t pid = -1;
  return ::posix_spawnp(&pid, "slirp4netns", nullptr, nullptr, argv, environ) == 0 ? pid : -1;
}

int wait_for(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// Serves sockets and passes signals on until the child has ended.
int stay_outside(pid_t child, int broker, int signals) {
  pollfd watched[] = {{broker, POLLIN, 0}, {signals, POLLIN, 0}};
  for (;;) {  // forever: until the child has ended
    if (::poll(watched, 2, -1) < 0 && errno != EINTR) return report(errno_error(errno, "poll"));
    if (watched[0].revents != 0) {
      auto served = sys::serve_world_socket(broker);
      if (!served || !*served) watched[0].fd = -1;
    }
    signalfd_siginfo info{};
    if (watched[1].revents == 0 || ::read(signals, &info, sizeof info) != sizeof info) continue;
    if (info.ssi_signo != SIGCHLD) {
      ::kill(child, static_cast<int>(info.ssi_signo));
      continue;
    }
    int status = 0;
    for (pid_t gone; (gone = ::waitpid(-1, &status, WNOHANG)) > 0;) {
      if (gone == child) return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      log::warn("slirp4netns has ended: containers do not reach the world any more");
    }
  }
}

}  // namespace

bool rootless() { return std::getenv(kRootlessVariable) != nullptr; }

int run_rootless(const std::vector<std::string>& argv) {
  auto pair = sys::make_packet_pair();
  int ready[2], go[2], uplink[2];
  if (!pair || ::pipe2(ready, O_CLOEXEC) != 0 || ::pipe2(go, O_CLOEXEC) != 0 || ::pipe2(uplink, O_CLOEXEC) != 0) return report(errno_error(errno, "make pipes"));
  sys::Fd ready_read(ready[0]), ready_write(ready[1]), go_read(go[0]), go_write(go[1]), uplink_read(uplink[0]), uplink_write(uplink[1]);
  sigset_t set, old;
  sigemptyset(&set);
  for (int number : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) sigaddset(&set, number);
  ::sigprocmask(SIG_BLOCK, &set, &old);
  sys::Fd signals(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  pid_t child = ::fork();
  if (child < 0) return report(errno_error(errno, "fork"));
  if (child == 0) {
    ::sigprocmask(SIG_SETMASK, &old, nullptr);
    become_inside(ready_write.get(), go_read.get(), pair->second.get(), argv);
  }
  pair->second.reset();
  ready_write.reset();
  char byte = 0;
  if (::read(ready_read.get(), &byte, 1) != 1) return wait_for(child);  // it has said why
  if (Result<> mapped = map_ids(child); !mapped) {
    go_write.reset();
    wait_for(child);
    return report(mapped);
  }
  ::fcntl(uplink_read.get(), F_SETFD, 0);
  if (start_uplink(child, uplink_read.get()) < 0) log::warn("slirp4netns is not installed: containers do not reach the world (images are pulled, and published ports answer, without it)");
  uplink_read.reset();
  if (::write(go_write.get(), "x", 1) != 1) return report(errno_error(errno, "let the engine go on"));
  return stay_outside(child, pair->first.get(), signals.get());
}

}  // namespace monopod::cmd
