// Requests to HTTP servers. Caller is the interface; Client speaks HTTP/1.1 and HTTP/2 over sockets to one endpoint,
// InProcessClient (in_process.h) calls a Handler without one. Redirects are never followed, proxies never used.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "async/scope.h"
#include "async/stream.h"
#include "async/time.h"
#include "base/bytes.h"
#include "http/endpoint.h"
#include "http/headers.h"
#include "http/limits.h"
#include "http/tls.h"
#include "http/websocket.h"

namespace monopod::http {

// The bytes of an answer as they come. Destroying it before its end drops the stream (h2: RST_STREAM; h1: the connection
// closes; in process: the handler is cancelled).
class Body {
 public:
  virtual ~Body() = default;
  // The next bytes, never empty; null at the end. kUnavailable when the peer vanished, kDataLoss when it cut the answer short.
  virtual async::Task<Result<SharedBytes>> read_chunk() = 0;
  // Known after the end.
  virtual const Headers& trailers() const = 0;

  // 0 at the end.
  async::Task<Result<std::size_t>> read_some(std::span<std::byte> into);
  // Everything that is left; more than bytes_max: kResourceExhausted.
  async::Task<Result<std::string>> read_all(std::size_t bytes_max);

 private:
  SharedBytes rest_;
  std::size_t rest_offset_ = 0;
};

struct Response {
  int status = 0;
  Headers headers{};
  std::unique_ptr<Body> body{};  // never null
};

struct ClientRequest {
  std::string method = "GET";
  std::string target = "/";  // path and query, encoded
  Headers headers{};           // host is added where missing
  SharedBytes body{};          // null: none
  Duration timeout{};        // until the answer's head; zero: Options::response_timeout
};

// A request whose body is written in pieces while the answer may already come (uploads, gRPC streams).
class Call {
 public:
  virtual ~Call() = default;
  virtual async::Task<Result<>> write(SharedBytes bytes) = 0;  // waits for flow control
  virtual async::Task<Result<>> finish() = 0;                  // end of the request body
  // The answer's head. Once. The body may outlive the call, not the client's scope.
  virtual async::Task<Result<Response>> response() = 0;
};

class Caller {
 public:
  virtual ~Caller() = default;
  // Cancelling it drops the stream. kUnavailable: cannot connect or the connection was lost; kDeadlineExceeded.
  virtual async::Task<Result<Response>> request(ClientRequest request) = 0;
  // request.body is ignored. content-length may be given in its headers; chunked or h2 DATA otherwise.
  virtual async::Task<Result<std::unique_ptr<Call>>> open(ClientRequest request) = 0;
};

struct ClientOptions {
  Endpoint endpoint{};
  TlsClient* tls = nullptr;        // must be given when endpoint.tls; outlives the client
  std::string bearer_token{};        // sent with every request unless it has its own authorization
  bool http2_prior_knowledge = false;  // plain text h2 (gRPC)
  Resolver* resolver = nullptr;
  Duration connect_timeout = std::chrono::seconds(10);   // socket and TLS
  Duration response_timeout = std::chrono::seconds(60);
  std::size_t idle_connections_max = 4;  // h1 kept for reuse
  Limits limits{};
};

class Client final : public Caller {
 public:
  using Options = ClientOptions;
  // background owns what outlives a call (h2 connections). Destroy the client, or cancel the scope, before joining it.
  Client(async::Scope& background, async::Executor executor, async::Time& time, Options options);
  ~Client() override;

  async::Task<Result<Response>> request(ClientRequest request) override;
  async::Task<Result<std::unique_ptr<Call>>> open(ClientRequest request) override;
  // What a server makes of a request for an upgrade (the caller's Connection and Upgrade headers), over its own HTTP/1.1 connection: with
  // a 101 the stream is what follows, else it is null and the answer has a body.
  struct Switched {
    Response response;
    std::unique_ptr<async::Stream> stream;
  };
  async::Task<Result<Switched>> open_upgrade(ClientRequest request);
  // RFC 6455 over its own HTTP/1.1 connection. subprotocols: in order of preference. An answer other than 101 fails with
  // code_of_http_status and the first line of its body.
  async::Task<Result<std::unique_ptr<WebSocket>>> open_websocket(ClientRequest request, std::vector<std::string> subprotocols);
  void set_bearer_token(std::string token);
  // Drops idle connections and stops reusing live ones (after new certificates).
  void forget_connections();
  // The same, and what runs on an h2 connection fails at once with kUnavailable (a peer that stopped answering).
  void abort_connections();

  struct State;

 private:
  std::shared_ptr<State> state_;
};

}  // namespace monopod::http
