#include "proxy/stream/joined.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>

#include "proxy/limits.h"

namespace monopod::proxy {
namespace {

constexpr std::size_t kHeldBytesMax = 1U << 20;

// What the kernel's tcp_info has behind what libc knows of it (linux/tcp.h).
struct Info {
  struct tcp_info known;
  std::uint64_t pacing_rate, max_pacing_rate, bytes_acked, bytes_received;
};
static_assert(offsetof(Info, bytes_acked) == 120);

Info read_info(int fd) {
  Info info = {};
  socklen_t size = sizeof info;
  ::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size);
  return info;
}

// All that was ever written to the socket, and a constant. What is acknowledged between the two looks is missing: never too much.
std::uint64_t written(int fd) {
  std::uint64_t acked = read_info(fd).bytes_acked;
  int waiting = 0;
  ::ioctl(fd, SIOCOUTQ, &waiting);
  return acked + static_cast<std::uint64_t>(waiting);
}

// The same exactly, of a socket that nobody writes now.
std::uint64_t written_at_rest(int fd) {
  std::uint64_t out = 0;
  for (int look = 0; look < 3; ++look) out = std::max(out, written(fd));
  return out;
}

// A reset, or a time-out. EPIPE is none: the kernel reports it to a socket that was to pass an end on.
bool has_failed(const Socket& socket) {
  if (!socket.peer_lost()) return false;
  int error = 0;
  socklen_t size = sizeof error;
  return ::getsockopt(socket.fd(), SOL_SOCKET, SO_ERROR, &error, &size) != 0 || (error != 0 && error != EPIPE);
}

// We have not ended it, and it is over.
bool is_dead(const Socket& socket) { return socket.peer_lost() && read_info(socket.fd()).known.tcpi_state == TCP_CLOSE; }

}  // namespace

Result<std::unique_ptr<Joined>> Joined::make(Sockmap& map, Socket& first, Socket& second, Consumed consumed, JoinUser& user) {
  std::unique_ptr<Joined> out(new Joined(first, second, consumed));
  out->up_.base = written_at_rest(second.fd());
  out->down_.base = written_at_rest(first.fd());
  TRY_ASSIGN(out->join_, map.join(first.fd(), second.fd(), user));
  if (!out->join_) return nullptr;
  out->up_.shared = &out->join_->up();
  out->down_.shared = &out->join_->down();
  return out;
}

std::uint64_t Joined::Way::left() const {
  if (ended) return all;  // our own end counts as a byte as well
  std::uint64_t now = written(to.fd());
  return now > base ? now - base : 0;
}

// Bytes that left give room for as many.
void Joined::Way::grant() {
  std::uint64_t gone = left(), own = shared->done;
  shared->limit = std::max<std::uint64_t>(shared->limit, (gone > own ? gone - own : 0) + kJoinBytesAhead);
}

// True: all of it. It stays in the socket until it is written, so that the window stays closed, and the program goes on with the first segment behind it.
bool Joined::Way::write_held() {
  while (at < held.size()) {
    ssize_t n = ::send(to.fd(), held.data() + at, held.size() - at, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n <= 0) return false;
    at += static_cast<std::size_t>(n);
  }
  grant();
  shared->done += held.size();
  for (std::size_t gone = 0; gone < held.size();) {
    ssize_t n = ::recv(from.fd(), held.data() + gone, held.size() - gone, MSG_DONTWAIT);
    if (n <= 0) break;
    gone += static_cast<std::size_t>(n);
  }
  at = 0;
  held.clear();
  return true;
}

Joined::Outcome Joined::Way::bring_over() {
  while (shared->passed != shared->done) {
    if (held.empty()) {
      if (left() < shared->sent + shared->done) return Outcome::kTick;  // the kernel has something to write yet that comes before
      held.resize(std::min<std::size_t>(shared->passed - shared->done, kHeldBytesMax));
      ssize_t n = ::recv(from.fd(), held.data(), held.size(), MSG_PEEK | MSG_DONTWAIT);
      held.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
      if (held.empty()) return Outcome::kTick;
    }
    if (!write_held()) return Outcome::kTick;
  }
  held.shrink_to_fit();
  return Outcome::kWaiting;
}

Joined::Outcome Joined::Way::step() {
  if (ended) return Outcome::kEnded;
  if (has_failed(from) || has_failed(to) || is_dead(to)) return Outcome::kFailed;
  if (bring_over() == Outcome::kTick) return Outcome::kTick;
  grant();
  if (!from.peer_ended()) return Outcome::kWaiting;
  // The end counts as a byte that was received.
  all = left();
  if (read_info(from.fd()).bytes_received - 1 - consumed != all) return Outcome::kTick;
  to.shutdown_write();
  ended = true;
  return Outcome::kEnded;
}

Joined::Outcome Joined::step() {
  Outcome up = up_.step(), down = down_.step();
  if (up == Outcome::kFailed || down == Outcome::kFailed) return Outcome::kFailed;
  if (up == Outcome::kEnded && down == Outcome::kEnded) return Outcome::kEnded;
  // Cut from our side: what comes down has nowhere to go.
  if (up_.ended && !down_.ended && up_.from.peer_lost()) return Outcome::kFailed;
  return up == Outcome::kTick || down == Outcome::kTick ? Outcome::kTick : Outcome::kWaiting;
}

}  // namespace monopod::proxy
