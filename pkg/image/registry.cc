#include "image/registry.h"

#include "base/strings.h"
#include "codec/json.h"
#include "http/query.h"
#include "image/manifest.h"

namespace monopod::image {
namespace {

using async::Task;

constexpr std::size_t kErrorBytesMax = 64U << 10;
constexpr std::size_t kTokenBytesMax = 256U << 10;
constexpr int kRedirectsMax = 5;
constexpr int kBusyRetries = 4;
constexpr std::uint32_t kRetryAfterMax = 60;  // seconds; a registry that wants longer is given up

bool is_loopback(const http::Endpoint& endpoint) {
  return endpoint.host == "localhost" || endpoint.host.starts_with("127.") || endpoint.host == "::1";
}

std::string key_of(const http::Endpoint& endpoint) { return cat(endpoint.tls ? "https://" : "http://", endpoint.authority()); }

// Path and query of an absolute URL.
std::string target_of(std::string_view url) {
  std::size_t authority = url.find("://");
  std::size_t path = authority == std::string_view::npos ? std::string_view::npos : url.find('/', authority + 3);
  return path == std::string_view::npos ? "/" : std::string(url.substr(path));
}

// Bearer realm="https://auth/token",service="x",scope="y"  (RFC 9110 section 11.2)
std::map<std::string, std::string> parse_challenge(std::string_view text) {
  std::map<std::string, std::string> out;
  auto [scheme, rest] = split_once(trim(text), ' ');
  out["scheme"] = to_lower(scheme);
  std::string_view at = rest.value_or("");
  while (!at.empty()) {
    std::size_t equals = at.find('=');
    if (equals == std::string_view::npos) break;
    std::string name = to_lower(trim(at.substr(0, equals)));
    at = at.substr(equals + 1);
    std::string value;
    if (at.starts_with('"')) {
      std::size_t i = 1;
      for (; i < at.size() && at[i] != '"'; ++i) value += at[i] == '\\' && i + 1 < at.size() ? at[++i] : at[i];
      at = at.substr(std::min(i + 1, at.size()));
      std::size_t comma = at.find(',');
      at = comma == std::string_view::npos ? std::string_view() : at.substr(comma + 1);
    } else {
      auto [first, more] = split_once(at, ',');
      value = trim(first);
      at = more.value_or("");
    }
    out[name] = std::move(value);
  }
  return out;
}

}  // namespace

Task<Error> error_of(http::Response response) {
  auto text = co_await response.body->read_all(kErrorBytesMax);
  std::string why;
  if (text)
    if (auto value = json::parse(*text)) {
      const auto* errors = json::get_array(*value, {"errors"});
      if (errors != nullptr && !errors->empty()) why = json::get_string(errors->front(), {"message"}, json::get_string(errors->front(), {"code"}));
    }
  for (char& c : why)
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  std::string_view plain = response.status == 401 ? "unauthorized" : response.status == 404 ? "not found" : "";
  co_return Error(code_of_http_status(response.status), cat("status ", response.status, plain.empty() ? "" : cat(" ", plain), why.empty() ? "" : ": ", why.substr(0, 300)));
}

Result<http::Endpoint> registry_endpoint(const std::string& domain) {
  std::string host = domain == "docker.io" ? "registry-1.docker.io" : domain;
  TRY_ASSIGN(http::Endpoint plain, http::parse_endpoint("http://" + host));
  if (is_loopback(plain)) return plain;
  return http::parse_endpoint("https://" + host);
}

RegistryClient::RegistryClient(async::Scope& background, async::Executor executor, async::Time& time, Reference reference, RegistryOptions options)
    : background_(background), executor_(executor), time_(time), reference_(std::move(reference)), options_(std::move(options)) {
  if (!options_.auth.token.empty()) authorization_ = "Bearer " + options_.auth.token;
}

Result<http::Client*> RegistryClient::client_for(const http::Endpoint& endpoint) {
  // A registry elsewhere must not send us to this node's own loopback.
  bool own = endpoint.host == endpoint_.host && endpoint.port == endpoint_.port;
  if (!endpoint.tls && !(own && options_.plain_http) && !(is_loopback(endpoint) && is_loopback(endpoint_)))
    return fail(Code::kPermissionDenied, cat("plain http to ", endpoint.authority(), " is refused"));
  if (endpoint.tls && options_.tls == nullptr) return fail(Code::kFailedPrecondition, cat("https to ", endpoint.authority(), ": no root certificates are configured"));
  auto& client = clients_[key_of(endpoint)];
  if (client == nullptr)
    client = std::make_unique<http::Client>(background_, executor_, time_,
                                            http::ClientOptions{.endpoint = endpoint, .tls = endpoint.tls ? options_.tls : nullptr, .resolver = options_.resolver});
  return client.get();
}

Result<RegistryClient::Target> RegistryClient::target_for(std::string url) {
  if (endpoint_.host.empty()) {
    auto endpoint = options_.base_url.empty() ? registry_endpoint(reference_.domain) : http::parse_endpoint(options_.base_url);
    if (!endpoint) return fail(std::move(endpoint).error());
    endpoint_ = *std::move(endpoint);
    if (options_.plain_http && options_.base_url.empty()) endpoint_.tls = false;
  }
  Target out{.path = std::move(url), .own = true};
  http::Endpoint to = endpoint_;
  if (!out.path.starts_with('/')) {
    TRY_ASSIGN(to, http::parse_endpoint(out.path));
    out.path = target_of(out.path);
    out.own = key_of(to) == key_of(endpoint_);
  }
  TRY_ASSIGN(out.client, client_for(to));
  return out;
}

// Once more after a challenge; some times more where the registry is busy.
Task<Result<http::Response>> RegistryClient::send(std::string method, std::string url, http::Headers headers, SharedBytes body) {
  CO_TRY_ASSIGN(Target to, target_for(std::move(url)));
  bool challenged = false;
  for (int tries = 0;;) {
    http::ClientRequest request{.method = method, .target = to.path, .headers = headers, .body = body};
    if (to.own && !authorization_.empty()) request.headers.set("authorization", authorization_);
    CO_TRY_ASSIGN(http::Response response, co_await to.client->request(std::move(request)));
    if (response.status == 401 && to.own && !challenged) {
      challenged = true;
      auto challenge = response.headers.find("www-authenticate");
      if (!challenge) co_return std::move(response);
      std::string text(*challenge);
      CO_TRY(co_await authenticate(std::move(text)));
      continue;
    }
    bool busy = response.status == 429 || (response.status >= 502 && response.status <= 504);
    if (!busy || tries == kBusyRetries) co_return std::move(response);
    auto after = parse_int<std::uint32_t>(trim(response.headers.find("retry-after").value_or("")));
    std::chrono::seconds wait(after ? std::min(*after, kRetryAfterMax) : 1U << tries);
    ++tries;
    CO_TRY(co_await time_.sleep_for(wait));
  }
}

Task<Result<SharedBytes>> RegistryClient::read_chunk(http::Body& body) {
  co_return co_await async::with_timeout<SharedBytes>(time_, options_.stall_timeout, "the registry stalls", body.read_chunk());
}

Task<Result<>> RegistryClient::authenticate(std::string challenge) {
  auto fields = parse_challenge(challenge);
  const RegistryAuth& auth = options_.auth;
  std::string basic = auth.username.empty() ? "" : "Basic " + format_base64(cat(auth.username, ":", auth.password));
  if (fields["scheme"] == "basic") {
    if (basic.empty()) co_return fail(Code::kUnauthenticated, "unauthorized: the registry wants a user name and password");
    authorization_ = basic;
    co_return Result<>{};
  }
  if (fields["scheme"] != "bearer") co_return fail(Code::kUnauthenticated, cat("unauthorized: unknown challenge \"", fields["scheme"].substr(0, 50), "\""));
  CO_TRY_ASSIGN(http::Endpoint endpoint, http::parse_endpoint(fields["realm"]));
  CO_TRY_ASSIGN(http::Client * client, client_for(endpoint));
  std::string target = target_of(fields["realm"]);
  http::Query query;
  if (!fields["service"].empty()) query.add("service", fields["service"]);
  query.add("scope", cat("repository:", reference_.path, options_.writes ? ":pull,push" : ":pull"));
  if (!options_.mount_from.empty()) query.add("scope", cat("repository:", options_.mount_from, ":pull"));
  target += cat(target.find('?') == std::string::npos ? "?" : "&", query.format());
  http::ClientRequest request{.target = std::move(target)};
  if (!basic.empty()) request.headers.set("authorization", basic);
  CO_TRY_ASSIGN(http::Response response, co_await client->request(std::move(request)));
  if (response.status != 200) {
    Error error = co_await error_of(std::move(response));
    co_return fail(std::move(error).with(cat("token from ", endpoint.authority())));
  }
  CO_TRY_ASSIGN(std::string text, co_await response.body->read_all(kTokenBytesMax));
  CO_TRY_ASSIGN(json::Value value, json::parse(text));
  std::string_view token = json::get_string(value, {"token"}, json::get_string(value, {"access_token"}));
  if (token.empty()) co_return fail(Code::kUnauthenticated, cat("token from ", endpoint.authority(), ": none in the answer"));
  authorization_ = cat("Bearer ", token);
  co_return Result<>{};
}

Task<Result<>> RegistryClient::check_access() {
  CO_TRY_ASSIGN(http::Response response, co_await send("GET", "/v2/"));
  if (response.status != 200) co_return fail(co_await error_of(std::move(response)));
  co_return Result<>();
}

// Some give the way to other hosts not for blobs alone.
Task<Result<http::Response>> RegistryClient::fetch(std::string url, http::Headers headers) {
  CO_TRY_ASSIGN(http::Response response, co_await send("GET", std::move(url), headers));
  http::Endpoint from = endpoint_;
  for (int hops = 0; response.status >= 301 && response.status <= 308; ++hops) {
    std::string location(response.headers.find("location").value_or(""));
    if (hops == kRedirectsMax || location.empty()) co_return fail(Code::kUnavailable, "too many redirects");
    std::string target = location;
    if (!location.starts_with('/')) {
      CO_TRY_ASSIGN(from, http::parse_endpoint(location));
      target = target_of(location);
    }
    CO_TRY_ASSIGN(http::Client * client, client_for(from));
    http::ClientRequest request{.target = std::move(target), .headers = headers};  // no credentials: the location carries its own
    CO_TRY_ASSIGN(response, co_await client->request(std::move(request)));
  }
  co_return std::move(response);
}

Task<Result<RegistryClient::Document>> RegistryClient::get_manifest(std::string tag_or_digest, std::size_t bytes_max) {
  http::Headers headers;
  for (std::string_view type : {kOciIndex, kOciManifest, kDockerIndex, kDockerManifest}) headers.add("accept", type);
  CO_TRY_ASSIGN(http::Response response, co_await fetch(cat("/v2/", reference_.path, "/manifests/", tag_or_digest), std::move(headers)));
  if (response.status != 200) {
    Error error = co_await error_of(std::move(response));
    co_return fail(std::move(error).with("manifest"));
  }
  auto [type, parameters] = split_once(response.headers.find("content-type").value_or(""), ';');
  Document out{.media_type = std::string(trim(type)), .text = {}};
  CO_TRY_ASSIGN(out.text, co_await response.body->read_all(bytes_max));
  co_return out;
}

Task<Result<http::Response>> RegistryClient::open_blob(std::string digest, std::uint64_t offset) {
  http::Headers headers;
  if (offset > 0) headers.set("range", cat("bytes=", offset, "-"));
  auto fetched = co_await fetch(cat("/v2/", reference_.path, "/blobs/", digest), std::move(headers));
  if (!fetched) co_return fail(std::move(fetched).error().with(cat("blob ", digest)));
  http::Response response = *std::move(fetched);
  if (response.status != 200 && !(response.status == 206 && offset > 0)) {
    Error error = co_await error_of(std::move(response));
    co_return fail(std::move(error).with(cat("blob ", digest)));
  }
  co_return std::move(response);
}

}  // namespace monopod::image
