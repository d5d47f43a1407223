#include "api/table/cells.h"

#include <algorithm>
#include <functional>

#include "api/crd/columns.h"
#include "api/quantity/quantity.h"
#include "base/strings.h"

namespace monopod::api::table {
namespace {

using json::Array;
using json::Value;

std::string_view get(const Value& v, std::initializer_list<std::string_view> path) { return json::get_string(v, path); }
Value text_or(std::string_view v, std::string_view fallback) { return Value(v.empty() ? fallback : v); }
const Array& list(const Value& v, std::initializer_list<std::string_view> path) {
  static const Array kNone;
  const Array* a = json::get_array(v, path);
  return a == nullptr ? kNone : *a;
}
std::size_t count(const Value& v, std::initializer_list<std::string_view> path) {
  const Value* c = json::find(v, path);
  if (c == nullptr) return 0;
  return c->is_object() ? c->get_object().size() : c->is_array() ? c->get_array().size() : 0;
}
// A number, a percentage or nothing.
Value scalar_or(const Value& v, std::initializer_list<std::string_view> path, std::string_view fallback) {
  const Value* s = json::find(v, path);
  if (s == nullptr || s->is_null()) return Value(fallback);
  return s->is_string() ? *s : Value(json::format(*s));
}
std::string joined(const Array& values, std::string_view member, std::string_view separator) {
  std::vector<std::string> out;
  for (const Value& v : values) {
    if (!member.empty()) out.emplace_back(get(v, {member}));
    else if (v.is_string()) out.emplace_back(v.get_string());
  }
  return join(out, separator);
}

struct Row {
  const Value& object;
  Ages& ages;
  Array& cells;
  Value age() const { return ages.of_object(object, cells); }
  void workload() const {  // Containers, Images, Selector of the wide form
    const Value* spec = json::find(object, {"spec", "template", "spec"});
    cells.push_back(Value(container_names(spec)));
    cells.push_back(Value(container_images(spec)));
  }
};

// "cpu: 12%/80%, memory: 20Mi/100Mi + 1 more...": what is and what should be.
std::string autoscaler_target(const Value& spec, const Value& status) {
  std::string_view type = get(spec, {"type"});
  std::string source = type == "ContainerResource" ? "containerResource" : to_lower(type);
  bool named = type == "Resource" || type == "ContainerResource";
  if (!named && type != "Pods" && type != "Object" && type != "External") return "<unknown type>";
  bool average = json::find(spec, {source, "target", "averageValue"}) != nullptr;
  std::string_view member = average || type == "Pods" ? "averageValue" : named ? "averageUtilization" : "value";
  auto shown = [&](const Value* value, std::string_view absent) -> std::string {
    if (value == nullptr) return std::string(absent);
    return value->is_int64() ? cat(value->get_int64(), "%") : value->is_string() ? std::string(value->get_string()) : std::string(absent);
  };
  std::string now = shown(json::find(status, {source, "current", member}), "<unknown>"), wanted = shown(json::find(spec, {source, "target", member}), named ? "<auto>" : "<unknown>");
  return cat(named ? cat(get(spec, {source, "name"}), ": ") : std::string(), now, "/", wanted, average && (type == "Object" || type == "External") ? " (avg)" : "");
}

std::string autoscaler_targets(const Array& specs, const Array& statuses) {
  constexpr std::size_t kShown = 2;
  static const Value kNone{json::Object()};
  std::vector<std::string> targets;
  for (std::size_t i = 0; i < specs.size() && i < kShown; ++i) targets.push_back(autoscaler_target(specs[i], i < statuses.size() ? statuses[i] : kNone));
  if (targets.empty()) return "<none>";
  std::string out = join(targets, ", ");
  return specs.size() > kShown ? cat(out, " + ", specs.size() - kShown, " more...") : out;
}

void deployment(const Row& r) {
  const Value& o = r.object;
  r.cells.push_back(Value(cat(json::get_int(o, {"status", "readyReplicas"}), "/", json::get_int(o, {"spec", "replicas"}))));
  r.cells.push_back(Value(json::get_int(o, {"status", "updatedReplicas"})));
  r.cells.push_back(Value(json::get_int(o, {"status", "availableReplicas"})));
  r.cells.push_back(r.age());
  r.workload();
  r.cells.push_back(Value(format_selector(json::find(o, {"spec", "selector"}))));
}

void replica_set(const Row& r) {
  const Value& o = r.object;
  r.cells.push_back(Value(json::get_int(o, {"spec", "replicas"})));
  r.cells.push_back(Value(json::get_int(o, {"status", "replicas"})));
  r.cells.push_back(Value(json::get_int(o, {"status", "readyReplicas"})));
  r.cells.push_back(r.age());
  r.workload();
  const Value* selector = json::find(o, {"spec", "selector"});
  r.cells.push_back(Value(get(o, {"kind"}) == "ReplicationController" ? format_labels(selector) : format_selector(selector)));
}

void daemon_set(const Row& r) {
  for (const char* n : {"desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable"})
    r.cells.push_back(Value(json::get_int(r.object, {"status", n})));
  r.cells.push_back(Value(format_labels(json::find(r.object, {"spec", "template", "spec", "nodeSelector"}))));
  r.cells.push_back(r.age());
  r.workload();
  r.cells.push_back(Value(format_selector(json::find(r.object, {"spec", "selector"}))));
}

void stateful_set(const Row& r) {
  r.cells.push_back(Value(cat(json::get_int(r.object, {"status", "readyReplicas"}), "/", json::get_int(r.object, {"spec", "replicas"}))));
  r.cells.push_back(r.age());
  r.workload();
}

void job(const Row& r) {
  const Value& o = r.object;
  std::string status = "Running";
  for (const Value& c : list(o, {"status", "conditions"})) {
    if (get(c, {"status"}) != "True") continue;
    std::string_view type = get(c, {"type"});
    if (type == "Complete" || type == "Failed" || type == "Suspended") status = type;
    else if (type == "FailureTarget" && status == "Running") status = "FailureTarget";
  }
  if (json::find(o, {"metadata", "deletionTimestamp"}) != nullptr) status = "Terminating";
  r.cells.push_back(Value(status));
  std::int64_t done = json::get_int(o, {"status", "succeeded"});
  if (json::find(o, {"spec", "completions"}) != nullptr) r.cells.push_back(Value(cat(done, "/", json::get_int(o, {"spec", "completions"}))));
  else if (std::int64_t p = json::get_int(o, {"spec", "parallelism"}); p > 1) r.cells.push_back(Value(cat(done, "/1 of ", p)));
  else r.cells.push_back(Value(cat(done, "/1")));
  std::string_view started = get(o, {"status", "startTime"});
  auto start = parse_rfc3339(started);
  auto end = parse_rfc3339(get(o, {"status", "completionTime"}));
  r.cells.push_back(Value(!start ? std::string() : end ? format_age(*end - *start) : r.ages.of(started)));
  r.cells.push_back(r.age());
  r.workload();
  r.cells.push_back(Value(format_selector(json::find(o, {"spec", "selector"}))));
}

void cron_job(const Row& r) {
  const Value& o = r.object;
  r.cells.push_back(Value(get(o, {"spec", "schedule"})));
  r.cells.push_back(text_or(get(o, {"spec", "timeZone"}), "<none>"));
  r.cells.push_back(Value(json::get_bool(o, {"spec", "suspend"}) ? "True" : "False"));
  r.cells.push_back(Value(count(o, {"status", "active"})));
  std::string_view last = get(o, {"status", "lastScheduleTime"});
  r.cells.push_back(Value(last.empty() ? std::string("<none>") : r.ages.of(last)));
  r.cells.push_back(r.age());
  const Value* spec = json::find(o, {"spec", "jobTemplate", "spec", "template", "spec"});
  r.cells.push_back(Value(container_names(spec)));
  r.cells.push_back(Value(container_images(spec)));
  r.cells.push_back(Value(format_selector(json::find(o, {"spec", "jobTemplate", "spec", "selector"}))));
}

std::string external_ip(const Value& o) {
  std::string_view type = get(o, {"spec", "type"});
  std::vector<std::string> addresses;
  if (type == "ExternalName") return std::string(get(o, {"spec", "externalName"}));
  if (type == "LoadBalancer")
    for (const Value& i : list(o, {"status", "loadBalancer", "ingress"})) {
      std::string_view a = get(i, {"ip"});
      addresses.emplace_back(a.empty() ? get(i, {"hostname"}) : a);
    }
  for (const Value& e : list(o, {"spec", "externalIPs"}))
    if (e.is_string()) addresses.emplace_back(e.get_string());
  if (!addresses.empty()) return join(addresses, ",");
  return type == "LoadBalancer" ? "<pending>" : "<none>";
}

void service(const Row& r) {
  const Value& o = r.object;
  r.cells.push_back(Value(get(o, {"spec", "type"})));
  const Array& ips = list(o, {"spec", "clusterIPs"});
  std::string_view ip = !ips.empty() && ips[0].is_string() ? std::string_view(ips[0].get_string()) : get(o, {"spec", "clusterIP"});
  r.cells.push_back(text_or(ip, "<none>"));
  r.cells.push_back(Value(external_ip(o)));
  std::vector<std::string> ports;
  for (const Value& p : list(o, {"spec", "ports"})) {
    std::int64_t node = json::get_int(p, {"nodePort"});
    ports.push_back(node > 0 ? cat(json::get_int(p, {"port"}), ":", node, "/", get(p, {"protocol"})) : cat(json::get_int(p, {"port"}), "/", get(p, {"protocol"})));
  }
  r.cells.push_back(Value(ports.empty() ? std::string("<none>") : join(ports, ",")));
  r.cells.push_back(r.age());
  r.cells.push_back(Value(format_labels(json::find(o, {"spec", "selector"}))));
}

void node(const Row& r) {
  const Value& o = r.object;
  std::vector<std::string> status, roles;
  for (const Value& c : list(o, {"status", "conditions"}))
    if (get(c, {"type"}) == "Ready") status.emplace_back(get(c, {"status"}) == "True" ? "Ready" : "NotReady");
  if (status.empty()) status.emplace_back("Unknown");
  if (json::get_bool(o, {"spec", "unschedulable"})) status.emplace_back("SchedulingDisabled");
  if (const json::Object* labels = json::get_object(o, {"metadata", "labels"}))
    for (auto& m : *labels) {
      std::string_view key = m.key();
      constexpr std::string_view kRole = "node-role.kubernetes.io/";
      if (key.starts_with(kRole) && key.size() > kRole.size()) roles.emplace_back(key.substr(kRole.size()));
      else if (key == "kubernetes.io/role" && m.value().is_string()) roles.emplace_back(m.value().get_string());
    }
  std::ranges::sort(roles);
  auto address = [&](std::string_view type) {
    for (const Value& a : list(o, {"status", "addresses"}))
      if (get(a, {"type"}) == type) return Value(get(a, {"address"}));
    return Value("<none>");
  };
  r.cells.push_back(Value(join(status, ",")));
  r.cells.push_back(Value(roles.empty() ? std::string("<none>") : join(roles, ",")));
  r.cells.push_back(r.age());
  r.cells.push_back(Value(get(o, {"status", "nodeInfo", "kubeletVersion"})));
  r.cells.push_back(address("InternalIP"));
  r.cells.push_back(address("ExternalIP"));
  for (const char* n : {"osImage", "kernelVersion", "containerRuntimeVersion"}) r.cells.push_back(text_or(get(o, {"status", "nodeInfo", n}), "<unknown>"));
}

// Its columns do not begin with the name.
void event(const Row& r) {
  const Value& o = r.object;
  bool modern = json::find(o, {"regarding"}) != nullptr;
  const Value* about = json::find(o, {modern ? "regarding" : "involvedObject"});
  std::string_view first = get(o, {modern ? "deprecatedFirstTimestamp" : "firstTimestamp"}), last = get(o, {modern ? "deprecatedLastTimestamp" : "lastTimestamp"});
  std::string_view at = get(o, {"eventTime"});
  if (first.empty()) first = at;
  std::int64_t times = json::get_int(o, {"series", "count"}, json::get_int(o, {modern ? "deprecatedCount" : "count"}));
  if (std::string_view seen = get(o, {"series", "lastObservedTime"}); !seen.empty()) last = seen;
  if (last.empty()) last = first;
  const Value* source = json::find(o, {modern ? "deprecatedSource" : "source"});
  std::string_view component = source == nullptr ? std::string_view() : get(*source, {"component"}), host = source == nullptr ? std::string_view() : get(*source, {"host"});
  if (component.empty()) component = get(o, {modern ? "reportingController" : "reportingComponent"});
  r.cells.push_back(Value(r.ages.of(last)));
  r.cells.push_back(Value(get(o, {"type"})));
  r.cells.push_back(Value(get(o, {"reason"})));
  r.cells.push_back(about == nullptr ? Value("") : Value(cat(to_lower(get(*about, {"kind"})), "/", get(*about, {"name"}))));
  r.cells.push_back(about == nullptr ? Value("") : Value(get(*about, {"fieldPath"})));
  r.cells.push_back(Value(host.empty() ? std::string(component) : cat(component, ", ", host)));
  r.cells.push_back(Value(trim(get(o, {modern ? "note" : "message"}))));
  r.cells.push_back(Value(r.ages.of(first)));
  r.cells.push_back(Value(std::to_string(std::max<std::int64_t>(times, 1))));
  r.cells.push_back(Value(get(o, {"metadata", "name"})));
}

std::string endpoint_text(const Value& o) {
  std::vector<std::string> out;
  std::size_t more = 0;
  for (const Value& s : list(o, {"subsets"})) {
    const Array& ports = list(s, {"ports"});
    for (const Value& a : list(s, {"addresses"})) {
      if (ports.empty()) {
        if (out.size() < 3) out.emplace_back(get(a, {"ip"}));
        else ++more;
      }
      for (const Value& p : ports) {
        if (out.size() < 3) out.push_back(cat(get(a, {"ip"}), ":", json::get_int(p, {"port"})));
        else ++more;
      }
    }
  }
  if (out.empty()) return "<none>";
  std::string text = join(out, ",");
  return more == 0 ? text : cat(text, " + ", more, " more...");
}

void endpoint_slice(const Row& r) {
  auto limited = [](const std::vector<std::string>& all) {
    if (all.empty()) return std::string("<unset>");
    std::vector<std::string> first(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(3, all.size())));
    return all.size() > 3 ? cat(join(first, ","), " + ", all.size() - 3, " more...") : join(first, ",");
  };
  std::vector<std::string> ports, addresses;
  for (const Value& p : list(r.object, {"ports"})) ports.push_back(json::find(p, {"port"}) != nullptr ? std::to_string(json::get_int(p, {"port"})) : get(p, {"name"}).empty() ? "*" : std::string(get(p, {"name"})));
  for (const Value& e : list(r.object, {"endpoints"}))
    for (const Value& a : list(e, {"addresses"}))
      if (a.is_string()) addresses.emplace_back(a.get_string());
  r.cells.push_back(Value(get(r.object, {"addressType"})));
  r.cells.push_back(Value(limited(ports)));
  r.cells.push_back(Value(limited(addresses)));
  r.cells.push_back(r.age());
}

void binding(const Row& r) {
  r.cells.push_back(Value(cat(get(r.object, {"roleRef", "kind"}), "/", get(r.object, {"roleRef", "name"}))));
  r.cells.push_back(r.age());
  std::vector<std::string> users, groups, accounts;
  for (const Value& s : list(r.object, {"subjects"})) {
    std::string_view kind = get(s, {"kind"}), name = get(s, {"name"});
    if (kind == "User") users.emplace_back(name);
    else if (kind == "Group") groups.emplace_back(name);
    else accounts.push_back(cat(get(s, {"namespace"}), "/", name));
  }
  for (const auto* names : {&users, &groups, &accounts}) r.cells.push_back(Value(join(*names, ", ")));
}

std::string access_modes(const Array& modes) {
  std::vector<std::string> out;
  for (auto [mode, brief] : {std::pair("ReadWriteOnce", "RWO"), std::pair("ReadOnlyMany", "ROX"), std::pair("ReadWriteMany", "RWX"), std::pair("ReadWriteOncePod", "RWOP")})
    if (std::ranges::find(modes, Value(mode)) != modes.end()) out.emplace_back(brief);
  return join(out, ",");
}

void volume_claim(const Row& r) {
  const Value& o = r.object;
  std::string_view volume = get(o, {"spec", "volumeName"});
  r.cells.push_back(Value(json::find(o, {"metadata", "deletionTimestamp"}) != nullptr ? std::string_view("Terminating") : get(o, {"status", "phase"})));
  r.cells.push_back(Value(volume));
  r.cells.push_back(volume.empty() ? Value("") : Value(get(o, {"status", "capacity", "storage"})));
  r.cells.push_back(volume.empty() ? Value("") : Value(access_modes(list(o, {"status", "accessModes"}))));
  r.cells.push_back(Value(get(o, {"spec", "storageClassName"})));
  r.cells.push_back(text_or(get(o, {"spec", "volumeAttributesClassName"}), "<unset>"));
  r.cells.push_back(r.age());
  r.cells.push_back(text_or(get(o, {"spec", "volumeMode"}), "<unset>"));
}

void volume(const Row& r) {
  const Value& o = r.object;
  const Value* claim = json::find(o, {"spec", "claimRef"});
  r.cells.push_back(Value(get(o, {"spec", "capacity", "storage"})));
  r.cells.push_back(Value(access_modes(list(o, {"spec", "accessModes"}))));
  r.cells.push_back(Value(get(o, {"spec", "persistentVolumeReclaimPolicy"})));
  r.cells.push_back(Value(json::find(o, {"metadata", "deletionTimestamp"}) != nullptr ? std::string_view("Terminating") : get(o, {"status", "phase"})));
  r.cells.push_back(claim == nullptr ? Value("") : Value(cat(get(*claim, {"namespace"}), "/", get(*claim, {"name"}))));
  r.cells.push_back(Value(get(o, {"spec", "storageClassName"})));
  r.cells.push_back(text_or(get(o, {"spec", "volumeAttributesClassName"}), "<unset>"));
  r.cells.push_back(Value(get(o, {"status", "reason"})));
  r.cells.push_back(r.age());
  r.cells.push_back(text_or(get(o, {"spec", "volumeMode"}), "<unset>"));
}

void ingress(const Row& r) {
  std::vector<std::string> hosts, addresses;
  for (const Value& rule : list(r.object, {"spec", "rules"}))
    if (std::string_view h = get(rule, {"host"}); !h.empty()) hosts.emplace_back(h);
  for (const Value& i : list(r.object, {"status", "loadBalancer", "ingress"})) {
    std::string_view ip = get(i, {"ip"});
    addresses.emplace_back(ip.empty() ? get(i, {"hostname"}) : ip);
  }
  r.cells.push_back(text_or(get(r.object, {"spec", "ingressClassName"}), "<none>"));
  r.cells.push_back(Value(hosts.empty() ? std::string("*") : join(hosts, ",")));
  r.cells.push_back(Value(join(addresses, ",")));
  r.cells.push_back(Value(count(r.object, {"spec", "tls"}) > 0 ? "80, 443" : "80"));
  r.cells.push_back(r.age());
}

// "cpu: 1/2, pods: 0/5": what is limited in one column, what is requested in the other.
void quota(const Row& r) {
  std::vector<std::string> names, requests, limits;
  if (const json::Object* hard = json::get_object(r.object, {"status", "hard"}))
    for (auto& m : *hard) names.emplace_back(std::string_view(m.key()));
  std::ranges::sort(names);
  for (const std::string& name : names) {
    std::string_view used = get(r.object, {"status", "used", name});
    (name.starts_with("limits.") ? limits : requests).push_back(cat(name, ": ", used.empty() ? "0" : used, "/", get(r.object, {"status", "hard", name})));
  }
  r.cells.push_back(Value(join(requests, ", ")));
  r.cells.push_back(Value(join(limits, ", ")));
  r.cells.push_back(r.age());
}

using Fill = void (*)(const Row&);
struct KindCells {
  std::string_view kind;
  Fill fill;
  bool name_first = true;
};

constexpr KindCells kKinds[] = {
    {"Deployment", deployment},
    {"ReplicaSet", replica_set},
    {"ReplicationController", replica_set},
    {"DaemonSet", daemon_set},
    {"StatefulSet", stateful_set},
    {"Job", job},
    {"CronJob", cron_job},
    {"Service", service},
    {"Node", node},
    {"Event", event, false},
    {"Namespace", [](const Row& r) { r.cells.push_back(Value(get(r.object, {"status", "phase"}))); r.cells.push_back(r.age()); }},
    {"ConfigMap", [](const Row& r) { r.cells.push_back(Value(count(r.object, {"data"}) + count(r.object, {"binaryData"}))); r.cells.push_back(r.age()); }},
    {"Secret", [](const Row& r) { r.cells.push_back(Value(get(r.object, {"type"}))); r.cells.push_back(Value(count(r.object, {"data"}))); r.cells.push_back(r.age()); }},
    {"Lease", [](const Row& r) { r.cells.push_back(Value(get(r.object, {"spec", "holderIdentity"}))); r.cells.push_back(r.age()); }},
    {"Endpoints", [](const Row& r) { r.cells.push_back(Value(endpoint_text(r.object))); r.cells.push_back(r.age()); }},
    {"EndpointSlice", endpoint_slice},
    {"RoleBinding", binding},
    {"ClusterRoleBinding", binding},
    {"PersistentVolumeClaim", volume_claim},
    {"PersistentVolume", volume},
    {"Ingress", ingress},
    {"IngressClass", [](const Row& r) {
       r.cells.push_back(Value(get(r.object, {"spec", "controller"})));
       std::string_view kind = get(r.object, {"spec", "parameters", "kind"}), group = get(r.object, {"spec", "parameters", "apiGroup"});
       r.cells.push_back(kind.empty() ? Value("<none>") : Value(cat(kind, group.empty() ? "" : ".", group, "/", get(r.object, {"spec", "parameters", "name"}))));
       r.cells.push_back(r.age());
     }},
    {"NetworkPolicy", [](const Row& r) { r.cells.push_back(Value(format_selector(json::find(r.object, {"spec", "podSelector"})))); r.cells.push_back(r.age()); }},
    {"PriorityClass", [](const Row& r) {
       r.cells.push_back(Value(json::get_int(r.object, {"value"})));
       r.cells.push_back(Value(json::get_bool(r.object, {"globalDefault"})));
       r.cells.push_back(r.age());
       r.cells.push_back(Value(get(r.object, {"preemptionPolicy"})));
     }},
    {"StorageClass", [](const Row& r) {
       for (const char* annotation : {"storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"})
         if (get(r.object, {"metadata", "annotations", annotation}) == "true") r.cells[0] = cat(get(r.object, {"metadata", "name"}), " (default)");
       for (const char* n : {"provisioner", "reclaimPolicy", "volumeBindingMode"}) r.cells.push_back(Value(get(r.object, {n})));
       r.cells.push_back(Value(json::get_bool(r.object, {"allowVolumeExpansion"}) ? "true" : "false"));
       r.cells.push_back(r.age());
     }},
    {"RuntimeClass", [](const Row& r) { r.cells.push_back(Value(get(r.object, {"handler"}))); r.cells.push_back(r.age()); }},
    {"PodDisruptionBudget", [](const Row& r) {
       r.cells.push_back(scalar_or(r.object, {"spec", "minAvailable"}, "N/A"));
       r.cells.push_back(scalar_or(r.object, {"spec", "maxUnavailable"}, "N/A"));
       r.cells.push_back(Value(json::get_int(r.object, {"status", "disruptionsAllowed"})));
       r.cells.push_back(r.age());
     }},
    {"ControllerRevision", [](const Row& r) {
       const Array& owners = list(r.object, {"metadata", "ownerReferences"});
       std::string_view api = owners.empty() ? std::string_view() : get(owners[0], {"apiVersion"});
       r.cells.push_back(owners.empty() ? Value("<none>") : Value(cat(to_lower(get(owners[0], {"kind"})), api.find('/') == std::string_view::npos ? "" : ".", api.substr(0, api.find('/') == std::string_view::npos ? 0 : api.find('/')), "/", get(owners[0], {"name"}))));
       r.cells.push_back(Value(std::to_string(json::get_int(r.object, {"revision"}))));
       r.cells.push_back(r.age());
     }},
    {"CertificateSigningRequest", [](const Row& r) {
       r.cells.push_back(r.age());
       r.cells.push_back(text_or(get(r.object, {"spec", "signerName"}), "<none>"));
       r.cells.push_back(Value(get(r.object, {"spec", "username"})));
       std::int64_t seconds = json::get_int(r.object, {"spec", "expirationSeconds"});
       r.cells.push_back(Value(seconds == 0 ? std::string("<none>") : format_age(std::chrono::seconds(seconds))));
       std::string condition = "Pending";
       for (const Value& c : list(r.object, {"status", "conditions"})) condition = get(c, {"type"});
       if (!get(r.object, {"status", "certificate"}).empty()) condition += ",Issued";
       r.cells.push_back(Value(condition));
     }},
    {"ResourceClaim", [](const Row& r) {
       bool going = json::find(r.object, {"metadata", "deletionTimestamp"}) != nullptr, allocated = json::find(r.object, {"status", "allocation"}) != nullptr;
       std::string state = going ? "deleted" : "";
       if (!allocated && !going) state = "pending";
       if (allocated) state += going ? ",allocated" : "allocated";
       if (allocated && !list(r.object, {"status", "reservedFor"}).empty()) state += ",reserved";
       r.cells.push_back(Value(state));
       r.cells.push_back(r.age());
     }},
    {"ResourceSlice", [](const Row& r) {
       r.cells.push_back(text_or(get(r.object, {"spec", "nodeName"}), "<unset>"));
       r.cells.push_back(Value(get(r.object, {"spec", "driver"})));
       r.cells.push_back(Value(get(r.object, {"spec", "pool", "name"})));
       r.cells.push_back(r.age());
     }},
    {"NodeMetrics", [](const Row& r) {
       for (std::string_view name : {"cpu", "memory"}) r.cells.push_back(Value(get(r.object, {"usage", name})));
       r.cells.push_back(Value(get(r.object, {"window"})));
     }},
    {"PodMetrics", [](const Row& r) {
       for (std::string_view name : {"cpu", "memory"}) {
         Quantity sum;
         for (const Value& c : list(r.object, {"containers"}))
           if (auto q = parse_quantity(get(c, {"usage", name}))) sum += *q;
         if (name == "memory") sum = Quantity::of(sum.value(), Quantity::Format::kBinarySi);
         r.cells.push_back(Value(sum.text()));
       }
       r.cells.push_back(Value(get(r.object, {"window"})));
     }},
    {"APIService", [](const Row& r) {
       std::string_view service_name = get(r.object, {"spec", "service", "name"});
       r.cells.push_back(service_name.empty() ? Value("Local") : Value(cat(get(r.object, {"spec", "service", "namespace"}), "/", service_name)));
       std::string available = "Unknown";
       for (const Value& c : list(r.object, {"status", "conditions"}))
         if (get(c, {"type"}) == "Available") available = get(c, {"status"}) == "True" ? "True" : cat(get(c, {"status"}), " (", get(c, {"reason"}), ")");
       r.cells.push_back(Value(available));
       r.cells.push_back(r.age());
     }},
    {"ResourceQuota", quota},
    {"FlowSchema", [](const Row& r) {
       r.cells.push_back(Value(get(r.object, {"spec", "priorityLevelConfiguration", "name"})));
       r.cells.push_back(scalar_or(r.object, {"spec", "matchingPrecedence"}, "0"));
       r.cells.push_back(text_or(get(r.object, {"spec", "distinguisherMethod", "type"}), "<none>"));
       r.cells.push_back(r.age());
       std::string_view dangling = "?";
       for (const Value& c : list(r.object, {"status", "conditions"}))
         if (get(c, {"type"}) == "Dangling") dangling = get(c, {"status"});
       r.cells.push_back(Value(dangling));
     }},
    {"PriorityLevelConfiguration", [](const Row& r) {
       r.cells.push_back(Value(get(r.object, {"spec", "type"})));
       r.cells.push_back(scalar_or(r.object, {"spec", "limited", "nominalConcurrencyShares"}, "<none>"));
       for (std::string_view n : {"queues", "handSize", "queueLengthLimit"}) r.cells.push_back(scalar_or(r.object, {"spec", "limited", "limitResponse", "queuing", n}, "<none>"));
       r.cells.push_back(r.age());
     }},
    {"ValidatingAdmissionPolicy", [](const Row& r) {
       r.cells.push_back(Value(count(r.object, {"spec", "validations"})));
       bool kind = json::find(r.object, {"spec", "paramKind"}) != nullptr;
       r.cells.push_back(kind ? Value(cat(get(r.object, {"spec", "paramKind", "apiVersion"}), "/", get(r.object, {"spec", "paramKind", "kind"}))) : Value("<unset>"));
       r.cells.push_back(r.age());
     }},
    {"ValidatingAdmissionPolicyBinding", [](const Row& r) {
       r.cells.push_back(Value(get(r.object, {"spec", "policyName"})));
       r.cells.push_back(text_or(get(r.object, {"spec", "paramRef", "name"}), "<unset>"));
       r.cells.push_back(r.age());
     }},
    {"CSIDriver", [](const Row& r) {
       r.cells.push_back(Value(json::get_bool(r.object, {"spec", "attachRequired"}, true)));
       for (std::string_view n : {"podInfoOnMount", "storageCapacity"}) r.cells.push_back(Value(json::get_bool(r.object, {"spec", n})));
       r.cells.push_back(text_or(joined(list(r.object, {"spec", "tokenRequests"}), "audience", ","), "<unset>"));
       r.cells.push_back(Value(json::get_bool(r.object, {"spec", "requiresRepublish"})));
       r.cells.push_back(text_or(joined(list(r.object, {"spec", "volumeLifecycleModes"}), {}, ","), "<none>"));
       r.cells.push_back(r.age());
     }},
    {"VolumeAttachment", [](const Row& r) {
       r.cells.push_back(Value(get(r.object, {"spec", "attacher"})));
       r.cells.push_back(Value(get(r.object, {"spec", "source", "persistentVolumeName"})));
       r.cells.push_back(Value(get(r.object, {"spec", "nodeName"})));
       r.cells.push_back(Value(json::get_bool(r.object, {"status", "attached"})));
       r.cells.push_back(r.age());
     }},
    {"VolumeAttributesClass", [](const Row& r) { r.cells.push_back(Value(get(r.object, {"driverName"}))); r.cells.push_back(r.age()); }},
    {"MutatingWebhookConfiguration", [](const Row& r) { r.cells.push_back(Value(count(r.object, {"webhooks"}))); r.cells.push_back(r.age()); }},
    {"ValidatingWebhookConfiguration", [](const Row& r) { r.cells.push_back(Value(count(r.object, {"webhooks"}))); r.cells.push_back(r.age()); }},
    {"HorizontalPodAutoscaler", [](const Row& r) {
       r.cells.push_back(Value(cat(get(r.object, {"spec", "scaleTargetRef", "kind"}), "/", get(r.object, {"spec", "scaleTargetRef", "name"}))));
       r.cells.push_back(Value(autoscaler_targets(list(r.object, {"spec", "metrics"}), list(r.object, {"status", "currentMetrics"}))));
       r.cells.push_back(scalar_or(r.object, {"spec", "minReplicas"}, "<unset>"));
       r.cells.push_back(Value(std::to_string(json::get_int(r.object, {"spec", "maxReplicas"}))));
       r.cells.push_back(Value(std::to_string(json::get_int(r.object, {"status", "currentReplicas"}))));
       r.cells.push_back(r.age());
     }},
    {"IPAddress", [](const Row& r) {
       std::string_view group = get(r.object, {"spec", "parentRef", "group"});
       r.cells.push_back(Value(cat(get(r.object, {"spec", "parentRef", "resource"}), group.empty() ? "" : ".", group, "/", get(r.object, {"spec", "parentRef", "namespace"}), "/", get(r.object, {"spec", "parentRef", "name"}))));
     }},
    {"ServiceCIDR", [](const Row& r) { r.cells.push_back(Value(joined(list(r.object, {"spec", "cidrs"}), {}, ","))); r.cells.push_back(r.age()); }},
    {"CSINode", [](const Row& r) { r.cells.push_back(Value(count(r.object, {"spec", "drivers"}))); r.cells.push_back(r.age()); }},
    {"PodTemplate", [](const Row& r) {
       const Value* spec = json::find(r.object, {"template", "spec"});
       r.cells.push_back(Value(container_names(spec)));
       r.cells.push_back(Value(container_images(spec)));
       r.cells.push_back(Value(format_labels(json::find(r.object, {"template", "metadata", "labels"}))));
     }},
};

// By the column's own name, for kinds without a function: what metadata alone can say.
void generic(const Resource& resource, const Row& r) {
  if (resource.columns().empty()) return r.cells.push_back(r.age());
  for (const Column& c : resource.columns().subspan(1)) {
    if (c.name() == "Age") r.cells.push_back(r.age());
    else if (c.name() == "Created At") r.cells.push_back(Value(get(r.object, {"metadata", "creationTimestamp"})));
    else if (c.type() == "integer") r.cells.push_back(Value(0));
    else if (c.type() == "boolean") r.cells.push_back(Value(false));
    else r.cells.push_back(Value("<none>"));
  }
}

}  // namespace

std::string Ages::of(std::string_view rfc3339) {
  auto at = parse_rfc3339(rfc3339);
  if (!at) return "<unknown>";
  good_until_ = std::min(good_until_, now_ + age_lasts(now_ - *at));
  return format_age(now_ - *at);
}

Value Ages::of_object(const Value& object, const Array& cells) {
  object_cell_ = cells.size();
  auto at = parse_rfc3339(get(object, {"metadata", "creationTimestamp"}));
  return at ? Value(format_age(now_ - *at)) : Value("<unknown>");
}

std::string format_labels(const Value* labels) {
  if (labels == nullptr || !labels->is_object() || labels->get_object().empty()) return "<none>";
  std::vector<std::string> out;
  for (auto& m : labels->get_object()) out.push_back(cat(std::string_view(m.key()), "=", m.value().is_string() ? std::string_view(m.value().get_string()) : std::string_view()));
  std::ranges::sort(out);
  return join(out, ",");
}

std::string format_selector(const Value* selector) {
  if (selector == nullptr || !selector->is_object()) return "<none>";
  std::vector<std::string> out;
  if (const Value* labels = json::find(*selector, {"matchLabels"}); labels != nullptr && labels->is_object() && !labels->get_object().empty()) out.push_back(format_labels(labels));
  for (const Value& e : list(*selector, {"matchExpressions"})) {
    std::string_view op = get(e, {"operator"}), key = get(e, {"key"});
    if (op == "Exists") out.emplace_back(key);
    else if (op == "DoesNotExist") out.push_back(cat("!", key));
    else out.push_back(cat(key, op == "In" ? " in (" : " notin (", joined(list(e, {"values"}), {}, ","), ")"));
  }
  return out.empty() ? "<none>" : join(out, ",");
}

std::string container_names(const Value* spec) { return spec == nullptr ? std::string() : joined(list(*spec, {"containers"}), "name", ","); }
std::string container_images(const Value* spec) { return spec == nullptr ? std::string() : joined(list(*spec, {"containers"}), "image", ","); }

void fill_cells(const Resource& resource, const Value& object, Ages& ages, Array& cells) {
  if (const crd::CustomResource* custom = resource.custom()) return crd::fill_cells(*custom, object, ages, cells);
  if (resource.kind() == "Pod" && resource.group().empty()) return pod_cells(object, ages, cells);
  Row row{object, ages, cells};
  auto found = std::ranges::find(kKinds, resource.kind(), &KindCells::kind);
  if (found == std::end(kKinds) || found->name_first) cells.push_back(Value(get(object, {"metadata", "name"})));
  if (found != std::end(kKinds)) found->fill(row);
  else generic(resource, row);
}

}  // namespace monopod::api::table
