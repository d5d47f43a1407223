// The parts of a server, wired. Members are in the order of construction: each uses only those above it.
#pragma once

#include "api/admission/admission.h"
#include "api/audit/record.h"
#include "api/crd/kinds.h"
#include "api/flow/control.h"
#include "api/metrics.h"
#include "api/openapi/openapi.h"
#include "api/quota/ledger.h"
#include "api/serve/discovery.h"
#include "api/serve/operations.h"
#include "api/serve/render.h"
#include "api/server.h"
#include "api/usage/usage.h"
#include "http/exchange.h"
#include "http/tls.h"

namespace monopod::api {

struct ServerWorks {
  ServerWorks(ServerParts parts_given, ServerOptions options_given, pki::PrivateKey key);

  ServerParts parts;
  ServerOptions options;
  crd::Kinds kinds;              // what is served besides the tables
  CacheSet caches;
  Authorizer authorizer;
  QuotaLedger quotas;            // writes through the registry below, once there are requests
  AdmissionChain admission;
  Registry registry;
  UsageMetrics usage;
  ServiceAccountTokens tokens;
  Authenticator authenticator;
  Operations operations;
  flow::Control flow;
  OpenApi openapi;               // built on the pool at first use: one at a time, see openapi_busy
  bool openapi_busy = false;
  async::Notify openapi_free;
  Discovery discovery;
  Metrics metrics;
  audit::Totals audited;
  std::vector<std::pair<std::string, std::function<std::string()>>> checks;
  std::unique_ptr<http::TlsClient> proxy_tls;  // made when first needed
  std::set<Watcher*> bookmarked;  // HTTP watches that asked for bookmarks
  std::multimap<MonoTime, Watcher*> watch_ends;  // HTTP watches by the time they end at
  async::Notify watch_ends_changed;              // there is an earlier one
  bool started = false;
};

// What is left of a request once everything about it is decided: it goes on alone, and what decided it is freed meanwhile.
class LongAnswer {
 public:
  virtual ~LongAnswer() = default;
  virtual async::Task<Result<>> run() = 0;
};

// One request that has been authenticated and authorised.
struct HttpCall {
  ServerWorks& works;
  http::Exchange& exchange;
  RequestInfo info;
  UserInfo user;
  audit::Record* record = nullptr;       // null where nothing is audited
  flow::Seat seat{};                     // until the answer is complete, or a watch has sent what there was
  std::string schema_uid{}, level_uid{};  // of the objects that gave it
  int code = 0;         // of the answer, for metrics
  bool served = false;  // its resource was found
  std::unique_ptr<LongAnswer> rest{};  // run after everything else here is gone
};

// The pieces of ApiServer::handle(), one file each.
async::Task<Outcome<>> serve_resource(HttpCall& call);            // resource_http.cc
async::Task<Outcome<>> serve_list(HttpCall& call, Call& api_call);   // list_http.cc
async::Task<Outcome<>> serve_watch(HttpCall& call, Call& api_call);  // watch_http.cc
async::Task<Outcome<>> serve_connect(HttpCall& call, Call& api_call);  // connect_http.cc
async::Task<Outcome<>> serve_proxy(HttpCall& call, Call& api_call);    // proxy_http.cc
// The same exchange, answered by the node's own handler.
async::Task<Outcome<>> delegate_to_node(HttpCall& call, std::string_view node, std::string path, std::string query);
async::Task<Outcome<>> serve_other(HttpCall& call);               // other_http.cc: discovery, health, metrics, OpenAPI, version

async::Task<Outcome<>> respond(HttpCall& call, int code, http::Headers headers, SharedBytes body);
// Which flow schema and priority level the request was given.
void add_flow_headers(const HttpCall& call, http::Headers& headers);
// Adds Warning headers.
void add_warnings(http::Headers& headers, const std::vector<std::string>& warnings);
bool accepts_gzip(const http::Request& request);
std::string accept_of(const http::Request& request);
// What the query says of a write of this verb; apply: a patch by server-side apply. 422 names the options' kind.
Outcome<WriteOptions> write_options(const QueryParams& query, std::string_view verb, bool apply);

// start(): what every cluster has. run(): aggregated roles kept up to date.
async::Task<Result<>> make_cluster_basics(ServerWorks& works);
// Ends HTTP watches whose time is up.
async::Task<Result<>> end_watches(ServerWorks& works);
async::Task<Result<>> keep_roles_aggregated(ServerWorks& works);
// run(): flow schemas say whether their level exists.
async::Task<Result<>> keep_flow_status(ServerWorks& works);
// start(): the kinds of accepted CustomResourceDefinitions, before the caches load. run(): follows the definitions.
async::Task<Result<>> find_custom_kinds(ServerWorks& works);
async::Task<Result<>> keep_definitions(ServerWorks& works);

// The row of a path, and what the call must hold on to. False: nothing is served there.
bool find_served(ServerWorks& works, std::string_view group, std::string_view version, std::string_view plural, Call& call);

}  // namespace monopod::api
