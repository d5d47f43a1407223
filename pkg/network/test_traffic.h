// For tests: blocking TCP and UDP servers and clients on plain threads, each inside a namespace.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <atomic>
#include <chrono>
#include <cstring>

#include "network/test_namespace.h"

namespace monopod::network {

inline sockaddr_in socket_address(const IpAddress& address, std::uint16_t port) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(port);
  out.sin_addr.s_addr = htonl(address.is_set() ? address.v4_host_order() : 0);
  return out;
}

// Says "<name> <client address>\n" to each TCP connection or UDP datagram.
class TestServer {
 public:
  TestServer(const TestNamespace* where, std::string name, std::uint16_t port, Protocol protocol = Protocol::kTcp) : name_(std::move(name)), protocol_(protocol) {
    auto listen = [&]() -> int {
      int fd = ::socket(AF_INET, (protocol == Protocol::kTcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
      const int on = 1;
      ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
      sockaddr_in self = socket_address({}, port);
      EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&self), sizeof self), 0) << std::strerror(errno);
      if (protocol == Protocol::kTcp) EXPECT_EQ(::listen(fd, 128), 0);
      return fd;
    };
    socket_ = sys::Fd(where != nullptr ? where->run(listen) : listen());
    thread_ = std::thread([this] { serve(); });
  }
  ~TestServer() {
    stop_ = true;
    thread_.join();
  }
  TestServer(const TestServer&) = delete;
  TestServer& operator=(const TestServer&) = delete;

 private:
  void serve() {
    while (!stop_) {
      pollfd ready{socket_.get(), POLLIN, 0};
      if (::poll(&ready, 1, 20) <= 0) continue;
      sockaddr_in from{};
      socklen_t size = sizeof from;
      if (protocol_ == Protocol::kTcp) {
        sys::Fd client(::accept4(socket_.get(), reinterpret_cast<sockaddr*>(&from), &size, SOCK_CLOEXEC));
        std::string text = answer(from);
        if (client) [[maybe_unused]] ssize_t sent = ::send(client.get(), text.data(), text.size(), MSG_NOSIGNAL);
      } else {
        std::array<char, 64> buffer{};
        ::recvfrom(socket_.get(), buffer.data(), buffer.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
        std::string text = answer(from);
        ::sendto(socket_.get(), text.data(), text.size(), 0, reinterpret_cast<sockaddr*>(&from), size);
      }
    }
  }
  std::string answer(const sockaddr_in& from) const { return cat(name_, " ", format_ip(IpAddress::v4(ntohl(from.sin_addr.s_addr)))); }

  std::string name_;
  Protocol protocol_;
  sys::Fd socket_;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

// What the server said, or "error: <errno text>". In the calling thread's namespace.
inline std::string ask_here(const IpAddress& to, std::uint16_t port, Protocol protocol = Protocol::kTcp, int limit_ms = 3'000) {
  sys::Fd fd(::socket(AF_INET, (protocol == Protocol::kTcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0));
  const timeval limit{limit_ms / 1'000, (limit_ms % 1'000) * 1'000};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  sockaddr_in peer = socket_address(to, port);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&peer), sizeof peer) != 0) return cat("error: ", std::strerror(errno));
  if (protocol != Protocol::kTcp && ::send(fd.get(), "?", 1, 0) < 0) return cat("error: ", std::strerror(errno));
  std::array<char, 128> buffer{};
  ssize_t got = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
  if (got < 0) return cat("error: ", std::strerror(errno));
  return std::string(buffer.data(), static_cast<std::size_t>(got));
}

inline std::string ask(const TestNamespace& from, const IpAddress& to, std::uint16_t port, Protocol protocol = Protocol::kTcp, int limit_ms = 3'000) {
  return from.run([&] { return ask_here(to, port, protocol, limit_ms); });
}

}  // namespace monopod::network
