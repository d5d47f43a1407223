#include "proxy/config/parse_route.h"

#include "base/strings.h"
#include "proxy/config/read_match.h"

namespace monopod::proxy {
namespace {

struct GrpcName {
  std::string_view name;
  int status;
};
constexpr GrpcName kGrpcNames[] = {{"grpc_cancelled", 1}, {"grpc_deadline_exceeded", 4}, {"grpc_resource_exhausted", 8}, {"grpc_internal", 13}, {"grpc_unavailable", 14}};

const GrpcName* find_grpc(std::string_view name) {
  for (const GrpcName& known : kGrpcNames)
    if (known.name == name) return &known;
  return nullptr;
}

void read_clusters(MapReader& map, RouteSpec& out) {
  if (map.has("cluster")) out.clusters.push_back({.cluster = map.required_text("cluster")});
  map.list("clusters", [&](MapReader& item) {
    out.clusters.push_back({.cluster = item.required_text("name"), .weight = item.number("weight", 1, 0, 1'000'000)});
  });
}

void read_retry(MapReader& map, RetrySpec& out) {
  out.attempts = map.number("attempts", 1, 0, 10);
  if (map.has("conditions")) {
    out.on_connect_failure = out.on_reset = false;
    for (const std::string& condition : map.texts("conditions")) {
      if (condition == "connect_failure") out.on_connect_failure = true;
      else if (condition == "reset") out.on_reset = true;
      else if (condition == "5xx") out.on_5xx = true;
      else if (condition == "gateway_error") out.on_gateway_error = true;
      else if (const GrpcName* grpc = find_grpc(condition); grpc != nullptr) out.on_grpc_statuses.push_back(grpc->status);
      else if (auto status = parse_int<int>(condition); status && *status >= 400 && *status < 600) out.on_statuses.push_back(*status);
      else map.fail_at("conditions", cat("\"", condition, "\" is not one of connect_failure, reset, 5xx, gateway_error, grpc_cancelled, grpc_deadline_exceeded, grpc_resource_exhausted, grpc_internal, grpc_unavailable, or a status from 400 to 599 in quotes"));
    }
  }
  out.per_try_timeout = map.duration("per_try_timeout", out.per_try_timeout);
  out.backoff = map.duration("backoff", out.backoff);
}

void read_path(MapReader& map, PathMatch& out) {
  using Kind = PathMatch::Kind;
  int kinds = 0;
  for (auto [key, kind] : {std::pair("prefix", Kind::kPrefix), {"path", Kind::kExact}, {"regex", Kind::kRegex}, {"template", Kind::kTemplate}}) {
    if (!map.has(key)) continue;
    out = {.kind = kind, .text = map.required_text(key)};
    if (++kinds > 1) map.fail_at(key, "want one of prefix, path, regex, template");
  }
}

void read_route(MapReader& map, RouteSpec& out) {
  out.name = map.text("name");
  read_path(map, out.path);
  out.methods = map.texts("methods");
  out.headers = read_named(map, "headers", true);
  out.query = read_named(map, "query", false);
  read_clusters(map, out);
  map.map("redirect", [&](MapReader& item) {
    out.redirect = RedirectSpec{.status = static_cast<int>(item.number("status", 301, 300, 399)), .scheme = item.text("scheme"), .host = item.text("host"), .path = item.text("path"),
                                .prefix = item.text("prefix"), .strip_query = item.boolean("strip_query", false)};
  });
  map.map("direct_response", [&](MapReader& item) {
    out.direct_response = DirectResponseSpec{.status = static_cast<int>(item.number("status", 200, 200, 599)), .body = item.text("body")};
  });
  out.prefix_rewrite = map.text("prefix_rewrite");
  out.host_rewrite = map.text("host_rewrite");
  read_header_operations(map, "request_headers", out.request_headers);
  read_header_operations(map, "response_headers", out.response_headers);
  out.timeout = map.duration("timeout", out.timeout);
  out.idle_timeout = map.duration("idle_timeout", out.idle_timeout);
  map.map("retry", [&](MapReader& item) { read_retry(item, out.retry); });
  map.map("hedge", [&](MapReader& item) {
    out.hedge = {.max = item.number("max", 1, 1, 3), .delay = item.duration("delay", Milliseconds(0))};
    if (out.hedge.delay.count() == 0 && out.retry.per_try_timeout.count() == 0) item.fail_at("", "want a delay, or the route's retry.per_try_timeout");
  });
  map.list("hash", [&](MapReader& item) {
    HashKey key{.kind = static_cast<HashKey::Kind>(item.choice("key", {"header", "source_address", "path"})), .name = to_lower(item.text("name"))};
    if (key.kind == HashKey::Kind::kHeader && key.name.empty()) item.fail_at("", "name is missing");
    out.hash.push_back(std::move(key));
  });
  map.map("mirror", [&](MapReader& item) {
    out.mirror_cluster = item.required_text("cluster");
    out.mirror_percent = item.number("percent", 100, 0, 100);
    out.mirror_body_kb_max = item.number("body_kb_max", out.mirror_body_kb_max, 0, 16U << 10);
  });
  out.allow_upgrade = map.boolean("allow_upgrade", true);
  out.request_bytes_max = map.number("request_bytes_max", 0, 0, UINT32_MAX);
}

}  // namespace

void read_virtual_host(MapReader& map, VirtualHostSpec& out) {
  out.name = map.text("name");
  for (std::string& domain : map.texts("domains")) out.domains.push_back(to_lower(domain));
  if (out.domains.empty()) out.domains.emplace_back("*");
  map.list("routes", [&](MapReader& item) { read_route(item, out.routes.emplace_back()); });
}

}  // namespace monopod::proxy
