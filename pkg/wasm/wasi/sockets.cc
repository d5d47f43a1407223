// Sockets: those of preview 1 on listeners that were granted, and the widely used extension to open and connect, to granted endpoints only.
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>

#include "wasm/wasi/abi.h"

namespace monopod::wasm {
namespace {

using namespace wasi;

bool is_socket(const Wasi::File& f) { return f.kind == Wasi::Kind::kSocket || f.kind == Wasi::Kind::kListener; }
#define SOCKET(name, fd, right)                  \
  MONOPOD_WASI_FILE(name##_any, fd, 0);           \
  if (!is_socket(*name##_any)) return kNotSocket; \
  MONOPOD_WASI_FILE(name, fd, right)

u32 sock_accept(Wasi& w, Caller& caller, u32 fd, u32 flags, u32 fd_at) {
  MONOPOD_WASI_MEMORY(caller);
  SOCKET(f, fd, kSockAccept);
  MONOPOD_WASI_HOLDS(fd_at, 4);
  if ((flags & ~u32{kNonblock}) != 0) return kInvalid;
  if ((f->flags & kNonblock) == 0)
    if (u16 bad = w.wait(f->fd.get(), POLLIN); bad != kSuccess) return bad;
  Wasi::File made;
  made.fd = sys::Fd(::accept4(f->fd.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!made.fd) return last_errno();
  made.kind = Wasi::Kind::kSocket;
  made.type = wasi::kStream;
  made.flags = static_cast<u16>(flags);
  made.rights = f->inheriting;
  u32 number = 0;
  if (u16 bad = w.add(std::move(made), number); bad != kSuccess) return bad;
  memory.write<u32>(fd_at, number);
  return kSuccess;
}

u32 sock_recv(Wasi& w, Caller& caller, u32 fd, u32 vectors, u32 count, u32 flags, u32 size_at, u32 flags_at) {
  MONOPOD_WASI_MEMORY(caller);
  SOCKET(f, fd, kFdRead);
  MONOPOD_WASI_HOLDS(size_at, 4);
  MONOPOD_WASI_HOLDS(flags_at, 2);
  if (flags > 3) return kInvalid;
  std::vector<iovec> list;
  if (u16 bad = read_vectors(memory, vectors, count, list); bad != kSuccess) return bad;
  if ((f->flags & kNonblock) == 0)
    if (u16 bad = w.wait(f->fd.get(), POLLIN); bad != kSuccess) return bad;
  msghdr message{};
  message.msg_iov = list.data();
  message.msg_iovlen = list.size();
  ssize_t n = ::recvmsg(f->fd.get(), &message, ((flags & 1) != 0 ? MSG_PEEK : 0));
  if (n < 0) return last_errno();
  memory.write<u32>(size_at, static_cast<u32>(n));
  memory.write<u16>(flags_at, (message.msg_flags & MSG_TRUNC) != 0 ? 1 : 0);
  return kSuccess;
}

u32 sock_send(Wasi& w, Caller& caller, u32 fd, u32 vectors, u32 count, u32 flags, u32 size_at) {
  MONOPOD_WASI_MEMORY(caller);
  SOCKET(f, fd, kFdWrite);
  MONOPOD_WASI_HOLDS(size_at, 4);
  if (flags != 0) return kInvalid;
  std::vector<iovec> list;
  if (u16 bad = read_vectors(memory, vectors, count, list); bad != kSuccess) return bad;
  if ((f->flags & kNonblock) == 0)
    if (u16 bad = w.wait(f->fd.get(), POLLOUT); bad != kSuccess) return bad;
  msghdr message{};
  message.msg_iov = list.data();
  message.msg_iovlen = list.size();
  ssize_t n = ::sendmsg(f->fd.get(), &message, MSG_NOSIGNAL);
  if (n < 0) return last_errno();
  memory.write<u32>(size_at, static_cast<u32>(n));
  return kSuccess;
}

u32 sock_shutdown(Wasi& w, Caller&, u32 fd, u32 how) {
  SOCKET(f, fd, kSockShutdown);
  if (how == 0 || how > 3) return kInvalid;
  return ::shutdown(f->fd.get(), how == 1 ? SHUT_RD : how == 2 ? SHUT_WR : SHUT_RDWR) == 0 ? u32{kSuccess} : last_errno();
}

// The extension, as WasmEdge defined it: family 1 = IPv4, 2 = IPv6; type 2 = stream. An address is {pointer, size} of its 4 or 16 bytes.
u32 sock_open(Wasi& w, Caller& caller, u32 family, u32 type, u32 fd_at) {
  MONOPOD_WASI_MEMORY(caller);
  MONOPOD_WASI_HOLDS(fd_at, 4);
  if (w.options().connect.empty()) return kNotCapable;
  if (family < 1 || family > 2) return errno_of(EAFNOSUPPORT);
  if (type != 2) return kNotSupported;
  Wasi::File made;
  made.fd = sys::Fd(::socket(family == 1 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!made.fd) return last_errno();
  made.kind = Wasi::Kind::kSocket;
  made.type = wasi::kStream;
  made.rights = kStreamRights | kSockShutdown;
  u32 number = 0;
  if (u16 bad = w.add(std::move(made), number); bad != kSuccess) return bad;
  memory.write<u32>(fd_at, number);
  return kSuccess;
}

u32 sock_connect(Wasi& w, Caller& caller, u32 fd, u32 address_at, u32 port) {
  MONOPOD_WASI_MEMORY(caller);
  SOCKET(f, fd, kFdWrite);
  MONOPOD_WASI_HOLDS(address_at, 8);
  u32 at = memory.read<u32>(address_at), size = memory.read<u32>(address_at + 4);
  MONOPOD_WASI_HOLDS(at, size);
  if (port > 0xffff || (size != 4 && size != 16 && size != 128)) return kInvalid;
  sockaddr_storage to{};
  socklen_t length = 0;
  char text[INET6_ADDRSTRLEN] = {};
  // 128 bytes: a sockaddr of theirs, two bytes of family first.
  int domain = 0;
  socklen_t domain_size = sizeof domain;
  if (::getsockopt(f->fd.get(), SOL_SOCKET, SO_DOMAIN, &domain, &domain_size) != 0) return last_errno();
  u32 skip = size == 128 ? 2 : 0;
  if (domain == AF_INET) {
    auto& v4 = reinterpret_cast<sockaddr_in&>(to);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(static_cast<u16>(port));
    std::memcpy(&v4.sin_addr, memory.bytes().data() + at + skip, 4);
    length = sizeof v4;
    ::inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
  } else {
    if (size == 4) return kInvalid;
    auto& v6 = reinterpret_cast<sockaddr_in6&>(to);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(static_cast<u16>(port));
    std::memcpy(&v6.sin6_addr, memory.bytes().data() + at + skip, 16);
    length = sizeof v6;
    ::inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
  }
  bool granted = std::ranges::any_of(w.options().connect, [&](const WasiEndpoint& e) { return e.address == text && e.port == port; });
  if (!granted) return kNotCapable;
  if (::connect(f->fd.get(), reinterpret_cast<const sockaddr*>(&to), length) == 0) return kSuccess;
  if (errno != EINPROGRESS) return last_errno();
  if (u16 bad = w.wait(f->fd.get(), POLLOUT); bad != kSuccess) return bad;
  int error = 0;
  socklen_t error_size = sizeof error;
  if (::getsockopt(f->fd.get(), SOL_SOCKET, SO_ERROR, &error, &error_size) != 0) return last_errno();
  return error == 0 ? u32{kSuccess} : errno_of(error);
}

constexpr HostFunction kSocketRows[] = {
    host<sock_accept>("sock_accept"), host<sock_recv>("sock_recv"), host<sock_send>("sock_send"), host<sock_shutdown>("sock_shutdown"),
    host<sock_open>("sock_open"), host<sock_connect>("sock_connect"),
};

}  // namespace

std::span<const HostFunction> wasi_socket_rows() { return kSocketRows; }

}  // namespace monopod::wasm
