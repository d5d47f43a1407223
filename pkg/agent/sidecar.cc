#include "agent/sidecar.h"

#include <algorithm>

#include "base/strings.h"

namespace monopod::agent {
namespace {

constexpr std::string_view kPrefix = "proxy.monopod.io/";
constexpr std::string_view kIstioTraffic = "traffic.sidecar.istio.io/";

// Ours and, where there is one, Istio's.
struct Name {
  std::string_view ours, istio;
};
constexpr Name kNames[] = {
    {"exclude-inbound-ports", "excludeInboundPorts"},
    {"include-inbound-ports", "includeInboundPorts"},
    {"exclude-outbound-ports", "excludeOutboundPorts"},
    {"include-outbound-ports", "includeOutboundPorts"},
    {"exclude-outbound-cidrs", "excludeOutboundIPRanges"},
    {"include-outbound-cidrs", "includeOutboundIPRanges"},
    {"exclude-uids", ""},
    {"http-inbound-ports", ""},
    {"http-outbound-ports", ""},
};

const std::string* find(const Labels& among, const std::string& name) {
  auto found = among.find(name);
  return found == among.end() ? nullptr : &found->second;
}

// Words as Istio's injector takes them: any other says no, none at all leaves it to the namespace.
std::optional<bool> istio_wants(const std::string* text) {
  if (text == nullptr || text->empty()) return std::nullopt;
  std::string word = to_lower(*text);
  return word == "true" || word == "yes" || word == "y" || word == "on";
}

// An annotation, else a label.
const std::string* find_in_pod(const Pod& pod, const std::string& name) {
  const std::string* annotation = find(pod.annotations, name);
  return annotation != nullptr ? annotation : find(pod.labels, name);
}

std::optional<bool> wants(const std::string* text) {
  if (text == nullptr) return std::nullopt;
  return *text == "enabled" || *text == "true";
}

std::optional<bool> pod_wants(const Pod& pod) {
  if (std::optional<bool> ours = wants(find_in_pod(pod, cat(kPrefix, "inject")))) return ours;
  constexpr const char* kIstio = "sidecar.istio.io/inject";  // there a label goes before an annotation
  std::optional<bool> label = istio_wants(find(pod.labels, kIstio));
  return label ? label : istio_wants(find(pod.annotations, kIstio));
}

std::optional<bool> namespace_wants(const Labels& labels) {
  if (std::optional<bool> ours = wants(find(labels, cat(kPrefix, "inject")))) return ours;
  return wants(find(labels, "istio-injection"));
}

// Reads the lists of a wish; the first error stays.
class WishReader {
 public:
  explicit WishReader(const SidecarWish& wish) : wish_(wish) {}

  void ports(const char* name, std::vector<std::uint16_t>& out) {
    each(name, [&](std::string_view item) {
      std::uint16_t port = parse_int<std::uint16_t>(item).value_or(0);
      if (port == 0) return std::string("want ports from 1 to 65535");
      out.push_back(port);
      return std::string();
    });
  }
  void uids(const char* name, std::vector<std::uint32_t>& out) {
    each(name, [&](std::string_view item) {
      std::optional<std::uint32_t> uid = parse_int<std::uint32_t>(item);
      if (!uid) return std::string("want numbers of users");
      out.push_back(*uid);
      return std::string();
    });
  }
  void cidrs(const char* name, std::vector<network::Cidr>& out) {
    each(name, [&](std::string_view item) {
      Result<network::Cidr> cidr = network::parse_cidr(item);
      if (!cidr) return cidr.error().message();
      out.push_back(*cidr);
      return std::string();
    });
  }
  // An empty list of what to include: nothing.
  bool is_nothing(const char* name) const {
    auto found = wish_.find(name);
    return found != wish_.end() && trim(found->second).empty();
  }
  const std::optional<Error>& error() const { return error_; }

 private:
  template <typename F>
  void each(const char* name, F f) {
    auto found = wish_.find(name);
    if (found == wish_.end()) return;
    for (std::string_view item : split(found->second, ',')) {
      item = trim(item);
      if (item.empty()) continue;
      if (item == "*" && std::string_view(name).starts_with("include-")) continue;  // all, as where nothing is listed
      std::string why = f(item);
      if (!why.empty() && !error_) error_ = Error(Code::kInvalidArgument, cat("annotation ", kPrefix, name, ": \"", item, "\": ", why));
    }
  }
  const SidecarWish& wish_;
  std::optional<Error> error_;
};

constexpr std::string_view kMode = "interception-mode", kOutboundMode = "outbound-interception-mode";

Result<bool> is_transparent(const SidecarWish& wish, std::string_view name) {
  auto mode = wish.find(std::string(name));
  if (mode == wish.end() || mode->second == "REDIRECT") return false;
  if (mode->second == "TPROXY") return true;
  return fail(Code::kInvalidArgument, cat("annotation ", kPrefix, name, ": \"", mode->second, "\": want REDIRECT or TPROXY"));
}

}  // namespace

bool decides_on_sidecar(const Pod& pod) { return pod.host_network || pod_wants(pod).has_value() || pod.annotations.contains("sidecar.istio.io/status"); }

std::optional<SidecarWish> find_sidecar_wish(const Pod& pod, const Labels& namespace_labels) {
  if (pod.host_network || pod.annotations.contains("sidecar.istio.io/status")) return std::nullopt;
  std::optional<bool> own = pod_wants(pod);
  if (!(own ? *own : namespace_wants(namespace_labels).value_or(false))) return std::nullopt;
  SidecarWish out;
  for (const Name& name : kNames) {
    const std::string* text = find(pod.annotations, cat(kPrefix, name.ours));
    if (text == nullptr && !name.istio.empty()) text = find(pod.annotations, cat(kIstioTraffic, name.istio));
    if (text != nullptr) out.emplace(name.ours, *text);
  }
  const std::string* mode = find(pod.annotations, cat(kPrefix, kMode));
  if (mode == nullptr) mode = find(pod.annotations, "sidecar.istio.io/interceptionMode");
  if (mode != nullptr) out.emplace(kMode, *mode);
  if (const std::string* text = find(pod.annotations, cat(kPrefix, kOutboundMode))) out.emplace(kOutboundMode, *text);
  return out;
}

Result<SidecarRules> parse_sidecar_rules(const SidecarWish& wish) {
  SidecarRules out;
  WishReader reader(wish);
  reader.ports("exclude-inbound-ports", out.spec.inbound_ports_excluded);
  reader.ports("include-inbound-ports", out.spec.inbound_ports_included);
  reader.ports("exclude-outbound-ports", out.spec.outbound_ports_excluded);
  reader.ports("include-outbound-ports", out.spec.outbound_ports_included);
  reader.cidrs("exclude-outbound-cidrs", out.spec.cidrs_excluded);
  reader.cidrs("include-outbound-cidrs", out.spec.cidrs_included);
  reader.uids("exclude-uids", out.spec.uids_excluded);
  reader.ports("http-inbound-ports", out.http_inbound_ports);
  reader.ports("http-outbound-ports", out.http_outbound_ports);
  out.inbound = !reader.is_nothing("include-inbound-ports");
  out.outbound = !reader.is_nothing("include-outbound-cidrs") || !out.spec.outbound_ports_included.empty();
  if (reader.error()) return fail(*reader.error());
  TRY_ASSIGN(out.spec.inbound_transparent, is_transparent(wish, kMode));
  TRY_ASSIGN(out.spec.outbound_transparent, is_transparent(wish, kOutboundMode));
  return out;
}

}  // namespace monopod::agent
