// The pod's own fields; containers are in container.cc.
#include <arpa/inet.h>

#include <set>

#include "api/kinds/behaviors.h"
#include "base/strings.h"

namespace monopod::api::kinds {
namespace {

void validate_volumes(const Value& spec, const Path& path, FieldErrors& errors) {
  const Array& volumes = items(spec, "volumes");
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < volumes.size(); ++i) {
    Path at = path["volumes"][i];
    std::string_view name = text(volumes[i], "name");
    if (name.empty()) errors.required(at["name"]);
    else report(errors, at["name"], name, check_dns1123_label(name));
    if (!name.empty() && !names.insert(name).second) errors.duplicate(at["name"], Value(name));
    std::size_t sources = 0;
    if (volumes[i].is_object())
      for (auto& m : volumes[i].get_object()) {
        if (m.key() == "name") continue;
        if (++sources > 1) errors.forbidden(at[m.key()], "may not specify more than 1 volume type");
      }
    if (sources == 0) errors.required(at, "must specify a volume type");
    if (const Value* host = child(volumes[i], "hostPath"); host != nullptr) {
      std::string_view where = text(*host, "path");
      if (where.empty()) errors.required(at["hostPath"]["path"]);
      for (std::string_view part : split(where, '/'))
        if (part == "..") errors.invalid(at["hostPath"]["path"], where, "must not contain '..'");
      check_supported(errors, at["hostPath"], *host, "type", {"BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"});
    }
    if (const Value* secret = child(volumes[i], "secret"); secret != nullptr && text(*secret, "secretName").empty()) errors.required(at["secret"]["secretName"]);
    if (const Value* map = child(volumes[i], "configMap"); map != nullptr && text(*map, "name").empty()) errors.required(at["configMap"]["name"]);
    for (const char* source : {"secret", "configMap"}) {
      const Value* s = child(volumes[i], source);
      if (s == nullptr) continue;
      if (const Value* mode = child(*s, "defaultMode"); mode != nullptr && (mode->get_int64() < 0 || mode->get_int64() > 0777))
        errors.invalid(at[source]["defaultMode"], *mode, "must be a number between 0 and 0777 (octal), both inclusive");
      const Array& keys = items(*s, "items");
      for (std::size_t k = 0; k < keys.size(); ++k) {
        Path key = at[source]["items"][k];
        if (text(keys[k], "key").empty()) errors.required(key["key"]);
        std::string_view where = text(keys[k], "path");
        if (where.empty()) errors.required(key["path"]);
        else if (where.starts_with('/')) errors.invalid(key["path"], where, "must be a relative path");
        for (std::string_view part : split(where, '/'))
          if (part == "..") errors.invalid(key["path"], where, "must not contain '..'");
      }
    }
  }
}

void validate_tolerations(const Value& spec, const Path& path, FieldErrors& errors) {
  const Array& tolerations = items(spec, "tolerations");
  for (std::size_t i = 0; i < tolerations.size(); ++i) {
    Path at = path["tolerations"][i];
    const Value& t = tolerations[i];
    std::string_view key = text(t, "key"), op = text(t, "operator");
    if (!key.empty()) report(errors, at["key"], key, check_qualified_name(key));
    if (key.empty() && op != "Exists") errors.invalid(at["operator"], op, "operator must be Exists when `key` is empty, which means \"match all values and all keys\"");
    if (child(t, "tolerationSeconds") != nullptr && text(t, "effect") != "NoExecute") errors.invalid(at["effect"], text(t, "effect"), "effect must be 'NoExecute' when `tolerationSeconds` is set");
    if (op == "Exists" && !text(t, "value").empty()) errors.invalid(at["operator"], text(t, "value"), "value must be empty when `operator` is 'Exists'");
    check_supported(errors, at, t, "operator", {"Equal", "Exists"});
    check_supported(errors, at, t, "effect", {"NoExecute", "NoSchedule", "PreferNoSchedule"});
  }
}

void validate_spread(const Value& spec, const Path& path, FieldErrors& errors) {
  const Array& spread = items(spec, "topologySpreadConstraints");
  for (std::size_t i = 0; i < spread.size(); ++i) {
    Path at = path["topologySpreadConstraints"][i];
    std::int64_t skew = json::get_int(spread[i], {"maxSkew"});
    if (skew <= 0) errors.invalid(at["maxSkew"], Value(skew), "must be greater than zero");
    if (text(spread[i], "topologyKey").empty()) errors.required(at["topologyKey"], "can not be empty");
    if (text(spread[i], "whenUnsatisfiable").empty()) errors.not_supported(at["whenUnsatisfiable"], Value(""), {"DoNotSchedule", "ScheduleAnyway"});
    check_supported(errors, at, spread[i], "whenUnsatisfiable", {"DoNotSchedule", "ScheduleAnyway"});
    if (const Value* s = child(spread[i], "labelSelector")) check_label_selector(errors, at["labelSelector"], *s);
  }
}

// A name of sysctl: dots or slashes between words of lower case letters, digits, '-' and '_'.
bool is_sysctl(std::string_view name) {
  auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  if (name.empty() || name.size() > 253) return false;
  bool edge = true;  // at the beginning of a word
  for (std::size_t i = 0; i < name.size(); ++i) {
    char c = name[i];
    bool separator = c == '.' || c == '/';
    if (!plain(c) && !separator && c != '-' && c != '_') return false;
    if ((edge && !plain(c)) || (separator && !plain(name[i - 1]))) return false;
    edge = separator;
  }
  return plain(name.back());
}

void validate_sysctls(const Value& context, const Path& path, FieldErrors& errors) {
  const Array& sysctls = items(context, "sysctls");
  std::set<std::string> names;
  for (std::size_t i = 0; i < sysctls.size(); ++i) {
    std::string_view name = text(sysctls[i], "name");
    Path at = path["sysctls"][i]["name"];
    if (name.empty()) errors.required(at);
    else if (!is_sysctl(name))
      errors.invalid(at, name, "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$");
    else if (!names.emplace(name).second) errors.duplicate(at, Value(name));
  }
}

constexpr std::string_view kNotAnAddress = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

bool is_ip(std::string_view text) {
  unsigned char buffer[16];
  std::string ip(text);
  return inet_pton(AF_INET, ip.c_str(), buffer) == 1 || inet_pton(AF_INET6, ip.c_str(), buffer) == 1;
}

void validate_names_and_hosts(const Value& spec, const Path& path, FieldErrors& errors) {
  const Array& aliases = items(spec, "hostAliases");
  for (std::size_t i = 0; i < aliases.size(); ++i) {
    if (!is_ip(text(aliases[i], "ip"))) errors.invalid(path["hostAliases"][i]["ip"], text(aliases[i], "ip"), kNotAnAddress);
    const Array& hosts = items(aliases[i], "hostnames");
    for (std::size_t h = 0; h < hosts.size(); ++h)
      if (hosts[h].is_string()) report(errors, path["hostAliases"][i]["hostnames"], hosts[h].get_string(), check_dns1123_subdomain(hosts[h].get_string()));
  }
  if (const Value* config = child(spec, "dnsConfig")) {
    const Array& servers = items(*config, "nameservers");
    if (servers.size() > 3) errors.invalid(path["dnsConfig"]["nameservers"], Value(servers), "must not have more than 3 nameservers");
    for (std::size_t i = 0; i < servers.size(); ++i)
      if (servers[i].is_string() && !is_ip(servers[i].get_string())) errors.invalid(path["dnsConfig"]["nameservers"][i], servers[i].get_string(), kNotAnAddress);
  }
  const Array& gates = items(spec, "readinessGates");
  for (std::size_t i = 0; i < gates.size(); ++i) report(errors, path["readinessGates"][i]["conditionType"], text(gates[i], "conditionType"), check_qualified_name(text(gates[i], "conditionType")));
  std::set<std::string_view> seen;
  const Array& waits = items(spec, "schedulingGates");
  for (std::size_t i = 0; i < waits.size(); ++i) {
    std::string_view name = text(waits[i], "name");
    report(errors, path["schedulingGates"][i], name, check_qualified_name(name));
    if (!seen.insert(name).second) errors.duplicate(path["schedulingGates"][i], Value(name));
  }
}

void validate_node_affinity(const Value& spec, const Path& path, FieldErrors& errors) {
  const Value* affinity = json::find(spec, {"affinity", "nodeAffinity"});
  if (affinity == nullptr) return;
  Path at = path["affinity"]["nodeAffinity"];
  constexpr std::string_view kRequired = "requiredDuringSchedulingIgnoredDuringExecution", kPreferred = "preferredDuringSchedulingIgnoredDuringExecution";
  if (const Value* required = child(*affinity, kRequired); required != nullptr && items(*required, "nodeSelectorTerms").empty())
    errors.required(at[kRequired]["nodeSelectorTerms"], "must have at least one node selector term");
  const Array& preferred = items(*affinity, kPreferred);
  for (std::size_t i = 0; i < preferred.size(); ++i)
    if (std::int64_t weight = json::get_int(preferred[i], {"weight"}); weight < 1 || weight > 100) errors.invalid(at[kPreferred][i]["weight"], Value(weight), "must be in the range 1-100");
}

}  // namespace

void validate_pod_spec(const Value& spec, const Path& path, FieldErrors& errors, bool templ) {
  validate_volumes(spec, path, errors);
  validate_containers(spec, path, errors);
  if (!items(spec, "ephemeralContainers").empty() && templ) errors.forbidden(path["ephemeralContainers"], "ephemeral containers not allowed in pod template");
  check_supported(errors, path, spec, "restartPolicy", {"Always", "Never", "OnFailure"});
  check_supported(errors, path, spec, "dnsPolicy", {"ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"});
  if (text(spec, "dnsPolicy") == "None" && json::get_array(spec, {"dnsConfig", "nameservers"}) == nullptr)
    errors.required(path["dnsConfig"]["nameservers"], "must provide at least one DNS nameserver when `dnsPolicy` is None");
  check_supported(errors, path, spec, "preemptionPolicy", {"Never", "PreemptLowerPriority"});
  check_nonnegative(errors, path["terminationGracePeriodSeconds"], child(spec, "terminationGracePeriodSeconds"));
  if (const Value* d = child(spec, "activeDeadlineSeconds"); d != nullptr && (d->get_int64() < 1 || d->get_int64() > INT32_MAX))
    errors.invalid(path["activeDeadlineSeconds"], *d, "must be between 1 and 2147483647, inclusive");
  check_labels(errors, path["nodeSelector"], child(spec, "nodeSelector"));
  if (std::string_view v = text(spec, "serviceAccountName"); !v.empty()) report(errors, path["serviceAccountName"], v, check_dns1123_subdomain(v));
  if (std::string_view v = text(spec, "nodeName"); !v.empty()) report(errors, path["nodeName"], v, check_dns1123_subdomain(v));
  if (std::string_view v = text(spec, "hostname"); !v.empty()) report(errors, path["hostname"], v, check_dns1123_label(v));
  if (std::string_view v = text(spec, "subdomain"); !v.empty()) report(errors, path["subdomain"], v, check_dns1123_label(v));
  if (std::string_view v = text(spec, "priorityClassName"); !v.empty()) report(errors, path["priorityClassName"], v, check_dns1123_subdomain(v));
  if (std::string_view v = text(spec, "runtimeClassName"); !v.empty()) report(errors, path["runtimeClassName"], v, check_dns1123_subdomain(v));
  if (json::get_bool(spec, {"hostNetwork"})) {
    const Array& containers = items(spec, "containers");
    for (std::size_t i = 0; i < containers.size(); ++i)
      for (std::size_t p = 0; p < items(containers[i], "ports").size(); ++p) {
        const Value& port = items(containers[i], "ports")[p];
        std::int64_t host = json::get_int(port, {"hostPort"});
        if (host != 0 && host != json::get_int(port, {"containerPort"})) errors.invalid(path["containers"][i]["ports"][p]["hostPort"], Value(host), "must match `containerPort` when `hostNetwork` is true");
      }
  }
  if (json::get_bool(spec, {"hostPID"}) && json::get_bool(spec, {"shareProcessNamespace"})) errors.invalid(path["securityContext"]["shareProcessNamespace"], Value(true), "ShareProcessNamespace and HostPID cannot both be enabled");
  if (const Value* s = child(spec, "securityContext")) {
    validate_sysctls(*s, path["securityContext"], errors);
    if (const Value* profile = child(*s, "seccompProfile")) check_supported(errors, path["securityContext"]["seccompProfile"], *profile, "type", {"Localhost", "RuntimeDefault", "Unconfined"});
    for (std::string_view id : {"runAsUser", "runAsGroup", "fsGroup"})
      if (const Value* v = child(*s, id); v != nullptr && (v->get_int64() < 0 || v->get_int64() > INT32_MAX)) errors.invalid(path["securityContext"][id], *v, "must be between 0 and 2147483647, inclusive");
  }
  if (const Value* os = child(spec, "os")) check_supported(errors, path["os"], *os, "name", {"linux", "windows"});
  validate_names_and_hosts(spec, path, errors);
  validate_node_affinity(spec, path, errors);
  validate_tolerations(spec, path, errors);
  validate_spread(spec, path, errors);
}

}  // namespace monopod::api::kinds
