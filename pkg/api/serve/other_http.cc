// Paths that are no resource: discovery, OpenAPI, version, health, metrics, issuer metadata.
#include "api/serve/works.h"
#include "base/strings.h"
#include "sys/process_metrics.h"

namespace monopod::api {
namespace {

constexpr std::string_view kVersionMinor = "35";

std::string version_json() {
#if defined(__aarch64__)
  constexpr std::string_view kPlatform = "linux/arm64";
#else
  constexpr std::string_view kPlatform = "linux/amd64";
#endif
  return json::format(json::Object{{"major", "1"},
                                   {"minor", kVersionMinor},
                                   {"emulationMajor", "1"},
                                   {"emulationMinor", kVersionMinor},
                                   {"minCompatibilityMajor", "1"},
                                   {"minCompatibilityMinor", "34"},
                                   {"gitVersion", cat("v1.", kVersionMinor, ".0+monopod", MONOPOD_VERSION)},
                                   {"gitCommit", ""},
                                   {"gitTreeState", "clean"},
                                   {"buildDate", "1970-01-01T00:00:00Z"},
                                   {"goVersion", "none"},
                                   {"compiler", "clang"},
                                   {"platform", kPlatform}});
}

bool etag_matches(const http::Request& request, std::string_view etag) {
  for (std::string_view value : request.headers.find_all("if-none-match"))
    for (std::string_view one : split(value, ','))
      if (trim(one) == etag || trim(one) == "*") return true;
  return false;
}

async::Task<Outcome<>> respond_cached(HttpCall& call, http::Headers headers, SharedBytes bytes, std::string etag) {
  headers.set("etag", etag);
  if (etag_matches(call.exchange.request(), etag)) co_return co_await respond(call, 304, std::move(headers), share(""));
  co_return co_await respond(call, 200, std::move(headers), std::move(bytes));
}

// The version of aggregated discovery that the client puts before plain JSON; empty: plain.
std::string_view aggregated_version(const http::Request& request) {
  for (const MediaRange& range : parse_accept(accept_of(request))) {
    bool aggregated = range.param("as") == "APIGroupDiscoveryList" && range.param("g") == "apidiscovery.k8s.io";
    if (aggregated && range.param("v") == "v2") return "v2";
    if (aggregated && range.param("v") == "v2beta1") return "v2beta1";
    if (!aggregated && (range.type == "application/json" || range.type == "*/*")) return {};
  }
  return {};
}

async::Task<Outcome<>> serve_discovery(HttpCall& call) {
  std::string path = call.info.path;
  if (path.size() > 1 && path.back() == '/') path.pop_back();
  bool root = path == "/api" || path == "/apis";
  std::string_view version = root ? aggregated_version(call.exchange.request()) : std::string_view();
  if (!version.empty()) {
    const DiscoveryDocument& document = call.works.discovery.aggregated(path == "/api", version);
    http::Headers headers{{"content-type", cat("application/json;g=apidiscovery.k8s.io;v=", version, ";as=APIGroupDiscoveryList")}, {"vary", "Accept"}};
    co_return co_await respond_cached(call, std::move(headers), document.bytes, document.etag);
  }
  const DiscoveryDocument* document = call.works.discovery.legacy(path);
  if (document == nullptr) co_return refuse(page_not_found());
  http::Headers headers{{"content-type", "application/json"}};
  if (root) headers.add("vary", "Accept");
  co_return co_await respond(call, 200, std::move(headers), document->bytes);
}

// The documents are large and made on first use, so on the pool; two requests must not make them at once.
class OpenApiTurn {
 public:
  explicit OpenApiTurn(ServerWorks& works) : works_(works) { works_.openapi_busy = true; }
  ~OpenApiTurn() {
    works_.openapi_busy = false;
    works_.openapi_free.wake_all();
  }
  OpenApiTurn(const OpenApiTurn&) = delete;
  OpenApiTurn& operator=(const OpenApiTurn&) = delete;

 private:
  ServerWorks& works_;
};

// client-go asks for the protobuf form by this name; the answer's is spelled with a dot.
async::Task<Outcome<>> serve_openapi_v2(HttpCall& call) {
  ServerWorks& works = call.works;
  std::optional<bool> protobuf;
  for (const MediaRange& range : parse_accept(accept_of(call.exchange.request()))) {
    if (protobuf) break;
    if (range.type == "application/com.github.proto-openapi.spec.v2@v1.0+protobuf" || range.type == "application/com.github.proto-openapi.spec.v2.v1.0+protobuf") protobuf = true;
    else if (range.type == "application/json" || range.type == "application/*" || range.type == "*/*") protobuf = false;
  }
  if (!protobuf) co_return refuse(Status(406, "NotAcceptable", "only the following media types are accepted: application/json, application/com.github.proto-openapi.spec.v2@v1.0+protobuf"));
  auto make_document = [&works, &protobuf] { return works.openapi.v2(*protobuf); };
  OpenApi::Document document = co_await works.parts.pool.run(make_document);
  http::Headers headers{{"content-type", *protobuf ? "application/com.github.proto-openapi.spec.v2.v1.0+protobuf" : "application/json"}, {"vary", "Accept"}, {"cache-control", "no-cache, private"}};
  co_return co_await respond_cached(call, std::move(headers), document.bytes, cat('"', document.hash, '"'));
}

async::Task<Outcome<>> serve_openapi(HttpCall& call) {
  const std::string& path = call.info.path;
  ServerWorks& works = call.works;
  while (works.openapi_busy) CO_OUT(co_await works.openapi_free.wait());
  OpenApiTurn turn(works);
  works.openapi.set_kinds(works.kinds.snapshot());
  if (path == "/openapi/v2") co_return co_await serve_openapi_v2(call);
  constexpr std::string_view kIndex = "/openapi/v3";
  if (path == kIndex || path == "/openapi/v3/") {
    auto make_index = [&works] { return works.openapi.index(); };
    SharedBytes index = co_await works.parts.pool.run(make_index);
    co_return co_await respond(call, 200, {{"content-type", "text/plain; charset=utf-8"}}, std::move(index));
  }
  if (!path.starts_with("/openapi/v3/")) co_return refuse(page_not_found());
  std::string document = path.substr(kIndex.size() + 1);
  auto make_document = [&] { return works.openapi.document(document); };
  Result<SharedBytes> bytes = co_await works.parts.pool.run(make_document);
  Result<std::string> hash = works.openapi.hash(document);
  if (!bytes || !hash) co_return refuse(page_not_found());
  http::Headers headers{{"content-type", "application/json"}, {"vary", "Accept"}};
  std::string asked = call.info.query.get("hash");
  if (!asked.empty() && asked != *hash) {  // of an older document: what is asked for is another by now
    headers.set("location", cat(path, "?hash=", *hash));
    co_return co_await respond(call, 301, std::move(headers), share(""));
  }
  if (!asked.empty()) headers.set("cache-control", "public, immutable, max-age=31536000");
  else headers.set("cache-control", "no-cache, private");
  co_return co_await respond_cached(call, std::move(headers), *bytes, cat('"', *hash, '"'));
}

// only: the one check that is asked for ("/livez/etcd"); empty: all of them.
async::Task<Outcome<>> serve_health(HttpCall& call, std::string_view name, std::string_view only) {
  ServerWorks& works = call.works;
  std::string lines;
  bool healthy = true, found = only.empty();
  auto line = [&](std::string_view check, const std::string& problem) {
    if (!only.empty() && check != only) return;
    found = true;
    for (const std::string& excluded : call.info.query.all("exclude"))
      if (excluded == check) return;
    if (problem.empty()) {
      lines += cat("[+]", check, " ok\n");
    } else {
      lines += cat("[-]", check, " failed: reason withheld\n");
      healthy = false;
    }
  };
  line("ping", "");
  line("log", "");
  line("etcd", "");
  if (name == "readyz") line("poststarthook/start-cluster", works.started ? "" : "starting");
  for (const auto& [check, ask] : works.checks) line(check, ask());
  if (name == "readyz") line("informer-sync", works.started ? "" : "starting");
  if (!found) co_return refuse(page_not_found());
  std::string text = healthy ? "ok" : cat(lines, name, " check failed\n");
  if (healthy && only.empty() && call.info.query.has("verbose")) text = cat(lines, name, " check passed\n");
  co_return co_await respond(call, healthy ? 200 : 500, {{"content-type", "text/plain; charset=utf-8"}, {"x-content-type-options", "nosniff"}},
                             share(std::move(text)));
}

}  // namespace

async::Task<Outcome<>> serve_other(HttpCall& call) {
  const std::string& path = call.info.path;
  const std::string& method = call.exchange.request().method;
  if (method != "GET" && method != "HEAD") co_return refuse(Status(405, "MethodNotAllowed", "the server does not allow this method on the requested resource"));
  if (path == "/api" || path.starts_with("/api/") || path == "/apis" || path.starts_with("/apis/")) co_return co_await serve_discovery(call);
  if (path.starts_with("/openapi/")) co_return co_await serve_openapi(call);
  if (path == "/version" || path == "/version/") co_return co_await respond(call, 200, {{"content-type", "application/json"}}, share(version_json()));
  for (std::string_view name : {"healthz", "livez", "readyz"})
    if (path.starts_with(cat('/', name)) && (path.size() == name.size() + 1 || path[name.size() + 1] == '/'))
      co_return co_await serve_health(call, name, std::string_view(path).substr(std::min(path.size(), name.size() + 2)));
  if (path == "/metrics") {
    std::string text = call.works.metrics.format();
    text += "# HELP apiserver_storage_objects Objects in the store by resource.\n# TYPE apiserver_storage_objects gauge\n";
    for (const auto& [name, cache] : call.works.caches.caches())
      text += cat("apiserver_storage_objects{resource=\"", qualified({name.first, name.second}), "\"} ", cache->objects().size(), '\n');
    text += sys::format_process_metrics();
    co_return co_await respond(call, 200, {{"content-type", metrics::kContentType}}, share(std::move(text)));
  }
  if (path == "/openid/v1/jwks")
    co_return co_await respond(call, 200, {{"content-type", "application/jwk-set+json"}}, share(json::format(call.works.tokens.jwks())));
  if (path == "/.well-known/openid-configuration") {
    const std::string& issuer = call.works.tokens.issuer();
    json::Object document{{"issuer", issuer},
                          {"jwks_uri", cat("https://", call.works.options.advertise_address, ':', call.works.options.advertise_port, "/openid/v1/jwks")},
                          {"response_types_supported", json::Array{"id_token"}},
                          {"subject_types_supported", json::Array{"public"}},
                          {"id_token_signing_alg_values_supported", json::Array{"ES256"}}};
    co_return co_await respond(call, 200, {{"content-type", "application/json"}}, share(json::format(document)));
  }
  if (path == "/" ) {
    json::Array paths;
    for (std::string_view known : {"/api", "/api/v1", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"}) paths.emplace_back(known);
    co_return co_await respond(call, 200, {{"content-type", "application/json"}}, share(json::format(json::Object{{"paths", std::move(paths)}})));
  }
  co_return refuse(page_not_found());
}

}  // namespace monopod::api
