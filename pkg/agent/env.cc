#include "agent/env.h"

#include <algorithm>

#include "base/strings.h"

namespace monopod::agent {

namespace {

// The downward API's file form: key="escaped value" a line, sorted by key.
std::string format_map(const Labels& labels) {
  std::vector<std::string> lines;
  for (const auto& [key, value] : labels) {
    std::string quoted;
    for (char c : value) {
      if (c == '"' || c == '\\') quoted += '\\';
      if (c == '\n') quoted += "\\n";
      else quoted += c;
    }
    lines.push_back(cat(key, "=\"", quoted, "\""));
  }
  return join(lines, "\n");
}

bool is_variable_name(std::string_view name) {
  if (name.empty() || (name[0] >= '0' && name[0] <= '9')) return false;
  return std::ranges::all_of(name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '.'; });
}

std::string upper_name(std::string_view name) {
  std::string out;
  for (char c : name) out += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return out;
}

using Map = std::map<std::string, std::string>;

Result<> add_env_from(const EnvFrom& from, const Pod& pod, const ReferencedObjects& objects, Map& variables, std::vector<std::string>& order,
                      std::vector<std::string>& skipped) {
  auto take = [&](const std::optional<KeyRef>& ref, const std::map<std::string, ReferencedObjects::Data>& all, std::string_view kind) -> Result<> {
    if (!ref) return {};
    auto found = all.find(ref->name);
    if (found == all.end()) {
      if (ref->optional) return {};
      return fail(Code::kNotFound, cat(kind, " \"", ref->name, "\" not found"));
    }
    for (const auto& [key, value] : found->second.values) {
      std::string name = from.prefix + key;
      if (!is_variable_name(name)) {
        skipped.push_back(name);
        continue;
      }
      if (!variables.contains(name)) order.push_back(name);
      variables[name] = value;
    }
    return {};
  };
  (void)pod;
  TRY(take(from.config_map, objects.config_maps, "configmap"));
  TRY(take(from.secret, objects.secrets, "secret"));
  return {};
}

// nullopt: an optional source that is absent, the variable is left out.
Result<std::optional<std::string>> key_value(const KeyRef& ref, const Pod& pod, const std::map<std::string, ReferencedObjects::Data>& all,
                                             std::string_view lower, std::string_view title) {
  auto found = all.find(ref.name);
  if (found == all.end()) {
    if (ref.optional) return std::optional<std::string>();
    return fail(Code::kNotFound, cat(lower, " \"", ref.name, "\" not found"));
  }
  auto value = found->second.values.find(ref.key);
  if (value == found->second.values.end()) {
    if (ref.optional) return std::optional<std::string>();
    return fail(Code::kNotFound, cat("couldn't find key ", ref.key, " in ", title, " ", pod.namespace_name, "/", ref.name));
  }
  return std::optional<std::string>(value->second);
}

}  // namespace

Result<std::string> field_value(const Pod& pod, const PodFacts& facts, std::string_view path) {
  auto subscript = [&](std::string_view prefix) -> std::optional<std::string> {
    if (!path.starts_with(prefix) || !path.ends_with("']")) return std::nullopt;
    return std::string(path.substr(prefix.size(), path.size() - prefix.size() - 2));
  };
  auto lookup = [](const Labels& map, const std::string& key) {
    auto it = map.find(key);
    return it == map.end() ? std::string() : it->second;
  };
  if (auto key = subscript("metadata.labels['")) return lookup(pod.labels, *key);
  if (auto key = subscript("metadata.annotations['")) return lookup(pod.annotations, *key);
  if (path == "metadata.name") return pod.name;
  if (path == "metadata.namespace") return pod.namespace_name;
  if (path == "metadata.uid") return pod.uid;
  if (path == "metadata.labels") return format_map(pod.labels);
  if (path == "metadata.annotations") return format_map(pod.annotations);
  if (path == "spec.nodeName") return facts.node_name;
  if (path == "spec.serviceAccountName") return pod.service_account;
  if (path == "status.hostIP" || path == "status.hostIPs") return facts.host_ip;
  if (path == "status.podIP") return facts.pod_ip;
  if (path == "status.podIPs") return join(facts.pod_ips, ",");
  return fail(Code::kInvalidArgument, cat("unsupported fieldPath: ", path));
}

Result<std::string> resource_value(const Pod& pod, const Container& self, const std::string& container, std::string_view resource,
                                   std::string_view divisor, const PodFacts& facts) {
  const Container* of = container.empty() ? &self : pod.find_container(container);
  if (!of) return fail(Code::kNotFound, cat("container ", container, " not found"));
  auto [list, rest] = split_once(resource, '.');
  if (!rest || (list != "limits" && list != "requests")) return fail(Code::kInvalidArgument, cat("unsupported container resource : ", resource));
  std::string name(*rest);
  bool cpu = name == "cpu";
  std::optional<std::int64_t> amount = list == "limits" ? of->resources.limits.get(name) : of->resources.requests.get(name);
  if (!amount && list == "limits") {
    if (cpu) amount = facts.node_cpu_milli;
    if (name == "memory") amount = facts.node_memory_bytes;
  }
  std::int64_t n = amount.value_or(0);
  std::int64_t unit = cpu ? 1000 : 1;
  if (!divisor.empty() && divisor != "0") {
    TRY_ASSIGN(unit, cpu ? parse_quantity_milli(divisor) : parse_quantity(divisor));
  }
  if (unit <= 0) return fail(Code::kInvalidArgument, cat("invalid divisor: ", divisor));
  return std::to_string((n + unit - 1) / unit);
}

std::string expand(std::string_view in, const Map& variables) {
  std::string out;
  for (std::size_t i = 0; i < in.size(); ++i) {
    if (in[i] != '$' || i + 1 >= in.size()) {
      out += in[i];
      continue;
    }
    if (in[i + 1] == '$') {
      out += '$';
      ++i;
      continue;
    }
    std::size_t close = in[i + 1] == '(' ? in.find(')', i + 2) : std::string_view::npos;
    if (close == std::string_view::npos) {
      out += in[i];
      continue;
    }
    std::string name(in.substr(i + 2, close - i - 2));
    if (auto it = variables.find(name); it != variables.end()) out += it->second;
    else out += in.substr(i, close - i + 1);
    i = close;
  }
  return out;
}

void add_service_variables(const ServiceAddress& service, Map& into) {
  if (service.cluster_ip.empty() || service.cluster_ip == "None" || service.ports.empty()) return;
  std::string prefix = upper_name(service.name);
  into[prefix + "_SERVICE_HOST"] = service.cluster_ip;
  into[prefix + "_SERVICE_PORT"] = std::to_string(service.ports[0].port);
  for (const auto& port : service.ports)
    if (!port.name.empty()) into[cat(prefix, "_SERVICE_PORT_", upper_name(port.name))] = std::to_string(port.port);
  bool first = true;
  for (const auto& port : service.ports) {
    std::string protocol = to_lower(port.protocol.empty() ? "TCP" : port.protocol);
    std::string url = cat(protocol, "://", service.cluster_ip.find(':') == std::string::npos ? service.cluster_ip : cat("[", service.cluster_ip, "]"), ":", port.port);
    if (first) into[prefix + "_PORT"] = url;
    first = false;
    std::string one = cat(prefix, "_PORT_", port.port, "_", upper_name(protocol));
    into[one] = url;
    into[one + "_PROTO"] = protocol;
    into[one + "_PORT"] = std::to_string(port.port);
    into[one + "_ADDR"] = service.cluster_ip;
  }
}

Result<Environment> make_environment(const Pod& pod, const Container& container, const std::vector<std::string>& image_env,
                                     const ReferencedObjects& objects, const std::vector<ServiceAddress>& services, const PodFacts& facts) {
  Environment out;
  Map service_variables;
  for (const ServiceAddress& service : services) add_service_variables(service, service_variables);
  std::vector<std::string> order;  // first appearance decides the place
  Map variables;
  for (const EnvFrom& from : container.env_from) TRY(add_env_from(from, pod, objects, variables, order, out.skipped));
  for (const EnvVar& e : container.env) {
    std::string value;
    if (e.field_path) {
      TRY_ASSIGN(value, field_value(pod, facts, *e.field_path));
    } else if (e.resource) {
      TRY_ASSIGN(value, resource_value(pod, container, e.resource_container, *e.resource, e.divisor, facts));
    } else if (e.config_map || e.secret) {
      TRY_ASSIGN(auto found, e.config_map ? key_value(*e.config_map, pod, objects.config_maps, "configmap", "ConfigMap")
                                          : key_value(*e.secret, pod, objects.secrets, "secret", "Secret"));
      if (!found) continue;
      value = std::move(*found);
    } else {
      Map seen = service_variables;
      for (const auto& [k, v] : variables) seen[k] = v;
      value = expand(e.value, seen);
    }
    if (!variables.contains(e.name)) order.push_back(e.name);
    variables[e.name] = value;
  }
  std::set<std::string> named(order.begin(), order.end());
  for (const std::string& line : image_env) {
    std::string name(split_once(line, '=').first);
    if (!named.contains(name)) out.lines.push_back(line);
  }
  for (const auto& [name, value] : service_variables) {
    if (named.contains(name)) continue;
    out.lines.push_back(cat(name, "=", value));
  }
  for (const std::string& name : order) out.lines.push_back(cat(name, "=", variables[name]));
  out.variables = std::move(service_variables);
  for (auto& [name, value] : variables) out.variables[name] = std::move(value);
  return out;
}

std::vector<std::string> make_command(const Container& container, const std::vector<std::string>& image_entrypoint,
                                      const std::vector<std::string>& image_cmd, const Map& variables) {
  std::vector<std::string> out;
  auto add_expanded = [&](const std::vector<std::string>& from) {
    for (const std::string& word : from) out.push_back(expand(word, variables));
  };
  if (container.command) add_expanded(*container.command);
  else out = image_entrypoint;
  if (container.args) add_expanded(*container.args);
  else if (!container.command) out.insert(out.end(), image_cmd.begin(), image_cmd.end());
  return out;
}

}  // namespace monopod::agent
