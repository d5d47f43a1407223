// Published ports where the kernel's rules do not reach: loopback addresses. Each published port is also a socket of this process, so that nobody
// else takes it, and what comes to it (from this host) is passed on.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "async/scope.h"
#include "async/time.h"
#include "network/network.h"
#include "sys/fd.h"

namespace monopod::network {

class PortProxy {
 public:
  PortProxy(async::Executor executor, async::Time& time) : scope_(executor), executor_(executor), time_(time) {}

  // Chooses a port for each host port 0; SCTP ones are left to the kernel's rules. kInternal "Bind for 0.0.0.0:80 failed: port is already allocated".
  Result<> bind(std::vector<HostPort>& ports);
  // Begins to accept, for a container at ip.
  void start(const std::string& ip);
  // Before it dies.
  async::Task<> stop();

 private:
  struct Listener {
    sys::Fd socket;
    std::uint16_t container_port = 0;
    bool tcp = true;
  };
  async::Task<Result<>> relay(int socket, std::string ip, std::uint16_t port);
  async::Task<Result<>> accept(int socket, std::string ip, std::uint16_t port);
  async::Task<Result<>> pass(sys::Fd client, std::string ip, std::uint16_t port);

  async::Scope scope_;
  async::Executor executor_;
  async::Time& time_;
  std::vector<Listener> listeners_;
};

}  // namespace monopod::network
