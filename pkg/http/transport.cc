#include "http/transport.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <cerrno>
#include <cstring>

#include "async/as_result.h"
#include "base/strings.h"
#include "http/socket_bio.h"
#include "pki/openssl.h"

namespace monopod::http {
namespace {

using Descriptor = async::asio::posix::basic_stream_descriptor<async::Executor>;

constexpr std::size_t kPartsMax = 64;
constexpr std::size_t kRecordBytes = 16U << 10;

bool would_block(int err) { return err == EAGAIN || err == EWOULDBLOCK || err == EINTR; }

class PlainTransport : public Transport {
 public:
  PlainTransport(async::Executor executor, sys::Fd socket) : descriptor_(executor, socket.release()) {}
  ~PlainTransport() override { close_now(); }

  Result<Moved> try_read(std::span<std::byte> into) override {
    ssize_t n = ::recv(fd(), into.data(), into.size(), 0);
    if (n >= 0) return Moved(static_cast<std::size_t>(n));
    if (would_block(errno)) return Moved();
    return lost("read");
  }

  Result<Moved> try_write(std::span<const iovec> parts) override {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(parts.data());
    message.msg_iovlen = std::min(parts.size(), kPartsMax);
    ssize_t n = ::sendmsg(fd(), &message, MSG_NOSIGNAL);
    if (n >= 0) return Moved(static_cast<std::size_t>(n));
    if (would_block(errno)) return Moved();
    return lost("write");
  }

  async::Task<Result<>> wait_readable() override { return wait(Descriptor::wait_read); }
  async::Task<Result<>> wait_writable() override { return wait(Descriptor::wait_write); }
  async::Task<Result<>> handshake() override { co_return Result<>(); }
  std::string alpn() const override { return {}; }
  std::vector<std::string> peer_certificates_der() const override { return {}; }
  bool tls() const override { return false; }
  bool peer_gone() const override {
    pollfd look{const_cast<PlainTransport*>(this)->descriptor_.native_handle(), 0, 0};
    return ::poll(&look, 1, 0) == 1 && (look.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0;
  }

  async::Task<Result<>> shutdown_write() override {
    if (descriptor_.is_open()) ::shutdown(fd(), SHUT_WR);
    co_return Result<>();
  }
  void close() override { close_now(); }

 protected:
  int fd() { return descriptor_.is_open() ? descriptor_.native_handle() : -1; }
  static std::unexpected<Error> lost(std::string_view what) {
    Error error = errno_error(errno, cat("connection: ", what));
    return fail(Code::kUnavailable, error.message());
  }

 private:
  async::Task<Result<>> wait(Descriptor::wait_type type) {
    if (!descriptor_.is_open()) co_return fail(Code::kUnavailable, "connection: closed");
    boost::system::error_code ec = co_await descriptor_.async_wait(type, async::as_code);
    if (ec) co_return fail(async::error_from(ec, "connection"));
    co_return Result<>();
  }
  void close_now() {
    boost::system::error_code ignored;
    descriptor_.close(ignored);
  }

  Descriptor descriptor_;
};

// OpenSSL looks at what an earlier call left behind. To clear what is empty takes as long as to read a small record.
void forget_errors() {
  if (ERR_peek_error() != 0) ERR_clear_error();
}
class TlsTransport final : public PlainTransport {
 public:
  TlsTransport(async::Executor executor, sys::Fd socket, std::shared_ptr<ssl_ctx_st> context)
      : PlainTransport(executor, std::move(socket)), context_(std::move(context)), ssl_(SSL_new(context_.get())) {
    socket_.fd = fd();
    attach_socket_bio(ssl_.get(), socket_);
  }

  Result<> prepare_client(const TlsClientTarget& target) {
    SSL_set_connect_state(ssl_.get());
    static constexpr unsigned char kBoth[] = "\x02h2\x08http/1.1";
    static constexpr unsigned char kOne[] = "\x08http/1.1";
    SSL_set_alpn_protos(ssl_.get(), target.offer_http2 ? kBoth : kOne, target.offer_http2 ? sizeof kBoth - 1 : sizeof kOne - 1);
    unsigned char address[16];
    bool literal = inet_pton(AF_INET, target.server_name.c_str(), address) == 1 || inet_pton(AF_INET6, target.server_name.c_str(), address) == 1;
    if (!literal && !target.server_name.empty() && SSL_set_tlsext_host_name(ssl_.get(), target.server_name.c_str()) != 1)
      return fail(Code::kInvalidArgument, "tls: invalid server name");
    if (!target.verify) return {};
    if (target.server_name.empty()) return fail(Code::kInvalidArgument, "tls: no server name to verify");
    bool set = literal ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_.get()), target.server_name.c_str()) == 1
                       : SSL_set1_host(ssl_.get(), target.server_name.c_str()) == 1;
    if (!set) return fail(Code::kInvalidArgument, "tls: invalid server name");
    SSL_set_hostflags(ssl_.get(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return {};
  }
  void prepare_server() { SSL_set_accept_state(ssl_.get()); }

  // An end that came in one piece with the last bytes makes the socket readable no more.
  async::Task<Result<>> wait_readable() override {
    if (unfinished_) return already();
    return PlainTransport::wait_readable();
  }

  Result<Moved> try_read(std::span<std::byte> into) override {
    if (broken_) return fail(Code::kUnavailable, "tls: connection lost");
    forget_errors();
    unfinished_ = false;
    std::size_t total = 0;
    // Records are smaller than the span: take what is there, so that one turn sees all of it.
    while (total < into.size()) {
      std::size_t n = 0;
      int result = SSL_read_ex(ssl_.get(), into.data() + total, into.size() - total, &n);
      if (result == 1) {
        total += n;
        if (!socket_.drained || SSL_has_pending(ssl_.get()) == 1) continue;
        socket_.drained = false;
        return Moved(total);
      }
      int error = SSL_get_error(ssl_.get(), result);
      if (total > 0) {
        forget_errors();
        unfinished_ = error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE;
        return Moved(total);  // what went wrong comes up again at the next call
      }
      if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return Moved();
      if (error == SSL_ERROR_ZERO_RETURN) return Moved(0U);
      return broken("read");
    }
    return Moved(total);
  }

  Result<Moved> try_write(std::span<const iovec> parts) override {
    if (broken_) return fail(Code::kUnavailable, "tls: connection lost");
    std::array<std::byte, kRecordBytes> record;  // one record out of many small parts
    const void* data = parts.front().iov_base;
    std::size_t size = parts.front().iov_len;
    if (size < kRecordBytes && parts.size() > 1) {
      size = 0;
      for (const iovec& part : parts) {
        std::size_t take = std::min(part.iov_len, kRecordBytes - size);
        std::memcpy(record.data() + size, part.iov_base, take);
        size += take;
        if (size == kRecordBytes) break;
      }
      data = record.data();
    }
    forget_errors();
    std::size_t n = 0;
    int result = SSL_write_ex(ssl_.get(), data, std::min(size, kRecordBytes), &n);
    if (result == 1) return Moved(n);
    int error = SSL_get_error(ssl_.get(), result);
    if (error == SSL_ERROR_WANT_WRITE || error == SSL_ERROR_WANT_READ) return Moved();
    return broken("write");
  }

  async::Task<Result<>> handshake() override {
    for (;;) {
      ERR_clear_error();
      int result = SSL_do_handshake(ssl_.get());
      if (result == 1) co_return Result<>();
      int error = SSL_get_error(ssl_.get(), result);
      if (error == SSL_ERROR_WANT_READ) {
        CO_TRY(co_await wait_readable());
      } else if (error == SSL_ERROR_WANT_WRITE) {
        CO_TRY(co_await wait_writable());
      } else {
        co_return handshake_failure();
      }
    }
  }

  std::string alpn() const override {
    const unsigned char* name = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(ssl_.get(), &name, &size);
    return {reinterpret_cast<const char*>(name), size};
  }

  std::vector<std::string> peer_certificates_der() const override {
    std::vector<std::string> out;
    if (SSL_get_verify_result(ssl_.get()) != X509_V_OK) return out;
    STACK_OF(X509)* chain = SSL_get0_verified_chain(ssl_.get());
    for (int i = 0; chain != nullptr && i < sk_X509_num(chain); ++i) {
      unsigned char* der = nullptr;
      int size = i2d_X509(sk_X509_value(chain, i), &der);
      if (size <= 0) continue;
      out.emplace_back(reinterpret_cast<char*>(der), static_cast<std::size_t>(size));
      OPENSSL_free(der);
    }
    return out;
  }
  bool tls() const override { return true; }

  async::Task<Result<>> shutdown_write() override {
    if (!broken_ && fd() >= 0 && SSL_is_init_finished(ssl_.get())) {
      ERR_clear_error();
      SSL_shutdown(ssl_.get());
      ERR_clear_error();
    }
    return PlainTransport::shutdown_write();
  }
  void close() override {
    broken_ = true;
    PlainTransport::close();
  }

 private:
  std::unexpected<Error> broken(std::string_view what) {
    broken_ = true;
    return fail(Code::kUnavailable, cat("tls: ", what, ": ", ERR_peek_last_error() == 0 ? "connection lost" : pki::openssl_reason()));
  }
  std::unexpected<Error> handshake_failure() {
    broken_ = true;
    long verdict = SSL_get_verify_result(ssl_.get());
    if (verdict != X509_V_OK) {
      ERR_clear_error();
      return fail(Code::kUnauthenticated, cat("tls: ", X509_verify_cert_error_string(verdict)));
    }
    return fail(Code::kUnavailable, cat("tls: handshake: ", ERR_peek_last_error() == 0 ? "connection lost" : pki::openssl_reason()));
  }

  static async::Task<Result<>> already() { co_return Result<>(); }

  std::shared_ptr<ssl_ctx_st> context_;
  BioSocket socket_{-1};  // outlives ssl_
  pki::Owned<SSL, SSL_free> ssl_;
  bool broken_ = false;
  bool unfinished_ = false;
};

Result<> prepare_socket(int fd) {
  int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return fail_errno("socket: set non-blocking");
  int on = 1;
  int idle_s = 30;
  int interval_s = 15;
  int count = 4;
  // Unix sockets refuse these; that is no error.
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
  return {};
}

}  // namespace

async::Task<Result<std::size_t>> Transport::read_some(std::span<std::byte> into) {
  for (;;) {
    CO_TRY_ASSIGN(Moved n, try_read(into));
    if (n) co_return *n;
    CO_TRY(co_await wait_readable());
  }
}

async::Task<Result<>> Transport::write_all(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
    CO_TRY_ASSIGN(Moved n, try_write({&part, 1}));
    if (n) bytes = bytes.subspan(*n);
    else CO_TRY(co_await wait_writable());
  }
  co_return Result<>();
}

async::Task<Result<>> Transport::write_parts(std::span<const std::span<const std::byte>> parts) {
  std::vector<iovec> left;
  left.reserve(parts.size());
  for (std::span<const std::byte> part : parts)
    if (!part.empty()) left.push_back({const_cast<std::byte*>(part.data()), part.size()});
  std::size_t first = 0;
  while (first < left.size()) {
    CO_TRY_ASSIGN(Moved n, try_write(std::span(left).subspan(first)));
    if (!n) {
      CO_TRY(co_await wait_writable());
      continue;
    }
    std::size_t moved = *n;
    while (moved > 0 && moved >= left[first].iov_len) moved -= left[first++].iov_len;
    if (moved > 0) {
      left[first].iov_base = static_cast<std::byte*>(left[first].iov_base) + moved;
      left[first].iov_len -= moved;
    }
  }
  co_return Result<>();
}

Result<std::unique_ptr<Transport>> make_transport(async::Executor executor, sys::Fd socket) {
  TRY(prepare_socket(socket.get()));
  return std::make_unique<PlainTransport>(executor, std::move(socket));
}

Result<std::unique_ptr<Transport>> make_tls_server_transport(async::Executor executor, sys::Fd socket, std::shared_ptr<ssl_ctx_st> context) {
  TRY(prepare_socket(socket.get()));
  auto transport = std::make_unique<TlsTransport>(executor, std::move(socket), std::move(context));
  transport->prepare_server();
  return transport;
}

Result<std::unique_ptr<Transport>> make_tls_client_transport(async::Executor executor, sys::Fd socket, std::shared_ptr<ssl_ctx_st> context,
                                                             const TlsClientTarget& target) {
  TRY(prepare_socket(socket.get()));
  auto transport = std::make_unique<TlsTransport>(executor, std::move(socket), std::move(context));
  TRY(transport->prepare_client(target));
  return transport;
}

std::string format_peer_address(int socket) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getpeername(socket, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return "unknown";
  char text[INET6_ADDRSTRLEN] = {};
  if (storage.ss_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&storage);
    inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
    return cat(text, ":", ntohs(v4->sin_port));
  }
  if (storage.ss_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&storage);
    if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
      inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], text, sizeof text);
      return cat(text, ":", ntohs(v6->sin6_port));
    }
    inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
    return cat("[", text, "]:", ntohs(v6->sin6_port));
  }
  return "unix";
}

}  // namespace monopod::http
