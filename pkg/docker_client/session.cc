#include "docker_client/session.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <optional>

#include "async/broken_pipe.h"
#include "base/strings.h"
#include "sys/root.h"
#include "sys/stream.h"

namespace monopod::docker_client {
namespace {

using async::Task;

constexpr int kPassedOn[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGCONT, SIGWINCH};

sigset_t passed_on() {
  sigset_t set;
  sigemptyset(&set);
  for (int number : kPassedOn) sigaddset(&set, number);
  return set;
}

class RawTerminal {
 public:
  RawTerminal() {
    struct termios now {};
    if (::tcgetattr(0, &now) != 0) return;
    saved_ = now;
    ::cfmakeraw(&now);
    ::tcsetattr(0, TCSANOW, &now);
  }
  ~RawTerminal() {
    if (saved_) ::tcsetattr(0, TCSANOW, &*saved_);
  }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

 private:
  std::optional<struct termios> saved_;
};

// What is typed next: empty at the end of input, nullopt when stop is readable. Blocks; for a thread of the pool.
std::optional<std::string> read_input(int stop) {
  struct pollfd fds[] = {{0, POLLIN, 0}, {stop, POLLIN, 0}};
  while (::poll(fds, 2, -1) < 0 && errno == EINTR) {
  }
  if (fds[1].revents != 0) return std::nullopt;
  std::string buffer(16384, '\0');
  ssize_t n = ::read(0, buffer.data(), buffer.size());
  buffer.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return buffer;
}

class Session {
 public:
  Session(EngineClient& client, async::Stream& stream, SessionOptions options, std::string keys)
      : client_(client), stream_(stream), options_(std::move(options)), keys_(std::move(keys)), stop_(::eventfd(0, EFD_CLOEXEC)) {
    sigset_t set = passed_on();
    signals_ = sys::Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  }

  Task<Result<>> run(async::Scope& scope) {
    if (options_.tty && !options_.resize_path.empty()) scope.spawn(tell_size());
    if (options_.input) scope.spawn(pump_input(scope));
    scope.spawn(pass_signals(scope));
    Result<> ended = co_await pump_output();
    leave(scope);
    co_return ended;
  }
  SessionEnd end{};

 private:
  void leave(async::Scope& scope) {
    std::uint64_t one = 1;
    (void)!::write(stop_.get(), &one, sizeof one);
    stream_.close();
    scope.cancel();
  }

  Task<Result<>> pump_output() {
    FrameReader frames;
    std::array<std::byte, 16384> buffer;
    for (;;) {  // forever: the program decides
      Result<std::size_t> n = co_await stream_.read_some(buffer);
      if (!n || *n == 0) co_return Result<>();
      std::string_view bytes = as_text(std::span(buffer).first(*n));
      if (options_.tty) CO_TRY(sys::write_all(1, bytes));
      else CO_TRY(frames.feed(bytes, [](int stream, std::string_view piece) { return sys::write_all(stream == 2 ? 2 : 1, piece); }));
    }
  }

  Task<Result<>> pump_input(async::Scope& scope) {
    for (;;) {  // forever: who types decides
      std::optional<std::string> typed = co_await client_.pool().run([stop = stop_.get()] { return read_input(stop); });
      if (!typed) co_return Result<>();
      if (typed->empty()) {
        (void)co_await stream_.shutdown_write();
        co_return Result<>();
      }
      if (options_.tty) {
        typed = keys_.feed(*typed);
        if (!typed) {
          end.detached = true;
          leave(scope);
          co_return Result<>();
        }
      }
      if (!typed->empty() && !co_await stream_.write_all(as_bytes(*typed))) co_return Result<>();  // it reads no more
    }
  }

  Task<Result<>> tell_size() {
    struct winsize size {};
    if (::ioctl(1, TIOCGWINSZ, &size) != 0 && ::ioctl(0, TIOCGWINSZ, &size) != 0) co_return Result<>();
    if (size.ws_row == 0 || size.ws_col == 0) co_return Result<>();
    // It may not run yet, or no more: then there is nothing to size.
    for (int tries = 0; tries < 10; ++tries) {
      if (co_await client_.send("POST", cat(options_.resize_path, "?h=", size.ws_row, "&w=", size.ws_col))) break;
      CO_TRY(co_await client_.time().sleep_for(std::chrono::milliseconds(30)));
    }
    co_return Result<>();
  }

  Task<Result<>> pass_signals(async::Scope& scope) {
    for (;;) {  // forever: signals come when they come
      CO_TRY(co_await sys::wait_readable(signals_.get()));
      struct signalfd_siginfo info {};
      if (::read(signals_.get(), &info, sizeof info) != sizeof info) continue;
      int number = static_cast<int>(info.ssi_signo);
      if (number == SIGWINCH) {
        if (options_.tty && !options_.resize_path.empty()) CO_TRY(co_await tell_size());
      } else if (!options_.kill_path.empty()) {
        (void)co_await client_.send("POST", cat(options_.kill_path, "?signal=", number));
      } else if (number != SIGCONT && number != SIGALRM) {
        end.signal = number;
        leave(scope);
        co_return Result<>();
      }
    }
  }

  EngineClient& client_;
  async::Stream& stream_;
  SessionOptions options_;
  DetachKeys keys_;
  sys::Fd stop_;
  sys::Fd signals_;
};

}  // namespace

void hold_signals() {
  sigset_t set = passed_on();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  async::ignore_broken_pipes();
}

Task<Result<SessionEnd>> run_session(EngineClient& client, async::Stream& stream, SessionOptions options) {
  CO_TRY_ASSIGN(std::string keys, parse_detach_keys(options.detach_keys.empty() ? "ctrl-p,ctrl-q" : options.detach_keys));
  std::optional<RawTerminal> raw;
  if (options.tty && options.input) raw.emplace();
  Session session(client, stream, std::move(options), std::move(keys));
  Session* s = &session;
  Result<> ended = co_await async::run_scoped([s](async::Scope& scope) { return s->run(scope); });
  if (!ended && ended.error().code() != Code::kCancelled) co_return fail(ended.error());
  co_return session.end;
}

Result<std::string> parse_detach_keys(std::string_view text) {
  std::string out;
  for (std::string_view key : split(text, ',')) {
    std::string lower = to_lower(key);
    std::string_view control = lower;
    if (key.size() == 1) {
      out += key[0];
      continue;
    }
    if (!control.starts_with("ctrl-") || control.size() != 6) return fail(Code::kInvalidArgument, cat("invalid detach keys \"", text, "\": want letters and ctrl-X, with commas between"));
    char c = control[5];
    static constexpr std::string_view kOthers = "@abcdefghijklmnopqrstuvwxyz[\\]^_";
    std::size_t code = kOthers.find(c);
    if (code == std::string_view::npos) return fail(Code::kInvalidArgument, cat("invalid detach keys \"", text, "\": want letters and ctrl-X, with commas between"));
    out += static_cast<char>(code);
  }
  return out;
}

Result<> FrameReader::feed(std::string_view bytes, const std::function<Result<>(int, std::string_view)>& take) {
  while (!bytes.empty()) {
    if (left_ == 0) {
      std::size_t n = std::min(bytes.size(), 8 - head_.size());
      head_ += bytes.substr(0, n);
      bytes.remove_prefix(n);
      if (head_.size() < 8) return {};
      stream_ = head_[0];
      for (std::size_t i = 4; i < 8; ++i) left_ = left_ << 8U | static_cast<unsigned char>(head_[i]);
      head_.clear();
      if (stream_ < 0 || stream_ > 2) return fail(Code::kDataLoss, "the engine's output is not in frames");
      continue;
    }
    std::string_view piece = bytes.substr(0, left_);
    TRY(take(stream_, piece));
    left_ -= piece.size();
    bytes.remove_prefix(piece.size());
  }
  return {};
}

std::optional<std::string> DetachKeys::feed(std::string_view typed) {
  std::string out;
  for (char c : typed) {
    if (c == keys_[matched_]) {
      if (++matched_ == keys_.size()) return std::nullopt;
      continue;
    }
    out += keys_.substr(0, matched_);
    matched_ = c == keys_[0] && keys_.size() > 1 ? 1 : 0;
    if (matched_ == 0) out += c;
  }
  return out;
}

}  // namespace monopod::docker_client
