// Api over HTTPS to any Kubernetes API server: JSON, HTTP/2 where the server has it, one connection for all requests and watches.
//
// A request that was told to come back later (429, or any failure with Retry-After) does, up to kRetriesMax times, as client-go does it; a lost connection
// or a slow server is the caller's to handle: kUnavailable, kDeadlineExceeded. Informers list and watch again by themselves.
#pragma once

#include <memory>

#include "async/scope.h"
#include "async/time.h"
#include "base/rng.h"
#include "client/api.h"
#include "client/cluster_config.h"
#include "http/client.h"

namespace monopod::client {

inline constexpr int kRetriesMax = 10;                                  // as client-go
inline constexpr std::chrono::seconds kRetryAfterMax{60};               // a server that asks for more is not believed
inline constexpr std::chrono::seconds kTokenFileEvery{60};              // how long the content of a token file is good for, as client-go
inline constexpr std::size_t kAnswerBytesMax = 256U << 20;              // of one answer, and of one line of a watch
inline constexpr std::chrono::minutes kWatchMin{5};                     // watches are asked to end between this and twice it, as reflectors do

// All but config outlive the Api.
struct HttpApiParts {
  async::Scope& background;  // owns connections: destroy the Api, or cancel the scope, before joining it
  async::Executor executor;
  async::Time& time;
  Rng& rng;
  ReadFile read_file;                  // of token files
  http::Resolver* resolver = nullptr;  // of server names; null: addresses and localhost only
  std::string user_agent = "monopod";
  Duration response_timeout = std::chrono::seconds(60);
};

class HttpApi final : public Api {
 public:
  // kInvalidArgument: a server that is no URL, or key material that is none.
  static Result<std::unique_ptr<HttpApi>> make(HttpApiParts parts, ClusterConfig config);
  ~HttpApi() override;

  async::Task<Result<Object>> get(Resource resource, std::string ns, std::string name) override;
  async::Task<Result<json::Value>> get_subresource(Resource resource, std::string ns, std::string name, std::string subresource) override;
  async::Task<Result<ObjectList>> list(Resource resource, ListOptions options) override;
  async::Task<Result<std::unique_ptr<Watch>>> watch(Resource resource, WatchOptions options) override;
  async::Task<Result<Object>> create(Resource resource, std::string ns, json::Value object, WriteOptions options) override;
  async::Task<Result<Object>> update(Resource resource, std::string ns, std::string name, json::Value object, WriteOptions options) override;
  async::Task<Result<Object>> patch(Resource resource, std::string ns, std::string name, PatchType type, json::Value patch, WriteOptions options) override;
  async::Task<Result<>> remove(Resource resource, std::string ns, std::string name, DeleteOptions options) override;
  async::Task<Result<json::Value>> post(Resource resource, std::string ns, std::string name, std::string subresource, json::Value body) override;

 private:
  struct Request;
  HttpApi(HttpApiParts parts, ClusterConfig config) : parts_(std::move(parts)), config_(std::move(config)) {}
  // A successful answer; else the error that its Status says.
  async::Task<Result<http::Response>> send(Request request);
  async::Task<Result<std::string>> text_of(Request request);
  async::Task<Result<Object>> object_of(Request request);
  Result<> refresh_token();

  HttpApiParts parts_;
  ClusterConfig config_;
  std::unique_ptr<http::TlsClient> tls_;
  std::unique_ptr<http::Client> client_;
  std::optional<MonoTime> token_read_;
};

}  // namespace monopod::client
