// Container processes: their first stage, their output, their end.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/log.h"
#include "base/strings.h"
#include "supervisor/init_protocol.h"
#include "supervisor/server_impl.h"

namespace monopod::supervisor {

// After a lost supervisor: its FIFOs are still held open by the process.
void Server::adopt(Entry& entry) {
  if (!entry.pidfd) return;
  PumpStreams streams;
  streams.stdout_ = sys::Fd(::open(table_.path(entry, ".out").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW));
  streams.stderr_ = sys::Fd(::open(table_.path(entry, ".err").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW));
  entry.has_output = pump_->add(entry.process.id, entry.stdio, std::move(streams)).has_value();
}

Result<> Server::spawn_process(std::uint32_t request, const SpawnMessage& message, std::vector<sys::Fd> fds) {
  if (message.id.empty()) return fail(Code::kInvalidArgument, "process id is empty");
  if (table_.find(message.id) != nullptr) return fail(Code::kAlreadyExists, cat("process ", message.id, " exists"));
  std::size_t wanted = 1U + (message.has_cgroup ? 1U : 0U) + (message.has_streams ? 3U : 0U) + (message.has_user_namespace ? 1U : 0U);
  if (fds.size() < wanted) return fail(Code::kInvalidArgument, "descriptors are missing");
  TRY_ASSIGN(sys::SocketPair sync, sys::make_packet_pair());

  Entry draft;
  draft.process.id = message.id;
  draft.stdio = message.stdio;
  draft.hold = message.hold;
  draft.return_terminal = message.return_terminal;
  draft.of_one_node = message.has_streams || message.return_terminal;
  draft.waiting = request;
  Entry& entry = table_.add(std::move(draft));

  Result<> done = [&]() -> Result<> {
    sys::SpawnOptions spawn;
    PumpStreams pumped;
    std::vector<sys::Fd> child_ends;
    spawn.fds = {null_.get(), null_.get(), null_.get(), fds[0].get(), sync.second.get()};
    sys::Fd user_namespace;
    if (message.has_user_namespace) {
      user_namespace = std::move(fds.back());
      fds.pop_back();
      spawn.user_namespace_fd = user_namespace.get();
      spawn.become_root = true;
    }
    std::size_t next = 1;
    if (message.has_cgroup) spawn.cgroup_fd = fds[next++].get();
    if (message.has_streams) {
      for (std::size_t i = 0; i < 3; ++i) spawn.fds[i] = fds[next++].get();
    } else if (!message.stdio.terminal) {
      TRY(make_fifos(entry, child_ends, pumped));
      for (std::size_t i = 0; i < 3; ++i) {
        if (!child_ends[i]) continue;
        spawn.fds[i] = child_ends[i].get();
        // So that it can open them again by /dev/stdout.
        if (message.has_user_namespace && ::fchown(child_ends[i].get(), message.output_owner, message.output_group) < 0) return fail_errno("give away output");
      }
    }
    if (!message.pass_pidfd_of.empty()) {
      TRY_ASSIGN(int pidfd, running_pidfd(message.pass_pidfd_of));
      spawn.fds.push_back(pidfd);
    }
    for (; next < fds.size(); ++next) spawn.fds.push_back(fds[next].get());
    if (!message.pid_namespace_of.empty()) {
      TRY_ASSIGN(spawn.pid_namespace_fd, running_pidfd(message.pid_namespace_of));
    }
    spawn.executable = executable_.get();
    spawn.argv = options_.init_argv;
    spawn.clone_flags = message.clone_flags;
    // The log is opened before anything runs: a wrong path is the caller's error.
    if (pumped.stdout_) {
      TRY(pump_->add(message.id, message.stdio, std::move(pumped)));
      entry.has_output = true;
    }
    TRY_ASSIGN(entry.pidfd, sys::spawn(spawn));
    entry.process.pid = entry.pidfd.pid();
    return {};
  }();
  if (!done) {
    entry.failed = true;
    entry.waiting.reset();
    entry.process.state = ProcessState::kExited;
    if (entry.has_output) pump_->finish(message.id);
    else table_.erase(message.id);
    return done;
  }
  entry.sync = std::move(sync.first);
  ::fcntl(entry.sync.get(), F_SETFL, ::fcntl(entry.sync.get(), F_GETFL) | O_NONBLOCK);
  return {};
}

// The container's side is opened for reading and writing: a reader that dies does not end it by SIGPIPE, and the next one finds the FIFO.
Result<> Server::make_fifos(const Entry& entry, std::vector<sys::Fd>& child_ends, PumpStreams& pumped) {
  child_ends.resize(3);
  auto make = [&](const char* suffix, sys::Fd& child, int child_flags, sys::Fd& ours, int our_flags) -> Result<> {
    std::string path = table_.path(entry, suffix);
    ::unlink(path.c_str());
    if (::mkfifo(path.c_str(), 0600) < 0) return fail_errno(cat("make ", path));
    ours = sys::Fd(::open(path.c_str(), our_flags | O_CLOEXEC | O_NOFOLLOW));
    if (!ours) return fail_errno(cat("open ", path));
    child = sys::Fd(::open(path.c_str(), child_flags | O_CLOEXEC | O_NOFOLLOW));
    if (!child) return fail_errno(cat("open ", path));
    return {};
  };
  if (entry.stdio.stdin_open) {
    // Ours first for both, so that the container's end opens at once; then a pure write end, so that closing it is end of file for the container.
    sys::Fd both;
    TRY(make(".in", child_ends[0], O_RDONLY, both, O_RDWR));
    pumped.stdin_ = sys::Fd(::open(table_.path(entry, ".in").c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!pumped.stdin_) return fail_errno("open standard input");
  }
  TRY(make(".out", child_ends[1], O_RDWR, pumped.stdout_, O_RDONLY | O_NONBLOCK));
  return make(".err", child_ends[2], O_RDWR, pumped.stderr_, O_RDONLY | O_NONBLOCK);
}

Result<int> Server::running_pidfd(const std::string& id) {
  Entry* entry = table_.find(id);
  if (entry == nullptr) return fail(Code::kNotFound, cat("process ", id, " does not exist"));
  if (entry->process.state == ProcessState::kExited) return fail(Code::kFailedPrecondition, cat("process ", id, " is not running"));
  return entry->pidfd.fd();
}

// One message of the first stage; false once there is none.
bool Server::on_sync(Entry& entry) {
  Result<sys::Packet> packet = sys::receive_packet(entry.sync.get(), 8192);
  if (!packet && (packet.error().os_errno() == EAGAIN || packet.error().os_errno() == EWOULDBLOCK)) return false;
  if (!packet || packet->bytes.empty()) {
    entry.sync.reset();
    if (entry.about_to_exec) {
      entry.process.state = ProcessState::kRunning;
      entry.process.started_at = clock_.wall();
      stage_done(entry, {});
      if (!entry.of_one_node) table_.save(entry);
    } else {
      stage_done(entry, fail(Code::kInternal, cat("the first stage of ", entry.process.id, " ended unexpectedly")));
    }
    return false;
  }
  switch (packet->bytes[0]) {
    case kSyncTerminal:
      if (!packet->fds.empty()) on_terminal(entry, std::move(packet->fds[0]));
      break;
    case kSyncReady:
      entry.ready = true;
      if (entry.hold) answer_spawn(entry, {});
      break;
    case kSyncExec:
      entry.about_to_exec = true;
      break;
    case kSyncError: {
      entry.sync.reset();
      entry.about_to_exec = false;
      int code = packet->bytes.size() > 1 ? static_cast<unsigned char>(packet->bytes[1]) : 128;
      std::string text = packet->bytes.substr(std::min<std::size_t>(2, packet->bytes.size()));
      stage_done(entry, fail(code == 127 ? Code::kNotFound : code == 126 ? Code::kPermissionDenied : Code::kInternal, std::move(text)));
      return false;
    }
    default:
      break;
  }
  return true;
}

void Server::on_terminal(Entry& entry, sys::Fd terminal) {
  if (entry.return_terminal) {
    entry.terminal = std::move(terminal);
    return;
  }
  PumpStreams streams;
  streams.terminal = std::move(terminal);
  Result<> added = pump_->add(entry.process.id, entry.stdio, std::move(streams));
  entry.has_output = added.has_value();
  if (!added) log::warn("container output is lost", {{"container", entry.process.id}, {"error", added.error()}});
}

// The first stage became the program, or failed.
void Server::stage_done(Entry& entry, Result<> result) {
  if (entry.hold && entry.ready) {
    // Answer of start(), if it is still waited for. A failed start leaves an exited process with the stage's exit code.
    std::string body;
    Writer(body).u64(static_cast<std::uint64_t>(entry.process.started_at.time_since_epoch().count()));
    if (entry.waiting) reply(*std::exchange(entry.waiting, std::nullopt), result, body, {});
    return;
  }
  if (!result) entry.failed = true;
  answer_spawn(entry, std::move(result));
}

void Server::answer_spawn(Entry& entry, Result<> result) {
  std::vector<int> fds;
  if (result && entry.terminal) fds.push_back(entry.terminal.get());
  std::string body;
  Writer(body).u32(static_cast<std::uint32_t>(entry.process.pid));
  if (entry.waiting) reply(*std::exchange(entry.waiting, std::nullopt), result, body, fds);
  entry.terminal.reset();
}

void Server::on_exit(Entry& entry, sys::ExitStatus status) {
  while (entry.sync) {
    if (!on_sync(entry)) break;
  }
  if (entry.sync) {
    entry.sync.reset();
    stage_done(entry, fail(Code::kInternal, cat("the first stage of ", entry.process.id, " ended unexpectedly")));
  }
  entry.process.state = ProcessState::kExited;
  entry.process.exit_code = status.code;
  entry.process.signal = status.signal;
  entry.process.finished_at = clock_.wall();
  if (entry.has_output) pump_->finish(entry.process.id);
  else completed(entry);
}

// Output is in the log: the exit may be told.
void Server::completed(Entry& entry) {
  std::string id = entry.process.id;
  if (entry.failed || (entry.of_one_node && !node_socket_)) {
    std::optional<std::uint32_t> forgetting = entry.forgetting;
    table_.erase(id);
    if (forgetting) reply(*forgetting, {});
    return;
  }
  Writer writer(MessageType::kExit, 0);
  write_process(writer, entry.process);
  if (entry.of_one_node) table_.erase(id);  // told once; nothing to remember
  else table_.save(entry);
  send(writer.take());
}

void Server::on_pumped() {
  std::uint64_t count;
  (void)!::read(pump_wake_.get(), &count, sizeof count);
  std::vector<std::string> ids;
  {
    std::lock_guard lock(pumped_mutex_);
    ids.swap(pumped_);
  }
  for (const std::string& id : ids) {
    if (Entry* entry = table_.find(id); entry != nullptr && entry->process.state == ProcessState::kExited) completed(*entry);
  }
}

}  // namespace monopod::supervisor
