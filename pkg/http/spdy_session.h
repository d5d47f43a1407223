// The server's side of a SPDY/3.1 session over any duplex stream: streams that the peer opens, each an async::Stream.
//
//   wire --read--> framer --> frames --+--> input of a stream --> SpdyStream::read_some
//                                      +--> answers (SYN_REPLY, PING, RST_STREAM) --+
//   wire <--write-- one queue of whole frames <-------------------------------------+--- SpdyStream::write_all
//
// Kubernetes' clients (moby/spdystream) know no flow control: they send no WINDOW_UPDATE and heed none. Hence the windows of a peer bind us
// only once it has sent a WINDOW_UPDATE or an initial window; ours are always renewed. What holds either side back is the connection: a stream
// whose input nobody takes stops the reading of all (spdy_stream_input_bytes_max).
#pragma once

#include <functional>
#include <memory>

#include "async/scope.h"
#include "async/stream.h"
#include "async/time.h"
#include "http/spdy_framer.h"

namespace monopod::http {

// Its writes wait while the session has enough to send. shutdown_write() sends the last frame; close() and the destructor reset what is not
// closed in both directions. After the peer's reset, and after the session's end, reads and writes are kUnavailable.
class SpdyStream : public async::Stream {
 public:
  virtual std::uint32_t id() const = 0;
  virtual const Headers& headers() const = 0;  // names lowercase
};

class SpdySession {
 public:
  // What the peer may open, by its headers; it is answered at once, a refusal with RST_STREAM.
  using Check = std::function<Result<>(const Headers&)>;

  // time outlives the session's run().
  SpdySession(async::Executor executor, async::Time& time, std::unique_ptr<async::Stream> wire, Check check, const Limits& limits = {});
  ~SpdySession();  // drops the connection; run() ends

  // Serves until the peer ends the session, breaks the protocol (it is sent a GOAWAY) or close() is called. Spawn it into a scope that is joined
  // before the wire's owner goes.
  async::Task<> run();
  // The next stream; kUnavailable "connection closed" after the end.
  async::Task<Result<std::unique_ptr<SpdyStream>>> accept();
  // Returns when the session is over. forever: the peer decides.
  async::Task<Result<>> ended();
  // GOAWAY, what is queued, then the end; waits for the peer to close first, for a while.
  async::Task<Result<>> finish();

 private:
  struct Core;
  class Handle;
  static async::Task<> serve(std::shared_ptr<Core> core);
  static async::Task<> read(std::shared_ptr<Core> core, async::Scope& scope);
  static async::Task<> write(std::shared_ptr<Core> core, async::Scope& scope);
  std::shared_ptr<Core> core_;
};

}  // namespace monopod::http
