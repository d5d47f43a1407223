#include "base/strings.h"
#include "proxy/config/parse_route.h"
#include "proxy/config/read_match.h"

namespace monopod::proxy {
namespace {

void read_rbac_match(MapReader& map, RbacMatch& out) {
  out.principals = read_matches(map, "principals");
  out.common_names = read_matches(map, "common_names");
  out.paths = read_matches(map, "paths");
  out.hosts = read_matches(map, "hosts");
  out.methods = map.texts("methods");
  out.sources = map.texts("sources");
  out.headers = read_named(map, "headers", true);
}

void read_rbac(MapReader& map, RbacSpec& out) {
  out.deny = map.choice("action", {"allow", "deny"}) == 1;
  out.shadow = map.boolean("shadow", false);
  map.list("rules", [&](MapReader& item) {
    RbacRule& rule = out.rules.emplace_back();
    rule.name = item.text("name");
    read_rbac_match(item, rule.match);
    item.map("except", [&](MapReader& except) { read_rbac_match(except, rule.except.emplace()); });
  });
}

void read_rate(MapReader& map, LocalRateLimitSpec& out) {
  out = {.tokens = map.number("tokens", 0, 1, 100'000'000), .interval = map.duration("interval", Milliseconds(1000))};
  if (out.tokens == 0) map.fail_at("", "tokens is missing");
}

void read_rate_keys(MapReader& map, std::vector<RateKey>& out) {
  map.list("keys", [&](MapReader& item) {
    RateKey key{.kind = static_cast<RateKey::Kind>(item.choice("key", {"header", "source_address", "principal", "path", "route"})), .name = to_lower(item.text("name"))};
    if (key.kind == RateKey::Kind::kHeader && key.name.empty()) item.fail_at("", "name is missing");
    out.push_back(std::move(key));
  });
}

void read_jwks_source(MapReader& map, JwtProviderSpec& out, const ReadNamedFile& read) {
  out.jwks = read(map, "jwks_file");
  out.jwks_cluster = map.text("jwks_cluster");
  out.jwks_host = map.text("jwks_host", out.jwks_cluster);
  out.jwks_path = map.text("jwks_path");
  int sources = (map.has("jwks_file") ? 1 : 0) + (out.jwks_cluster.empty() ? 0 : 1);
  if (sources != 1) map.fail_at("", "want one of jwks_file, and jwks_cluster with jwks_path");
  if (!out.jwks_cluster.empty() && !out.jwks_path.starts_with('/')) map.fail_at("", "jwks_path is missing, or begins with no slash");
}

void read_jwt(MapReader& map, JwtSpec& out, const ReadNamedFile& read) {
  map.list("providers", [&](MapReader& item) {
    JwtProviderSpec& provider = out.providers.emplace_back();
    provider.name = item.required_text("name");
    provider.issuer = item.text("issuer");
    provider.audiences = item.texts("audiences");
    read_jwks_source(item, provider, read);
    provider.refresh = item.duration("refresh", provider.refresh);
    provider.timeout = item.duration("timeout", provider.timeout);
    provider.leeway = item.duration("leeway", provider.leeway);
    provider.header = to_lower(item.text("header", provider.header));
    provider.prefix = item.text("prefix", provider.prefix);
    provider.query = item.text("query");
    provider.cookie = item.text("cookie");
    provider.forward = item.boolean("forward", true);
    provider.claims = read_header_values(item, "claims");
  });
  map.list("rules", [&](MapReader& item) {
    JwtRule& rule = out.rules.emplace_back();
    rule.paths = read_matches(item, "paths");
    rule.methods = item.texts("methods");
    rule.need = static_cast<JwtRule::Need>(item.choice("token", {"required", "optional", "none"}));
    rule.providers = item.texts("providers");
  });
  if (out.providers.empty()) map.fail_at("", "providers is missing");
}

std::vector<std::string> lowercase_texts(MapReader& map, std::string_view key) {
  std::vector<std::string> out = map.texts(key);
  for (std::string& text : out) text = to_lower(text);
  return out;
}

void read_ext_authz(MapReader& map, ExtAuthzSpec& out) {
  out.cluster = map.required_text("cluster");
  out.grpc = map.choice("protocol", {"http", "grpc"}) == 1;
  out.path_prefix = map.text("path_prefix");
  out.timeout = map.duration("timeout", out.timeout);
  out.failure_allows = map.choice("on_failure", {"deny", "allow"}) == 1;
  out.failure_status = static_cast<int>(map.number("failure_status", 403, 400, 599));
  out.request_headers = lowercase_texts(map, "request_headers");
  out.upstream_headers = lowercase_texts(map, "upstream_headers");
  out.client_headers = lowercase_texts(map, "client_headers");
}

}  // namespace

void read_filter(MapReader& map, FilterSpec& out, const ReadNamedFile& read) {
  out.kind = map.required_text("kind");
  if (out.kind == "headers") {
    read_header_operations(map, "request_headers", out.request_headers);
    read_header_operations(map, "response_headers", out.response_headers);
  } else if (out.kind == "local_rate_limit") {
    read_rate(map, out.rate_limit);
  } else if (out.kind == "rate_limit") {
    out.name = map.required_text("name");
    read_rate(map, out.rate_limit);
    read_rate_keys(map, out.rate_keys);
  } else if (out.kind == "jwt") {
    read_jwt(map, out.jwt, read);
  } else if (out.kind == "ext_authz") {
    read_ext_authz(map, out.ext_authz);
  } else if (out.kind == "fault") {
    out.fault.delay_percent = map.number("delay_percent", 0, 0, 100);
    out.fault.delay = map.duration("delay", Milliseconds(0));
    out.fault.abort_percent = map.number("abort_percent", 0, 0, 100);
    out.fault.abort_status = static_cast<int>(map.number("abort_status", 503, 200, 599));
  } else if (out.kind == "cors") {
    out.cors.allow_origins = read_matches(map, "allow_origins");
    out.cors.allow_methods = map.texts("allow_methods");
    out.cors.allow_headers = map.texts("allow_headers");
    out.cors.expose_headers = map.texts("expose_headers");
    out.cors.max_age_s = static_cast<std::uint32_t>(map.duration("max_age", Milliseconds(0)).count() / 1000);
    out.cors.allow_credentials = map.boolean("allow_credentials", false);
  } else if (out.kind == "shed") {
    out.shed.priority_header = to_lower(map.text("priority_header"));
    out.shed.low_percent = map.number("low_percent", out.shed.low_percent, 1, 100);
    out.shed.normal_percent = map.number("normal_percent", out.shed.normal_percent, 1, 100);
  } else if (out.kind == "rbac") {
    read_rbac(map, out.rbac);
  }  // a kind that nobody knows is refused by filters.cc, which has the list
}

}  // namespace monopod::proxy
