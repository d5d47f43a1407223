// Services, claims, plain counts, and the arithmetic.
#include "api/quota/usage.h"

#include <optional>

#include "base/strings.h"

namespace monopod::api {
namespace {

constexpr std::string_view kClassSuffix = ".storageclass.storage.k8s.io/";

// Names from before count/<resource>, for the kinds that have nothing else to count.
constexpr std::string_view kPlainNames[] = {"configmaps", "secrets", "replicationcontrollers", "resourcequotas"};

bool is_core(const Resource& resource, std::string_view plural) { return resource.group().empty() && resource.plural() == plural; }

bool has_plain_name(const Resource& resource) {
  for (std::string_view name : kPlainNames)
    if (is_core(resource, name)) return true;
  return false;
}

std::int64_t count_ports(const json::Value& service, bool only_given) {
  const json::Array* ports = json::get_array(service, {"spec", "ports"});
  if (ports == nullptr) return 0;
  if (!only_given) return static_cast<std::int64_t>(ports->size());
  std::int64_t n = 0;
  for (const json::Value& port : *ports) n += json::get_int(port, {"nodePort"}) != 0;
  return n;
}

Amounts service_usage(const json::Value& service) {
  std::string_view type = json::get_string(service, {"spec", "type"});
  bool balanced = type == "LoadBalancer";
  std::int64_t ports = 0;
  if (type == "NodePort") ports = count_ports(service, false);
  if (balanced) ports = count_ports(service, !json::get_bool(service, {"spec", "allocateLoadBalancerNodePorts"}, true));
  return {{"services", Quantity::of(1)}, {"services.nodeports", Quantity::of(ports)}, {"services.loadbalancers", Quantity::of(balanced ? 1 : 0)}};
}

std::optional<Quantity> storage_at(const json::Value& claim, std::initializer_list<std::string_view> path) {
  auto parsed = parse_quantity(json::get_string(claim, path));
  if (!parsed) return std::nullopt;
  // Whole bytes: what is finer is rounded up.
  Quantity whole = Quantity::of(parsed->value(), parsed->format());
  return *parsed == whole ? *parsed : whole;
}

Amounts claim_usage(const json::Value& claim) {
  Amounts out{{"persistentvolumeclaims", Quantity::of(1)}};
  std::string storage_class(json::get_string(claim, {"metadata", "annotations", "volume.beta.kubernetes.io/storage-class"}));
  if (storage_class.empty()) storage_class = json::get_string(claim, {"spec", "storageClassName"});
  if (!storage_class.empty()) out[cat(storage_class, kClassSuffix, "persistentvolumeclaims")] = Quantity::of(1);
  auto storage = storage_at(claim, {"spec", "resources", "requests", "storage"});
  if (!storage) return out;
  // A claim that is being shrunk after a failed expansion holds what was allocated.
  if (auto allocated = storage_at(claim, {"status", "allocatedResources", "storage"}); allocated && *allocated > *storage) storage = allocated;
  out["requests.storage"] = *storage;
  if (!storage_class.empty()) out[cat(storage_class, kClassSuffix, "requests.storage")] = *storage;
  return out;
}

}  // namespace

Amounts read_amounts(const json::Object* map) {
  Amounts out;
  if (map == nullptr) return out;
  for (const auto& [key, value] : *map) {
    if (!value.is_string()) continue;
    if (auto parsed = parse_quantity(value.get_string())) out.emplace(std::string(key), *parsed);
  }
  return out;
}

json::Object write_amounts(const Amounts& amounts) {
  json::Object out;
  for (const auto& [name, amount] : amounts) out[name] = amount.text();
  return out;
}

Amounts add(Amounts a, const Amounts& b) {
  for (const auto& [name, amount] : b) {
    auto [it, is_new] = a.emplace(name, amount);
    if (!is_new) it->second += amount;
  }
  return a;
}

Amounts subtract_to_zero(const Amounts& a, const Amounts& b) {
  Amounts out;
  for (const auto& [name, amount] : a) {
    Quantity left = amount;
    if (auto it = b.find(name); it != b.end()) left -= it->second;
    out.emplace(name, left.sign() < 0 ? Quantity::of(0, left.format()) : left);
  }
  return out;
}

Amounts mask(const Amounts& amounts, const std::vector<std::string>& names) {
  Amounts out;
  for (const std::string& name : names)
    if (auto it = amounts.find(name); it != amounts.end()) out.insert(*it);
  return out;
}

std::vector<std::string> names_of(const Amounts& amounts) {
  std::vector<std::string> out;
  for (const auto& [name, amount] : amounts) out.push_back(name);
  return out;
}

std::string format_amounts(const Amounts& amounts) {
  std::string out;
  for (const auto& [name, amount] : amounts) out += cat(out.empty() ? "" : ",", name, '=', amount.text());
  return out;
}

std::string count_name(const Resource& resource) {
  return resource.group().empty() ? cat("count/", resource.plural()) : cat("count/", resource.plural(), '.', resource.group());
}

bool is_quotable(const Resource& resource) { return resource.namespaced && resource.plural() != "events"; }

bool is_counted_by(const Resource& resource, std::string_view quota_name) {
  if (!is_quotable(resource)) return false;
  if (quota_name == count_name(resource)) return true;
  if (is_core(resource, "pods")) return pod_is_counted_by(quota_name);
  if (is_core(resource, "services")) return quota_name == "services" || quota_name == "services.nodeports" || quota_name == "services.loadbalancers";
  if (is_core(resource, "persistentvolumeclaims")) {
    if (std::size_t at = quota_name.find(kClassSuffix); at != std::string_view::npos) quota_name = quota_name.substr(at + kClassSuffix.size());
    return quota_name == "persistentvolumeclaims" || quota_name == "requests.storage";
  }
  return has_plain_name(resource) && quota_name == resource.plural();
}

Amounts quota_usage(const Resource& resource, const json::Value& object, WallTime now) {
  Amounts out{{count_name(resource), Quantity::of(1)}};
  if (is_core(resource, "pods")) return add(std::move(out), pod_quota_usage(object, now));
  if (is_core(resource, "services")) return add(std::move(out), service_usage(object));
  if (is_core(resource, "persistentvolumeclaims")) return add(std::move(out), claim_usage(object));
  if (has_plain_name(resource)) out[std::string(resource.plural())] = Quantity::of(1);
  return out;
}

std::string missing_constraints(const Resource& resource, const json::Value& object, const std::vector<std::string>& required) {
  return is_core(resource, "pods") ? missing_pod_constraints(object, required) : std::string();
}

}  // namespace monopod::api
