#include "proxy/io/address.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/strings.h"

namespace monopod::proxy {
namespace {

const sockaddr_in& as_v4(const sockaddr_storage& s) { return reinterpret_cast<const sockaddr_in&>(s); }
const sockaddr_in6& as_v6(const sockaddr_storage& s) { return reinterpret_cast<const sockaddr_in6&>(s); }

}  // namespace

Result<Address> Address::parse(std::string_view text) {
  std::size_t colon = text.rfind(':');
  auto port = colon == std::string_view::npos ? std::nullopt : parse_int<std::uint16_t>(text.substr(colon + 1));
  std::string host(text.substr(0, std::min(colon, text.size())));
  bool bracketed = host.starts_with('[') && host.ends_with(']') && host.size() > 2;
  if (bracketed) host = host.substr(1, host.size() - 2);
  Address out;
  if (port && bracketed) {
    auto& six = reinterpret_cast<sockaddr_in6&>(out.storage);
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(*port);
    out.size = sizeof six;
    if (::inet_pton(AF_INET6, host.c_str(), &six.sin6_addr) == 1) return out;
  } else if (port) {
    auto& four = reinterpret_cast<sockaddr_in&>(out.storage);
    four.sin_family = AF_INET;
    four.sin_port = htons(*port);
    out.size = sizeof four;
    if (::inet_pton(AF_INET, host.c_str(), &four.sin_addr) == 1) return out;
  }
  return fail(Code::kInvalidArgument, cat("\"", text, "\" is no ADDRESS:PORT (numeric: 10.0.0.1:80 or [::1]:80; names are not looked up)"));
}

Result<Address> Address::of(int socket) {
  Address out;
  out.size = sizeof out.storage;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&out.storage), &out.size) != 0) return fail_errno("address of a socket");
  return out;
}

std::string Address::format_ip() const {
  char text[INET6_ADDRSTRLEN] = {};
  if (storage.ss_family == AF_INET) {
    ::inet_ntop(AF_INET, &as_v4(storage).sin_addr, text, sizeof text);
  } else if (storage.ss_family == AF_INET6) {
    const in6_addr& six = as_v6(storage).sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(&six)) ::inet_ntop(AF_INET, &six.s6_addr[12], text, sizeof text);
    else ::inet_ntop(AF_INET6, &six, text, sizeof text);
  } else {
    return "unix";
  }
  return text;
}

std::uint16_t Address::port() const {
  if (storage.ss_family == AF_INET) return ntohs(as_v4(storage).sin_port);
  return storage.ss_family == AF_INET6 ? ntohs(as_v6(storage).sin6_port) : 0;
}

std::string Address::format() const {
  std::string ip = format_ip();
  return ip.find(':') != std::string::npos ? cat("[", ip, "]:", port()) : cat(ip, ":", port());
}

void Address::copy_ip(unsigned char (&out)[16]) const {
  std::memset(out, 0, 16);
  if (storage.ss_family == AF_INET6) {
    std::memcpy(out, &as_v6(storage).sin6_addr, 16);
  } else if (storage.ss_family == AF_INET) {
    out[10] = out[11] = 0xff;
    std::memcpy(out + 12, &as_v4(storage).sin_addr, 4);
  }
}

Result<> set_transparent(int fd, bool is_v6, bool on) {
  int value = on ? 1 : 0;
  if (::setsockopt(fd, is_v6 ? SOL_IPV6 : SOL_IP, is_v6 ? IPV6_TRANSPARENT : IP_TRANSPARENT, &value, sizeof value) != 0) return fail_errno("make socket transparent");
  return {};
}

namespace {

// An address of IPv4 that came in through a socket of IPv6, as what it is.
Address unmap(const Address& from) {
  if (!from.is_v6() || !IN6_IS_ADDR_V4MAPPED(&as_v6(from.storage).sin6_addr)) return from;
  Address out;
  sockaddr_in to{.sin_family = AF_INET, .sin_port = htons(from.port())};
  std::memcpy(&to.sin_addr, as_v6(from.storage).sin6_addr.s6_addr + 12, 4);
  std::memcpy(&out.storage, &to, sizeof to);
  out.size = sizeof to;
  return out;
}

}  // namespace

Result<Address> transparent_destination(int fd, std::uint16_t port) {
  Address local;
  local.size = sizeof local.storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&local.storage), &local.size) != 0) return fail_errno("original destination");
  if (local.port() == port) return fail(Code::kNotFound, "original destination: not redirected");
  return unmap(local);
}

Result<> come_from(int fd, const Address& client, const Address& to) {
  Address source = unmap(client);
  int one = 1;
  if (source.is_v6() != to.is_v6()) return fail(Code::kInvalidArgument, cat("come from ", client.format_ip(), ": the endpoint's address is of the other family"));
  if (source.is_v6()) reinterpret_cast<sockaddr_in6*>(&source.storage)->sin6_port = 0;
  else reinterpret_cast<sockaddr_in*>(&source.storage)->sin_port = 0;
  TRY(set_transparent(fd, source.is_v6(), true));
  ::setsockopt(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
  if (::bind(fd, source.get(), source.size) != 0) return fail_errno(cat("come from ", client.format_ip()));
  return {};
}

Result<sys::Fd> listen_on(const Address& address, bool reuse_port, bool transparent) {
  sys::Fd fd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  std::string what = cat("listen on ", address.format());
  if (!fd) return fail_errno(what);
  int one = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (transparent) TRY(set_transparent(fd.get(), address.is_v6(), true));
  if (reuse_port) ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
  if (::bind(fd.get(), address.get(), address.size) != 0 || ::listen(fd.get(), 4096) != 0) return fail_errno(what);
  return fd;
}

Result<Address> original_destination(int fd) {
  constexpr int kOriginalDst = 80;  // SO_ORIGINAL_DST, IP6T_SO_ORIGINAL_DST
  TRY_ASSIGN(Address local, Address::of(fd));
  Address out;
  out.size = local.is_v6() ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  bool mapped = local.is_v6() && IN6_IS_ADDR_V4MAPPED(&as_v6(local.storage).sin6_addr);
  if (mapped) out.size = sizeof(sockaddr_in);
  if (::getsockopt(fd, local.is_v6() && !mapped ? SOL_IPV6 : SOL_IP, kOriginalDst, &out.storage, &out.size) != 0) return fail_errno("original destination");
  unsigned char a[16], b[16];
  out.copy_ip(a);
  local.copy_ip(b);
  if (out.port() == local.port() && std::memcmp(a, b, sizeof a) == 0) return fail(Code::kNotFound, "original destination: not redirected");
  return out;
}

Result<sys::Fd> make_socket(int family, int namespace_fd) {
  auto make = [family] { return sys::Fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)); };
  sys::Fd own(namespace_fd < 0 ? -1 : ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (namespace_fd >= 0 && (!own || ::setns(namespace_fd, CLONE_NEWNET) != 0)) return fail_errno("enter network namespace");
  sys::Fd out = make();
  int failed = errno;
  if (namespace_fd >= 0 && ::setns(own.get(), CLONE_NEWNET) != 0) std::abort();  // all that follows would happen in somebody else's network
  errno = failed;
  if (!out) return fail_errno("socket");
  return out;
}

}  // namespace monopod::proxy
