// Containers of a pod spec.
#include <algorithm>
#include <set>

#include "api/kinds/behaviors.h"
#include "api/quantity/quantity.h"
#include "base/strings.h"

namespace monopod::api::kinds {
namespace {

using Names = std::set<std::string, std::less<>>;

void validate_ports(const Value& container, const Path& path, FieldErrors& errors) {
  const Array& ports = items(container, "ports");
  Names names;
  for (std::size_t i = 0; i < ports.size(); ++i) {
    Path at = path["ports"][i];
    if (std::string_view name = text(ports[i], "name"); !name.empty()) {
      report(errors, at["name"], name, check_port_name(name));
      if (!names.emplace(name).second) errors.duplicate(at["name"], Value(name));
    }
    std::int64_t port = json::get_int(ports[i], {"containerPort"});
    if (port == 0) errors.required(at["containerPort"]);
    else if (!check_port_number(port).empty()) errors.invalid(at["containerPort"], Value(port), check_port_number(port)[0]);
    std::int64_t host = json::get_int(ports[i], {"hostPort"});
    if (host != 0 && !check_port_number(host).empty()) errors.invalid(at["hostPort"], Value(host), check_port_number(host)[0]);
    check_supported(errors, at, ports[i], "protocol", {"SCTP", "TCP", "UDP"});
  }
}

// What an environment variable may take from its pod.
void validate_field_path(std::string_view field, const Path& path, FieldErrors& errors) {
  if (field.empty()) return errors.required(path);
  for (std::string_view known : {"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"})
    if (field == known) return;
  for (std::string_view list : {"metadata.labels[", "metadata.annotations["})
    if (field.starts_with(list) && field.ends_with(']')) return;
  errors.invalid(path, field, cat("error converting fieldPath: field label not supported: ", field));
}

void validate_env(const Value& container, const Path& path, FieldErrors& errors) {
  const Array& env = items(container, "env");
  for (std::size_t i = 0; i < env.size(); ++i) {
    Path at = path["env"][i];
    std::string_view name = text(env[i], "name");
    if (name.empty()) errors.required(at["name"]);
    else report(errors, at["name"], name, check_env_var_name(name));
    const Value* from = child(env[i], "valueFrom");
    if (from == nullptr) continue;
    std::size_t sources = 0;
    for (const char* s : {"fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"}) sources += child(*from, s) != nullptr;
    if (sources == 0) errors.invalid(at["valueFrom"], "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`");
    else if (!text(env[i], "value").empty()) errors.invalid(at["valueFrom"], "", "may not be specified when `value` is not empty");
    else if (sources > 1) errors.invalid(at["valueFrom"], "", "may not have more than one field specified at a time");
    if (const Value* ref = child(*from, "fieldRef")) validate_field_path(text(*ref, "fieldPath"), at["valueFrom"]["fieldRef"]["fieldPath"], errors);
    for (const char* s : {"configMapKeyRef", "secretKeyRef"})
      if (const Value* ref = child(*from, s)) {
        if (text(*ref, "key").empty()) errors.required(at["valueFrom"][s]["key"]);
        else report(errors, at["valueFrom"][s]["key"], text(*ref, "key"), check_config_map_key(text(*ref, "key")));
      }
  }
}

void validate_probe(const Value& container, std::string_view member, const Path& path, bool once, FieldErrors& errors) {
  const Value* probe = child(container, member);
  if (probe == nullptr) return;
  Path at = path[member];
  std::size_t handlers = 0;
  for (const char* h : {"exec", "httpGet", "tcpSocket", "grpc"}) {
    if (child(*probe, h) == nullptr) continue;
    if (++handlers > 1) errors.forbidden(at[h], "may not specify more than 1 handler type");
  }
  if (handlers == 0) errors.required(at, "must specify a handler type");
  for (std::string_view n : {"initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"}) check_nonnegative(errors, at[n], child(*probe, n));
  if (const Value* exec = child(*probe, "exec"); exec != nullptr && items(*exec, "command").empty()) errors.required(at["exec"]["command"]);
  std::int64_t successes = json::get_int(*probe, {"successThreshold"}, 1);
  if (once && successes != 1) errors.invalid(at["successThreshold"], Value(successes), "must be 1");
  for (const char* h : {"httpGet", "tcpSocket"}) {
    const Value* port = json::find(*probe, {h, "port"});
    if (child(*probe, h) == nullptr) continue;
    if (port == nullptr) errors.invalid(at[h]["port"], Value(0), check_port_number(0)[0]);
    else if (port->is_string()) report(errors, at[h]["port"], port->get_string(), check_port_name(port->get_string()));
    else if (port->is_int64() && !check_port_number(port->get_int64()).empty()) errors.invalid(at[h]["port"], *port, check_port_number(port->get_int64())[0]);
  }
}

void validate_hooks(const Value& container, const Path& path, FieldErrors& errors) {
  for (const char* hook : {"postStart", "preStop"}) {
    const Value* handler = json::find(container, {"lifecycle", hook});
    if (handler == nullptr) continue;
    std::size_t handlers = 0;
    for (const char* h : {"exec", "httpGet", "tcpSocket", "sleep"}) {
      if (child(*handler, h) == nullptr) continue;
      if (++handlers > 1) errors.forbidden(path[hook][h], "may not specify more than 1 handler type");
    }
    if (handlers == 0) errors.required(path[hook], "must specify a handler type");
  }
}

void validate_mounts(const Value& container, const Path& path, const Names& volumes, FieldErrors& errors) {
  const Array& mounts = items(container, "volumeMounts");
  Names paths;
  for (std::size_t i = 0; i < mounts.size(); ++i) {
    Path at = path["volumeMounts"][i];
    std::string_view name = text(mounts[i], "name"), where = text(mounts[i], "mountPath");
    if (name.empty()) errors.required(at["name"]);
    else if (!volumes.contains(name)) errors.add({FieldReason::kNotFound, at["name"].text(), cat("Not found: ", json::format(Value(name)))});
    if (where.empty()) errors.required(at["mountPath"]);
    else if (!paths.emplace(where).second) errors.invalid(at["mountPath"], where, "must be unique");
    if (!text(mounts[i], "subPath").empty() && !text(mounts[i], "subPathExpr").empty()) errors.invalid(at["subPathExpr"], text(mounts[i], "subPathExpr"), "subPathExpr and subPath are mutually exclusive");
    for (const char* member : {"subPath", "subPathExpr"}) {
      std::string_view sub = text(mounts[i], member);
      if (sub.starts_with('/')) errors.invalid(at[member], sub, "must be a relative path");
      auto parts = split(sub, '/');
      if (std::ranges::find(parts, std::string_view("..")) != parts.end()) errors.invalid(at[member], sub, "must not contain '..'");
    }
    check_supported(errors, at, mounts[i], "mountPropagation", {"Bidirectional", "HostToContainer", "None"});
  }
}

// What an ephemeral container may say; the rest belongs to containers that others rely on.
void validate_ephemeral(const Value& c, const Path& path, const Names& others, FieldErrors& errors) {
  constexpr std::string_view kWhy = "cannot be set for an Ephemeral Container";
  for (const char* member : {"ports", "resources", "resizePolicy", "restartPolicy", "restartPolicyRules", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle"}) {
    const Value* v = child(c, member);
    bool empty = v == nullptr || (v->is_object() && v->get_object().empty()) || (v->is_array() && v->get_array().empty());
    if (!empty) errors.forbidden(path[member], kWhy);
  }
  const Array& mounts = items(c, "volumeMounts");
  for (std::size_t i = 0; i < mounts.size(); ++i)
    for (const char* member : {"subPath", "subPathExpr"})
      if (!text(mounts[i], member).empty()) errors.forbidden(path["volumeMounts"][i][member], kWhy);
  std::string_view target = text(c, "targetContainerName");
  if (!target.empty() && !others.contains(target)) errors.add({FieldReason::kNotFound, path["targetContainerName"].text(), cat("Not found: ", json::format(Value(target)))});
}

void validate_container(const Value& c, const Path& path, const Names& volumes, bool sidecar_or_main, FieldErrors& errors) {
  std::string_view name = text(c, "name"), image = text(c, "image");
  if (name.empty()) errors.required(path["name"]);
  else report(errors, path["name"], name, check_dns1123_label(name));
  if (image.empty()) errors.required(path["image"]);
  else if (trim(image).size() != image.size()) errors.invalid(path["image"], image, "must not have leading or trailing whitespace");
  check_supported(errors, path, c, "imagePullPolicy", {"Always", "IfNotPresent", "Never"});
  check_supported(errors, path, c, "terminationMessagePolicy", {"FallbackToLogsOnError", "File"});
  validate_ports(c, path, errors);
  validate_env(c, path, errors);
  validate_mounts(c, path, volumes, errors);
  if (const Value* resources = child(c, "resources")) validate_resources(*resources, path["resources"], errors);
  if (sidecar_or_main) {
    validate_probe(c, "livenessProbe", path, true, errors);
    validate_probe(c, "readinessProbe", path, false, errors);
    validate_probe(c, "startupProbe", path, true, errors);
    validate_hooks(c, path["lifecycle"], errors);
  } else {
    for (std::string_view p : {"lifecycle", "livenessProbe", "readinessProbe", "startupProbe"})
      if (child(c, p) != nullptr) errors.forbidden(path[p], "may not be set for init containers without restartPolicy=Always");
  }
  if (const Value* s = child(c, "securityContext")) {
    for (std::string_view id : {"runAsUser", "runAsGroup"})
      if (const Value* v = child(*s, id); v != nullptr && (v->get_int64() < 0 || v->get_int64() > INT32_MAX)) errors.invalid(path["securityContext"][id], *v, "must be between 0 and 2147483647, inclusive");
    if (json::get_bool(*s, {"privileged"}) && child(*s, "allowPrivilegeEscalation") != nullptr && !json::get_bool(*s, {"allowPrivilegeEscalation"}))
      errors.invalid(path["securityContext"], *s, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
  }
}

}  // namespace

void validate_resources(const Value& resources, const Path& path, FieldErrors& errors) {
  auto amount = [&](std::string_view side, std::string_view name) -> Quantity {
    auto q = parse_quantity(json::get_string(resources, {side, name}, "0"));
    return q ? *q : Quantity();
  };
  for (std::string_view side : {"limits", "requests"}) {
    const Object* list = json::get_object(resources, {side});
    if (list == nullptr) continue;
    for (auto& m : *list) {
      Path at = path[side].key(m.key());
      report(errors, path[side], m.key(), check_qualified_name(m.key()));
      std::string_view name = m.key();
      if (name.find('/') == std::string_view::npos && name != "cpu" && name != "memory" && name != "ephemeral-storage" && !name.starts_with("hugepages-"))
        errors.invalid(at, name, "must be a standard resource for containers");
      Quantity q = amount(side, name);
      if (q.sign() < 0) errors.invalid(at, q.text(), "must be greater than or equal to 0");
      if (side != "requests") continue;
      const Value* limit = json::find(resources, {"limits", name});
      if (limit != nullptr && q > amount("limits", name))
        errors.invalid(path[side], q.text(), cat("must be less than or equal to ", name, " limit of ", amount("limits", name).text()));
    }
  }
}

void validate_containers(const Value& spec, const Path& path, FieldErrors& errors) {
  Names volumes, names, others;
  for (const char* list : {"volumes"})
    for (const Value& v : items(spec, list)) volumes.emplace(text(v, "name"));
  if (items(spec, "containers").empty()) errors.required(path["containers"]);
  for (const char* list : {"containers", "initContainers", "ephemeralContainers"}) {
    const Array& containers = items(spec, list);
    for (std::size_t i = 0; i < containers.size(); ++i) {
      Path at = path[list][i];
      bool init = std::string_view(list) == "initContainers";
      std::string_view restart = text(containers[i], "restartPolicy");
      if (init && !restart.empty()) check_supported(errors, at, containers[i], "restartPolicy", {"Always", "Never", "OnFailure"});
      bool ephemeral = std::string_view(list) == "ephemeralContainers";
      validate_container(containers[i], at, volumes, !init || restart == "Always", errors);
      std::string_view name = text(containers[i], "name");
      if (ephemeral) validate_ephemeral(containers[i], at, others, errors);
      else others.emplace(name);
      if (!name.empty() && !names.emplace(name).second) errors.duplicate(at["name"], Value(name));
    }
  }
}

}  // namespace monopod::api::kinds
