#include "api/kinds/rules.h"

#include <arpa/inet.h>

#include <algorithm>

#include "api/kinds/behaviors.h"
#include "base/strings.h"

namespace monopod::api::kinds {
namespace {

enum class Ask : std::uint8_t {
  kRequired,      // detail: why
  kSupported,     // detail: "A|B", sorted
  kNotNegative,
  kCount,         // a number or a percentage, at most 100%
  kSelector,      // a label selector
  kLabel,         // a DNS label; also where it is empty
  kQualified,
  kCidr,
  kPort,
  kDomainPath,    // "acme.io/foo"
  kNoBacksteps,   // a path without ".."
};

// field: "spec.rules[].host": [] stands for every item of a list. A field that is absent is asked only whether it is required.
struct Rule {
  std::string_view field;
  Ask ask;
  std::string_view detail = {};
};

struct Kind {
  std::string_view group, kind;
  std::span<const Rule> rules;
  std::span<const std::string_view> immutable = {};  // after it was created
};

constexpr std::string_view kModes = "ReadOnlyMany|ReadWriteMany|ReadWriteOnce|ReadWriteOncePod";

constexpr Rule kBudget[] = {{"spec.minAvailable", Ask::kCount}, {"spec.maxUnavailable", Ask::kCount}, {"spec.selector", Ask::kSelector},
                            {"spec.unhealthyPodEvictionPolicy", Ask::kSupported, "AlwaysAllow|IfHealthyBudget"}};
constexpr Rule kAutoscaler[] = {{"spec.metrics[].type", Ask::kSupported, "ContainerResource|External|Object|Pods|Resource"}, {"spec.metrics[].resource.name", Ask::kRequired},
                                {"spec.metrics[].resource.target.type", Ask::kRequired, "must specify a metric target type"}};
constexpr Rule kCronJob[] = {{"spec.startingDeadlineSeconds", Ask::kNotNegative}, {"spec.successfulJobsHistoryLimit", Ask::kNotNegative}, {"spec.failedJobsHistoryLimit", Ask::kNotNegative}};
constexpr Rule kController[] = {{"spec.replicas", Ask::kNotNegative}, {"spec.minReadySeconds", Ask::kNotNegative}, {"spec.selector", Ask::kRequired}};
constexpr Rule kClass[] = {{"spec.controller", Ask::kRequired}, {"spec.controller", Ask::kDomainPath}};
constexpr Rule kPolicy[] = {{"spec.podSelector", Ask::kSelector}, {"spec.policyTypes[]", Ask::kSupported, "Egress|Ingress"},
                            {"spec.ingress[].ports[].protocol", Ask::kSupported, "SCTP|TCP|UDP"}, {"spec.egress[].ports[].protocol", Ask::kSupported, "SCTP|TCP|UDP"},
                            {"spec.ingress[].from[].ipBlock.cidr", Ask::kCidr}, {"spec.egress[].to[].ipBlock.cidr", Ask::kCidr},
                            {"spec.ingress[].from[].ipBlock.except[]", Ask::kCidr}, {"spec.egress[].to[].ipBlock.except[]", Ask::kCidr}};
constexpr Rule kAddress[] = {{"spec.parentRef", Ask::kRequired}, {"spec.parentRef.resource", Ask::kRequired}, {"spec.parentRef.name", Ask::kRequired}};
constexpr std::string_view kAddressFixed[] = {"spec.parentRef"};
constexpr Rule kCidrs[] = {{"spec.cidrs", Ask::kRequired, "at least one CIDR required"}, {"spec.cidrs[]", Ask::kCidr}};
constexpr std::string_view kCidrsFixed[] = {"spec.cidrs"};
constexpr Rule kSlice[] = {{"ports[].port", Ask::kPort}, {"ports[].protocol", Ask::kSupported, "SCTP|TCP|UDP"}};
constexpr Rule kRuntime[] = {{"handler", Ask::kLabel}};
constexpr std::string_view kRuntimeFixed[] = {"handler"};
constexpr Rule kPriority[] = {{"preemptionPolicy", Ask::kSupported, "Never|PreemptLowerPriority"}};
constexpr Rule kStorageClass[] = {{"provisioner", Ask::kRequired}, {"reclaimPolicy", Ask::kSupported, "Delete|Retain"},
                                  {"volumeBindingMode", Ask::kSupported, "Immediate|WaitForFirstConsumer"}};
constexpr std::string_view kStorageClassFixed[] = {"volumeBindingMode"};
constexpr Rule kDriver[] = {{"spec.volumeLifecycleModes[]", Ask::kSupported, "Ephemeral|Persistent"}, {"spec.fsGroupPolicy", Ask::kSupported, "File|None|ReadWriteOnceWithFSType"}};
constexpr Rule kNodeDrivers[] = {{"spec.drivers[].name", Ask::kRequired}, {"spec.drivers[].nodeID", Ask::kRequired}};
constexpr Rule kAttachment[] = {{"spec.attacher", Ask::kRequired}, {"spec.nodeName", Ask::kRequired}};
constexpr std::string_view kAttachmentFixed[] = {"spec"};
constexpr Rule kClaim[] = {{"spec.accessModes", Ask::kRequired, "at least 1 access mode is required"}, {"spec.accessModes[]", Ask::kSupported, kModes}, {"spec.selector", Ask::kSelector},
                           {"spec.volumeMode", Ask::kSupported, "Block|Filesystem"}};
constexpr Rule kVolume[] = {{"spec.accessModes", Ask::kRequired}, {"spec.accessModes[]", Ask::kSupported, kModes}, {"spec.capacity", Ask::kRequired},
                            {"spec.persistentVolumeReclaimPolicy", Ask::kSupported, "Delete|Recycle|Retain"}, {"spec.volumeMode", Ask::kSupported, "Block|Filesystem"},
                            {"spec.hostPath.path", Ask::kRequired}, {"spec.hostPath.path", Ask::kNoBacksteps}};
constexpr Rule kRange[] = {{"spec.limits[].type", Ask::kQualified}};
constexpr Rule kRevision[] = {{"revision", Ask::kNotNegative}, {"data", Ask::kRequired, "data is mandatory"}};
constexpr std::string_view kRevisionFixed[] = {"data"};
constexpr Rule kJob[] = {{"spec.backoffLimitPerIndex", Ask::kNotNegative}, {"spec.maxFailedIndexes", Ask::kNotNegative}, {"spec.podReplacementPolicy", Ask::kSupported, "Failed|TerminatingOrFailed"},
                         {"spec.podFailurePolicy.rules[].action", Ask::kSupported, "Count|FailIndex|FailJob|Ignore"}, {"spec.managedBy", Ask::kDomainPath}};

constexpr Kind kKinds[] = {
    {"policy", "PodDisruptionBudget", kBudget},
    {"autoscaling", "HorizontalPodAutoscaler", kAutoscaler},
    {"batch", "CronJob", kCronJob},
    {"batch", "Job", kJob},
    {"", "ReplicationController", kController},
    {"networking.k8s.io", "IngressClass", kClass, {}},
    {"networking.k8s.io", "NetworkPolicy", kPolicy},
    {"networking.k8s.io", "IPAddress", kAddress, kAddressFixed},
    {"networking.k8s.io", "ServiceCIDR", kCidrs, kCidrsFixed},
    {"discovery.k8s.io", "EndpointSlice", kSlice},
    {"node.k8s.io", "RuntimeClass", kRuntime, kRuntimeFixed},
    {"scheduling.k8s.io", "PriorityClass", kPriority},
    {"storage.k8s.io", "StorageClass", kStorageClass, kStorageClassFixed},
    {"storage.k8s.io", "CSIDriver", kDriver},
    {"storage.k8s.io", "CSINode", kNodeDrivers},
    {"storage.k8s.io", "VolumeAttachment", kAttachment, kAttachmentFixed},
    {"", "PersistentVolumeClaim", kClaim},
    {"", "PersistentVolume", kVolume},
    {"", "LimitRange", kRange},
    {"apps", "ControllerRevision", kRevision, kRevisionFixed},
};

const Kind* find(std::string_view group, std::string_view kind) {
  for (const Kind& k : kKinds)
    if (k.kind == kind && k.group == group) return &k;
  return nullptr;
}

bool is_cidr(std::string_view value) {
  auto [address, bits] = split_once(value, '/');
  auto length = parse_int<int>(bits.value_or(""));
  unsigned char buffer[16];
  std::string ip(address);
  bool four = inet_pton(AF_INET, ip.c_str(), buffer) == 1, six = !four && inet_pton(AF_INET6, ip.c_str(), buffer) == 1;
  return (four || six) && length && *length >= 0 && *length <= (four ? 32 : 128);
}

bool is_empty(const Value* v) {
  return v == nullptr || v->is_null() || (v->is_string() && v->get_string().empty()) || (v->is_array() && v->get_array().empty()) || (v->is_object() && v->get_object().empty());
}

void check_domain_path(const Path& path, std::string_view value, FieldErrors& errors) {
  auto [domain, rest] = split_once(value, '/');
  if (domain.empty() || rest.value_or("").empty()) return errors.invalid(path, value, "must be a domain-prefixed path (such as \"acme.io/foo\")");
  report(errors, path, domain, check_dns1123_subdomain(domain));
}

void check_count(const Path& path, const Value& value, FieldErrors& errors) {
  check_int_or_percent(errors, path, &value);
  if (!value.is_string() || !std::string_view(value.get_string()).ends_with('%')) return;
  std::string_view digits = std::string_view(value.get_string()).substr(0, value.get_string().size() - 1);
  if (parse_int<std::int64_t>(digits).value_or(0) > 100) errors.invalid(path, value, "must not be greater than 100%");
}

void ask(const Rule& rule, const Path& path, const Value& value, FieldErrors& errors) {
  std::string_view text = value.is_string() ? std::string_view(value.get_string()) : std::string_view();
  switch (rule.ask) {
    case Ask::kRequired: break;
    case Ask::kSupported: {
      std::vector<std::string_view> known = split(rule.detail, '|');
      if (!text.empty() && std::ranges::find(known, text) == known.end()) {
        std::vector<std::string> quoted;
        for (std::string_view k : known) quoted.push_back(cat('"', k, '"'));
        errors.add({FieldReason::kNotSupported, path.text(), cat("Unsupported value: \"", text, "\": supported values: ", join(quoted, ", "))});
      }
      break;
    }
    case Ask::kNotNegative: check_nonnegative(errors, path, &value); break;
    case Ask::kCount: check_count(path, value, errors); break;
    case Ask::kSelector: check_label_selector(errors, path, value); break;
    case Ask::kLabel: report(errors, path, text, check_dns1123_label(text)); break;
    case Ask::kQualified: report(errors, path, text, check_qualified_name(text)); break;
    case Ask::kCidr:
      if (!is_cidr(text)) errors.invalid(path, text, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
      break;
    case Ask::kPort:
      if (Messages bad = value.is_int64() ? check_port_number(value.get_int64()) : Messages(); !bad.empty()) errors.invalid(path, value, bad[0]);
      break;
    case Ask::kDomainPath:
      if (!text.empty()) check_domain_path(path, text, errors);
      break;
    case Ask::kNoBacksteps:
      if (std::vector<std::string_view> parts = split(text, '/'); std::ranges::find(parts, std::string_view("..")) != parts.end()) errors.invalid(path, text, "must not contain '..'");
      break;
  }
}

// value: what stands at path; rest: what of the rule's field is still to go.
void walk(const Rule& rule, const Value* value, std::string_view rest, const Path& path, FieldErrors& errors) {
  if (rest.empty()) {
    if (rule.ask == Ask::kRequired && is_empty(value)) errors.required(path, rule.detail);
    else if (value != nullptr) ask(rule, path, *value, errors);
    else if (rule.ask == Ask::kLabel || rule.ask == Ask::kQualified) ask(rule, path, Value(""), errors);
    return;
  }
  auto [first, after] = split_once(rest, '.');
  bool each = first.ends_with("[]");
  std::string_view name = each ? first.substr(0, first.size() - 2) : first;
  const Value* below = value == nullptr ? nullptr : child(*value, name);
  Path at = path.text().empty() ? Path(std::string(name)) : path[name];
  if (!each) {
    // What is inside of something optional is required only where that is there.
    if (below == nullptr && after && !path.text().empty()) return;
    return walk(rule, below, after.value_or(""), at, errors);
  }
  if (below == nullptr || !below->is_array()) return;
  for (std::size_t i = 0; i < below->get_array().size(); ++i) walk(rule, &below->get_array()[i], after.value_or(""), at[i], errors);
}

}  // namespace

void check_rules(const Value& object, std::string_view group, std::string_view kind, FieldErrors& errors) {
  const Kind* known = find(group, kind);
  if (known == nullptr) return;
  for (const Rule& rule : known->rules) walk(rule, &object, rule.field, Path(), errors);
}

void check_immutable_fields(const Value& object, const Value& old, std::string_view group, std::string_view kind, FieldErrors& errors) {
  const Kind* known = find(group, kind);
  if (known == nullptr) return;
  for (std::string_view field : known->immutable) {
    auto [first, rest] = split_once(field, '.');
    const Value* now = &object;
    const Value* before = &old;
    if (rest) {
      now = child(object, first);
      before = child(old, first);
    }
    static const Value kNone{Object()};
    check_immutable(errors, rest ? Path(std::string(first)) : Path(), now == nullptr ? kNone : *now, before == nullptr ? kNone : *before, rest.value_or(first));
  }
}

}  // namespace monopod::api::kinds
