// networking.k8s.io: what of its kinds no row of rules.cc can say.
#include <arpa/inet.h>

#include "api/kinds/behaviors.h"
#include "base/strings.h"

namespace monopod::api::kinds {
namespace {

bool is_ip(std::string_view text) {
  unsigned char buffer[16];
  std::string ip(text);
  return text.find('\0') == std::string_view::npos && (inet_pton(AF_INET, ip.c_str(), buffer) == 1 || inet_pton(AF_INET6, ip.c_str(), buffer) == 1);
}

void check_host(std::string_view host, const Path& path, FieldErrors& errors) {
  if (host.starts_with("*.")) {
    if (!check_dns1123_subdomain(host.substr(2)).empty())
      errors.invalid(path, host, "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an "
                                 "alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')");
    return;
  }
  report(errors, path, host, check_dns1123_subdomain(host));
}

void check_backend(const Value& backend, const Path& path, FieldErrors& errors) {
  const Value *service = child(backend, "service"), *resource = child(backend, "resource");
  if (service != nullptr && resource != nullptr) return errors.invalid(path, "", "cannot set both resource and service backends");
  if (service == nullptr && resource == nullptr) return errors.invalid(path, "", "resource or service backend is required");
  if (service == nullptr) {
    for (std::string_view member : {"kind", "name"})
      if (text(*resource, member).empty()) errors.required(path["resource"][member]);
    return;
  }
  std::string_view name = text(*service, "name");
  if (name.empty()) errors.required(path["service"]["name"]);
  else report(errors, path["service"]["name"], name, check_dns1035_label(name));
  std::string_view port_name = json::get_string(*service, {"port", "name"});
  std::int64_t number = json::get_int(*service, {"port", "number"});
  if (!port_name.empty() && number != 0) errors.invalid(path, "", "cannot set both port name & port number");
  else if (!port_name.empty()) report(errors, path["service"]["port"]["name"], port_name, check_port_name(port_name));
  else if (number == 0) errors.required(path, "port name or number is required");
  else if (Messages bad = check_port_number(number); !bad.empty()) errors.invalid(path["service"]["port"]["number"], Value(number), bad[0]);
}

void check_path(const Value& rule, const Path& path, FieldErrors& errors) {
  std::string_view type = text(rule, "pathType"), where = text(rule, "path");
  if (type.empty()) {
    errors.required(path["pathType"], "pathType must be specified");
  } else if (type == "Exact" || type == "Prefix") {
    if (!where.starts_with('/')) errors.invalid(path["path"], where, "must be an absolute path");
    for (std::string_view bad : {"//", "/./", "/../", "%2f", "%2F"})
      if (where.find(bad) != std::string_view::npos) errors.invalid(path["path"], where, cat("must not contain '", bad, "'"));
    for (std::string_view bad : {"/..", "/."})
      if (where.ends_with(bad)) errors.invalid(path["path"], where, cat("cannot end with '", bad, "'"));
  } else if (type != "ImplementationSpecific") {
    errors.not_supported(path["pathType"], Value(type), {"Exact", "ImplementationSpecific", "Prefix"});
  } else if (!where.empty() && !where.starts_with('/')) {
    errors.invalid(path["path"], where, "must be an absolute path");
  }
  static const Value kNone{Object()};
  check_backend(child(rule, "backend") == nullptr ? kNone : *child(rule, "backend"), path["backend"], errors);
}

void check_policy_rules(const Value& spec, const Path& path, std::string_view direction, std::string_view peers_member, FieldErrors& errors) {
  const Array& rules = items(spec, direction);
  for (std::size_t i = 0; i < rules.size(); ++i) {
    const Array& ports = items(rules[i], "ports");
    for (std::size_t p = 0; p < ports.size(); ++p) {
      Path at = path[direction][i]["ports"][p];
      const Value *port = child(ports[p], "port"), *end = child(ports[p], "endPort");
      if (port != nullptr && port->is_string()) report(errors, at["port"], port->get_string(), check_port_name(port->get_string()));
      else if (port != nullptr && port->is_int64() && !check_port_number(port->get_int64()).empty()) errors.invalid(at["port"], *port, check_port_number(port->get_int64())[0]);
      if (end == nullptr || !end->is_int64()) continue;
      if (port == nullptr) errors.required(at["port"], "must be specified when endPort is specified");
      else if (port->is_string()) errors.invalid(at["endPort"], *end, "may not be specified when `port` is non-numeric");
      else if (port->is_int64() && end->get_int64() < port->get_int64()) errors.invalid(at["endPort"], *end, "must be greater than or equal to `port`");
    }
    const Array& peers = items(rules[i], peers_member);
    for (std::size_t p = 0; p < peers.size(); ++p) {
      Path at = path[direction][i][peers_member][p];
      std::size_t selectors = 0;
      for (std::string_view member : {"podSelector", "namespaceSelector"})
        if (const Value* selector = child(peers[p], member)) {
          ++selectors;
          check_label_selector(errors, at[member], *selector);
        }
      bool block = child(peers[p], "ipBlock") != nullptr;
      if (selectors == 0 && !block) errors.required(at, "must specify a peer");
      else if (selectors != 0 && block) errors.forbidden(at, "may not specify both ipBlock and another peer");
    }
  }
}

}  // namespace

void validate_ingress(const Value& object, FieldErrors& errors) {
  static const Value kNone{Object()};
  const Value& spec = child(object, "spec") == nullptr ? kNone : *child(object, "spec");
  Path path("spec");
  const Array &rules = items(spec, "rules"), &tls = items(spec, "tls");
  const Value* backend = child(spec, "defaultBackend");
  if (rules.empty() && backend == nullptr) errors.invalid(path, Value(Array()), "either `defaultBackend` or `rules` must be specified");
  if (backend != nullptr) check_backend(*backend, path["defaultBackend"], errors);
  for (std::size_t i = 0; i < rules.size(); ++i) {
    Path at = path["rules"][i];
    if (std::string_view host = text(rules[i], "host"); is_ip(host)) errors.invalid(at["host"], host, "must be a DNS name, not an IP address");
    else if (!host.empty()) check_host(host, at["host"], errors);
    const Value* http = child(rules[i], "http");
    if (http == nullptr) continue;
    const Array& paths = items(*http, "paths");
    if (paths.empty()) errors.required(at["http"]["paths"]);
    for (std::size_t p = 0; p < paths.size(); ++p) check_path(paths[p], at["http"]["paths"][p], errors);
  }
  for (std::size_t i = 0; i < tls.size(); ++i) {
    const Array& hosts = items(tls[i], "hosts");
    for (std::size_t h = 0; h < hosts.size(); ++h)
      if (hosts[h].is_string()) check_host(hosts[h].get_string(), path["tls"][i]["hosts"][h], errors);
    if (std::string_view secret = text(tls[i], "secretName"); !secret.empty()) report(errors, path["tls"][i]["secretName"], secret, check_dns1123_subdomain(secret));
  }
  if (std::string_view name = text(spec, "ingressClassName"); !name.empty()) report(errors, path["ingressClassName"], name, check_dns1123_subdomain(name));
}

void validate_network_policy(const Value& object, FieldErrors& errors) {
  const Value* spec = child(object, "spec");
  if (spec == nullptr) return;
  check_policy_rules(*spec, Path("spec"), "ingress", "from", errors);
  check_policy_rules(*spec, Path("spec"), "egress", "to", errors);
}

void validate_ip_address(const Value& object, FieldErrors& errors) {
  std::string_view name = json::get_string(object, {"metadata", "name"});
  if (!is_ip(name)) errors.invalid(Path("metadata")["name"], name, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
}

}  // namespace monopod::api::kinds
