// The path of one request: parse -> authenticate -> impersonate -> bound -> authorise -> serve; every failure is one metav1.Status.
#include "api/server.h"

#include "api/audit/exchange.h"
#include "api/limits.h"
#include "api/serve/works.h"
#include "async/scope.h"
#include "base/log.h"
#include "base/strings.h"
#include "http/websocket_answer.h"

namespace monopod::api {
namespace {

constexpr std::size_t kOwnHeaders = 4;  // that respond() and the protocol add to an answer's

pki::PrivateKey service_account_key(const std::string& pem) {
  auto key = pem.empty() ? pki::PrivateKey::make() : pki::PrivateKey::parse_pem(pem);
  if (!key) key = pki::PrivateKey::make();
  return std::move(*key);
}

// Long-running requests have no place in the in-flight bounds.
bool long_running(const RequestInfo& info) {
  if (info.verb == "watch") return true;
  for (std::string_view sub : {"log", "exec", "attach", "portforward", "proxy"})
    if (info.subresource == sub) return true;
  return false;
}

// The seats that a request is worth: lists by how much they look at, all else one.
int width_of(const HttpCall& call) {
  const RequestInfo& info = call.info;
  if (info.verb != "list" && info.verb != "watch" && info.verb != "deletecollection") return 1;
  const Resource* resource = find_resource(info.group, info.version, info.resource);
  const WatchCache* cache = resource == nullptr ? nullptr : call.works.caches.find(stored_resource(*resource).group(), stored_resource(*resource).plural());
  if (cache == nullptr || (info.verb == "watch" && !info.query.flag("sendInitialEvents"))) return 1;
  std::size_t objects = cache->objects().size();
  if (auto limit = parse_int<std::size_t>(info.query.get("limit")); limit && *limit > 0) objects = std::min(objects, *limit);
  return static_cast<int>(std::min<std::size_t>(kSeatsOfListMax, 1 + objects / kObjectsPerSeat));
}

bool mutating(const std::string& verb) {
  return verb == "create" || verb == "update" || verb == "patch" || verb == "delete" || verb == "deletecollection";
}

class InFlight {
 public:
  explicit InFlight(int& counter) : counter_(counter) { ++counter_; }
  ~InFlight() { --counter_; }
  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;

 private:
  int& counter_;
};

Outcome<void> must(Authorizer& authorizer, const Attributes& attributes, audit::Record* record = nullptr) {
  Decision decision = authorizer.authorize(attributes);
  if (record != nullptr) {
    record->annotate("authorization.k8s.io/decision", decision.allowed ? "allow" : "forbid");
    record->annotate("authorization.k8s.io/reason", decision.reason);
  }
  if (decision.allowed) return {};
  return refuse(denial(attributes, decision.reason));
}

Attributes impersonation(const UserInfo& user, std::string_view resource, std::string_view name, std::string_view group = {},
                         std::string_view subresource = {}) {
  Attributes out;
  out.user = user;
  out.verb = "impersonate";
  out.group = group;
  out.resource = resource;
  out.subresource = subresource;
  out.name = name;
  return out;
}

// Impersonate-User, -Group, -Uid, -Extra-*: each value is a permission of its own.
Outcome<UserInfo> impersonated(const http::Request& request, UserInfo user, Authorizer& authorizer) {
  auto name = request.headers.find("impersonate-user");
  bool others = request.headers.find("impersonate-group") || request.headers.find("impersonate-uid");
  if (!name) {
    if (others) return refuse(Status(500, "InternalError", "requested impersonation without impersonating a user"));
    return user;
  }
  UserInfo as;
  as.name = std::string(trim(*name));
  constexpr std::string_view kAccount = "system:serviceaccount:";
  if (std::string_view(as.name).starts_with(kAccount)) {
    std::vector<std::string_view> parts = split(std::string_view(as.name).substr(kAccount.size()), ':');
    if (parts.size() != 2) return refuse(bad_request("malformed service account to impersonate"));
    Attributes attributes = impersonation(user, "serviceaccounts", parts[1]);
    attributes.ns = parts[0];
    OUT(must(authorizer, attributes));
    as.groups = {"system:serviceaccounts", cat("system:serviceaccounts:", parts[0])};
  } else {
    OUT(must(authorizer, impersonation(user, "users", as.name)));
  }
  for (std::string_view group : request.headers.find_all("impersonate-group")) {
    OUT(must(authorizer, impersonation(user, "groups", group)));
    as.groups.emplace_back(group);
  }
  if (auto uid = request.headers.find("impersonate-uid")) {
    OUT(must(authorizer, impersonation(user, "uids", *uid, "authentication.k8s.io")));
    as.uid = *uid;
  }
  constexpr std::string_view kExtra = "impersonate-extra-";
  for (const auto& field : request.headers) {
    std::string header = to_lower(field.name);
    if (!header.starts_with(kExtra)) continue;
    std::string key = header.substr(kExtra.size());
    OUT(must(authorizer, impersonation(user, "userextras", field.value, "authentication.k8s.io", key)));
    as.extra[key].push_back(field.value);
  }
  if (!as.in_group("system:unauthenticated") && !as.in_group("system:authenticated"))
    as.groups.emplace_back(as.name == "system:anonymous" ? "system:unauthenticated" : "system:authenticated");
  return as;
}

void begin_record(HttpCall& call, const Outcome<UserInfo>& user, bool streams) {
  const http::Request& request = call.exchange.request();
  if (user) call.record->begin(request, attributes_of(*user, call.info), streams);
  else call.record->begin_unauthenticated(request, attributes_of({}, call.info));
}

async::Task<Outcome<>> serve(HttpCall& call) {
  ServerWorks& works = call.works;
  const http::Request& request = call.exchange.request();
  CO_OUT_ASSIGN(call.info, parse_request(request.method, request.target));
  bool streams = long_running(call.info);
  Outcome<UserInfo> user = works.authenticator.authenticate(request);
  if (call.record != nullptr) begin_record(call, user, streams);
  CO_OUT(user);
  CO_OUT_ASSIGN(call.user, impersonated(request, *std::move(user), works.authorizer));
  if (call.record != nullptr && request.headers.find("impersonate-user")) call.record->impersonates(call.user);

  Metrics& metrics = works.metrics;
  Attributes attributes = attributes_of(call.user, call.info);
  // Watches wait for their seat too, and give it back once they have begun; other streams need none.
  if (!streams || call.info.verb == "watch") {
    int width = width_of(call);
    CO_OUT_ASSIGN(call.seat, co_await works.flow.admit(attributes, width, call.schema_uid, call.level_uid));
  }
  InFlight held(streams ? metrics.long_running : (mutating(call.info.verb) ? metrics.writes_in_flight : metrics.reads_in_flight));
  CO_OUT(must(works.authorizer, attributes, call.record));
  if (call.info.is_resource) co_return co_await serve_resource(call);
  co_return co_await serve_other(call);
}

async::Task<Result<>> respond_status(HttpCall& call, const Status& status) {
  call.code = status.code;
  if (call.record != nullptr) call.record->failure(status);
  http::Headers headers{{"content-type", "application/json"}, {"cache-control", "no-cache, private"}};
  if (status.retry_after_seconds > 0) headers.set("retry-after", std::to_string(status.retry_after_seconds));
  add_flow_headers(call, headers);
  if (status.code == 401) headers.set("www-authenticate", "Bearer realm=\"kubernetes-master\"");
  co_return co_await call.exchange.respond(status.code, std::move(headers), share(status.json()));
}

void count(const HttpCall& call, MonoTime begin) {
  const RequestInfo& info = call.info;
  std::string_view scope = info.name.empty() ? (info.ns.empty() ? "cluster" : "namespace") : "resource";
  bool known = !info.is_resource || call.served || call.works.kinds.find(info.group, info.version, info.resource).resource != nullptr;
  if (!known) return;  // labels stay bounded whatever clients ask for
  call.works.metrics.on_request({.verb = info.verb,
                                 .group = info.is_resource ? std::string_view(info.group) : std::string_view(),
                                 .version = info.is_resource ? std::string_view(info.version) : std::string_view(),
                                 .resource = info.is_resource ? std::string_view(info.resource) : std::string_view(),
                                 .subresource = info.is_resource ? std::string_view(info.subresource) : std::string_view(),
                                 .scope = info.is_resource ? scope : std::string_view(),
                                 .code = call.code,
                                 .took = call.works.parts.time.mono() - begin,
                                 .long_running = long_running(info)});
}

}  // namespace

ServerWorks::ServerWorks(ServerParts parts_given, ServerOptions options_given, pki::PrivateKey key)
    : parts(parts_given), options(std::move(options_given)),
      caches(parts.executor, parts.store, parts.time, options.watch_ring_events_max), authorizer(caches),
      quotas(parts.executor, parts.store, caches, registry, parts.time),
      admission(make_admission_plugins({caches, parts.time, parts.rng, options, authorizer, quotas})),
      registry(parts.store, caches, admission, parts.time, parts.rng), usage(parts.executor, caches, parts.nodes, parts.time), tokens(std::move(key), options, caches, parts.time, parts.rng),
      authenticator(options, tokens, caches, parts.time), operations(registry, make_subresource_handlers({registry, tokens}), authenticator, authorizer),
      flow(parts.executor, caches, parts.time), openapi_free(parts.executor), discovery(cat(options.advertise_address, ':', options.advertise_port), kinds), watch_ends_changed(parts.executor) {
  registry.serve_computed(usage);
  metrics.add_source([this](std::string& out) { flow.append_metrics(out); });
  if (options.audit_policy && options.audit_sink != nullptr)
    metrics.add_source([this](std::string& out) { audit::append_metrics(out, audited, *options.audit_sink); });
  for (const Resource& resource : resources())
    if (resource.has(kList) && resource.has(kCreate) && &stored_resource(resource) == &resource) caches.add(resource);
}

ApiServer::ApiServer(ServerParts parts, ServerOptions options) {
  pki::PrivateKey key = service_account_key(options.service_account_key_pem);
  works_ = std::make_unique<ServerWorks>(parts, std::move(options), std::move(key));
}

ApiServer::~ApiServer() = default;

QuotaCounter& ApiServer::quotas() { return works_->quotas; }

namespace {

CustomKindName name_of(crd::Kinds& kinds, const crd::CustomKind& kind) {
  const crd::CustomNames& names = kind.names;
  return {kinds.lasting(names.group), kinds.lasting(kind.storage->version_name), kinds.lasting(names.plural), kinds.lasting(names.kind), kind.namespaced};
}

}  // namespace

std::vector<CustomKindName> ApiServer::custom_kinds() const {
  std::vector<CustomKindName> out;
  for (const auto& kind : works_->kinds.snapshot()->kinds) out.push_back(name_of(works_->kinds, *kind));
  return out;
}

std::shared_ptr<void> ApiServer::on_custom_kind(std::function<void(const CustomKindName& kind, bool served)> listener) {
  return works_->kinds.on_change([this, tell = std::move(listener)](const crd::Kinds::Change& change) { tell(name_of(works_->kinds, *change.kind), change.served); });
}

void ApiServer::add_check(std::string name, std::function<std::string()> check) {
  works_->checks.emplace_back(std::move(name), std::move(check));
}

namespace {

async::Task<Result<>> send_bookmarks(ServerWorks& works) {
  while (true) {
    CO_TRY(co_await works.parts.time.sleep_for(kBookmarkEvery));
    for (Watcher* watcher : works.bookmarked)
      if (watcher->empty()) watcher->push_bookmark(works.caches.revision(), false);
  }
}

async::Task<Result<>> basics_beside_feed(ServerWorks& works, async::Scope& feed) {
  Result<> made = co_await make_cluster_basics(works);
  feed.cancel();
  co_return made;
}

}  // namespace

async::Task<Result<>> ApiServer::start() {
  CO_TRY(co_await find_custom_kinds(*works_));
  CO_TRY(co_await works_->caches.load());
  // The basics are written through the front door, so the caches must follow the store meanwhile.
  async::Scope feed(works_->parts.executor);
  feed.spawn(works_->caches.run());
  Result<> made = co_await basics_beside_feed(*works_, feed);
  Result<> fed = co_await feed.join();
  CO_TRY(made);
  if (!fed && fed.error().code() != Code::kCancelled) co_return fed;
  works_->started = true;
  co_return Result<>();
}

async::Task<Result<>> ApiServer::run() {
  async::Scope scope(works_->parts.executor);
  scope.spawn(works_->caches.run());
  scope.spawn(send_bookmarks(*works_));
  scope.spawn(end_watches(*works_));
  scope.spawn(keep_roles_aggregated(*works_));
  scope.spawn(keep_definitions(*works_));
  scope.spawn(keep_flow_status(*works_));
  co_return co_await scope.join();
}

namespace {

// What is left to do of an answer that goes on; null where it is complete.
async::Task<Result<std::unique_ptr<LongAnswer>>> answer(ServerWorks& works, http::Exchange& exchange, audit::Record* record) {
  HttpCall call{works, exchange, {}, {}, record};
  MonoTime begin = works.parts.time.mono();
  Outcome<> out = co_await serve(call);
  Result<> sent;
  if (!out) {
    if (exchange.started()) {
      count(call, begin);
      co_return fail(out.error().error());  // the answer is cut short, the peer can tell
    }
    sent = co_await respond_status(call, out.error());
  }
  count(call, begin);
  CO_TRY(sent);
  co_return std::move(call.rest);
}

async::Task<Result<>> handle_plain(ServerWorks& works, http::Exchange& exchange, audit::Record* record) {
  CO_TRY_ASSIGN(std::unique_ptr<LongAnswer> rest, co_await answer(works, exchange, record));
  if (!rest) co_return Result<>();
  co_return co_await rest->run();
}

class Plain final : public http::Handler {
 public:
  Plain(ServerWorks& works, audit::Record* record) : works_(works), record_(record) {}
  async::Task<Result<>> handle(http::Exchange& exchange) override { return handle_plain(works_, exchange, record_); }

 private:
  ServerWorks& works_;
  audit::Record* record_;
};

// Watches and logs come over a WebSocket too, for clients that ask for one.
async::Task<Result<>> handle_upgrade(ServerWorks& works, http::Exchange& exchange, audit::Record* record) {
  Plain plain(works, record);
  Outcome<RequestInfo> info = parse_request(exchange.request().method, exchange.request().target);
  if (info && info->verb == "watch") co_return co_await http::answer_by_messages(exchange, plain, http::Messages::kLines, works.parts.time);
  if (info && info->subresource == "log") co_return co_await http::answer_by_messages(exchange, plain, http::Messages::kBytes, works.parts.time);
  co_return co_await plain.handle(exchange);
}

// No frame of its own: a watch lives in the one that it returns.
async::Task<Result<>> handle_either(ServerWorks& works, http::Exchange& exchange, audit::Record* record) {
  return exchange.wants_upgrade("websocket") ? handle_upgrade(works, exchange, record) : handle_plain(works, exchange, record);
}

async::Task<Result<>> handle_audited(ServerWorks& works, http::Exchange& exchange) {
  audit::Sink& sink = *works.options.audit_sink;
  CO_TRY(co_await sink.wait_for_room());
  audit::Record record(*works.options.audit_policy, sink, works.audited, works.parts.time, works.parts.rng.uuid());
  audit::AuditedExchange audited(exchange, record);
  co_return co_await handle_either(works, audited, &record);
}

}  // namespace

async::Task<Result<>> ApiServer::handle(http::Exchange& exchange) {
  const ServerOptions& options = works_->options;
  if (options.audit_policy && options.audit_sink != nullptr) return handle_audited(*works_, exchange);
  return handle_either(*works_, exchange, nullptr);
}

bool find_served(ServerWorks& works, std::string_view group, std::string_view version, std::string_view plural, Call& call) {
  crd::Kinds::Found found = works.kinds.find(group, version, plural);
  call.resource = found.resource;
  call.kind = std::move(found.keep);
  if (call.kind) call.cache = works.caches.find_shared(group, plural);
  return call.resource != nullptr && (!call.kind || call.cache);
}

async::Task<Outcome<>> respond(HttpCall& call, int code, http::Headers headers, SharedBytes body) {
  call.code = code;
  headers.reserve(headers.size() + kOwnHeaders);
  add_flow_headers(call, headers);
  if (!headers.find("cache-control")) headers.add("cache-control", "no-cache, private");
  CO_OUT(co_await call.exchange.respond(code, std::move(headers), std::move(body)));
  co_return Outcome<>();
}

void add_flow_headers(const HttpCall& call, http::Headers& headers) {
  if (call.schema_uid.empty()) return;
  headers.add("x-kubernetes-pf-flowschema-uid", call.schema_uid);
  headers.add("x-kubernetes-pf-prioritylevel-uid", call.level_uid);
}

void add_warnings(http::Headers& headers, const std::vector<std::string>& warnings) {
  std::size_t bytes = 0;
  for (const std::string& warning : warnings) {
    std::string quoted;
    for (char c : warning) {
      if (c == '"' || c == '\\') quoted += '\\';
      quoted += c;
    }
    bytes += quoted.size();
    if (bytes > 4096) return;  // as upstream: warnings must not fill the header block
    headers.add("warning", cat("299 - \"", quoted, '"'));
  }
}

bool accepts_gzip(const http::Request& request) { return request.headers.has_token("accept-encoding", "gzip"); }

std::string accept_of(const http::Request& request) {
  std::string out;
  for (const http::Headers::Field& field : request.headers) {
    if (field.name.size() != 6 || !iequals(field.name, "accept")) continue;
    if (!out.empty()) out += ',';
    out += field.value;
  }
  return out;
}

}  // namespace monopod::api
