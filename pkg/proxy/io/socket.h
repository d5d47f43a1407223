// One connected, non-blocking socket, plain or TLS, with calls that never wait. Readiness comes from outside (note()) and is remembered until a
// call would block, as edge-triggered readiness must be.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "http/socket_bio.h"
#include "sys/fd.h"

struct ssl_st;
struct ssl_ctx_st;

namespace monopod::proxy {

struct Moved {
  enum Kind : std::uint8_t { kBytes, kEnd, kBlocked, kFailed } kind;
  std::size_t bytes = 0;
};

struct Head;
class HeadEdits;

// With the last bytes of a stream's message: the lines of its trailer ("name: value\r\n" each), or none.
struct Ending {
  std::string_view trailers{};
};

// The other end of a socket that has no descriptor: a stream of HTTP/2. Heads and trailers go beside the bytes, which are content alone. It tells of
// readiness through note(), as epoll does.
class StreamPeer {
 public:
  virtual ~StreamPeer() = default;
  // The next head: its lines into `into` (room for kHeadBytesMax), its spans into head. kBlocked: not there yet; kFailed: none will come.
  virtual Moved take_head(char* into, Head& head) = 0;
  // What of head goes on. target: of a request. ends: neither content nor trailer follows. False: the stream is lost.
  virtual bool send_head(const Head& head, const HeadEdits& edits, std::string_view target, bool ends) = 0;
  // Content; kEnd behind its end.
  virtual Moved read(char* into, std::size_t size) = 0;
  virtual bool at_end() const = 0;               // all there will be is read
  virtual std::string_view trailers() const = 0;  // lines, once at_end()
  // Takes what there is room for now, and keeps no reference. ending: nothing follows the last of parts; write({}, ending) where that shows late.
  virtual Moved write(std::span<const iovec> parts, const Ending* ending) = 0;
  virtual bool ended() const = 0;      // the end has been written
  virtual void on_closed() = 0;        // the socket is gone; nothing is called after it
  virtual int carrier_fd() const = 0;  // of the connection that carries it; -1: it is gone
};

class Socket {
 public:
  Socket() = default;
  explicit Socket(sys::Fd fd) : fd_(std::move(fd)) {}
  ~Socket();
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  void adopt(sys::Fd fd) { fd_ = std::move(fd); }
  // secure: its carrier is TLS.
  void adopt(std::shared_ptr<StreamPeer> peer, bool secure) {
    peer_ = std::move(peer);
    tls_ = secure;
    can_write_ = true;
  }
  // Takes over another's descriptor, TLS and readiness.
  void take(Socket& other);
  // TLS from now on. server_name: for SNI and verification (empty: neither). The handshake is a step of its own.
  void start_tls_server(std::shared_ptr<ssl_ctx_st> context);
  Result<> start_tls_client(std::shared_ptr<ssl_ctx_st> context, const std::string& server_name, bool verify_name);
  // kBytes: done; kBlocked: call again once ready; kFailed: failure() says why.
  Moved handshake();
  bool tls() const { return tls_; }
  bool can_splice() const { return !tls_ && fd_; }
  bool is_stream() const { return peer_ != nullptr; }
  StreamPeer* stream() const { return peer_.get(); }
  int carrier_fd() const { return peer_ ? peer_->carrier_fd() : fd(); }
  ssl_st* ssl() const { return ssl_; }

  void note(std::uint32_t epoll_events);
  bool can_read() const { return can_read_; }
  bool can_write() const { return can_write_; }
  bool peer_ended() const { return peer_ended_; }  // FIN seen; bytes may be left
  bool peer_lost() const { return peer_lost_; }    // reset, or closed both ways

  Moved read(char* into, std::size_t size);
  // ending: for streams, see there.
  Moved write(std::span<const iovec> parts, const Ending* ending = nullptr);
  // Without taking them: what comes next. Plain sockets only.
  Moved peek(char* into, std::size_t size);
  // Nothing is there to be read, not even the end: what an idle connection must be. Asks the kernel only where it is not known.
  bool is_quiet();
  void shutdown_write();
  // Both directions end now, for whoever waits for them as well.
  void cut();
  void close();

  int fd() const { return fd_.get(); }
  bool is_open() const { return static_cast<bool>(fd_); }
  // For splice(2), which reads and writes the descriptor itself.
  void mark_read_blocked() { can_read_ = peer_ended_ || peer_lost_; }
  void mark_read_drained() { can_read_ = false; }
  void mark_write_blocked() { can_write_ = false; }
  std::string failure() const;

 private:
  Moved tls_failure(int result, bool reading);
  Moved read_stream(char* into, std::size_t size);
  Moved write_stream(std::span<const iovec> parts, const Ending* ending);

  sys::Fd fd_;
  ssl_st* ssl_ = nullptr;
  std::unique_ptr<http::BioSocket> bio_;
  std::shared_ptr<StreamPeer> peer_;  // instead of a descriptor
  int failed_errno_ = 0;
  bool tls_ = false;
  bool can_read_ = false;
  bool can_write_ = false;
  bool peer_ended_ = false;
  bool peer_lost_ = false;
  bool broken_ = false;
};

}  // namespace monopod::proxy
