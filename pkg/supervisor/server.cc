#include "supervisor/server.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/strings.h"
#include "supervisor/server_impl.h"

namespace monopod::supervisor {
namespace {

constexpr int kFinalKillMs = 5000;

}  // namespace

Server::Server(ServerOptions options)
    : options_(std::move(options)), table_(options_.run_dir), pump_wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

std::unique_ptr<OutputPump> Server::make_pump() {
  return std::make_unique<OutputPump>([this](const std::string& id) {
    std::lock_guard lock(pumped_mutex_);
    pumped_.push_back(id);
    std::uint64_t one = 1;
    (void)!::write(pump_wake_.get(), &one, sizeof one);
  });
}

Result<int> Server::run() {
  TRY(prepare());
  start_node();
  for (;;) {
    if (auto code = turn()) return *code;
  }
}

Result<> Server::prepare() {
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0) return fail_errno("become child subreaper");
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t set;
  sigemptyset(&set);
  for (int number : {SIGCHLD, SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, number);
  if (::sigprocmask(SIG_BLOCK, &set, nullptr) < 0) return fail_errno("block signals");
  signals_ = sys::Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) return fail_errno("make signal descriptor");
  TRY_ASSIGN(executable_, sys::sealed_self_executable());
  program_ = sys::Fd(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  if (!program_) return fail_errno("open own executable");
  char path[4096] = {};
  if (::readlink("/proc/self/exe", path, sizeof path - 1) > 0) program_path_ = path;
  null_ = sys::Fd(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null_) return fail_errno("open /dev/null");
  pump_ = make_pump();
  if (std::optional<sys::Fd> handover = inherited_handover()) {
    Result<Handover> handed = read_handover(std::move(*handover));
    if (handed) {
      take_over(std::move(*handed));
      return {};
    }
    log::error("what the program before this one left cannot be read, its records are used", {{"error", handed.error()}});
  }
  TRY(table_.load());
  for (auto& [id, entry] : table_.all()) adopt(entry);
  return {};
}

std::optional<int> Server::turn() {
  if (stopping_ && !node_) return finish(0);
  if (reloading_ && !node_) replace();
  std::vector<struct pollfd> polls = {{signals_.get(), POLLIN, 0}, {pump_wake_.get(), POLLIN, 0}};
  polls.push_back({node_socket_ ? node_socket_.get() : -1, static_cast<short>(POLLIN | (outgoing_.empty() ? 0 : POLLOUT)), 0});
  std::vector<std::string> ids;  // from polls[3] on
  for (auto& [id, entry] : table_.all()) {
    if (entry.sync || (entry.adopted && entry.pidfd && entry.process.state != ProcessState::kExited)) {
      polls.push_back({entry.sync ? entry.sync.get() : entry.pidfd.fd(), POLLIN, 0});
      ids.push_back(id);
    }
  }
  ::poll(polls.data(), polls.size(), timeout_ms());
  if (polls[1].revents != 0) on_pumped();
  for (std::size_t i = 0; i < ids.size(); ++i) {
    Entry* entry = table_.find(ids[i]);
    if (entry == nullptr || polls[i + 3].revents == 0) continue;
    if (entry->sync) on_sync(*entry);
    else on_exit(*entry, {-1, 0});
  }
  if (polls[0].revents != 0) {
    if (auto code = on_signals()) return code;
  }
  if (polls[2].revents != 0 && node_socket_) on_node();
  check_deadlines();
  return std::nullopt;
}

void Server::check_deadlines() {
  MonoTime now = clock_.mono();
  if (restart_at_ && now >= *restart_at_ && !stopping_ && !reloading_) start_node();
  if ((stopping_ || reloading_) && node_ && now >= kill_at_) {
    log::warn("the node process does not stop and is killed");
    (void)node_.send_signal(SIGKILL);
    kill_at_ = now + std::chrono::seconds(1);
  }
  if (check_ && now >= check_until_) {
    (void)check_.send_signal(SIGKILL);  // its end is told by SIGCHLD
    check_until_ = now + std::chrono::seconds(1);
  }
}

int Server::timeout_ms() const {
  std::optional<MonoTime> due = restart_at_;
  if (stopping_ || reloading_) due = kill_at_;
  if (check_ && (!due || check_until_ < *due)) due = check_until_;
  if (!due) return -1;
  auto left = std::chrono::duration_cast<std::chrono::milliseconds>(*due - clock_.mono()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left + 1, 0, 60'000));
}

std::optional<int> Server::on_signals() {
  struct signalfd_siginfo info;
  while (::read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT) stop();
    if (info.ssi_signo == SIGHUP) begin_reload();
  }
  for (;;) {
    int status = 0;
    pid_t pid = ::waitpid(-1, &status, WNOHANG);
    if (pid <= 0) return std::nullopt;
    sys::ExitStatus exit = WIFSIGNALED(status) ? sys::ExitStatus{128 + WTERMSIG(status), WTERMSIG(status)} : sys::ExitStatus{WEXITSTATUS(status), 0};
    if (node_ && pid == node_.pid()) {
      if (auto code = on_node_exit(exit)) return code;
    } else if (check_ && pid == check_.pid()) {
      on_checked(exit);
    } else if (Entry* entry = table_.find_pid(pid)) {
      on_exit(*entry, exit);
    }  // else an orphan that was left to us as subreaper
  }
}

void Server::stop() {
  if (stopping_) return;
  stopping_ = true;
  reloading_ = false;
  notifier_.send("STOPPING=1\nSTATUS=stopping pods");
  kill_at_ = clock_.mono() + std::chrono::milliseconds(options_.stop_timeout_ms);
  if (node_socket_) send(Writer(MessageType::kTerminate, 0).take());
  else if (node_) (void)node_.send_signal(SIGTERM);
}

int Server::finish(int code) {
  notifier_.send("STOPPING=1");
  if (!stopping_) return code;
  for (auto& [id, entry] : table_.all()) {
    if (entry.process.state == ProcessState::kExited) continue;
    log::warn("a container process outlived its node and is killed", {{"process", id}});
    (void)entry.pidfd.send_signal(SIGKILL);
  }
  MonoTime deadline = clock_.mono() + std::chrono::milliseconds(kFinalKillMs);
  for (auto& [id, entry] : table_.all()) {
    while (entry.process.state != ProcessState::kExited && !entry.pidfd.exited() && clock_.mono() < deadline) {
      struct pollfd wait = {entry.pidfd.fd(), POLLIN, 0};
      ::poll(&wait, 1, 100);
    }
  }
  std::vector<std::string> ids;
  for (auto& [id, entry] : table_.all()) ids.push_back(id);
  for (const std::string& id : ids) table_.erase(id);
  return code;
}

int run_server(ServerOptions options) {
  Server server(std::move(options));
  Result<int> code = server.run();
  if (code) return *code;
  log::error("the supervisor cannot run", {{"error", code.error()}});
  return exit_code(code.error().code());
}

}  // namespace monopod::supervisor
