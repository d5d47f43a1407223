// pods/proxy and services/proxy: the request goes on to a port of the pod, or of one of the service's, and its answer comes back as if
// it were ours: what upstream's UpgradeAwareHandler does. nodes/proxy leads to the node's own API, or to another port of the node.
//
//   /api/v1/namespaces/ns/services/https:web:portname/proxy/a/b?q   ->   https://10.42.0.7:8443/a/b?q
#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

#include "api/serve/works.h"
#include "base/strings.h"
#include "http/forward.h"

namespace monopod::api {
namespace {

struct ProxyName {
  std::string scheme = "http", name, port;
};

// name, name:port, scheme:name:port; k8s.io/apimachinery's SplitSchemeNamePort.
std::optional<ProxyName> parse_name(std::string_view text) {
  std::vector<std::string_view> parts = split(text, ':');
  ProxyName out;
  if (parts.size() > 3) return std::nullopt;
  if (parts.size() == 3) {
    if (parts[0] != "http" && parts[0] != "https") return std::nullopt;
    out.scheme = parts[0];
  }
  std::size_t at = parts.size() == 3 ? 1 : 0;
  out.name = parts[at];
  if (parts.size() > 1) out.port = parts[at + 1];
  if (out.name.empty()) return std::nullopt;
  return out;
}

// Go's IP.IsGlobalUnicast: this host's own addresses are nobody's business.
bool proxyable_v4(std::uint32_t a) { return a != 0 && a != 0xffffffff && a >> 24 != 127 && a >> 28 != 14 && a >> 16 != 0xa9fe; }

bool proxyable(const std::string& ip) {
  in_addr v4{};
  in6_addr v6{};
  if (inet_pton(AF_INET, ip.c_str(), &v4) == 1) return proxyable_v4(ntohl(v4.s_addr));
  if (inet_pton(AF_INET6, ip.c_str(), &v6) != 1) return false;
  if (IN6_IS_ADDR_V4MAPPED(&v6) || IN6_IS_ADDR_V4COMPAT(&v6)) {  // ::ffff:127.0.0.1 is 127.0.0.1
    std::memcpy(&v4, v6.s6_addr + 12, sizeof v4);
    return proxyable_v4(ntohl(v4.s_addr));
  }
  return !IN6_IS_ADDR_UNSPECIFIED(&v6) && !IN6_IS_ADDR_LOOPBACK(&v6) && !IN6_IS_ADDR_MULTICAST(&v6) && !IN6_IS_ADDR_LINKLOCAL(&v6);
}

// A segment of a path as Go writes it.
std::string path_segment(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (std::string_view("$&+,:;=@!*'()").find(c) != std::string_view::npos) out += c;
    else out += percent_encode(std::string_view(&c, 1));
  }
  return out;
}

bool ends_with_slash(std::string_view target) { return target.substr(0, target.find('?')).ends_with('/'); }

// What follows /proxy, cleaned as Go's path.Join does: nothing leads above its root.
std::string path_behind(const HttpCall& call) {
  std::vector<std::string> kept;
  for (std::size_t i = 3; i < call.info.parts.size(); ++i) {
    const std::string& part = call.info.parts[i];
    if (part.empty() || part == ".") continue;
    if (part != "..") kept.push_back(path_segment(part));
    else if (!kept.empty()) kept.pop_back();
  }
  std::string out;
  for (const std::string& part : kept) out += cat('/', part);
  if (ends_with_slash(call.exchange.request().target)) out += '/';
  return out;
}

std::string query_behind(const HttpCall& call) {
  std::string query(call.exchange.request().raw_query());
  return query.empty() ? query : cat('?', query);
}

// Where to, or why nowhere.
struct Place {
  std::string scheme, host, port;
  std::string unavailable{};
};

Place place_of_pod(const json::Value& pod, ProxyName name) {
  if (name.port.empty())
    if (const json::Array* containers = json::get_array(pod, {"spec", "containers"}))
      for (const json::Value& c : *containers) {
        const json::Array* ports = json::get_array(c, {"ports"});
        if (ports == nullptr || ports->empty()) continue;
        name.port = std::to_string(json::get_int(ports->front(), {"containerPort"}));
        break;
      }
  return Place{name.scheme, std::string(json::get_string(pod, {"status", "podIP"})), name.port};
}

// A ready endpoint behind the service's port of that number or name.
Place place_of_service(const json::Value& service, const json::Value& endpoints, const ProxyName& name, Rng& rng) {
  std::string port = name.port;
  if (auto number = parse_int<std::int64_t>(port)) {
    const json::Array* ports = json::get_array(service, {"spec", "ports"});
    auto found = ports == nullptr ? nullptr : std::find_if(ports->begin(), ports->end(), [&](const json::Value& p) { return json::get_int(p, {"port"}) == *number; });
    if (ports == nullptr || found == ports->end()) return {.unavailable = cat("no service port ", *number, " found for service \"", name.name, '"')};
    port = json::get_string(*found, {"name"});
  }
  const json::Array* subsets = json::get_array(endpoints, {"subsets"});
  std::vector<Place> places;
  if (subsets != nullptr)
    for (const json::Value& subset : *subsets) {
      const json::Array *addresses = json::get_array(subset, {"addresses"}), *ports = json::get_array(subset, {"ports"});
      if (addresses == nullptr || ports == nullptr) continue;
      for (const json::Value& p : *ports)
        if (json::get_string(p, {"name"}) == port)
          for (const json::Value& a : *addresses) places.push_back({name.scheme, std::string(json::get_string(a, {"ip"})), std::to_string(json::get_int(p, {"port"}))});
    }
  if (places.empty()) return {.unavailable = cat("no endpoints available for service \"", name.name, '"')};
  return std::move(places[rng.next() % places.size()]);
}

Place place_of_node(const json::Value& node, const ProxyName& name) {
  if (const json::Array* addresses = json::get_array(node, {"status", "addresses"}))
    for (const json::Value& a : *addresses)
      if (json::get_string(a, {"type"}) == "InternalIP") return {name.scheme, std::string(json::get_string(a, {"address"})), name.port};
  return {};
}

Place find_place(const HttpCall& call, std::string_view plural, const std::string& ns, const json::Value& object, const ProxyName& name) {
  if (plural == "pods") return place_of_pod(object, name);
  if (plural == "nodes") return place_of_node(object, name);
  WatchCache* cache = call.works.caches.find("", "endpoints");
  ObjectPtr endpoints = cache == nullptr ? nullptr : cache->find(cat(ns, '/', name.name));
  return place_of_service(object, endpoints ? endpoints->tree() : json::Value(), name, call.works.parts.rng);
}

// A redirect of the server behind to itself leads through here again.
std::string rewritten(std::string_view location, const std::string& authority, std::string_view own_host, const std::string& prefix) {
  std::string_view path = location;
  if (std::size_t scheme = location.find("://"); scheme != std::string_view::npos) {
    std::string_view rest = location.substr(scheme + 3);
    std::size_t slash = rest.find_first_of("/?#");
    std::string_view host = rest.substr(0, slash);
    if (host != authority && host != own_host) return std::string(location);
    path = slash == std::string_view::npos ? std::string_view("/") : rest.substr(slash);
  }
  if (!path.starts_with('/') || path.starts_with("//")) return std::string(location);
  return path.starts_with(prefix) ? std::string(path) : cat(prefix, path);
}

async::Task<Outcome<>> pass_on(HttpCall& call, const Place& place) {
  http::Exchange& exchange = call.exchange;
  http::Request& request = exchange.request();
  std::string path = path_behind(call), query = query_behind(call);
  std::string own(request.raw_path());
  if (path.empty()) {
    if (request.method == "GET" || request.method == "HEAD")  // so that relative links on the page lead below it
      co_return co_await respond(call, 301, {{"location", cat(own, '/', query)}}, share(""));
    path = "/";
  }
  std::string prefix = own.ends_with(path) ? own.substr(0, own.size() - path.size()) : own;
  bool tls = place.scheme == "https";
  auto port = place.port.empty() ? std::optional<std::uint16_t>(tls ? 443 : 80) : parse_int<std::uint16_t>(place.port);
  if (!port || *port == 0) co_return refuse(service_unavailable(cat("error trying to reach service: dial tcp: lookup tcp/", place.port, ": unknown port")));
  if (tls && !call.works.proxy_tls) {
    auto made = http::TlsClient::make({.insecure_skip_verify = true});  // as upstream: who serves in a pod has no name to verify
    CO_OUT(made);
    call.works.proxy_tls = std::move(*made);
  }
  http::ForwardOptions options;
  options.client.endpoint = {.tls = tls, .host = place.host, .port = *port};
  options.client.tls = tls ? call.works.proxy_tls.get() : nullptr;
  options.client.connect_timeout = std::chrono::seconds(30);
  options.target = path + query;
  std::string authority = options.client.endpoint.authority(), own_host(request.headers.find("host").value_or(""));
  std::string client_address = request.peer.address.substr(0, request.peer.address.rfind(':'));
  options.on_request = [&](http::Headers& headers) {
    for (std::string_view name : {"authorization", "impersonate-user", "impersonate-group", "impersonate-uid"}) headers.remove(name);  // the client's credentials end here
    headers.set("X-Forwarded-Uri", own);
    headers.set("X-Forwarded-Host", own_host);
    headers.set("X-Forwarded-Proto", request.peer.tls ? "https" : "http");
    std::string known(headers.find("x-forwarded-for").value_or(""));
    headers.set("X-Forwarded-For", known.empty() ? client_address : cat(known, ", ", client_address));
  };
  options.on_answer = [&](int status, http::Headers& headers) {
    call.code = status;
    for (std::string_view name : {"access-control-allow-credentials", "access-control-allow-headers", "access-control-allow-methods", "access-control-allow-origin"}) headers.remove(name);
    if (auto location = headers.find("location")) headers.set("Location", rewritten(*location, authority, own_host, prefix));
  };
  Result<> done = co_await http::forward(exchange, call.works.parts.time, std::move(options));
  if (done) co_return Outcome<>();
  if (exchange.started() || done.error().code() == Code::kCancelled) co_return refuse(done.error());
  co_return refuse(service_unavailable(cat("error trying to reach service: ", http::dial_failure("tcp", cat(place.host, ':', *port), done.error()))));
}

}  // namespace

async::Task<Outcome<>> serve_proxy(HttpCall& call, Call& api_call) {
  std::optional<ProxyName> name = parse_name(api_call.name);
  if (!name) co_return refuse(bad_request(cat("invalid ", api_call.resource->singular(), " request \"", api_call.name, '"')));
  Call target = api_call;
  target.name = name->name;
  target.subresource.clear();
  CO_OUT_ASSIGN(ObjectPtr object, co_await call.works.registry.get(target, ""));
  json::Value tree = object->tree();
  std::string_view plural = api_call.resource->plural();
  std::int64_t own_port = json::get_int(tree, {"status", "daemonEndpoints", "kubeletEndpoint", "Port"}, 10250);
  if (plural == "nodes" && (name->port.empty() || name->port == std::to_string(own_port))) {
    std::string path = path_behind(call);
    co_return co_await delegate_to_node(call, name->name, path.empty() ? "/" : path, std::string(call.exchange.request().raw_query()));
  }
  Place place = find_place(call, plural, api_call.ns, tree, *name);
  if (!place.unavailable.empty()) co_return refuse(service_unavailable(std::move(place.unavailable)));
  if (!proxyable(place.host)) co_return refuse(bad_request("address not allowed"));
  co_return co_await pass_on(call, place);
}

}  // namespace monopod::api
