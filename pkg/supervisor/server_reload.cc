// Reload and upgrade: this program is replaced in place by the file of its name, which may be a newer one. Same process id, same children;
// containers and their logs notice nothing. Each step can still be taken back:
//
//   SIGHUP -> the new program checks options and host (a child) -> the node makes room -> execve
//                  | refuses: nothing happened                                             | fails: the node starts again
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/strings.h"
#include "supervisor/server_impl.h"

namespace monopod::supervisor {
namespace {

constexpr auto kCheckMax = std::chrono::seconds(10);
constexpr auto kDetachMax = std::chrono::seconds(5);

std::vector<std::string> own_environment() {
  std::vector<std::string> out;
  for (char** e = environ; *e != nullptr; ++e) out.emplace_back(*e);
  return out;
}

std::vector<char*> c_strings(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (std::string& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

}  // namespace

void Server::begin_reload() {
  if (stopping_ || reloading_ || check_) return;
  Result<> started = [this]() -> Result<> {
    if (options_.argv.empty()) return fail(Code::kFailedPrecondition, "started without its own command line");
    next_program_ = sys::Fd(::open(program_path_.c_str(), O_RDONLY | O_CLOEXEC));
    if (!next_program_) return fail_errno(cat("open ", program_path_));
    sys::SpawnOptions spawn;
    spawn.executable = next_program_.get();
    spawn.argv = options_.argv;
    spawn.argv.emplace_back("--check");
    spawn.env = own_environment();
    spawn.fds = {null_.get(), 1, 2};
    TRY_ASSIGN(check_, sys::spawn(spawn));
    return {};
  }();
  check_until_ = clock_.mono() + kCheckMax;
  if (!started) log::error("reload refused: the program cannot be started", {{"error", started.error()}});
}

void Server::on_checked(sys::ExitStatus status) {
  check_ = {};
  if (stopping_) return;
  if (status.code != 0) {
    log::error("reload refused by the new program: everything goes on with the old one", {{"program", program_path_}, {"exit_code", status.code}});
    return;
  }
  log::info("reload: the new program takes over", {{"program", program_path_}});
  auto now = std::chrono::duration_cast<std::chrono::microseconds>(clock_.mono().time_since_epoch()).count();
  notifier_.send(cat("RELOADING=1\nMONOTONIC_USEC=", now, "\nSTATUS=reloading"));
  reloading_ = true;
  restart_at_.reset();
  kill_at_ = clock_.mono() + kDetachMax;
  if (node_socket_) send(Writer(MessageType::kDetach, 0).take());
  else if (node_) (void)node_.send_signal(SIGKILL);
}

// The node is gone. Returns only where the new program cannot be executed.
void Server::replace() {
  reloading_ = false;
  std::map<std::string, PumpStreams> streams = pump_->release();
  on_pumped();
  Handover handed{.processes = {}, .kept = std::move(kept_)};
  for (auto& [id, entry] : table_.all()) {
    HandedProcess p;
    p.entry = std::move(entry);
    auto found = streams.find(id);
    p.entry.has_output = found != streams.end();
    if (found != streams.end()) p.streams = std::move(found->second);
    handed.processes.push_back(std::move(p));
  }
  table_.all().clear();
  Result<> done = execute(handed);
  log::error("reload failed: the new program cannot be executed", {{"program", program_path_}, {"error", done.error()}});
  retract_handover(handed);
  pump_ = make_pump();
  take_over(std::move(handed));
  start_node();
}

Result<> Server::execute(const Handover& handed) {
  TRY_ASSIGN(sys::Fd file, write_handover(handed));
  std::vector<std::string> argv = options_.argv;
  std::vector<std::string> env = own_environment();
  env.push_back(cat(kHandoverVariable, "=", file.get()));
  if (!notifier_.address().empty()) env.push_back(cat("NOTIFY_SOCKET=", notifier_.address()));
  if (!options_.passed_fds.empty()) {
    env.push_back(cat("LISTEN_FDS=", options_.passed_fds.size()));
    env.push_back(cat("LISTEN_PID=", ::getpid()));
  }
  // Blocked signals and those that wait stay as they are: the new program finds them.
  ::syscall(SYS_execveat, next_program_.get(), "", c_strings(argv).data(), c_strings(env).data(), AT_EMPTY_PATH);
  return fail_errno("execute");
}

// Processes of the program before this one, or ours again after all.
void Server::take_over(Handover handed) {
  kept_ = std::move(handed.kept);
  for (HandedProcess& p : handed.processes) {
    Entry& entry = table_.add(std::move(p.entry));
    const std::string& id = entry.process.id;
    bool exited = entry.process.state == ProcessState::kExited;
    if (!exited && !entry.pidfd) {
      Result<sys::Pidfd> opened = sys::Pidfd::open(entry.process.pid);
      if (opened) entry.pidfd = std::move(*opened);
      else log::error("a container process cannot be watched", {{"process", id}, {"error", opened.error()}});
    }
    if (!entry.has_output) continue;
    Result<> added = pump_->add(id, entry.stdio, std::move(p.streams));
    entry.has_output = added.has_value();
    if (!added) log::warn("container output is lost", {{"container", id}, {"error", added.error()}});
    if (!exited) continue;
    if (added) pump_->finish(id);
    else completed(entry);
  }
}

}  // namespace monopod::supervisor
