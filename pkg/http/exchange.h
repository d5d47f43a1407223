// One HTTP request being answered, the same over HTTP/1.1, HTTP/2 and in process; and what answers it.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "async/stream.h"
#include "async/task.h"
#include "base/bytes.h"
#include "http/headers.h"
#include "http/websocket.h"

namespace monopod::http {

// Who is at the other end.
struct Peer {
  std::string address{};  // "10.0.0.1:4711", "[::1]:4711", "unix", or "in-process"
  bool tls = false;
  bool in_process = false;
  std::vector<std::string> certificates_der{};  // verified client chain, leaf first; empty if none was shown
};

struct Request {
  std::string method{};
  std::string target{};  // path and query as sent
  Headers headers{};     // "host" holds h2's :authority
  Peer peer{};

  std::string_view raw_path() const;
  std::string_view raw_query() const;  // without '?'
};

// Valid until the handler returns. The handler is cancelled when the peer goes away (connection lost, stream reset).
// One coroutine reads and one writes at a time. Failed writes are kUnavailable: the peer went away.
class Exchange {
 public:
  virtual ~Exchange() = default;

  // Mutable: a handler may rewrite the target and pass the exchange on to another handler.
  Request& request() { return request_; }
  const Request& request() const { return request_; }

  // The next bytes of the request body; 0 at its end. kInvalidArgument for broken framing.
  virtual async::Task<Result<std::size_t>> read_body_some(std::span<std::byte> into) = 0;
  // The same as the connection holds them, where it can: no copy. Empty at the end.
  virtual async::Task<Result<std::string>> read_body_chunk();
  // The whole body; more than bytes_max: kInvalidArgument "request body too large".
  async::Task<Result<std::string>> read_body(std::size_t bytes_max);

  // A whole answer with content-length. HEAD: the body is not sent. body may be null.
  async::Task<Result<>> respond(int status, Headers headers, SharedBytes body);
  async::Task<Result<>> respond(int status, Headers headers, std::string body);
  // start(), write() and finish() in one.
  virtual async::Task<Result<>> respond_with_trailers(int status, Headers headers, SharedBytes body, Headers trailers);
  // Starts an answer of unknown length (or of a content-length given in headers), then write()... and finish().
  virtual async::Task<Result<>> start(int status, Headers headers) = 0;
  // h2: queues shared bytes, flushed at the next turn of the loop (many small writes become one packet), and waits while more
  // than write_queue_bytes_max (limits.h) of this answer are unsent. h1: waits until the socket took them.
  virtual async::Task<Result<>> write(SharedBytes bytes) = 0;
  // The same where it need not wait: false, with nothing taken, where it would have to, or in a protocol that cannot: h1.
  virtual bool try_write(const SharedBytes&) { return false; }
  // Ends the answer. A handler that returns success without it ends it too. Trailers: h2 and chunked h1.
  virtual async::Task<Result<>> finish(Headers trailers = {}) = 0;
  virtual bool started() const = 0;

  // The request asks for an upgrade to protocol ("websocket", "SPDY/3.1"); always false over h2.
  virtual bool wants_upgrade(std::string_view protocol) const = 0;
  // The largest message that a WebSocket of accept_websocket() reads.
  virtual std::size_t websocket_message_bytes_max() const;
  // The subprotocols the client offers, in its order.
  std::vector<std::string> offered_subprotocols() const;
  // RFC 6455 handshake with the chosen subprotocol (empty: none). kInvalidArgument when the request is not one; kUnimplemented
  // over h2 and in process. The socket must be gone before the handler returns.
  async::Task<Result<std::unique_ptr<WebSocket>>> accept_websocket(std::string subprotocol);
  // Answers (101) and hands over the raw duplex stream, which must be gone before the handler returns.
  virtual async::Task<Result<std::unique_ptr<async::Stream>>> upgrade(int status, Headers headers) = 0;

 protected:
  virtual async::Task<Result<>> send_whole(int status, Headers headers, SharedBytes body) = 0;
  Request request_;
};

class Handler {
 public:
  virtual ~Handler() = default;
  // An error before start() becomes a plain-text answer with http_status(code); one after it cuts the answer short
  // (h2: RST_STREAM, h1: the connection closes) so that the peer can tell.
  virtual async::Task<Result<>> handle(Exchange& exchange) = 0;
};

}  // namespace monopod::http
