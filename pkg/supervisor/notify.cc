#include "supervisor/notify.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "sys/fd.h"

namespace monopod::supervisor {

ServiceNotifier::ServiceNotifier() {
  const char* text = ::getenv("NOTIFY_SOCKET");
  if (text == nullptr) return;
  address_ = text;
  ::unsetenv("NOTIFY_SOCKET");
}

void ServiceNotifier::send(std::string_view state) const {
  struct sockaddr_un address = {};
  if (address_.empty() || address_.size() >= sizeof address.sun_path) return;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, address_.data(), address_.size());
  if (address_[0] == '@') address.sun_path[0] = '\0';
  sys::Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return;
  auto size = static_cast<socklen_t>(offsetof(struct sockaddr_un, sun_path) + address_.size());
  (void)::sendto(socket.get(), state.data(), state.size(), MSG_NOSIGNAL | MSG_DONTWAIT, reinterpret_cast<const struct sockaddr*>(&address), size);
}

}  // namespace monopod::supervisor
