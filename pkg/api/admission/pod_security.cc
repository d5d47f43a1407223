// PodSecurity: a namespace's labels pod-security.kubernetes.io/{enforce,warn} bound what its pods may ask for. Pods are refused,
// what makes pods only warns. Labels that cannot be read count as restricted:latest where they enforce, as privileged where they warn.
#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "api/admission/plugins.h"
#include "api/admission/pod_security_checks.h"
#include "api/schema/field_error.h"
#include "api/slice.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

constexpr std::size_t kPodsCheckedMax = 3000;  // of a namespace whose level changes; upstream's bound

struct Policies {
  PodSecurityPolicy enforce, audit, warn;
  FieldErrors errors;
};

std::optional<PodSecurityLevel> parse_level(std::string_view text) {
  if (text == "privileged") return PodSecurityLevel::kPrivileged;
  if (text == "baseline") return PodSecurityLevel::kBaseline;
  if (text == "restricted") return PodSecurityLevel::kRestricted;
  return std::nullopt;
}

std::optional<int> parse_version(std::string_view text) {
  if (text == "latest") return kPodSecurityLatest;
  if (!text.starts_with("v1.")) return std::nullopt;
  auto minor = parse_int<int>(text.substr(3));
  if (!minor || *minor < 0 || cat(*minor) != text.substr(3)) return std::nullopt;
  return minor;
}

void read_labels(const json::Value& ns, std::string_view mode, PodSecurityLevel fallback, PodSecurityPolicy& policy, FieldErrors& errors) {
  std::string level_key = cat("pod-security.kubernetes.io/", mode), version_key = cat(level_key, "-version");
  Path labels("metadata.labels");
  if (const json::Value* label = json::find(ns, {"metadata", "labels", level_key}); label != nullptr && label->is_string()) {
    std::string_view text(label->get_string());
    auto level = parse_level(text);
    if (!level) errors.invalid(labels.key(level_key), text, "must be one of privileged, baseline, restricted");
    policy.level = level.value_or(fallback);
  }
  if (const json::Value* label = json::find(ns, {"metadata", "labels", version_key}); label != nullptr && label->is_string()) {
    std::string_view text(label->get_string());
    auto version = parse_version(text);
    if (!version) errors.invalid(labels.key(version_key), text, "must be \"latest\" or \"v1.x\"");
    policy.minor = version.value_or(kPodSecurityLatest);
  }
}

Policies policies_of(const json::Value& ns) {
  Policies out;
  read_labels(ns, "enforce", PodSecurityLevel::kRestricted, out.enforce, out.errors);
  read_labels(ns, "audit", PodSecurityLevel::kPrivileged, out.audit, out.errors);
  read_labels(ns, "warn", PodSecurityLevel::kPrivileged, out.warn, out.errors);
  return out;
}

bool makes_pods(const AdmissionRequest& request) {
  if (request.is("", "podtemplates") || request.is("", "replicationcontrollers") || request.is("batch", "cronjobs") || request.is("batch", "jobs")) return true;
  return std::ranges::any_of(std::array{"deployments", "replicasets", "statefulsets", "daemonsets"}, [&](std::string_view plural) { return request.is("apps", plural); });
}

// The pod or template inside an object of a kind that has one; null where it lacks it.
const json::Value* pod_in(const AdmissionRequest& request, const json::Value& object) {
  if (request.is("", "pods")) return &object;
  if (request.is("", "podtemplates")) return json::find(object, {"template"});
  if (request.is("batch", "cronjobs")) return json::find(object, {"spec", "jobTemplate", "spec", "template"});
  return json::find(object, {"spec", "template"});
}

// No label of the namespace says anything of pods.
bool is_unbounded(const Object& ns) { return !ns.label("pod-security.kubernetes.io/enforce") && !ns.label("pod-security.kubernetes.io/warn"); }

std::vector<PodSecurityViolation> violations(const PodSecurityPolicy& policy, const json::Value& pod) {
  static const json::Value nothing = json::Object();
  const json::Value* metadata = json::find(pod, {"metadata"});
  const json::Value* spec = json::find(pod, {"spec"});
  return check_pod_security(policy, metadata == nullptr ? nothing : *metadata, spec == nullptr ? nothing : *spec);
}

// What of a pod an update can change that a check looks at: images, seccomp annotations, added containers.
std::map<std::string, std::string> significant(const json::Value& pod) {
  std::map<std::string, std::string> out;
  auto note = [&](const std::string& key) { out[key] = json::get_string(pod, {"metadata", "annotations", key}); };
  note("seccomp.security.alpha.kubernetes.io/pod");
  for (std::string_view member : {"containers", "initContainers", "ephemeralContainers"})
    if (const json::Array* list = json::get_array(pod, {"spec", member}))
      for (const json::Value& one : *list) {
        std::string name(json::get_string(one, {"name"}));
        out[cat(member, '/', name)] = json::get_string(one, {"image"});
        note(cat("container.seccomp.security.alpha.kubernetes.io/", name));
      }
  return out;
}

class PodSecurity final : public AdmissionPlugin {
 public:
  explicit PodSecurity(CacheSet& caches) : caches_(caches) {}
  std::string_view name() const override { return "PodSecurity"; }
  bool handles(const AdmissionRequest& request) const override {
    if (request.object == nullptr || (request.operation != Operation::kCreate && request.operation != Operation::kUpdate)) return false;
    if (request.is("", "namespaces")) return request.subresource.empty();
    bool pod = request.is("", "pods") && (request.subresource == "ephemeralcontainers" || request.subresource == "resize" || request.subresource.empty());
    if (!pod && !(makes_pods(request) && request.subresource.empty())) return false;
    ObjectPtr home = caches_.find("", "namespaces")->find(request.ns);
    return !home || !is_unbounded(*home);
  }

  async::Task<Outcome<>> validate(AdmissionRequest& request) override {
    if (request.is("", "namespaces")) co_return co_await on_namespace(request);
    co_return on_pod(request);
  }

 private:
  async::Task<Outcome<>> on_namespace(AdmissionRequest& request) const {
    Policies now = policies_of(*request.object);
    Policies before = request.old == nullptr ? Policies() : policies_of(*request.old);
    bool known = request.old != nullptr && now.errors.text() == before.errors.text();
    if (!now.errors.empty() && !known) co_return refuse(parse_status(make_invalid_status("", "Namespace", request.name, now.errors)));
    if (request.old == nullptr || now.enforce == before.enforce || now.enforce.level == PodSecurityLevel::kPrivileged) co_return Outcome<>();
    if (now.enforce.minor == before.enforce.minor && now.enforce.level <= before.enforce.level) co_return Outcome<>();
    co_return co_await warn_of_pods(request, now.enforce);
  }

  // One line for each set of reasons, under the name of the first pod that has them.
  async::Task<Outcome<>> warn_of_pods(AdmissionRequest& request, const PodSecurityPolicy& enforce) const {
    std::vector<ObjectPtr> checked;
    std::size_t total = 0;
    WatchCache* pods = caches_.find("", "pods");
    std::string prefix = cat(request.name, '/');
    for (auto it = pods->first_of(request.name); it != pods->objects().end() && (*it)->key().starts_with(prefix); ++it)
      if (++total <= kPodsCheckedMax) checked.push_back(*it);
    std::map<std::string, std::vector<std::string>> pods_of;
    Slice slice;
    for (const ObjectPtr& pod : checked) {
      if (auto found = violations(enforce, pod->tree()); !found.empty()) pods_of[format_reasons(found)].emplace_back(pod->name());
      if (slice.spent()) CO_OUT(co_await slice.yield());
    }
    if (checked.size() < total)
      request.warnings.push_back(cat("new PodSecurity enforce level only checked against the first ", checked.size(), " of ", total, " existing pods"));
    if (!pods_of.empty())
      request.warnings.push_back(cat("existing pods in namespace \"", request.name, "\" violate the new PodSecurity enforce level \"", enforce.text(), '"'));
    std::set<std::string> lines;
    for (const auto& [reasons, names] : pods_of) {
      std::size_t others = names.size() - 1;
      std::string more = others == 0 ? "" : others == 1 ? " (and 1 other pod)" : cat(" (and ", others, " other pods)");
      lines.insert(cat(names.front(), more, ": ", reasons));
    }
    request.warnings.insert(request.warnings.end(), lines.begin(), lines.end());
    co_return Outcome<>();
  }

  Outcome<> on_pod(AdmissionRequest& request) const {
    if (pod_in(request, *request.object) == nullptr) return {};
    ObjectPtr home = caches_.find("", "namespaces")->find(request.ns);
    if (!home) return refuse(internal(cat("failed to lookup namespace ", request.ns)));
    bool enforced = request.is("", "pods");
    Policies policies = policies_of(home->tree());
    if (enforced && request.old != nullptr && significant(*request.object) == significant(*request.old)) return {};
    const json::Value& pod = *pod_in(request, *request.object);
    if (enforced)
      if (auto found = violations(policies.enforce, pod); !found.empty())
        return refuse(forbidden(request.ref(), request.name, cat("violates PodSecurity \"", policies.enforce.text(), "\": ", format_details(found))));
    if (auto found = violations(policies.warn, pod); !found.empty())
      request.warnings.push_back(cat("would violate PodSecurity \"", policies.warn.text(), "\": ", format_details(found)));
    return {};
  }

  CacheSet& caches_;
};

}  // namespace

std::unique_ptr<AdmissionPlugin> make_pod_security(const AdmissionParts& parts) { return std::make_unique<PodSecurity>(parts.caches); }

}  // namespace monopod::api
