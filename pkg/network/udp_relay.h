// Datagrams to a socket of this host, passed on to a container's port and answered from there: each sender has a socket of its own towards the
// container, kept until nothing was said for a while.
#pragma once

#include <array>
#include <map>
#include <string>

#include "async/scope.h"
#include "async/time.h"
#include "sys/fd.h"

namespace monopod::network {

inline constexpr std::size_t kUdpSendersMax = 256;  // of one port; datagrams of more are dropped
inline constexpr std::chrono::seconds kUdpIdleMax{90};

class UdpRelay {
 public:
  // socket: bound, not blocking; it and time outlive this. to: the container's sockaddr, as its bytes.
  UdpRelay(async::Time& time, int socket, std::string to) : time_(time), socket_(socket), to_(std::move(to)) {}

  // Until it is cancelled; what goes wrong with one datagram is the end of that one.
  async::Task<Result<>> run();

 private:
  struct Sender {
    std::string address;  // its sockaddr
    sys::Fd container;    // connected to the container's port
    MonoTime heard{};     // either side
  };
  async::Task<Result<>> receive(async::Scope& scope);
  void pass(async::Scope& scope, std::string from, std::span<const std::byte> datagram);
  async::Task<Result<>> answer(Sender& sender);

  async::Time& time_;
  int socket_;
  std::string to_;
  std::map<std::string, Sender> senders_;  // by address
  std::array<std::byte, 65536> buffer_;
};

}  // namespace monopod::network
