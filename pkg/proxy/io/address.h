// Socket addresses as values.
#pragma once

#include <sys/socket.h>

#include <string>
#include <string_view>

#include "base/error.h"
#include "sys/fd.h"

namespace monopod::proxy {

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;

  // "10.0.0.1:80", "[::1]:80". Names are not looked up: kInvalidArgument.
  static Result<Address> parse(std::string_view text);
  static Result<Address> of(int socket);  // what it is bound to
  std::string format() const;     // with the port
  std::string format_ip() const;  // without
  std::uint16_t port() const;
  bool is_v6() const { return storage.ss_family == AF_INET6; }
  // IPv4 mapped into IPv6; zeros for other families.
  void copy_ip(unsigned char (&out)[16]) const;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

// reuse_port: several sockets share the address, one per worker. kAlreadyExists, kPermissionDenied and so on, as bind(2) says.
// transparent: for addresses that are not this host's as well (IP_TRANSPARENT); wants CAP_NET_ADMIN there.
Result<sys::Fd> listen_on(const Address& address, bool reuse_port, bool transparent = false);
// Turns that on or off.
Result<> set_transparent(int fd, bool is_v6, bool on);
// Before connect(): the socket comes from the client's address, at a port of the kernel's choice. kInvalidArgument: it is of another family than to.
Result<> come_from(int fd, const Address& client, const Address& to);

// Where a redirected connection was going (SO_ORIGINAL_DST, of either family). kNotFound: it was not redirected.
Result<Address> original_destination(int fd);
// The same by TPROXY, where it is the socket's own address; port: the listener's, to which nobody else may connect.
Result<Address> transparent_destination(int fd, std::uint16_t port);
// A TCP socket in the network namespace; 0 <= namespace_fd, else the thread's own. The thread is back in its own when this returns.
Result<sys::Fd> make_socket(int family, int namespace_fd);

}  // namespace monopod::proxy
