#include "proxy/observe/explain.h"

#include "base/strings.h"
#include "proxy/limits.h"
#include "proxy/route/path.h"

namespace monopod::proxy {
namespace {

std::string describe_match(const Route& route) {
  static constexpr std::string_view kKinds[] = {"prefix", "path", "regex", "template"};
  const RouteSpec& spec = route.spec;
  std::string out = cat(kKinds[static_cast<std::size_t>(spec.path.kind)], " ", spec.path.text);
  if (!spec.methods.empty()) out += cat(", methods ", join(spec.methods, " "));
  for (const NamedMatch& h : spec.headers) out += cat(", header ", h.name);
  for (const NamedMatch& q : spec.query) out += cat(", query ", q.name);
  return out;
}

std::string_view describe_upgrade(const RouteSpec& route, const ClusterSpec& cluster) {
  if (!route.allow_upgrade) return "  upgrade   not here: the route takes none\n";
  if (cluster.http2) return "  upgrade   a WebSocket, by extended CONNECT, of endpoints whose SETTINGS announce it; else 502, no_extended_connect\n";
  return "  upgrade   as it is asked for\n";
}

void append_action(const Snapshot& snapshot, const Route& route, bool upgrades, std::string& out) {
  const RouteSpec& spec = route.spec;
  if (spec.direct_response) out += cat("  answer    ", spec.direct_response->status, " of the proxy's own\n");
  if (spec.redirect) out += cat("  answer    ", spec.redirect->status, ", a redirect\n");
  for (std::size_t i = 0; i < route.targets.size(); ++i) {
    const ClusterConfig& cluster = *snapshot.clusters[route.targets[i].cluster];
    out += cat("  cluster   ", cluster.spec.name);
    if (route.targets.size() > 1) out += cat(", ", spec.clusters[i].weight, " of ", route.targets.back().up_to);
    for (std::size_t e = 0; e < cluster.spec.endpoints.size(); ++e) out += cat(e == 0 ? ": " : ", ", cluster.spec.endpoints[e].address);
    out += '\n';
    if (upgrades) out += describe_upgrade(spec, cluster.spec);
  }
}

}  // namespace

Result<std::string> explain(const Snapshot& snapshot, std::string_view request, const std::vector<std::string>& fields) {
  auto [first, second] = split_once(request, ' ');
  std::string_view method = second ? first : std::string_view("GET");
  std::string target(second ? *second : first);
  if (target.find("://") == std::string::npos) target = cat("http://", target);
  std::string text = cat(method, " ", target, " HTTP/1.1\r\nhost: explained\r\n");
  for (const std::string& field : fields) text += cat(field, "\r\n");
  text += "\r\n";
  auto head = std::make_unique<Head>();
  Parsed parsed = parse_request_head(text.data(), text.size(), *head);
  if (parsed != Parsed::kDone) return fail(Code::kInvalidArgument, cat("explain \"", request, "\": ", parsed == Parsed::kBad ? head->refusal.why : std::string_view("no request")));
  std::string rewritten;
  PathVerdict verdict = PathVerdict::kAsIs;
  std::string out;
  for (const auto& listener : snapshot.listeners) {
    if (!listener->routes) continue;
    out += cat("listener ", listener->spec.name, " at ", listener->spec.address, "\n");
    verdict = normalize_path(head->path, listener->spec.merge_slashes, rewritten);
    if (verdict == PathVerdict::kRefused) {
      out += "  refused   400: the path is ambiguous\n";
      continue;
    }
    std::string_view path = verdict == PathVerdict::kRewritten ? std::string_view(rewritten) : head->path;
    if (verdict == PathVerdict::kRewritten) out += cat("  path      ", path, ", normalised\n");
    std::size_t mark = std::min(path.find('?'), path.size());
    MatchBudget budget{kPatternStepsMax};
    const Route* route = listener->routes->find(head->host, {.head = *head, .path = path.substr(0, mark), .query = path.substr(std::min(mark + 1, path.size()))}, budget);
    if (!listener->filters.empty()) out += cat("  filters   ", listener->filters.size(), ", which see it first\n");
    if (route == nullptr) {
      out += "  no route  404\n";
      continue;
    }
    out += cat("  route     ", route->name, " (", describe_match(*route), ")\n");
    append_action(snapshot, *route, head->wants_upgrade, out);
  }
  return out;
}

}  // namespace monopod::proxy
