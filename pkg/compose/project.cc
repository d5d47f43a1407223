#include "compose/project.h"

#include <algorithm>

#include "base/strings.h"
#include "codec/yaml.h"
#include "compose/reader.h"
#include "docker/call.h"
#include "image/digest.h"

namespace monopod::compose {
namespace {

constexpr yaml::Limits kYaml{.bytes_max = 1U << 20, .depth_max = 50, .documents_max = 1, .alias_nodes_max = 20'000};
constexpr std::size_t kServicesMax = 500;

Result<bool> is_external(const At& at) {
  if (at.value.is_object()) return fail(Code::kUnimplemented, cat(at.place, ": a map is not supported: say external: true and name: NAME"));
  return at.truth();
}

json::Object own_labels(const Project& project, const char* kind, const std::string& key) {
  return json::Object{{cat("com.docker.compose.", kind), key}, {"com.docker.compose.project", project.name}, {"com.docker.compose.version", MONOPOD_VERSION}};
}

Result<> put_pairs(const At& at, json::Object& into) {
  TRY_ASSIGN(auto pairs, at.pairs());
  for (const auto& [key, value] : pairs) into[key] = value.value_or("");
  return {};
}

Result<Network> read_network(const Project& project, const std::string& key, const At& at) {
  Network out{.name = cat(project.name, "_", key)};
  json::Object labels = own_labels(project, "network", key), options;
  TRY_ASSIGN(auto members, at.members({"name", "external", "driver", "internal", "labels", "ipam", "driver_opts", "attachable", "enable_ipv6"}));
  bool named = false;
  for (auto& [name, member] : members) {
    if (name == "name") {
      TRY_ASSIGN(out.name, member.text());
      named = true;
    } else if (name == "external") {
      TRY_ASSIGN(out.external, is_external(member));
    } else if (name == "driver") {
      TRY_ASSIGN(out.body["Driver"], member.text());
    } else if (name == "internal") {
      TRY_ASSIGN(out.body["Internal"], member.truth());
    } else if (name == "enable_ipv6") {
      TRY_ASSIGN(bool wanted, member.truth());
      if (wanted) return fail(Code::kUnimplemented, cat(member.place, ": IPv6 is not supported"));
    } else if (name == "labels") {
      TRY(put_pairs(member, labels));
    } else if (name == "driver_opts") {
      TRY(put_pairs(member, options));
    } else if (name == "ipam") {
      TRY_ASSIGN(auto ipam, member.members({"driver", "config"}));
      json::Array pools;
      for (auto& [part, value] : ipam) {
        if (part != "config") continue;
        if (!value.value.is_array()) return value.wrong("want a list");
        for (const json::Value& v : value.value.get_array()) {
          TRY_ASSIGN(auto fields, (At{v, value.place}.members({"subnet", "gateway", "ip_range"})));
          json::Object pool;
          for (auto& [field, text] : fields) { TRY_ASSIGN(pool[field == "subnet" ? "Subnet" : field == "gateway" ? "Gateway" : "IPRange"], text.text()); }
          pools.push_back(std::move(pool));
        }
      }
      out.body["IPAM"] = json::Object{{"Driver", "default"}, {"Config", std::move(pools)}};
    }
  }
  if (out.external && !named) out.name = key;
  out.body["Name"] = out.name;
  out.body["Labels"] = std::move(labels);
  if (!options.empty()) out.body["Options"] = std::move(options);
  return out;
}

Result<Volume> read_volume(const Project& project, const std::string& key, const At& at) {
  Volume out{.name = cat(project.name, "_", key)};
  json::Object labels = own_labels(project, "volume", key), options;
  TRY_ASSIGN(auto members, at.members({"name", "external", "driver", "labels", "driver_opts"}));
  bool named = false;
  for (auto& [name, member] : members) {
    if (name == "name") {
      TRY_ASSIGN(out.name, member.text());
      named = true;
    } else if (name == "external") {
      TRY_ASSIGN(out.external, is_external(member));
    } else if (name == "driver") {
      TRY_ASSIGN(out.body["Driver"], member.text());
    } else {
      TRY(put_pairs(member, name == "labels" ? labels : options));
    }
  }
  if (out.external && !named) out.name = key;
  out.body["Name"] = out.name;
  out.body["Labels"] = std::move(labels);
  if (!options.empty()) out.body["DriverOpts"] = std::move(options);
  return out;
}

Result<std::string> choose_name(const At& root, const ProjectOptions& options) {
  if (!options.name.empty()) return project_name_of(options.name);
  if (const json::Value* own = json::find(root.value, {"name"})) {
    TRY_ASSIGN(std::string name, (At{*own, "name"}.text()));
    if (!name.empty()) return project_name_of(name);
  }
  return project_name_of(options.directory);
}

// Names that services use and nobody declares.
Result<> check_names(const Project& project) {
  for (const auto& [name, service] : project.services) {
    for (const auto& [network, settings] : service.networks)
      if (!project.networks.contains(network)) return fail(Code::kInvalidArgument, cat("services.", name, ".networks: network \"", network, "\" is not declared below networks"));
    for (const Dependency& on : service.dependencies)
      if (on.required && !project.services.contains(on.service)) return fail(Code::kInvalidArgument, cat("services.", name, ".depends_on: there is no service \"", on.service, "\""));
  }
  return {};
}

bool has_profile(const Service& service, const std::set<std::string>& profiles) {
  return service.profiles.empty() || profiles.contains("*") || std::ranges::any_of(service.profiles, [&](const std::string& p) { return profiles.contains(p); });
}

}  // namespace

Result<json::Value> read_tree(std::string_view text, const Sources& sources) {
  TRY_ASSIGN(json::Value tree, yaml::parse_text(text, kYaml));
  if (!tree.is_object()) return fail(Code::kInvalidArgument, "want a map with services");
  TRY(interpolate_all(tree, sources.variable));
  return tree;
}

Result<Project> read_project(const json::Value& tree, const ProjectOptions& options, const Sources& sources) {
  At root{tree, ""};
  TRY_ASSIGN(auto sections, root.members({"version", "name", "services", "networks", "volumes", "configs", "secrets"}));
  Project out{.name = {}, .directory = options.directory, .file = options.file};
  TRY_ASSIGN(out.name, choose_name(root, options));
  Context context{tree, options, sources, out.name};
  for (auto& [section, at] : sections) {
    if (section != "services" && section != "networks" && section != "volumes") continue;
    if (!at.value.is_object() && !at.value.is_null()) return at.wrong("want a map");
    if (at.value.is_null()) continue;
    if (at.value.get_object().size() > kServicesMax) return at.wrong(cat("more than ", kServicesMax, " of them"));
    for (const auto& [key, v] : at.value.get_object()) {
      std::string name(key);
      At one{v, cat(section, ".", name)};
      if (section == "services") {
        TRY_ASSIGN(Service service, read_service(name, v, context));
        out.services.emplace(name, std::move(service));
      } else if (section == "networks") {
        TRY_ASSIGN(Network network, read_network(out, name, one));
        out.networks.emplace(name, std::move(network));
      } else {
        TRY_ASSIGN(Volume volume, read_volume(out, name, one));
        out.volumes.emplace(name, std::move(volume));
      }
    }
  }
  if (out.services.empty()) return fail(Code::kInvalidArgument, "no service is defined");
  bool uses_default = std::ranges::any_of(out.services, [](const auto& s) { return s.second.networks.contains("default"); });
  if (uses_default && !out.networks.contains("default")) {
    const json::Value nothing;
    TRY_ASSIGN(Network network, read_network(out, "default", At{nothing, "networks.default"}));
    out.networks.emplace("default", std::move(network));
  }
  TRY(check_names(out));
  return out;
}

Result<std::set<std::string>> choose_services(const Project& project, const std::vector<std::string>& names, const std::set<std::string>& profiles) {
  std::set<std::string> out;
  std::vector<std::string> left = names;
  if (names.empty())
    for (const auto& [name, service] : project.services)
      if (has_profile(service, profiles)) left.push_back(name);
  while (!left.empty()) {
    std::string name = std::move(left.back());
    left.pop_back();
    auto found = project.services.find(name);
    if (found == project.services.end()) return fail(Code::kNotFound, cat("no such service: ", name));
    if (!out.insert(name).second) continue;
    for (const Dependency& on : found->second.dependencies)
      if (auto other = project.services.find(on.service); other != project.services.end() && (on.required || has_profile(other->second, profiles))) left.push_back(on.service);
  }
  return out;
}

Result<std::vector<std::vector<std::string>>> order_services(const Project& project, const std::set<std::string>& chosen) {
  std::vector<std::vector<std::string>> out;
  std::set<std::string> done;
  while (done.size() < chosen.size()) {
    std::vector<std::string> step;
    for (const std::string& name : chosen) {
      const Service& service = project.services.at(name);
      bool ready = !done.contains(name) && std::ranges::all_of(service.dependencies, [&](const Dependency& on) { return !chosen.contains(on.service) || done.contains(on.service); });
      if (ready) step.push_back(name);
    }
    if (step.empty()) {
      std::vector<std::string> rest;
      for (const std::string& name : chosen)
        if (!done.contains(name)) rest.push_back(name);
      return fail(Code::kInvalidArgument, cat("services depend on one another in a circle: ", join(rest, ", ")));
    }
    done.insert(step.begin(), step.end());
    out.push_back(std::move(step));
  }
  return out;
}

Result<std::string> project_name_of(std::string_view directory) {
  while (directory.ends_with('/')) directory.remove_suffix(1);
  std::string out;
  for (char c : to_lower(directory.substr(directory.rfind('/') + 1)))
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || ((c == '-' || c == '_') && !out.empty())) out += c;
  if (out.empty()) return fail(Code::kInvalidArgument, "the project has no name: say --project-name, or name: in the file");
  return out;
}

std::map<std::string, std::string> labels_of(const Project& project, const Service& service, int number, const std::string& config_hash) {
  std::vector<std::string> on;
  for (const Dependency& d : service.dependencies)
    on.push_back(cat(d.service, ":", d.condition == Condition::kHealthy ? "service_healthy" : d.condition == Condition::kCompleted ? "service_completed_successfully" : "service_started", ":false"));
  return {{"com.docker.compose.project", project.name},
          {"com.docker.compose.service", service.name},
          {"com.docker.compose.container-number", std::to_string(number)},
          {"com.docker.compose.oneoff", "False"},
          {"com.docker.compose.config-hash", config_hash},
          {"com.docker.compose.depends_on", join(on, ",")},
          {"com.docker.compose.project.config_files", project.file},
          {"com.docker.compose.project.working_dir", project.directory},
          {"com.docker.compose.version", MONOPOD_VERSION}};
}

std::string config_hash_of(const Service& service) {
  json::Object all = service.body;
  json::Object networks;
  for (const auto& [name, settings] : service.networks) networks[name] = settings;
  all["networks"] = std::move(networks);
  return image::digest_of(json::format(json::Value(std::move(all)))).substr(7);
}

Result<std::vector<std::string>> split_command(std::string_view text) {
  std::vector<std::string> out;
  std::string word;
  bool any = false;
  char quote = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    bool space = c == ' ' || c == '\t' || c == '\n' || c == '\r';
    if (quote == 0 && space) {
      if (any) out.push_back(std::move(word));
      word.clear();
      any = false;
      continue;
    }
    any = true;
    if (c == '\\' && quote != '\'') {
      if (++i == text.size()) return fail(Code::kInvalidArgument, "a backslash stands at the end");
      if (quote == '"' && text[i] != '"' && text[i] != '\\' && text[i] != '$' && text[i] != '`') word += '\\';
      word += text[i];
    } else if (quote == 0 && (c == '\'' || c == '"')) {
      quote = c;
    } else if (c == quote) {
      quote = 0;
    } else {
      word += c;
    }
  }
  if (quote != 0) return fail(Code::kInvalidArgument, "a quote is not closed");
  if (any) out.push_back(std::move(word));
  return out;
}

}  // namespace monopod::compose
