#include "proxy/route/table.h"

#include <algorithm>

#include "base/strings.h"
#include "http/headers.h"
#include "proxy/stream/head_edits.h"
#include "proxy/limits.h"

namespace monopod::proxy {
namespace {

using Index = std::unordered_map<std::string, std::size_t>;

struct Compiler {
  const Index& clusters;
  std::optional<ConfigError>& error;

  void refuse(std::string path, std::string why) {
    if (!error) error = ConfigError{std::move(path), std::move(why)};
  }

  void named(const std::vector<NamedMatch>& from, const std::string& path, std::vector<NamedMatcher>& out) {
    for (std::size_t i = 0; i < from.size(); ++i) {
      Result<TextMatcher> matcher = TextMatcher::compile(from[i].match);
      if (!matcher) return refuse(cat(path, "[", i, "]"), matcher.error().message());
      out.push_back({from[i].name, std::move(*matcher)});
    }
  }

  void operations(const HeaderOperations& ops, const std::string& path) {
    auto check = [&](const std::vector<HeaderValue>& values, const char* key) {
      for (const HeaderValue& v : values)
        if (!http::is_token(v.name) || !http::is_field_value(v.value)) refuse(cat(path, ".", key), cat("\"", v.name, "\" or its value cannot be a header"));
        else if (v.name == "host" || v.name == "content-length" || v.name == "transfer-encoding" || v.name == "connection")
          refuse(cat(path, ".", key), cat("\"", v.name, "\" is the proxy's own", v.name == "host" ? ": use host_rewrite" : ""));
    };
    check(ops.set, "set");
    check(ops.add, "add");
    for (const std::string& name : ops.remove)
      if (name == "host" || name == "content-length" || name == "transfer-encoding") refuse(cat(path, ".remove"), cat("\"", name, "\" is the proxy's own"));
  }

  void targets(const RouteSpec& spec, const std::string& path, Route& out) {
    int actions = (spec.clusters.empty() ? 0 : 1) + (spec.redirect ? 1 : 0) + (spec.direct_response ? 1 : 0);
    if (actions != 1) return refuse(path, "want one of cluster, clusters, redirect, direct_response");
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < spec.clusters.size(); ++i) {
      auto found = clusters.find(spec.clusters[i].cluster);
      std::string at = spec.clusters.size() == 1 ? cat(path, ".cluster") : cat(path, ".clusters[", i, "].name");
      if (found == clusters.end()) return refuse(at, cat("there is no cluster \"", spec.clusters[i].cluster, "\""));
      sum += spec.clusters[i].weight;
      if (sum > UINT32_MAX) return refuse(at, "the weights' sum is too large");
      out.targets.push_back({found->second, static_cast<std::uint32_t>(sum)});
    }
    if (!spec.clusters.empty() && sum == 0) refuse(cat(path, ".clusters"), "the weights' sum is 0");
  }

  std::unique_ptr<Route> route(const RouteSpec& spec, const std::string& path) {
    auto out = std::make_unique<Route>();
    out->spec = spec;
    Result<PathMatcher> matcher = PathMatcher::compile(spec.path);
    static constexpr const char* kKeys[] = {"prefix", "path", "regex", "template"};
    if (matcher) out->path = std::move(*matcher);
    else refuse(cat(path, ".", kKeys[static_cast<int>(spec.path.kind)]), matcher.error().message());
    named(spec.headers, cat(path, ".headers"), out->headers);
    named(spec.query, cat(path, ".query"), out->query);
    operations(spec.request_headers, cat(path, ".request_headers"));
    operations(spec.response_headers, cat(path, ".response_headers"));
    for (const std::string& method : spec.methods)
      if (!http::is_token(method)) refuse(cat(path, ".methods"), cat("\"", method, "\" is no method"));
    if (!spec.prefix_rewrite.empty() && spec.path.kind != PathMatch::Kind::kPrefix) refuse(cat(path, ".prefix_rewrite"), "goes with prefix only");
    for (const auto* text : {&spec.prefix_rewrite, &spec.host_rewrite})
      for (char c : *text)
        if (static_cast<unsigned char>(c) <= 0x20 || c == 0x7f || c == '#' || c == '?') refuse(path, cat("\"", *text, "\" cannot stand in a request line"));
    if (!spec.prefix_rewrite.empty() && !spec.prefix_rewrite.starts_with('/')) refuse(cat(path, ".prefix_rewrite"), "a path begins with a slash");
    if (spec.redirect)
      for (const auto* text : {&spec.redirect->scheme, &spec.redirect->host, &spec.redirect->path, &spec.redirect->prefix})
        if (!http::is_field_value(*text)) refuse(cat(path, ".redirect"), "control characters");
    targets(spec, path, *out);
    if (!spec.mirror_cluster.empty()) {
      auto found = clusters.find(spec.mirror_cluster);
      if (found == clusters.end()) refuse(cat(path, ".mirror.cluster"), cat("there is no cluster \"", spec.mirror_cluster, "\""));
      else out->mirror_cluster = found->second;
    }
    return out;
  }
};

std::string_view without_port(std::string_view host) {
  std::size_t bracket = host.rfind(']');
  std::size_t colon = host.rfind(':');
  bool has_port = colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket);
  host = host.substr(0, has_port ? colon : host.size());
  if (host.ends_with('.')) host.remove_suffix(1);  // the root's dot changes nothing
  return host;
}

bool query_matches(const std::vector<NamedMatcher>& matchers, std::string_view query, MatchBudget& budget) {
  for (const NamedMatcher& m : matchers) {
    bool found = false;
    std::string_view value;
    for (std::string_view pair : split(query, '&')) {
      auto [name, text] = split_once(pair, '=');
      if (name != m.name || query.empty()) continue;
      found = true;
      value = text.value_or(std::string_view());
      break;
    }
    if (!m.matcher.matches(found ? &value : nullptr, budget)) return false;
  }
  return true;
}

}  // namespace

bool headers_match(const std::vector<NamedMatcher>& matchers, const Head& head, MatchBudget& budget, const HeadEdits* edits) {
  for (const NamedMatcher& m : matchers) {
    bool any = false;
    bool there = false;
    for (std::size_t i = 0; i < head.count && !any; ++i) {
      if ((edits != nullptr && head.fields[i].dropped) || !equals_lowercase(head.name(head.fields[i]), m.name)) continue;
      there = true;
      std::string_view value = head.value(head.fields[i]);
      any = m.matcher.matches(&value, budget);
    }
    std::string_view added = edits != nullptr ? edits->find_added(m.name) : std::string_view();
    if (!any && added.data() != nullptr) any = m.matcher.matches(&added, budget);
    else if (!there && added.data() == nullptr) any = m.matcher.matches(nullptr, budget);
    if (!any) return false;
  }
  return true;
}

std::size_t Route::cluster_for(std::uint64_t pick) const {
  if (targets.empty()) return kNoCluster;
  if (targets.size() == 1) return targets[0].cluster;
  auto point = static_cast<std::uint32_t>(pick % targets.back().up_to);
  for (const Target& t : targets)
    if (point < t.up_to) return t.cluster;
  return targets.back().cluster;
}

std::unique_ptr<RouteTable> RouteTable::compile(const std::vector<VirtualHostSpec>& hosts, const std::string& path, const Index& cluster_index, std::optional<ConfigError>& error) {
  auto out = std::make_unique<RouteTable>();
  Compiler compiler{cluster_index, error};
  for (std::size_t h = 0; h < hosts.size() && !error; ++h) {
    const VirtualHostSpec& spec = hosts[h];
    std::string at = cat(path, "[", h, "]");
    Host& host = out->hosts_.emplace_back();
    host.name = spec.name.empty() ? spec.domains.front() : spec.name;
    for (std::size_t d = 0; d < spec.domains.size(); ++d) {
      const std::string& domain = spec.domains[d];
      bool fresh = domain == "*" ? out->any_ == kNoCluster && (out->any_ = h, true)
                   : domain.starts_with("*.") ? out->suffixes_.emplace(domain.substr(1), h).second : out->exact_.emplace(std::string(without_port(domain)), h).second;
      if (!fresh) compiler.refuse(cat(at, ".domains[", d, "]"), cat("\"", domain, "\" stands in two virtual hosts"));
      if (!domain.starts_with("*.") && domain != "*" && domain.find('*') != std::string::npos) compiler.refuse(cat(at, ".domains[", d, "]"), "a star stands alone or as the first label");
    }
    if (spec.routes.size() > kRoutesMax) compiler.refuse(cat(at, ".routes"), cat("more than ", kRoutesMax, " routes"));
    for (std::size_t r = 0; r < spec.routes.size() && !error; ++r) {
      host.routes.push_back(compiler.route(spec.routes[r], cat(at, ".routes[", r, "]")));
      Route& route = *host.routes.back();
      route.name = spec.routes[r].name.empty() ? cat(host.name, "/", r) : spec.routes[r].name;
      route.index = out->count_++;
      if (!is_plain_name(route.name)) compiler.refuse(cat(at, ".routes[", r, "]"), "its name, or its virtual host's, is not printable or has quotes or backslashes");
    }
  }
  return out;
}

const RouteTable::Host* RouteTable::find_host(std::string_view host) const {
  if (!exact_.empty() || !suffixes_.empty()) {
    char lowered[256];
    host = without_port(host);
    if (host.size() > sizeof lowered) return nullptr;
    for (std::size_t i = 0; i < host.size(); ++i) lowered[i] = host[i] >= 'A' && host[i] <= 'Z' ? static_cast<char>(host[i] | 0x20) : host[i];
    std::string_view name(lowered, host.size());
    if (auto found = exact_.find(name); found != exact_.end()) return &hosts_[found->second];
    if (!suffixes_.empty())
      for (std::size_t dot = name.find('.'); dot != std::string_view::npos; dot = name.find('.', dot + 1))
        if (auto found = suffixes_.find(name.substr(dot)); found != suffixes_.end() && dot > 0) return &hosts_[found->second];
  }
  return any_ == kNoCluster ? nullptr : &hosts_[any_];
}

const Route* RouteTable::find(std::string_view host, const RouteQuery& query, MatchBudget& budget) const {
  const Host* found = find_host(host);
  if (found == nullptr) return nullptr;
  for (const auto& route : found->routes) {
    if (!route->path.matches(query.path, budget)) continue;
    if (!route->spec.methods.empty() && std::ranges::find(route->spec.methods, query.head.method) == route->spec.methods.end()) continue;
    if (!route->headers.empty() && !headers_match(route->headers, query.head, budget)) continue;
    if (!route->query.empty() && !query_matches(route->query, query.query, budget)) continue;
    return budget.spent ? nullptr : route.get();
  }
  return nullptr;
}

std::vector<const Route*> RouteTable::all() const {
  std::vector<const Route*> out(count_);
  for (const Host& host : hosts_)
    for (const auto& route : host.routes) out[route->index] = route.get();
  return out;
}

}  // namespace monopod::proxy
