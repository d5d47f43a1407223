#include "container/oci/console.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "sys/root.h"

namespace monopod::container::oci {

Foreground::~Foreground() {
  if (saved_) ::tcsetattr(0, TCSANOW, &*saved_);
}

Result<> Foreground::prepare() {
  sigset_t set;
  sigfillset(&set);
  for (int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS}) sigdelset(&set, number);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  signals_ = sys::Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) return fail_errno("watch signals");
  return {};
}

Result<> Foreground::take_terminal(sys::Fd master) {
  master_ = std::move(master);
  input_open_ = true;
  struct termios now = {};
  if (::tcgetattr(0, &now) < 0) return {};  // not a terminal: bytes go through as they are
  saved_ = now;
  ::cfmakeraw(&now);
  if (::tcsetattr(0, TCSANOW, &now) < 0) return fail_errno("set terminal");
  resize();
  return {};
}

void Foreground::resize() {
  struct winsize size = {};
  if (master_ && ::ioctl(0, TIOCGWINSZ, &size) == 0) ::ioctl(master_.get(), TIOCSWINSZ, &size);
}

void Foreground::on_signal(const sys::Pidfd& process) {
  struct signalfd_siginfo info = {};
  while (::read(signals_.get(), &info, sizeof info) == sizeof info) {
    int number = static_cast<int>(info.ssi_signo);
    if (number == SIGCHLD || number == SIGURG || number == SIGPIPE) continue;
    if (number == SIGWINCH && master_) resize();
    else (void)process.send_signal(number);
  }
}

// False at the end.
bool Foreground::copy(int from, int to) {
  std::array<char, 16384> buffer;
  ssize_t n = ::read(from, buffer.data(), buffer.size());
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return true;
  if (n <= 0) return false;
  return sys::write_all(to, std::string_view(buffer.data(), static_cast<std::size_t>(n))).has_value();
}

Result<int> Foreground::wait(const sys::Pidfd& process) {
  std::optional<sys::ExitStatus> ended;
  while (!ended || master_) {
    std::array<struct pollfd, 4> fds = {{{signals_.get(), POLLIN, 0},
                                         {ended ? -1 : process.fd(), POLLIN, 0},
                                         {master_ ? master_.get() : -1, POLLIN, 0},
                                         {input_open_ ? 0 : -1, POLLIN, 0}}};
    // After the end only what the terminal still holds.
    int n = ::poll(fds.data(), fds.size(), ended ? 0 : -1);
    if (n < 0 && errno != EINTR) return fail_errno("wait for the process");
    if (n == 0 && ended) break;
    if (n <= 0) continue;
    if (fds[0].revents != 0) on_signal(process);
    if (fds[2].revents != 0 && !copy(master_.get(), 1)) {
      master_.reset();
      input_open_ = false;
    }
    if (fds[3].revents != 0 && master_ && !copy(0, master_.get())) input_open_ = false;
    if (fds[1].revents != 0) {
      TRY_ASSIGN(ended, process.try_reap());
    }
  }
  while (::waitpid(-1, nullptr, WNOHANG) > 0) {
  }
  return ended->code;
}

}  // namespace monopod::container::oci
