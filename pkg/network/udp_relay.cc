#include "network/udp_relay.h"

#include <sys/socket.h>

#include "sys/stream.h"

namespace monopod::network {

using async::Task;

Task<Result<>> UdpRelay::run() {
  co_return co_await async::run_scoped([this](async::Scope& scope) { return receive(scope); });
}

Task<Result<>> UdpRelay::receive(async::Scope& scope) {
  for (;;) {  // forever: until cancelled
    CO_TRY(co_await sys::wait_readable(socket_));
    sockaddr_storage from{};
    socklen_t bytes = sizeof from;
    ssize_t n = ::recvfrom(socket_, buffer_.data(), buffer_.size(), 0, reinterpret_cast<sockaddr*>(&from), &bytes);
    if (n >= 0) pass(scope, std::string(reinterpret_cast<const char*>(&from), bytes), std::span(buffer_).first(static_cast<std::size_t>(n)));
  }
}

void UdpRelay::pass(async::Scope& scope, std::string from, std::span<const std::byte> datagram) {
  auto found = senders_.find(from);
  if (found == senders_.end()) {
    if (senders_.size() >= kUdpSendersMax) return;
    const auto* to = reinterpret_cast<const sockaddr*>(to_.data());
    sys::Fd fd(::socket(to->sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd || ::connect(fd.get(), to, static_cast<socklen_t>(to_.size())) != 0) return;
    found = senders_.emplace(from, Sender{.address = from, .container = std::move(fd), .heard = time_.mono()}).first;
    scope.spawn(answer(found->second));
  }
  found->second.heard = time_.mono();
  (void)::send(found->second.container.get(), datagram.data(), datagram.size(), MSG_NOSIGNAL);  // a full queue, or nobody there: a datagram is lost
}

Task<Result<>> UdpRelay::answer(Sender& sender) {
  for (;;) {  // until it is idle
    Duration left = sender.heard + kUdpIdleMax - time_.mono();
    if (left <= Duration::zero()) break;
    auto ready = co_await async::with_timeout(time_, left, "udp", sys::wait_readable(sender.container.get()));
    if (!ready && ready.error().code() == Code::kDeadlineExceeded) continue;
    CO_TRY(ready);
    ssize_t n = ::recv(sender.container.get(), buffer_.data(), buffer_.size(), 0);
    if (n < 0) continue;  // nobody listens there: the next datagram may be heard
    sender.heard = time_.mono();
    (void)::sendto(socket_, buffer_.data(), static_cast<std::size_t>(n), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(sender.address.data()), static_cast<socklen_t>(sender.address.size()));
  }
  senders_.erase(std::string(sender.address));
  co_return Result<>();
}

}  // namespace monopod::network
