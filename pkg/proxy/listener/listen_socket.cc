#include "proxy/listener/listen_socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/log.h"
#include "proxy/limits.h"
#include "proxy/stream/http_session.h"
#include "proxy/stream/tcp_session.h"

namespace monopod::proxy {

void ListenSocket::on_ready(std::uint32_t) {
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    Address remote;
    remote.size = sizeof remote.storage;
    int fd = ::accept4(fd_.get(), reinterpret_cast<sockaddr*>(&remote.storage), &remote.size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      accept_one(sys::Fd(fd), remote);
      continue;
    }
    if (errno == ECONNABORTED || errno == EINTR) continue;
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      log::warn("out of descriptors or memory: accepting pauses", {{"listener", slot_->current->config->spec.name}, {"errno", errno}});
      slot_->current->stats->overloaded.add();
      worker_.poller().unwatch(fd_.get());
      worker_.wheel().arm(*this, worker_.now_ms() + kAcceptPauseMs);
    }
    return;
  }
}

void ListenSocket::on_timer() {
  if (!fd_) return;
  if (Result<> watched = start(); !watched) worker_.wheel().arm(*this, worker_.now_ms() + kAcceptPauseMs);
}

void ListenSocket::accept_one(sys::Fd fd, const Address& remote) {
  const ListenerRuntime& runtime = *slot_->current;
  runtime.stats->connections_total.add();
  if (slot_->connections >= runtime.config->spec.connections_max || runtime.snapshot->memory->percent(worker_.now_ms()) >= 100) {
    runtime.stats->overloaded.add();
    return;  // closed
  }
  std::optional<Address> original;
  if (runtime.config->spec.intercepts) {
    const ListenerConfig& config = *runtime.config;
    Result<Address> found = config.spec.transparent ? transparent_destination(fd.get(), config.address.port()) : fail(Code::kNotFound, "");
    if (!found) found = original_destination(fd.get());  // the rules are changed behind the listener
    // Somebody connected to the proxy itself: it would go round in a circle.
    if (!found) return log::debug("connection was not redirected", {{"listener", runtime.config->spec.name}, {"peer", remote.format()}, {"why", found.error()}});
    original = *found;
  }
  int one = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  bool http = runtime.config->spec.protocol == ListenerSpec::Protocol::kHttp;
  std::unique_ptr<Downstream> downstream;
  if (http) downstream.reset(new (worker_.blocks()) HttpSession(worker_, slot_, std::move(fd), remote));
  else downstream = std::make_unique<TcpSession>(worker_, slot_, std::move(fd), remote);
  Downstream* owned = downstream.release();  // closes itself, by retire()
  if (original) owned->set_original(*original);
  owned->start();
}

}  // namespace monopod::proxy
