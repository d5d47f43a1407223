#include "supervisor/output_pump.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <list>
#include <map>
#include <mutex>
#include <thread>

#include "base/log.h"
#include "base/strings.h"
#include "supervisor/cri_log.h"

namespace monopod::supervisor {
namespace {

constexpr std::size_t kReadBytesMax = 64 << 10;          // of one stream in one turn
constexpr std::size_t kDrainBytesMax = 4U << 20;         // of one stream after the exit
constexpr std::size_t kClientPendingBytesMax = 256 << 10;  // then the container waits for the client
constexpr auto kClientStallMax = std::chrono::seconds(10);  // then the client is dropped
constexpr int kTickMs = 1000;

void set_nonblocking(int fd) {
  int flags = ::fcntl(fd, F_GETFL);
  if (flags >= 0) ::fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

bool would_block() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

// Bytes on their way to a descriptor that may not take them yet.
struct Outlet {
  sys::Fd fd;
  std::string pending;
  MonoTime progress{};  // when it last took something, or became busy

  void push(std::string_view bytes, MonoTime now) {
    if (!fd) return;
    if (pending.empty()) progress = now;
    pending += bytes;
    flush(now);
  }
  void flush(MonoTime now) {
    while (fd && !pending.empty()) {
      ssize_t n = ::write(fd.get(), pending.data(), pending.size());
      if (n < 0) {
        if (would_block()) return;
        close();
        return;
      }
      pending.erase(0, static_cast<std::size_t>(n));
      progress = now;
    }
  }
  void close() {
    fd.reset();
    pending.clear();
  }
  bool stalled(MonoTime now) const { return fd && !pending.empty() && now - progress > kClientStallMax; }
};

struct Client {
  sys::Fd input;
  Outlet output;
  Outlet error;
  bool gone() const { return !input && !output.fd && !error.fd; }
  bool busy() const { return output.pending.size() > kClientPendingBytesMax || error.pending.size() > kClientPendingBytesMax; }
};

struct Source {
  explicit Source(std::string_view stream) : cutter(stream) {}
  sys::Fd fd;
  LineCutter cutter;
};

struct Container {
  std::string id;
  StdioOptions stdio;
  LogFile log;
  Source out{"stdout"};
  Source err{"stderr"};
  sys::Fd terminal;  // a second descriptor of out.fd, for input and window size
  Outlet input;
  std::list<Client> clients;
  bool close_input = false;  // once pending input is through
  bool log_failed = false;

  bool client_busy() const {
    for (const Client& client : clients) {
      if (client.busy()) return true;
    }
    return false;
  }
};

}  // namespace

struct OutputPump::Impl {
  std::function<void(const std::string&)> finished;
  RealClock clock;
  sys::Fd wake;
  std::mutex mutex;                            // guards commands and stop
  std::vector<std::function<void()>> commands;  // run on the thread
  bool stop = false;
  std::map<std::string, Container> containers;  // the thread's own, as all below
  std::list<Client> leaving;                    // clients of finished containers, with output still to take
  std::string scratch;
  std::thread thread;

  void post(std::function<void()> command) {
    {
      std::lock_guard lock(mutex);
      commands.push_back(std::move(command));
    }
    std::uint64_t one = 1;
    (void)!::write(wake.get(), &one, sizeof one);
  }

  void join() {
    if (!thread.joinable()) return;
    {
      std::lock_guard lock(mutex);
      stop = true;
    }
    post([] {});
    thread.join();
  }

  void write_log(Container& c, std::string_view entries) {
    if (!c.log || entries.empty()) return;
    Result<> written = c.log.write(entries);
    if (!written && !c.log_failed) log::warn("container log cannot be written, entries are lost", {{"container", c.id}, {"error", written.error()}});
    c.log_failed = !written;
  }

  // One read. False at the end of the stream or when nothing is there.
  bool pump(Container& c, Source& source, bool error_stream) {
    if (!source.fd) return false;
    scratch.resize(kReadBytesMax);
    ssize_t n = ::read(source.fd.get(), scratch.data(), scratch.size());
    if (n < 0 && would_block()) return false;
    if (n <= 0) {
      source.fd.reset();
      return false;
    }
    std::string_view bytes(scratch.data(), static_cast<std::size_t>(n));
    if (c.log) {
      std::string entries;
      entries.reserve(bytes.size() + bytes.size() / 4 + 64);
      source.cutter.feed(bytes, clock.wall(), entries);
      write_log(c, entries);
    }
    MonoTime now = clock.mono();
    for (Client& client : c.clients) (error_stream ? client.error : client.output).push(bytes, now);
    return true;
  }

  void drain(Container& c, Source& source, bool error_stream) {
    for (std::size_t taken = 0; taken < kDrainBytesMax && pump(c, source, error_stream); taken += kReadBytesMax) {
    }
    source.fd.reset();
    std::string entries;
    source.cutter.finish(clock.wall(), entries);
    write_log(c, entries);
  }

  void finish(const std::string& id) {
    auto it = containers.find(id);
    if (it != containers.end()) {
      Container& c = it->second;
      drain(c, c.out, false);
      drain(c, c.err, true);
      for (Client& client : c.clients) client.input.reset();
      leaving.splice(leaving.end(), c.clients);
      containers.erase(it);
    }
    finished(id);
  }

  void read_client(Container& c, Client& client) {
    char buffer[16384];
    ssize_t n = ::read(client.input.get(), buffer, sizeof buffer);
    if (n < 0 && would_block()) return;
    if (n > 0) {
      c.input.push({buffer, static_cast<std::size_t>(n)}, clock.mono());
      return;
    }
    client.input.reset();
    if (c.stdio.stdin_once && !c.stdio.terminal) c.close_input = true;
  }

  void sweep(std::list<Client>& clients, bool drop_when_drained, MonoTime now) {
    for (auto it = clients.begin(); it != clients.end();) {
      if (it->output.stalled(now)) it->output.close();
      if (it->error.stalled(now)) it->error.close();
      if (drop_when_drained) {
        if (it->output.pending.empty()) it->output.close();
        if (it->error.pending.empty()) it->error.close();
      }
      it = it->gone() ? clients.erase(it) : std::next(it);
    }
  }

  void run() {
    sigset_t all;
    sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
    std::vector<struct pollfd> polls;
    std::vector<std::function<void(short)>> handlers;
    for (;;) {
      std::vector<std::function<void()>> now_due;
      {
        std::lock_guard lock(mutex);
        if (stop) return;
        now_due.swap(commands);
      }
      for (auto& command : now_due) command();
      sweep_all();  // before waiting: a client may be done by what the commands did
      polls.assign(1, {wake.get(), POLLIN, 0});
      handlers.assign(1, [this](short) {
        std::uint64_t count;
        (void)!::read(wake.get(), &count, sizeof count);
      });
      bool waiting = collect(polls, handlers);
      int ready = ::poll(polls.data(), polls.size(), waiting ? kTickMs : -1);
      if (ready < 0 && errno != EINTR) log::error("supervisor cannot poll", {{"errno", errno}});
      if (ready > 0 && polls[0].revents != 0) {
        handlers[0](polls[0].revents);
        continue;  // commands first: who was attached before a program began gets its first words
      }
      for (std::size_t i = 0; i < polls.size() && ready > 0; ++i) {
        if (polls[i].revents != 0) handlers[i](polls[i].revents);
      }
    }
  }

  void sweep_all() {
    MonoTime now = clock.mono();
    for (auto& [id, c] : containers) {
      sweep(c.clients, false, now);
      if (c.close_input && c.input.pending.empty()) c.input.close();
    }
    sweep(leaving, true, now);
  }

  // What to wait for this turn; true if there is a deadline among it.
  bool collect(std::vector<struct pollfd>& polls, std::vector<std::function<void(short)>>& handlers) {
    bool waiting = false;
    auto watch = [&](int fd, short events, std::function<void(short)> handler) {
      polls.push_back({fd, events, 0});
      handlers.push_back(std::move(handler));
    };
    auto watch_outlet = [&](Outlet& outlet) {
      if (!outlet.fd) return;
      bool pending = !outlet.pending.empty();
      waiting |= pending;
      watch(outlet.fd.get(), pending ? POLLOUT : 0, [this, &outlet](short events) {
        if ((events & (POLLERR | POLLNVAL)) != 0) outlet.close();
        else outlet.flush(clock.mono());
      });
    };
    for (auto& entry : containers) {
      Container& c = entry.second;
      if (!c.client_busy()) {
        if (c.out.fd) watch(c.out.fd.get(), POLLIN, [this, &c](short) { pump(c, c.out, false); });
        if (c.err.fd) watch(c.err.fd.get(), POLLIN, [this, &c](short) { pump(c, c.err, true); });
      }
      if (c.input.fd && !c.input.pending.empty()) watch(c.input.fd.get(), POLLOUT, [this, &c](short) { c.input.flush(clock.mono()); });
      for (Client& client : c.clients) {
        if (client.input && c.input.pending.empty()) watch(client.input.get(), POLLIN, [this, &c, &client](short) { read_client(c, client); });
        watch_outlet(client.output);
        watch_outlet(client.error);
      }
    }
    for (Client& client : leaving) {
      watch_outlet(client.output);
      watch_outlet(client.error);
    }
    return waiting;
  }
};

OutputPump::OutputPump(std::function<void(const std::string&)> finished) : impl_(std::make_unique<Impl>()) {
  impl_->finished = std::move(finished);
  impl_->wake = sys::Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  impl_->thread = std::thread([impl = impl_.get()] { impl->run(); });
}

OutputPump::~OutputPump() { impl_->join(); }

std::map<std::string, PumpStreams> OutputPump::release() {
  impl_->join();
  for (auto& command : std::exchange(impl_->commands, {})) command();
  std::map<std::string, PumpStreams> out;
  for (auto& [id, c] : impl_->containers) {
    PumpStreams& streams = out[id];
    streams.stdout_rest = c.out.cutter.rest();
    streams.stderr_rest = c.err.cutter.rest();
    streams.input_pending = std::move(c.input.pending);
    if (c.stdio.terminal) {
      streams.terminal = std::move(c.terminal);
    } else {
      streams.stdin_ = std::move(c.input.fd);
      streams.stdout_ = std::move(c.out.fd);
      streams.stderr_ = std::move(c.err.fd);
    }
  }
  impl_->containers.clear();
  return out;
}

Result<> OutputPump::add(const std::string& id, const StdioOptions& stdio, PumpStreams streams) {
  auto c = std::make_shared<Container>();
  c->id = id;
  c->stdio = stdio;
  if (!stdio.log_path.empty()) {
    TRY_ASSIGN(c->log, LogFile::open(stdio.log_path, stdio.log_bytes_max, stdio.log_files_max));
  }
  if (streams.terminal) {
    set_nonblocking(streams.terminal.get());
    TRY_ASSIGN(c->input.fd, streams.terminal.duplicate());
    TRY_ASSIGN(c->terminal, streams.terminal.duplicate());
    c->out.fd = std::move(streams.terminal);
  } else {
    for (sys::Fd* fd : {&streams.stdin_, &streams.stdout_, &streams.stderr_}) {
      if (*fd) set_nonblocking(fd->get());
    }
    c->input.fd = std::move(streams.stdin_);
    c->out.fd = std::move(streams.stdout_);
    c->err.fd = std::move(streams.stderr_);
  }
  c->out.cutter.resume(std::move(streams.stdout_rest));
  c->err.cutter.resume(std::move(streams.stderr_rest));
  c->input.pending = std::move(streams.input_pending);
  impl_->post([impl = impl_.get(), id, c] { impl->containers.insert_or_assign(id, std::move(*c)); });
  return {};
}

void OutputPump::finish(const std::string& id) {
  impl_->post([impl = impl_.get(), id] { impl->finish(id); });
}

void OutputPump::attach(const std::string& id, sys::Fd input, sys::Fd output, sys::Fd error) {
  auto client = std::make_shared<Client>();
  for (sys::Fd* fd : {&input, &output, &error}) {
    if (*fd) set_nonblocking(fd->get());
  }
  client->input = std::move(input);
  client->output.fd = std::move(output);
  client->error.fd = std::move(error);
  impl_->post([impl = impl_.get(), id, client] {
    auto it = impl->containers.find(id);
    if (it == impl->containers.end()) return;  // the process is gone: the client reads end of stream
    if (!it->second.input.fd) client->input.reset();
    it->second.clients.push_back(std::move(*client));
  });
}

Result<> OutputPump::resize(const std::string& id, std::uint16_t columns, std::uint16_t rows) {
  impl_->post([impl = impl_.get(), id, columns, rows] {
    auto it = impl->containers.find(id);
    if (it == impl->containers.end() || !it->second.terminal) return;
    struct winsize size = {rows, columns, 0, 0};
    ::ioctl(it->second.terminal.get(), TIOCSWINSZ, &size);
  });
  return {};
}

Result<> OutputPump::reopen_log(const std::string& id, const StdioOptions& stdio) {
  auto fresh = std::make_shared<LogFile>();
  TRY_ASSIGN(*fresh, LogFile::open(stdio.log_path, stdio.log_bytes_max, stdio.log_files_max));
  impl_->post([impl = impl_.get(), id, fresh] {
    auto it = impl->containers.find(id);
    if (it != impl->containers.end()) it->second.log = std::move(*fresh);
  });
  return {};
}

}  // namespace monopod::supervisor
