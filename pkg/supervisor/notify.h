// Messages to the service manager (systemd sd_notify(3) protocol): one datagram to $NOTIFY_SOCKET.
#pragma once

#include <string>
#include <string_view>

namespace monopod::supervisor {

class ServiceNotifier {
 public:
  ServiceNotifier();  // reads NOTIFY_SOCKET and removes it from the environment
  // "READY=1\nSTATUS=..."; does nothing without a service manager.
  void send(std::string_view state) const;
  const std::string& address() const { return address_; }  // for a program that takes over

 private:
  std::string address_;
};

}  // namespace monopod::supervisor
