// v1.Pod JSON to agent::Pod.
#include "agent/pod.h"

#include <cmath>

#include "base/strings.h"

namespace monopod::agent {

namespace {

using json::Array;
using json::Object;
using json::Value;

std::string text(const Value& v, std::initializer_list<std::string_view> path) { return std::string(json::get_string(v, path)); }

std::optional<std::int64_t> opt_int(const Value& v, std::initializer_list<std::string_view> path) {
  const Value* found = json::find(v, path);
  if (!found || !found->is_number()) return std::nullopt;
  return json::get_int(v, path);
}

std::optional<bool> opt_bool(const Value& v, std::string_view key) {
  const Value* found = json::find(v, {key});
  if (!found || !found->is_bool()) return std::nullopt;
  return found->get_bool();
}

// Calls f for every member of the list at path; absent is empty.
template <typename F>
void each(const Value& v, std::initializer_list<std::string_view> path, F f) {
  if (const Array* list = json::get_array(v, path))
    for (const Value& item : *list) f(item);
}

std::vector<std::string> strings(const Value& v, std::initializer_list<std::string_view> path) {
  std::vector<std::string> out;
  each(v, path, [&](const Value& item) {
    if (item.is_string()) out.emplace_back(item.get_string());
  });
  return out;
}

std::optional<std::vector<std::string>> opt_strings(const Value& v, std::string_view key) {
  const Array* list = json::get_array(v, {key});
  if (!list || list->empty()) return std::nullopt;
  return strings(v, {key});
}

Labels map_of(const Value& v, std::initializer_list<std::string_view> path) {
  Labels out;
  if (const Object* object = json::get_object(v, path))
    for (const auto& member : *object)
      if (member.value().is_string()) out.emplace(member.key(), member.value().get_string());
  return out;
}

// IntOrString as text.
std::string int_or_string(const Value& v, std::string_view key) {
  const Value* found = json::find(v, {key});
  if (!found) return {};
  if (found->is_string()) return std::string(found->get_string());
  return std::to_string(json::get_int(v, {key}));
}

Handler parse_handler(const Value& v) {
  Handler h;
  if (json::find(v, {"exec"})) h.exec = strings(v, {"exec", "command"});
  if (const Value* http = json::find(v, {"httpGet"})) {
    Handler::HttpGet get;
    get.path = json::get_string(*http, {"path"}, "/");
    if (get.path.empty() || get.path[0] != '/') get.path.insert(0, "/");
    get.host = text(*http, {"host"});
    get.port = int_or_string(*http, "port");
    get.scheme = json::get_string(*http, {"scheme"}, "HTTP");
    each(*http, {"httpHeaders"}, [&](const Value& header) { get.headers.emplace_back(text(header, {"name"}), text(header, {"value"})); });
    h.http = std::move(get);
  }
  if (const Value* tcp = json::find(v, {"tcpSocket"})) h.tcp = Handler::TcpSocket{text(*tcp, {"host"}), int_or_string(*tcp, "port")};
  if (const Value* grpc = json::find(v, {"grpc"})) h.grpc = Handler::Grpc{int_or_string(*grpc, "port"), text(*grpc, {"service"})};
  if (json::find(v, {"sleep"})) h.sleep_seconds = json::get_int(v, {"sleep", "seconds"});
  return h;
}

std::optional<Probe> parse_probe(const Value& c, std::string_view key) {
  const Value* v = json::find(c, {key});
  if (!v || !v->is_object()) return std::nullopt;
  Probe p;
  p.handler = parse_handler(*v);
  auto at_least = [&](std::string_view name, std::int64_t fallback) {
    std::int64_t n = json::get_int(*v, {name}, fallback);
    return n > 0 ? n : fallback;
  };
  p.initial_delay_seconds = json::get_int(*v, {"initialDelaySeconds"});
  p.timeout_seconds = at_least("timeoutSeconds", 1);
  p.period_seconds = at_least("periodSeconds", 10);
  p.success_threshold = at_least("successThreshold", 1);
  p.failure_threshold = at_least("failureThreshold", 3);
  p.grace_seconds = opt_int(*v, {"terminationGracePeriodSeconds"});
  return p;
}

SecurityContext parse_security(const Value& owner) {
  SecurityContext s;
  const Value* found = json::find(owner, {"securityContext"});
  if (!found || !found->is_object()) return s;
  const Value& v = *found;
  s.run_as_user = opt_int(v, {"runAsUser"});
  s.run_as_group = opt_int(v, {"runAsGroup"});
  s.run_as_non_root = opt_bool(v, "runAsNonRoot");
  if (json::find(v, {"seccompProfile"})) s.seccomp = SeccompProfile{text(v, {"seccompProfile", "type"}), text(v, {"seccompProfile", "localhostProfile"})};
  s.privileged = json::get_bool(v, {"privileged"});
  s.read_only_root = json::get_bool(v, {"readOnlyRootFilesystem"});
  s.allow_privilege_escalation = opt_bool(v, "allowPrivilegeEscalation");
  s.proc_mount = text(v, {"procMount"});
  s.capabilities_add = strings(v, {"capabilities", "add"});
  s.capabilities_drop = strings(v, {"capabilities", "drop"});
  s.fs_group = opt_int(v, {"fsGroup"});
  s.fs_group_change_policy = text(v, {"fsGroupChangePolicy"});
  s.supplemental_groups_policy = text(v, {"supplementalGroupsPolicy"});
  each(v, {"supplementalGroups"}, [&](const Value& g) {
    if (g.is_number()) s.supplemental_groups.push_back(g.to_number<std::int64_t>());
  });
  each(v, {"sysctls"}, [&](const Value& item) { s.sysctls.emplace_back(text(item, {"name"}), text(item, {"value"})); });
  return s;
}

Result<ResourceList> parse_resource_list(const Value& v, std::string_view key) {
  ResourceList out;
  const Object* object = json::get_object(v, {"resources", key});
  if (!object) return out;
  for (const auto& member : *object) {
    std::string amount = member.value().is_string() ? std::string(member.value().get_string()) : json::format(member.value());
    TRY_ASSIGN(std::int64_t n, member.key() == "cpu" ? parse_quantity_milli(amount) : parse_quantity(amount));
    out.amounts.emplace(member.key(), n);
  }
  return out;
}

KeyRef parse_key_ref(const Value& v) { return KeyRef{text(v, {"name"}), text(v, {"key"}), json::get_bool(v, {"optional"})}; }

EnvVar parse_env(const Value& v) {
  EnvVar e;
  e.name = text(v, {"name"});
  e.value = text(v, {"value"});
  if (const Value* f = json::find(v, {"valueFrom", "fieldRef"})) e.field_path = text(*f, {"fieldPath"});
  if (const Value* r = json::find(v, {"valueFrom", "resourceFieldRef"})) {
    e.resource = text(*r, {"resource"});
    e.resource_container = text(*r, {"containerName"});
    e.divisor = int_or_string(*r, "divisor");
  }
  if (const Value* k = json::find(v, {"valueFrom", "configMapKeyRef"})) e.config_map = parse_key_ref(*k);
  if (const Value* k = json::find(v, {"valueFrom", "secretKeyRef"})) e.secret = parse_key_ref(*k);
  return e;
}

Result<Container> parse_container(const Value& v) {
  Container c;
  c.name = text(v, {"name"});
  if (c.name.empty()) return fail(Code::kInvalidArgument, "pod: container without a name");
  c.image = text(v, {"image"});
  c.pull_policy = text(v, {"imagePullPolicy"});
  c.command = opt_strings(v, "command");
  c.args = opt_strings(v, "args");
  c.working_dir = text(v, {"workingDir"});
  each(v, {"env"}, [&](const Value& e) { c.env.push_back(parse_env(e)); });
  each(v, {"envFrom"}, [&](const Value& e) {
    EnvFrom from{text(e, {"prefix"}), std::nullopt, std::nullopt};
    if (const Value* k = json::find(e, {"configMapRef"})) from.config_map = parse_key_ref(*k);
    if (const Value* k = json::find(e, {"secretRef"})) from.secret = parse_key_ref(*k);
    c.env_from.push_back(std::move(from));
  });
  each(v, {"volumeMounts"}, [&](const Value& m) {
    c.mounts.push_back(VolumeMount{text(m, {"name"}), text(m, {"mountPath"}), text(m, {"subPath"}), text(m, {"subPathExpr"}),
                                   json::get_bool(m, {"readOnly"}), text(m, {"mountPropagation"})});
  });
  each(v, {"ports"}, [&](const Value& p) {
    c.ports.push_back(Port{text(p, {"name"}), static_cast<int>(json::get_int(p, {"containerPort"})), static_cast<int>(json::get_int(p, {"hostPort"})),
                           text(p, {"hostIP"}), std::string(json::get_string(p, {"protocol"}, "TCP"))});
  });
  TRY_ASSIGN(c.resources.requests, parse_resource_list(v, "requests"));
  TRY_ASSIGN(c.resources.limits, parse_resource_list(v, "limits"));
  // A limit without a request is also the request.
  for (const auto& [name, amount] : c.resources.limits.amounts) c.resources.requests.amounts.try_emplace(name, amount);
  c.security = parse_security(v);
  c.startup = parse_probe(v, "startupProbe");
  c.liveness = parse_probe(v, "livenessProbe");
  c.readiness = parse_probe(v, "readinessProbe");
  if (const Value* h = json::find(v, {"lifecycle", "postStart"})) c.post_start = parse_handler(*h);
  if (const Value* h = json::find(v, {"lifecycle", "preStop"})) c.pre_stop = parse_handler(*h);
  c.stop_signal = text(v, {"lifecycle", "stopSignal"});
  c.termination_path = json::get_string(v, {"terminationMessagePath"}, c.termination_path);
  c.termination_policy = json::get_string(v, {"terminationMessagePolicy"}, c.termination_policy);
  c.stdin_open = json::get_bool(v, {"stdin"});
  c.stdin_once = json::get_bool(v, {"stdinOnce"});
  c.tty = json::get_bool(v, {"tty"});
  c.restartable_init = json::get_string(v, {"restartPolicy"}) == "Always";
  c.target = text(v, {"targetContainerName"});
  c.hash = cat(c.name, "|", c.image);
  return c;
}

std::vector<KeyToPath> parse_items(const Value& v) {
  std::vector<KeyToPath> out;
  each(v, {"items"}, [&](const Value& item) {
    KeyToPath k;
    k.path = text(item, {"path"});
    if (auto mode = opt_int(item, {"mode"})) k.mode = static_cast<int>(*mode);
    if (json::find(item, {"fieldRef"})) {
      k.key = text(item, {"fieldRef", "fieldPath"});
    } else if (const Value* r = json::find(item, {"resourceFieldRef"})) {
      k.resource = true;
      k.key = text(*r, {"resource"});
      k.container = text(*r, {"containerName"});
      k.divisor = int_or_string(*r, "divisor");
    } else {
      k.key = text(item, {"key"});
    }
    out.push_back(std::move(k));
  });
  return out;
}

// A source as it stands in a projected volume; name_key is "secretName" where a volume of its own spells it so.
ProjectionSource parse_source(const Value& v, ProjectionSource::Kind kind, std::string_view name_key = "name") {
  ProjectionSource s;
  s.kind = kind;
  s.name = text(v, {name_key});
  s.optional = json::get_bool(v, {"optional"});
  s.items = parse_items(v);
  s.audience = text(v, {"audience"});
  s.expiration_seconds = json::get_int(v, {"expirationSeconds"}, 3600);
  s.path = text(v, {"path"});
  return s;
}

Result<Volume> parse_volume(const Value& v) {
  using Source = ProjectionSource::Kind;
  Volume out;
  out.name = text(v, {"name"});
  if (!v.is_object()) return fail(Code::kInvalidArgument, "pod: volume is no object");
  for (const auto& member : v.get_object())
    if (member.key() != "name") out.source = member.key();
  if (out.source.empty()) out.source = "emptyDir";
  const Value none = Object{};
  const Value* found = json::find(v, {out.source});
  const Value& s = found ? *found : none;
  out.default_mode = static_cast<int>(json::get_int(s, {"defaultMode"}, 0644));
  if (out.source == "emptyDir") {
    out.memory = json::get_string(s, {"medium"}) == "Memory";
    if (const Value* limit = json::find(s, {"sizeLimit"})) {
      out.size_limit = limit->is_string() ? std::string(limit->get_string()) : json::format(*limit);
      TRY_ASSIGN(out.size_limit_bytes, parse_quantity(out.size_limit));
      if (*out.size_limit_bytes == 0) out.size_limit_bytes.reset();
    }
  } else if (out.source == "hostPath") {
    out.kind = Volume::Kind::kHostPath;
    out.path = text(s, {"path"});
    out.path_type = text(s, {"type"});
  } else if (out.source == "configMap" || out.source == "secret" || out.source == "downwardAPI") {
    out.kind = Volume::Kind::kProjected;
    Source kind = out.source == "configMap" ? Source::kConfigMap : out.source == "secret" ? Source::kSecret : Source::kDownward;
    out.sources.push_back(parse_source(s, kind, out.source == "secret" ? "secretName" : "name"));
  } else if (out.source == "projected") {
    out.kind = Volume::Kind::kProjected;
    each(s, {"sources"}, [&](const Value& item) {
      if (const Value* m = json::find(item, {"configMap"})) out.sources.push_back(parse_source(*m, Source::kConfigMap));
      if (const Value* m = json::find(item, {"secret"})) out.sources.push_back(parse_source(*m, Source::kSecret));
      if (const Value* m = json::find(item, {"downwardAPI"})) out.sources.push_back(parse_source(*m, Source::kDownward));
      if (const Value* m = json::find(item, {"serviceAccountToken"})) out.sources.push_back(parse_source(*m, Source::kToken));
    });
  } else if (out.source == "persistentVolumeClaim") {
    out.kind = Volume::Kind::kPersistentClaim;
    out.claim = text(s, {"claimName"});
    out.read_only = json::get_bool(s, {"readOnly"});
  } else if (out.source == "ephemeral") {
    out.kind = Volume::Kind::kPersistentClaim;
  } else if (out.source == "image") {
    out.kind = Volume::Kind::kImage;
    out.path = text(s, {"reference"});
  } else {
    out.kind = Volume::Kind::kUnsupported;
  }
  return out;
}

}  // namespace

const Container* Pod::find_container(std::string_view container) const {
  for (const Container& c : init_containers)
    if (c.name == container) return &c;
  for (const Container& c : containers)
    if (c.name == container) return &c;
  for (const Container& c : ephemeral_containers)
    if (c.name == container) return &c;
  return nullptr;
}

Result<Pod> parse_pod(std::shared_ptr<const json::Value> object) {
  const Value& v = *object;
  Pod p;
  p.name = text(v, {"metadata", "name"});
  p.namespace_name = json::get_string(v, {"metadata", "namespace"}, "default");
  p.uid = text(v, {"metadata", "uid"});
  if (p.name.empty()) return fail(Code::kInvalidArgument, "pod: metadata.name: required");
  p.resource_version = text(v, {"metadata", "resourceVersion"});
  p.generation = json::get_int(v, {"metadata", "generation"});
  p.labels = map_of(v, {"metadata", "labels"});
  p.annotations = map_of(v, {"metadata", "annotations"});
  if (auto at = json::get_string(v, {"metadata", "deletionTimestamp"}); !at.empty()) {
    TRY_ASSIGN(p.deletion_time, parse_rfc3339(at));
    p.deletion_grace_seconds = opt_int(v, {"metadata", "deletionGracePeriodSeconds"});
  }
  p.phase = text(v, {"status", "phase"});
  const Value none = Object{};
  const Value* found = json::find(v, {"spec"});
  const Value& s = found ? *found : none;
  p.node_name = text(s, {"nodeName"});
  Result<> parsed;
  auto containers = [&](std::string_view key, std::vector<Container>& into) {
    each(s, {key}, [&](const Value& c) {
      auto container = parse_container(c);
      if (container) into.push_back(std::move(*container));
      else if (parsed) parsed = fail(std::move(container).error());
    });
  };
  containers("initContainers", p.init_containers);
  containers("containers", p.containers);
  containers("ephemeralContainers", p.ephemeral_containers);
  for (Container& c : p.ephemeral_containers) c.ephemeral = true;
  each(s, {"volumes"}, [&](const Value& item) {
    auto volume = parse_volume(item);
    if (volume && volume->source == "ephemeral") volume->claim = cat(p.name, "-", volume->name);
    if (volume) p.volumes.push_back(std::move(*volume));
    else if (parsed) parsed = fail(std::move(volume).error());
  });
  TRY(std::move(parsed));
  std::string_view policy = json::get_string(s, {"restartPolicy"}, "Always");
  p.restart_policy = policy == "Never" ? RestartPolicy::kNever : policy == "OnFailure" ? RestartPolicy::kOnFailure : RestartPolicy::kAlways;
  p.grace_seconds = json::get_int(s, {"terminationGracePeriodSeconds"}, 30);
  p.active_deadline_seconds = opt_int(s, {"activeDeadlineSeconds"});
  p.dns_policy = json::get_string(s, {"dnsPolicy"}, "ClusterFirst");
  p.dns_config.nameservers = strings(s, {"dnsConfig", "nameservers"});
  p.dns_config.searches = strings(s, {"dnsConfig", "searches"});
  each(s, {"dnsConfig", "options"}, [&](const Value& o) { p.dns_config.options.emplace_back(text(o, {"name"}), text(o, {"value"})); });
  p.host_network = json::get_bool(s, {"hostNetwork"});
  p.host_users = json::get_bool(s, {"hostUsers"}, true);
  p.host_pid = json::get_bool(s, {"hostPID"});
  p.host_ipc = json::get_bool(s, {"hostIPC"});
  p.share_process = json::get_bool(s, {"shareProcessNamespace"});
  p.enable_service_links = json::get_bool(s, {"enableServiceLinks"}, true);
  p.hostname_as_fqdn = json::get_bool(s, {"setHostnameAsFQDN"});
  p.security = parse_security(s);
  p.hostname = text(s, {"hostname"});
  p.subdomain = text(s, {"subdomain"});
  p.service_account = text(s, {"serviceAccountName"});
  each(s, {"hostAliases"}, [&](const Value& a) { p.host_aliases.push_back(HostAlias{text(a, {"ip"}), strings(a, {"hostnames"})}); });
  each(s, {"readinessGates"}, [&](const Value& g) { p.readiness_gates.push_back(text(g, {"conditionType"})); });
  each(s, {"imagePullSecrets"}, [&](const Value& g) { p.pull_secrets.push_back(text(g, {"name"})); });
  p.priority = json::get_int(s, {"priority"});
  if (auto source = p.annotations.find("kubernetes.io/config.source"); source != p.annotations.end() && source->second != "api") p.static_source = source->second;
  p.mirror = p.annotations.contains("kubernetes.io/config.mirror");
  p.object = std::move(object);
  return p;
}

namespace {

// amount * 1000 as a long double; quantities of the wire are small enough for its 64 bits of mantissa.
Result<long double> scaled_milli(std::string_view in) {
  std::string_view t = trim(in);
  std::size_t digits = 0;
  while (digits < t.size() && (std::isdigit(static_cast<unsigned char>(t[digits])) || t[digits] == '.' || ((t[digits] == '-' || t[digits] == '+') && digits == 0))) ++digits;
  std::string number(t.substr(0, digits));
  std::string_view suffix = t.substr(digits);
  auto bad = [&] { return fail(Code::kInvalidArgument, cat("quantity \"", in, "\": not a quantity")); };
  if (number.empty()) return bad();
  char* end = nullptr;
  long double n = std::strtold(number.c_str(), &end);
  if (end != number.c_str() + number.size()) return bad();
  static constexpr std::pair<std::string_view, long double> kScales[] = {
      {"", 1e3L}, {"n", 1e-6L}, {"u", 1e-3L}, {"m", 1.0L}, {"k", 1e6L}, {"M", 1e9L}, {"G", 1e12L}, {"T", 1e15L}, {"P", 1e18L}, {"E", 1e21L},
      {"Ki", 1024e3L}, {"Mi", 1048576e3L}, {"Gi", 1073741824e3L}, {"Ti", 1099511627776e3L}, {"Pi", 1125899906842624e3L}, {"Ei", 1152921504606846976e3L}};
  for (const auto& [name, scale] : kScales)
    if (suffix == name) return n * scale;
  if (suffix.size() > 1 && (suffix[0] == 'e' || suffix[0] == 'E')) {
    auto exponent = parse_int<int>(suffix[1] == '+' ? suffix.substr(2) : suffix.substr(1));
    if (exponent && *exponent > -20 && *exponent < 20) return n * std::pow(10.0L, *exponent) * 1000;
  }
  return bad();
}

Result<std::int64_t> round_up(long double n, std::string_view in) {
  n = std::ceil(n - 1e-9L);
  if (n > 9.2e18L || n < -9.2e18L) return fail(Code::kOutOfRange, cat("quantity \"", in, "\": too large"));
  return static_cast<std::int64_t>(n);
}

}  // namespace

Result<std::int64_t> parse_quantity_milli(std::string_view in) {
  TRY_ASSIGN(long double milli, scaled_milli(in));
  return round_up(milli, in);
}

Result<std::int64_t> parse_quantity(std::string_view in) {
  TRY_ASSIGN(long double milli, scaled_milli(in));
  return round_up(milli / 1000, in);
}

}  // namespace monopod::agent
