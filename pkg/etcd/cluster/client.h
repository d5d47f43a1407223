// A client of etcd's v3 API: gRPC calls to a cluster of which any member answers. Messages are bytes (messages.h, answers.h).
//
//   CO_TRY_ASSIGN(auto client, Client::make(scope, executor, time, {.endpoints = {"https://10.0.0.1:2379", "https://10.0.0.2:2379"}, .ca_pem = ca}));
//   CO_TRY_ASSIGN(std::string answer, co_await client->call("/etcdserverpb.KV/Range", request, Repeat::kSafe));
//   CO_TRY_ASSIGN(auto stream, co_await client->open("/etcdserverpb.Watch/Watch"));
//
// Each endpoint has one HTTP/2 connection and is looked at by Maintenance.Status: before its first call, after a failure (with
// back-off), and while calls are under way, so that one that hangs is found within probe_interval + probe_timeout and its calls
// fail over. Calls go round-robin to those that are up: reachable, with a leader, no learners.
//
// What is sent again (ADR 6):
//   surely not executed (no connection, stream refused, "no leader", "too many requests", token no longer valid): always
//   anything may have happened (connection lost, no answer in time, "request timed out"): only Repeat::kSafe
//
// Errors: what etcd answered, with its code and text. kUnavailable: no endpoint answered within the time-out, or a call that must
// not be repeated was lost ("... may have happened"). kInvalidArgument from make(): the options.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "async/scope.h"
#include "async/time.h"
#include "http/client.h"
#include "http/grpc.h"

namespace monopod::etcd {

inline constexpr std::size_t kAnswerBytesMax = 64U << 20;  // one message of an answer; etcd bounds requests, not answers

struct ClientOptions {
  std::vector<std::string> endpoints{};  // http://host:port, https://host:port, unix:/path; host:port is https where ca_pem or certificate_pem is given
  std::string ca_pem{};                  // authorities of the servers; empty: the host's
  std::string certificate_pem{};         // with key_pem: what we show
  std::string key_pem{};
  std::string server_name{};             // to verify; empty: each endpoint's host
  bool insecure_skip_verify = false;
  std::string user{};                    // with password: Authenticate, and again whenever the token has expired
  std::string password{};
  http::Resolver* resolver = nullptr;    // for endpoints that are names; outlives the client
  Duration connect_timeout = std::chrono::seconds(3);
  Duration call_timeout = std::chrono::seconds(10);     // of a call with all its attempts
  Duration attempt_timeout = std::chrono::seconds(4);   // of one attempt of a call that may be repeated
  Duration probe_interval = std::chrono::seconds(2);
  Duration probe_timeout = std::chrono::seconds(3);
  Duration backoff_min = std::chrono::milliseconds(50);
  Duration backoff_max = std::chrono::seconds(2);
};

// May a call be sent again when it is unknown whether it was executed? kSafe: twice is as good as once (reads, keep-alives).
enum class Repeat { kSafe, kUnsafe };

struct CallOptions {
  Duration timeout{};                      // zero: ClientOptions::call_timeout
  std::optional<std::size_t> endpoint{};  // this one only, up or not: its index; no fail-over
};

// What is known of an endpoint.
struct EndpointStatus {
  std::string url{};
  bool up = false;
  std::string version{};        // of the server; empty: not known
  std::optional<Error> error{};  // why it is not up
};

// A call in either direction, on one endpoint. read() fails with kUnavailable once the endpoint is found dead. It may outlive neither
// the client's scope nor its time.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual async::Task<Result<>> write(std::string_view message) = 0;  // message is copied before it waits
  virtual async::Task<Result<>> finish_writing() = 0;
  // forever: nullopt after an OK status.
  virtual async::Task<Result<std::optional<std::string>>> read() = 0;
  virtual std::size_t endpoint() const = 0;
};

class Client {
 public:
  // background owns the connections and the probes: cancel it before joining it. References outlive background's tasks.
  static Result<std::unique_ptr<Client>> make(async::Scope& background, async::Executor executor, async::Time& time, ClientOptions options);
  ~Client();

  // One message each way. path: "/etcdserverpb.KV/Range".
  async::Task<Result<std::string>> call(std::string path, std::string message, Repeat repeat, CallOptions options = {});
  // Opens on an endpoint that is up, waiting up to the time-out for one. What the server thinks of it is told by read().
  async::Task<Result<std::unique_ptr<Stream>>> open(std::string path, CallOptions options = {});

  std::vector<EndpointStatus> endpoints() const;
  // Why no call can succeed now; nullopt while an endpoint is up.
  std::optional<Error> failure() const;
  // A stream was told (in a message, not by its status) that its token is not valid any more.
  void forget_token();

  struct State;

 private:
  explicit Client(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

// "unix:/a", "10.0.0.1:2379", ... as http::Endpoint; kInvalidArgument.
Result<http::Endpoint> parse_client_endpoint(std::string_view text, bool tls);

}  // namespace monopod::etcd
