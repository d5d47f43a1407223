#include "proxy/io/socket.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/strings.h"
#include "pki/openssl.h"

namespace monopod::proxy {
namespace {

bool would_block(int err) { return err == EAGAIN || err == EWOULDBLOCK || err == EINTR; }

// glibc's recv() and send() are points where a thread may be cancelled, which in a process with threads costs two atomic exchanges each; nobody cancels.
ssize_t receive(int fd, char* into, std::size_t size) { return ::syscall(SYS_recvfrom, fd, into, size, 0, nullptr, nullptr); }
ssize_t send_part(int fd, const iovec& part) { return ::syscall(SYS_sendto, fd, part.iov_base, part.iov_len, MSG_NOSIGNAL, nullptr, 0); }

constexpr std::size_t kPartsMax = 64;
constexpr std::size_t kRecordBytes = 16U << 10;

void forget_errors() {
  if (ERR_peek_error() != 0) ERR_clear_error();
}

}  // namespace

Socket::~Socket() { close(); }

void Socket::start_tls_server(std::shared_ptr<ssl_ctx_st> context) {
  ssl_ = SSL_new(context.get());  // holds the context itself
  tls_ = true;
  bio_ = std::make_unique<http::BioSocket>();
  bio_->fd = fd();
  http::attach_socket_bio(ssl_, *bio_);
  SSL_set_accept_state(ssl_);
}

Result<> Socket::start_tls_client(std::shared_ptr<ssl_ctx_st> context, const std::string& server_name, bool verify_name) {
  start_tls_server(std::move(context));
  SSL_set_connect_state(ssl_);
  if (!server_name.empty() && SSL_set_tlsext_host_name(ssl_, server_name.c_str()) != 1) return fail(Code::kInvalidArgument, "tls: invalid server name");
  if (verify_name && SSL_set1_host(ssl_, server_name.c_str()) != 1) return fail(Code::kInvalidArgument, "tls: invalid server name");
  SSL_set_hostflags(ssl_, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  return {};
}

Moved Socket::tls_failure(int result, bool reading) {
  int error = SSL_get_error(ssl_, result);
  if (error == SSL_ERROR_WANT_READ) {
    if (reading) mark_read_blocked();
    return {Moved::kBlocked};
  }
  if (error == SSL_ERROR_WANT_WRITE) {
    mark_write_blocked();
    return {Moved::kBlocked};
  }
  if (error == SSL_ERROR_ZERO_RETURN && reading) return {Moved::kEnd};
  broken_ = true;
  failed_errno_ = errno;
  return {Moved::kFailed};
}

Moved Socket::handshake() {
  forget_errors();
  bio_->drained = false;
  int result = SSL_do_handshake(ssl_);
  if (result == 1) return {Moved::kBytes};
  Moved moved = tls_failure(result, true);
  if (moved.kind == Moved::kBlocked && peer_ended_) {  // no edge will come
    bio_->drained = false;
    result = SSL_do_handshake(ssl_);
    if (result == 1) return {Moved::kBytes};
    moved = tls_failure(result, true);
  }
  return moved;
}

void Socket::note(std::uint32_t events) {
  if ((events & EPOLLIN) != 0) {
    can_read_ = true;
    if (bio_) bio_->drained = false;
  }
  if ((events & EPOLLOUT) != 0) can_write_ = true;
  if ((events & EPOLLRDHUP) != 0) can_read_ = peer_ended_ = true;
  if ((events & (EPOLLHUP | EPOLLERR)) != 0) can_read_ = can_write_ = peer_ended_ = peer_lost_ = true;
}

void Socket::take(Socket& other) {
  fd_ = std::move(other.fd_);
  ssl_ = std::exchange(other.ssl_, nullptr);
  bio_ = std::move(other.bio_);
  tls_ = other.tls_;
  can_read_ = other.can_read_;
  can_write_ = other.can_write_;
  peer_ended_ = other.peer_ended_;
  peer_lost_ = other.peer_lost_;
  broken_ = other.broken_;
}

Moved Socket::read_stream(char* into, std::size_t size) {
  if (!peer_) return {Moved::kFailed};
  Moved moved = peer_->read(into, size);
  if (moved.kind == Moved::kBlocked) can_read_ = false;
  return moved;
}

Moved Socket::write_stream(std::span<const iovec> parts, const Ending* ending) {
  if (!peer_) return {Moved::kFailed};
  Moved moved = peer_->write(parts, ending);
  if (moved.kind == Moved::kBlocked) mark_write_blocked();
  return moved;
}

Moved Socket::read(char* into, std::size_t size) {
  if (broken_ || !fd_) return read_stream(into, size);
  if (ssl_ == nullptr) {
    ssize_t n = receive(fd(), into, size);
    if (n > 0) {
      if (static_cast<std::size_t>(n) < size) mark_read_blocked();  // drained: what comes is a new edge
      return {Moved::kBytes, static_cast<std::size_t>(n)};
    }
    if (n == 0) return {Moved::kEnd};
    if (would_block(errno)) {
      can_read_ = false;
      return {Moved::kBlocked};
    }
    failed_errno_ = errno;
    broken_ = true;
    return {Moved::kFailed};
  }
  forget_errors();
  std::size_t total = 0;
  for (bool again = peer_ended_; total < size;) {
    std::size_t n = 0;
    int result = SSL_read_ex(ssl_, into + total, size - total, &n);
    if (result == 1) {
      total += n;
      if (!bio_->drained || SSL_has_pending(ssl_) == 1) continue;
      bio_->drained = false;
      mark_read_blocked();
      break;
    }
    Moved moved = tls_failure(result, true);
    if (moved.kind == Moved::kBlocked && std::exchange(again, false)) continue;  // the end makes no edge any more
    if (moved.kind == Moved::kBlocked && !peer_lost_) can_read_ = false;
    if (total == 0) return moved;
    if (moved.kind != Moved::kBlocked) can_read_ = true;  // it comes up again at the next call
    break;
  }
  return {Moved::kBytes, total};
}

Moved Socket::write(std::span<const iovec> parts, const Ending* ending) {
  if (broken_ || !fd_) return write_stream(parts, ending);
  if (ssl_ == nullptr) {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(parts.data());
    message.msg_iovlen = std::min(parts.size(), kPartsMax);
    ssize_t n = parts.size() == 1 ? send_part(fd(), parts[0]) : ::sendmsg(fd(), &message, MSG_NOSIGNAL);
    if (n >= 0) return {Moved::kBytes, static_cast<std::size_t>(n)};
    if (would_block(errno)) {
      mark_write_blocked();
      return {Moved::kBlocked};
    }
    failed_errno_ = errno;  // what the peer sent before may still be read
    return {Moved::kFailed};
  }
  // One record for many small parts.
  char record[kRecordBytes];
  std::size_t size = 0;
  const char* data = record;
  if (parts.size() == 1 || parts[0].iov_len >= kRecordBytes) {
    data = static_cast<const char*>(parts[0].iov_base);
    size = std::min(parts[0].iov_len, kRecordBytes);
  } else {
    for (const iovec& part : parts) {
      std::size_t n = std::min(part.iov_len, kRecordBytes - size);
      std::memcpy(record + size, part.iov_base, n);
      size += n;
      if (size == kRecordBytes) break;
    }
  }
  forget_errors();
  std::size_t n = 0;
  int result = SSL_write_ex(ssl_, data, size, &n);
  if (result == 1) return {Moved::kBytes, n};
  return tls_failure(result, false);
}

Moved Socket::peek(char* into, std::size_t size) {
  ssize_t n = ::recv(fd(), into, size, MSG_PEEK);
  if (n > 0) return {Moved::kBytes, static_cast<std::size_t>(n)};
  if (n == 0) return {Moved::kEnd};
  if (would_block(errno)) {
    can_read_ = false;
    return {Moved::kBlocked};
  }
  return {Moved::kFailed};
}

bool Socket::is_quiet() {
  if (!can_read_) return true;
  if (peer_ended_ || broken_) return false;
  char byte = 0;
  if (ssl_ == nullptr) return peek(&byte, 1).kind == Moved::kBlocked;
  forget_errors();
  std::size_t n = 0;
  int result = SSL_peek_ex(ssl_, &byte, 1, &n);
  return result != 1 && tls_failure(result, true).kind == Moved::kBlocked;
}

void Socket::shutdown_write() {
  if (Ending ending; peer_ && !peer_->ended()) peer_->write({}, &ending);
  if (!fd_) return;
  if (ssl_ != nullptr && !broken_ && SSL_is_init_finished(ssl_) == 1) {
    SSL_shutdown(ssl_);
    ERR_clear_error();
  }
  ::shutdown(fd(), SHUT_WR);
}

void Socket::cut() { ::shutdown(fd(), SHUT_RDWR); }

void Socket::close() {
  if (peer_) std::exchange(peer_, nullptr)->on_closed();
  if (ssl_ != nullptr) {
    if (fd_ && !broken_ && SSL_is_init_finished(ssl_) == 1) SSL_shutdown(ssl_);
    SSL_free(ssl_);
    ssl_ = nullptr;
    ERR_clear_error();
  }
  fd_.reset();
}

std::string Socket::failure() const {
  if (ssl_ != nullptr) {
    long verdict = SSL_get_verify_result(ssl_);
    if (SSL_is_init_finished(ssl_) != 1 && verdict != X509_V_OK) return cat("tls: ", X509_verify_cert_error_string(verdict));
    if (ERR_peek_last_error() != 0) return cat("tls: ", pki::openssl_reason());
  }
  return failed_errno_ == 0 ? "connection lost" : std::strerror(failed_errno_);
}

}  // namespace monopod::proxy
