#include "network/port_proxy.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

#include "base/log.h"
#include "base/strings.h"
#include "network/udp_relay.h"
#include "sys/stream.h"
#include "sys/world_socket.h"

namespace monopod::network {
namespace {

constexpr std::uint16_t kFirstPort = 32768;  // as Docker's, the kernel's first ephemeral one
constexpr std::uint16_t kLastPort = 60999;
constexpr int kBacklog = 128;
constexpr std::size_t kConnectionsMax = 512;  // of one container

struct Address {
  sockaddr_storage storage{};
  socklen_t bytes = 0;
};

Address address_of(const IpAddress& ip, std::uint16_t port) {
  Address out;
  if (ip.is_v6()) {
    auto* to = reinterpret_cast<sockaddr_in6*>(&out.storage);
    to->sin6_family = AF_INET6;
    to->sin6_port = htons(port);
    std::memcpy(&to->sin6_addr, ip.bytes().data(), 16);
    out.bytes = sizeof *to;
  } else {
    auto* to = reinterpret_cast<sockaddr_in*>(&out.storage);
    to->sin_family = AF_INET;
    to->sin_port = htons(port);
    if (ip.is_set()) to->sin_addr.s_addr = htonl(ip.v4_host_order());
    out.bytes = sizeof *to;
  }
  return out;
}

Result<sys::Fd> listen_on(const IpAddress& ip, std::uint16_t port, bool tcp) {
  TRY_ASSIGN(sys::Fd fd, sys::make_world_socket(ip.is_v6() ? AF_INET6 : AF_INET, tcp ? SOCK_STREAM : SOCK_DGRAM));
  int one = 1;
  if (tcp) (void)::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  Address at = address_of(ip, port);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&at.storage), at.bytes) != 0) return fail_errno("bind");
  if (tcp && ::listen(fd.get(), kBacklog) != 0) return fail_errno("listen");
  return fd;
}

async::Task<Result<>> copy(async::Stream& from, async::Stream& to) {
  std::array<std::byte, 16384> buffer;
  for (;;) {
    CO_TRY_ASSIGN(std::size_t n, co_await from.read_some(buffer));
    if (n == 0) break;
    CO_TRY(co_await to.write_all(std::span(buffer).first(n)));
  }
  co_return co_await to.shutdown_write();
}

}  // namespace

Result<> PortProxy::bind(std::vector<HostPort>& ports) {
  for (HostPort& p : ports) {
    bool tcp = p.protocol == Protocol::kTcp;
    bool any = p.host_port == 0;
    if (p.protocol == Protocol::kSctp) continue;
    for (std::uint16_t port = any ? kFirstPort : p.host_port;; ++port) {
      auto made = listen_on(p.host_ip, port, tcp);
      if (made) {
        p.host_port = port;
        listeners_.push_back({std::move(*made), p.container_port, tcp});
        break;
      }
      bool taken = made.error().os_errno() == EADDRINUSE;
      if (taken && any && port < kLastPort) continue;
      std::string where = cat(p.host_ip.is_set() ? format_ip(p.host_ip) : "0.0.0.0", ":", port);
      if (taken) return fail(Code::kInternal, cat("Bind for ", where, " failed: port is already allocated"));
      return fail(std::move(made).error().with(cat("Error starting userland proxy: listen ", tcp ? "tcp " : "udp ", where)));
    }
  }
  return {};
}

void PortProxy::start(const std::string& ip) {
  for (Listener& l : listeners_) scope_.spawn(l.tcp ? accept(l.socket.get(), ip, l.container_port) : relay(l.socket.get(), ip, l.container_port));
}

async::Task<Result<>> PortProxy::relay(int socket, std::string ip, std::uint16_t port) {
  auto to = parse_ip(ip);
  if (!to) co_return Result<>();
  Address at = address_of(*to, port);
  auto datagrams = std::make_unique<UdpRelay>(time_, socket, std::string(reinterpret_cast<const char*>(&at.storage), at.bytes));
  co_return co_await datagrams->run();
}

async::Task<Result<>> PortProxy::accept(int socket, std::string ip, std::uint16_t port) {
  for (;;) {  // forever: until stopped
    CO_TRY(co_await sys::wait_readable(socket));
    sys::Fd client(::accept4(socket, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!client || scope_.live() > kConnectionsMax) continue;
    scope_.spawn(pass(std::move(client), ip, port));
  }
}

async::Task<Result<>> PortProxy::pass(sys::Fd client, std::string ip, std::uint16_t port) {
  auto to = parse_ip(ip);
  sys::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!to || !fd) co_return Result<>();
  Address at = address_of(*to, port);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&at.storage), at.bytes) != 0 && errno != EINPROGRESS) co_return Result<>();
  auto there = sys::make_stream(executor_, std::move(fd));
  auto here = sys::make_stream(executor_, std::move(client));
  // The first write waits until the connection stands, or fails with it.
  async::Scope both(executor_);
  both.spawn(copy(*here, *there));
  both.spawn(copy(*there, *here));
  (void)co_await both.join();
  co_return Result<>();
}

async::Task<> PortProxy::stop() {
  scope_.cancel();
  (void)co_await scope_.join();
  listeners_.clear();
}

}  // namespace monopod::network
