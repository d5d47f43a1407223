// The API server: one http::Handler over a store. Construct, start() (loads the caches, makes what a cluster must have),
// keep run() alive in a Scope, hand it to http::Server and to whoever wants local().
//
//   ApiServer server({.executor = ex, .store = backend, .time = time, .rng = rng, .pool = pool, .nodes = nodes}, options);
//   CO_TRY(co_await server.start());
//   scope.spawn(server.run());
//   http::Server(ex, server, ...).serve(listener)
#pragma once

#include <functional>
#include <memory>

#include "api/audit/policy.h"
#include "api/audit/sink.h"
#include "api/local.h"
#include "api/node_handlers.h"
#include "api/quota/counter.h"
#include "async/pool.h"
#include "async/time.h"
#include "base/rng.h"
#include "http/exchange.h"

namespace monopod::store {
class Backend;
}

namespace monopod::api {

// Everything outlives the server.
struct ServerParts {
  async::Executor executor;
  store::Backend& store;
  async::Time& time;
  Rng& rng;
  async::Pool& pool;
  NodeHandlers& nodes;
};

struct ServerOptions {
  std::string service_account_key_pem;  // private key that signs and verifies service-account tokens; empty: made at start, for tests
  std::string issuer = "https://kubernetes.default.svc.cluster.local";
  std::vector<std::string> audiences = {"https://kubernetes.default.svc.cluster.local"};
  std::string token_file;  // content of a static token file: token,user,uid,"group1,group2" a line
  bool anonymous = true;   // requests without credentials are system:anonymous, and authorised as that
  std::string service_cidr = "10.43.0.0/16";
  int node_port_first = 30000;
  int node_port_last = 32767;
  std::string advertise_address = "127.0.0.1";  // endpoint of the kubernetes Service
  int advertise_port = 6443;
  // Requests that come over the network are audited by it; no policy or no sink: none are. The sink outlives the server.
  std::shared_ptr<const audit::Policy> audit_policy{};
  audit::Sink* audit_sink = nullptr;
  std::string default_provisioner{};  // of the StorageClass local-path, which a cluster without a default class has from its first start on; empty: it has none
  std::size_t watch_ring_events_max = 1024;  // retained events a resource, before a watch needs the store's log
};

// A kind that a CustomResourceDefinition makes, in the version that is stored. The views last as long as the server.
struct CustomKindName {
  std::string_view group, version, plural, kind;
  bool namespaced = true;
};

class ApiServer final : public http::Handler {
 public:
  ApiServer(ServerParts parts, ServerOptions options);
  ~ApiServer() override;

  // Reads the store into the caches; makes the system namespaces, bootstrap roles, priority classes and the kubernetes Service.
  async::Task<Result<>> start();
  // Follows the store until cancelled. forever: the caller's scope ends it.
  async::Task<Result<>> run();
  // What /readyz and /livez say beside the server's own checks: name -> error text or empty. Called on each probe.
  void add_check(std::string name, std::function<std::string()> check);

  async::Task<Result<>> handle(http::Exchange& exchange) override;

  // Object-level access as that user. The server outlives it.
  std::unique_ptr<LocalApi> local(UserInfo user);
  // Counts ResourceQuotas when told to; for the controller. The server outlives it.
  QuotaCounter& quotas();
  // The custom kinds of the moment.
  std::vector<CustomKindName> custom_kinds() const;
  // Told of each of them at once, and whenever one is served or no longer served, as long as the caller keeps what it gets. On the loop.
  [[nodiscard]] std::shared_ptr<void> on_custom_kind(std::function<void(const CustomKindName& kind, bool served)> listener);

 private:
  std::unique_ptr<struct ServerWorks> works_;
};

}  // namespace monopod::api
