#include "supervisor/server.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <deque>
#include <mutex>

#include "base/log.h"
#include "base/strings.h"
#include "supervisor/init_protocol.h"
#include "supervisor/notify.h"
#include "supervisor/output_pump.h"
#include "supervisor/process_table.h"
#include "sys/packet_socket.h"

namespace monopod::supervisor {
namespace {

constexpr int kExitUsage = 64;   // sysexits.h: what a restart cannot mend
constexpr int kExitData = 65;
constexpr int kExitConfig = 78;
constexpr auto kStableRun = std::chrono::seconds(60);  // a node that lived this long starts again without delay
constexpr int kFinalKillMs = 5000;
constexpr std::size_t kListPartBytesMax = 32 << 10;

class Server {
 public:
  explicit Server(ServerOptions options)
      : options_(std::move(options)),
        table_(options_.run_dir),
        pump_wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        pump_([this](const std::string& id) {
          std::lock_guard lock(pumped_mutex_);
          pumped_.push_back(id);
          std::uint64_t one = 1;
          (void)!::write(pump_wake_.get(), &one, sizeof one);
        }) {}

  Result<int> run() {
    TRY(prepare());
    start_node();
    for (;;) {
      if (auto code = turn()) return *code;
    }
  }

 private:
  Result<> prepare() {
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
    null_ = sys::Fd(::open("/dev/null", O_RDWR | O_CLOEXEC));
    if (!null_) return fail_errno("open /dev/null");
    TRY(table_.load());
    for (auto& [id, entry] : table_.all()) adopt(entry);
    return {};
  }

  // After a lost supervisor: its FIFOs are still held open by the process.
  void adopt(Entry& entry) {
    if (!entry.pidfd) return;
    PumpStreams streams;
    streams.stdout_ = sys::Fd(::open(table_.path(entry, ".out").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW));
    streams.stderr_ = sys::Fd(::open(table_.path(entry, ".err").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW));
    entry.has_output = pump_.add(entry.process.id, entry.stdio, std::move(streams)).has_value();
  }

  // ---- the node process

  void start_node() {
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

  void plan_restart() {
    if (clock_.mono() - node_started_ > kStableRun) delay_ms_ = 0;
    restart_at_ = clock_.mono() + std::chrono::milliseconds(delay_ms_);  // the first time at once, then with back-off
    delay_ms_ = delay_ms_ == 0 ? options_.restart_delay_ms_min : std::min(delay_ms_ * 2, options_.restart_delay_ms_max);
  }

  void disconnect_node() {
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
  std::optional<int> on_node_exit(sys::ExitStatus status) {
    disconnect_node();
    node_ = {};
    if (stopping_) return finish(0);
    if (status.signal == 0 && (status.code == 0 || status.code == kExitUsage || status.code == kExitData || status.code == kExitConfig)) {
      if (status.code != 0) log::error("the node process gave up: a restart would not mend it", {{"exit_code", status.code}});
      return finish(status.code);
    }
    plan_restart();
    log::warn("the node process ended, it starts again", {{"exit_code", status.code}, {"signal", status.signal}, {"delay_ms", delay_ms_}});
    return std::nullopt;
  }

  int finish(int code) {
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

  void stop() {
    if (stopping_) return;
    stopping_ = true;
    notifier_.send("STOPPING=1\nSTATUS=stopping pods");
    kill_at_ = clock_.mono() + std::chrono::milliseconds(options_.stop_timeout_ms);
    if (node_socket_) send(Writer(MessageType::kTerminate, 0).take());
    else if (node_) (void)node_.send_signal(SIGTERM);
  }

  // ---- one turn of the loop

  std::optional<int> turn() {
    if (stopping_ && !node_) return finish(0);
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
    MonoTime now = clock_.mono();
    if (restart_at_ && now >= *restart_at_ && !stopping_) start_node();
    if (stopping_ && node_ && now >= kill_at_) {
      log::warn("the node process does not stop and is killed");
      (void)node_.send_signal(SIGKILL);
      kill_at_ = now + std::chrono::seconds(1);
    }
    return std::nullopt;
  }

  int timeout_ms() const {
    std::optional<MonoTime> due = restart_at_;
    if (stopping_) due = kill_at_;
    if (!due) return -1;
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(*due - clock_.mono()).count();
    return static_cast<int>(std::clamp<std::int64_t>(left + 1, 0, 60'000));
  }

  std::optional<int> on_signals() {
    struct signalfd_siginfo info;
    while (::read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
      if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT) stop();
      if (info.ssi_signo == SIGHUP && node_) (void)node_.send_signal(SIGHUP);
    }
    for (;;) {
      int status = 0;
      pid_t pid = ::waitpid(-1, &status, WNOHANG);
      if (pid <= 0) return std::nullopt;
      sys::ExitStatus exit = WIFSIGNALED(status) ? sys::ExitStatus{128 + WTERMSIG(status), WTERMSIG(status)} : sys::ExitStatus{WEXITSTATUS(status), 0};
      if (node_ && pid == node_.pid()) {
        if (auto code = on_node_exit(exit)) return code;
      } else if (Entry* entry = table_.find_pid(pid)) {
        on_exit(*entry, exit);
      }  // else an orphan that was left to us as subreaper
    }
  }

  // ---- processes

  void on_exit(Entry& entry, sys::ExitStatus status) {
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
    if (entry.has_output) pump_.finish(entry.process.id);
    else completed(entry);
  }

  // Output is in the log: the exit may be told.
  void completed(Entry& entry) {
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

  void on_pumped() {
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

  // One message of the first stage; false once there is none.
  bool on_sync(Entry& entry) {
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

  void on_terminal(Entry& entry, sys::Fd terminal) {
    if (entry.return_terminal) {
      entry.terminal = std::move(terminal);
      return;
    }
    PumpStreams streams;
    streams.terminal = std::move(terminal);
    Result<> added = pump_.add(entry.process.id, entry.stdio, std::move(streams));
    entry.has_output = added.has_value();
    if (!added) log::warn("container output is lost", {{"container", entry.process.id}, {"error", added.error()}});
  }

  // The first stage became the program, or failed.
  void stage_done(Entry& entry, Result<> result) {
    if (entry.hold && entry.ready) {
      // Answer of start(), if it is still waited for. A failed start leaves an exited process with the stage's exit code.
      if (entry.waiting) reply(*std::exchange(entry.waiting, std::nullopt), result);
      return;
    }
    if (!result) entry.failed = true;
    answer_spawn(entry, std::move(result));
  }

  void answer_spawn(Entry& entry, Result<> result) {
    std::vector<int> fds;
    if (result && entry.terminal) fds.push_back(entry.terminal.get());
    std::string body;
    Writer(body).u32(static_cast<std::uint32_t>(entry.process.pid));
    if (entry.waiting) reply(*std::exchange(entry.waiting, std::nullopt), result, body, fds);
    entry.terminal.reset();
  }

  Result<> spawn_process(std::uint32_t request, const SpawnMessage& message, std::vector<sys::Fd> fds) {
    if (message.id.empty()) return fail(Code::kInvalidArgument, "process id is empty");
    if (table_.find(message.id) != nullptr) return fail(Code::kAlreadyExists, cat("process ", message.id, " exists"));
    std::size_t wanted = 1U + (message.has_cgroup ? 1U : 0U) + (message.has_streams ? 3U : 0U);
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
      std::size_t next = 1;
      if (message.has_cgroup) spawn.cgroup_fd = fds[next++].get();
      if (message.has_streams) {
        for (std::size_t i = 0; i < 3; ++i) spawn.fds[i] = fds[next++].get();
      } else if (!message.stdio.terminal) {
        TRY(make_fifos(entry, child_ends, pumped));
        for (std::size_t i = 0; i < 3; ++i) {
          if (child_ends[i]) spawn.fds[i] = child_ends[i].get();
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
        TRY(pump_.add(message.id, message.stdio, std::move(pumped)));
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
      if (entry.has_output) pump_.finish(message.id);
      else table_.erase(message.id);
      return done;
    }
    entry.sync = std::move(sync.first);
    ::fcntl(entry.sync.get(), F_SETFL, ::fcntl(entry.sync.get(), F_GETFL) | O_NONBLOCK);
    return {};
  }

  // The container's side is opened for reading and writing: a reader that dies does not end it by SIGPIPE, and the next one finds the FIFO.
  Result<> make_fifos(const Entry& entry, std::vector<sys::Fd>& child_ends, PumpStreams& pumped) {
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

  Result<int> running_pidfd(const std::string& id) {
    Entry* entry = table_.find(id);
    if (entry == nullptr) return fail(Code::kNotFound, cat("process ", id, " does not exist"));
    if (entry->process.state == ProcessState::kExited) return fail(Code::kFailedPrecondition, cat("process ", id, " is not running"));
    return entry->pidfd.fd();
  }

  // ---- messages

  void send(std::string bytes, const std::vector<int>& fds = {}) {
    if (!node_socket_) return;
    sys::Packet packet{std::move(bytes), {}};
    for (int fd : fds) {
      int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
      if (copy >= 0) packet.fds.emplace_back(copy);
    }
    outgoing_.push_back(std::move(packet));
    flush();
  }

  void flush() {
    while (node_socket_ && !outgoing_.empty()) {
      std::vector<int> numbers;
      for (const sys::Fd& fd : outgoing_.front().fds) numbers.push_back(fd.get());
      Result<> sent = sys::send_packet(node_socket_.get(), outgoing_.front().bytes, numbers);
      if (!sent && (sent.error().os_errno() == EAGAIN || sent.error().os_errno() == EWOULDBLOCK)) return;
      if (!sent) {
        disconnect_node();
        return;
      }
      outgoing_.pop_front();
    }
  }

  void reply(std::uint32_t request, const Result<>& result, std::string_view body = {}, const std::vector<int>& fds = {}) {
    Writer writer(MessageType::kReply, request);
    writer.u16(static_cast<std::uint16_t>(result ? Code::kOk : result.error().code()));
    writer.text(result ? std::string_view() : std::string_view(result.error().message()).substr(0, kErrorBytesMax)).text(body);
    send(writer.take(), fds);
  }

  void on_node() {
    flush();
    while (node_socket_) {
      Result<sys::Packet> packet = sys::receive_packet(node_socket_.get());
      if (!packet && (packet.error().os_errno() == EAGAIN || packet.error().os_errno() == EWOULDBLOCK)) return;
      if (!packet || packet->bytes.empty()) {
        disconnect_node();  // its exit comes by SIGCHLD
        return;
      }
      Reader reader(packet->bytes);
      Header header = read_header(reader);
      if (!reader.ok()) continue;
      on_request(header, reader, std::move(packet->fds));
    }
  }

  void on_request(const Header& header, Reader& reader, std::vector<sys::Fd> fds) {
    auto checked = [&](Result<> result) { reply(header.request, reader.ok() ? result : fail(Code::kInvalidArgument, "message is too short")); };
    switch (header.type) {
      case MessageType::kHello: {
        std::uint16_t newest = reader.u16();
        std::uint16_t oldest = reader.u16();
        if (oldest > kProtocolVersion || newest < kProtocolVersionMin)
          return reply(header.request, fail(Code::kUnimplemented, cat("supervisor speaks protocol ", kProtocolVersion, ", the node ", oldest, " to ", newest)));
        return reply(header.request, {});
      }
      case MessageType::kSpawn: {
        SpawnMessage message = read_spawn(reader);
        if (!reader.ok()) return checked({});
        Result<> spawned = spawn_process(header.request, message, std::move(fds));
        if (!spawned) reply(header.request, spawned);
        return;  // answered when the first stage is done
      }
      case MessageType::kStart: {
        Entry* entry = table_.find(reader.text(kIdBytesMax));
        if (entry == nullptr) return checked(fail(Code::kNotFound, "no such process"));
        if (!entry->sync || !entry->ready || entry->waiting) return checked(fail(Code::kFailedPrecondition, "process does not wait for start"));
        entry->waiting = header.request;
        Result<> sent = sys::send_packet(entry->sync.get(), std::string_view(&kSyncStart, 1));
        if (!sent) {
          entry->waiting.reset();
          checked(sent);
        }
        return;
      }
      case MessageType::kSignal: {
        Entry* entry = table_.find(reader.text(kIdBytesMax));
        int signal = static_cast<int>(reader.u32());
        if (entry == nullptr) return checked(fail(Code::kNotFound, "no such process"));
        if (entry->process.state == ProcessState::kExited) return checked(fail(Code::kFailedPrecondition, "process has ended"));
        return checked(entry->pidfd.send_signal(signal));
      }
      case MessageType::kList:
        return list(header.request);
      case MessageType::kAttach: {
        std::string id = reader.text(kIdBytesMax);
        bool wants[3] = {reader.u8() != 0, reader.u8() != 0, reader.u8() != 0};
        Entry* entry = table_.find(id);
        if (entry == nullptr) return checked(fail(Code::kNotFound, "no such process"));
        if (entry->process.state == ProcessState::kExited || !entry->has_output)
          return checked(fail(Code::kFailedPrecondition, "process has no output to attach to"));
        sys::Fd ends[3];
        std::size_t next = 0;
        for (std::size_t i = 0; i < 3; ++i) {
          if (!wants[i]) continue;
          if (next >= fds.size()) return checked(fail(Code::kInvalidArgument, "descriptors are missing"));
          ends[i] = std::move(fds[next++]);
        }
        pump_.attach(id, std::move(ends[0]), std::move(ends[1]), std::move(ends[2]));
        return checked({});
      }
      case MessageType::kResize: {
        std::string id = reader.text(kIdBytesMax);
        std::uint16_t columns = reader.u16();
        std::uint16_t rows = reader.u16();
        return checked(pump_.resize(id, columns, rows));
      }
      case MessageType::kReopenLog:
        pump_.reopen_log(reader.text(kIdBytesMax));
        return checked({});
      case MessageType::kForget: {
        Entry* entry = table_.find(reader.text(kIdBytesMax));
        if (entry == nullptr) return checked({});
        if (entry->failed && !entry->forgetting) {
          entry->forgetting = header.request;
          return;
        }
        if (entry->process.state != ProcessState::kExited) return checked(fail(Code::kFailedPrecondition, "process still runs"));
        table_.erase(std::string(entry->process.id));
        return checked({});
      }
      case MessageType::kNotifyReady:
        delay_ms_ = 0;  // it works: should it die now, the next one starts at once
        notifier_.send(cat("READY=1\nSTATUS=", reader.text(1024)));
        return checked({});
      case MessageType::kNotifyAlive:
        notifier_.send("WATCHDOG=1");
        return checked({});
      default:
        return reply(header.request, fail(Code::kUnimplemented, cat("message type ", static_cast<int>(header.type))));
    }
  }

  void list(std::uint32_t request) {
    Writer writer(MessageType::kListPart, request);
    std::string part = writer.take();
    std::size_t empty = part.size();
    for (auto& [id, entry] : table_.all()) {
      if (entry.failed) continue;
      Writer more(part);
      write_process(more, entry.process);
      if (part.size() > kListPartBytesMax) {
        send(part);
        part.resize(empty);
      }
    }
    if (part.size() > empty) send(part);
    reply(request, {});
  }

  ServerOptions options_;
  RealClock clock_;
  ServiceNotifier notifier_;
  ProcessTable table_;
  sys::Fd executable_;  // the sealed copy, for first stages: what a container reaches by /proc/self/exe cannot be changed
  sys::Fd program_;     // the file itself, for the node: its pages are shared with ours
  sys::Fd null_;
  sys::Fd signals_;

  sys::Pidfd node_;
  sys::Fd node_socket_;
  std::deque<sys::Packet> outgoing_;
  MonoTime node_started_{};
  int delay_ms_ = 0;
  std::optional<MonoTime> restart_at_;
  bool stopping_ = false;
  MonoTime kill_at_{};

  sys::Fd pump_wake_;
  std::mutex pumped_mutex_;           // guards pumped_, filled by the pump's thread
  std::vector<std::string> pumped_;
  OutputPump pump_;                   // last: its thread ends before the rest goes
};

}  // namespace

int run_server(ServerOptions options) {
  Server server(std::move(options));
  Result<int> code = server.run();
  if (code) return *code;
  log::error("the supervisor cannot run", {{"error", code.error()}});
  return exit_code(code.error().code());
}

}  // namespace monopod::supervisor
