// The node process: started, watched, started again.
#include <fcntl.h>

#include "base/log.h"
#include "base/strings.h"
#include "supervisor/server_impl.h"

namespace monopod::supervisor {
namespace {

constexpr auto kStableRun = std::chrono::seconds(60);  // a node that lived this long starts again without delay

}  // namespace

void Server::start_node() {
  Result<> started = [this]() -> Result<> {
    TRY_ASSIGN(sys::SocketPair pair, sys::make_packet_pair());
    sys::SpawnOptions spawn;
    spawn.executable = program_.get();
    spawn.argv = options_.node_argv;
    spawn.env = options_.node_env;
    spawn.fds = {0, 1, 2};
    for (int fd : options_.passed_fds) {
      while (static_cast<int>(spawn.fds.size()) <= fd) spawn.fds.push_back(-1);
      spawn.fds[static_cast<std::size_t>(fd)] = fd;
    }
    spawn.env.push_back(cat("MONOPOD_SUPERVISOR_FD=", spawn.fds.size()));
    spawn.fds.push_back(pair.second.get());
    TRY_ASSIGN(node_, sys::spawn(spawn));
    node_socket_ = std::move(pair.first);
    ::fcntl(node_socket_.get(), F_SETFL, ::fcntl(node_socket_.get(), F_GETFL) | O_NONBLOCK);
    return {};
  }();
  node_started_ = clock_.mono();
  restart_at_.reset();
  if (!started) {
    log::error("the node process cannot be started", {{"error", started.error()}});
    plan_restart();
  }
}

int Server::plan_restart() {
  if (clock_.mono() - node_started_ > kStableRun) delay_ms_ = 0;
  int delay_ms = delay_ms_;
  restart_at_ = clock_.mono() + std::chrono::milliseconds(delay_ms);  // the first time at once, then with back-off
  delay_ms_ = delay_ms_ == 0 ? options_.restart_delay_ms_min : std::min(delay_ms_ * 2, options_.restart_delay_ms_max);
  return delay_ms;
}

void Server::disconnect_node() {
  node_socket_.reset();
  outgoing_.clear();
  for (auto& [id, entry] : table_.all()) {
    entry.waiting.reset();
    entry.forgetting.reset();
  }
  // Nobody reads these any more, and nobody will ask for their status.
  std::vector<std::string> done;
  for (auto& [id, entry] : table_.all()) {
    if (entry.of_one_node && entry.process.state == ProcessState::kExited) done.push_back(id);
  }
  for (const std::string& id : done) table_.erase(id);
}

// An exit code for main when the supervisor is to end.
std::optional<int> Server::on_node_exit(sys::ExitStatus status) {
  disconnect_node();
  node_ = {};
  if (stopping_) return finish(0);
  if (reloading_) return std::nullopt;  // whatever its exit code
  if (status.signal == 0 && (status.code == 0 || status.code == kExitUsage || status.code == kExitData || status.code == kExitConfig)) {
    if (status.code != 0) log::error("the node process gave up: a restart would not mend it", {{"exit_code", status.code}});
    return finish(status.code);
  }
  if (!was_ready_ && status.signal == 0 && table_.all().empty()) return finish(status.code);  // it never worked, and nothing depends on it: the error was told once
  int delay_ms = plan_restart();
  log::warn("the node process ended, it starts again", {{"exit_code", status.code}, {"signal", status.signal}, {"delay_ms", delay_ms}});
  return std::nullopt;
}

}  // namespace monopod::supervisor
