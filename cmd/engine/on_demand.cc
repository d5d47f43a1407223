#include "cmd/engine/on_demand.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "base/strings.h"
#include "cmd/engine/engine.h"
#include "sys/fd.h"
#include "sys/files.h"
#include "sys/root.h"

namespace monopod::cmd {
namespace {

constexpr const char* kLeavesAfter = "10s";  // MONOPOD_ENGINE_LEAVE_AFTER wins
constexpr std::chrono::milliseconds kLook{10};
constexpr std::chrono::seconds kComesUp{30};

std::string last_line(const std::string& path) {
  auto text = sys::read_host_file(path, 64U << 20);
  if (!text) return "";
  std::string_view rest = trim(*text);
  return std::string(rest.substr(rest.rfind('\n') == std::string_view::npos ? 0 : rest.rfind('\n') + 1));
}

// A session of its own, standard input from nowhere, output into the log. Its signals are as at a login, whatever ours are.
Result<pid_t> spawn_engine(const std::string& socket, const std::string& log) {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&files);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, 1, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&files, 1, 2);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
  const char* own = std::getenv("MONOPOD_ENGINE_LEAVE_AFTER");
  std::string words[] = {"monopod", "engine", "--docker-socket", socket, "--cri-socket", "", "--leave-after", own != nullptr ? own : kLeavesAfter};
  char* argv[std::size(words) + 1] = {};
  for (std::size_t i = 0; i < std::size(words); ++i) argv[i] = words[i].data();
  pid_t pid = -1;
  int failed = ::posix_spawn(&pid, "/proc/self/exe", &files, &attributes, argv, environ);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  if (failed != 0) return fail(errno_error(failed, "start an engine"));
  return pid;
}

}  // namespace

bool engine_listens(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return true;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  sys::Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  return !probe || ::connect(probe.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 || (errno != ENOENT && errno != ECONNREFUSED);
}

Result<> ensure_engine(const std::string& socket) {
  const char* wanted = std::getenv("MONOPOD_ENGINE_AUTOSTART");
  if ((wanted != nullptr && std::strcmp(wanted, "0") == 0) || engine_listens(socket)) return {};
  const char* own = std::getenv("MONOPOD_ENGINE_RUN_DIR");
  std::string run_dir = own != nullptr ? own : EngineCommand().run_dir, log = run_dir + "/engine.log";
  TRY(sys::make_directories(run_dir, 0700));
  TRY_ASSIGN(pid_t pid, spawn_engine(socket, log));
  // Another command may be starting one too: whoever listens first serves both.
  for (auto waited = std::chrono::milliseconds(0); waited < kComesUp; waited += kLook) {
    if (engine_listens(socket)) return {};
    if (::waitpid(pid, nullptr, WNOHANG) == pid && !engine_listens(socket)) return fail(Code::kUnavailable, cat("no engine answers at ", socket, ", and one that was started has ended: ", last_line(log)));
    std::this_thread::sleep_for(kLook);
  }
  return fail(Code::kUnavailable, cat("no engine answers at ", socket, ", and one that was started does not come up: ", log, " may say why"));
}

}  // namespace monopod::cmd
