// An HTTP server: HTTP/1.1 and HTTP/2 (ALPN h2 over TLS, prior knowledge over plain) on listening sockets handed in.
//
//   Server server(executor, time, handler, {.tls = tls.get()});
//   scope.spawn(server.serve(std::move(listening_fd)));
#pragma once

#include <memory>

#include "async/task.h"
#include "async/time.h"
#include "http/exchange.h"
#include "http/limits.h"
#include "http/tls.h"
#include "sys/fd.h"

namespace monopod::http {

struct ServerOptions {
  TlsServer* tls = nullptr;  // null: plain text
  Limits limits{};
};

struct ServerStats {
  std::size_t connections = 0;
  std::uint64_t accepted = 0;
  std::uint64_t requests = 0;
};

class Server {
 public:
  using Options = ServerOptions;
  // All references outlive the server.
  Server(async::Executor executor, async::Time& time, Handler& handler, Options options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Accepts on a listening stream socket (TCP or unix) until cancelled (connections are cut, handlers cancelled), or until
  // shutdown() and the last connection's end. May run several times at once, for several sockets.
  async::Task<Result<>> serve(sys::Fd listening_socket);
  // Stops accepting; idle connections close, busy ones end after what they do (h2: GOAWAY). Bound it by cancelling serve().
  void shutdown();
  // One connection that somebody else accepted; returns at its end.
  async::Task<Result<>> serve_connection(sys::Fd socket);

  const ServerStats& stats() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Helpers to make what serve() takes. host: an IP literal ("0.0.0.0", "::"); port 0 picks one. Unix: an old socket file is
// replaced, mode 0600 from its first moment; kUnavailable where somebody still answers at it.
Result<sys::Fd> listen_tcp(const std::string& host, std::uint16_t port);
Result<sys::Fd> listen_unix(const std::string& path);
Result<std::uint16_t> local_port(const sys::Fd& socket);

}  // namespace monopod::http
