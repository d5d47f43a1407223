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

bool is_external(const At& at) {
  if (at.value.is_object()) at.not_supported("a map is not supported: say external: true and name: NAME");
  return !at.value.is_object() && at.truth();
}

json::Object own_labels(const Project& project, const char* kind, std::string_view key) {
  return json::Object{{cat("com.docker.compose.", kind), key}, {"com.docker.compose.project", project.name}, {"com.docker.compose.version", MONOPOD_VERSION}};
}

void put_pairs(const At& at, json::Object& into) {
  for (const auto& [key, value] : at.pairs()) into[key] = value.value_or("");
}

json::Array pools_of(const At& at) {
  json::Array out;
  for (const json::Value& v : at.list()) {
    At one = at.item(v);
    json::Object pool;
    for (auto& [field, text] : one.members({"subnet", "gateway", "ip_range"})) pool[field == "subnet" ? "Subnet" : field == "gateway" ? "Gateway" : "IPRange"] = text.text();
    out.push_back(std::move(pool));
  }
  return out;
}

// What networks and volumes have in common: name, external, driver, labels and options. Other members go to read_other.
struct Declared {
  std::string name;
  bool external = false;
  json::Object body;
};
Declared read_declared(const Project& project, const char* kind, const char* options_member, const At& at, std::initializer_list<std::string_view> known, void (*read_other)(std::string_view, const At&, json::Object&)) {
  Declared out;
  json::Object labels = own_labels(project, kind, at.key), options;
  for (auto& [key, member] : at.members(known)) {
    if (key == "name") out.name = member.text();
    else if (key == "external") out.external = is_external(member);
    else if (key == "driver") out.body["Driver"] = member.text();
    else if (key == "labels") put_pairs(member, labels);
    else if (key == "driver_opts") put_pairs(member, options);
    else read_other(key, member, out.body);
  }
  if (out.name.empty()) out.name = out.external ? std::string(at.key) : cat(project.name, "_", at.key);
  out.body["Name"] = out.name;
  out.body["Labels"] = std::move(labels);
  if (!options.empty()) out.body[options_member] = std::move(options);
  return out;
}

void read_network_member(std::string_view key, const At& at, json::Object& body) {
  if (key == "internal") body["Internal"] = at.truth();
  if (key == "enable_ipv6" && at.truth()) at.not_supported("IPv6 is not supported");
  if (key == "ipam")
    for (auto& [part, value] : at.members({"driver", "config"}))
      if (part == "config") body["IPAM"] = json::Object{{"Driver", "default"}, {"Config", pools_of(value)}};
}

void read_network(Project& project, const At& at) {
  Declared d = read_declared(project, "network", "Options", at, {"name", "external", "driver", "internal", "labels", "ipam", "driver_opts", "attachable", "enable_ipv6"}, read_network_member);
  project.networks[std::string(at.key)] = {std::move(d.name), d.external, std::move(d.body)};
}

void read_volume(Project& project, const At& at) {
  Declared d = read_declared(project, "volume", "DriverOpts", at, {"name", "external", "driver", "labels", "driver_opts"}, [](std::string_view, const At&, json::Object&) {});
  project.volumes[std::string(at.key)] = {std::move(d.name), d.external, std::move(d.body)};
}

Result<std::string> choose_name(const json::Value& tree, const ProjectOptions& options) {
  if (!options.name.empty()) return project_name_of(options.name);
  std::string_view own = json::get_string(tree, {"name"});
  return project_name_of(own.empty() ? options.directory : own);
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
  Project out{.name = {}, .directory = options.directory, .file = options.file};
  TRY_ASSIGN(out.name, choose_name(tree, options));
  Context context{tree, options, sources, out.name};
  Wrong note;
  At root{tree, note};
  for (auto& [section, at] : root.members({"version", "name", "services", "networks", "volumes", "configs", "secrets"})) {
    bool services = section == "services", networks = section == "networks";
    if (!services && !networks && section != "volumes") continue;
    auto members = at.members();
    if (members.size() > kServicesMax) at.wrong(cat("more than ", kServicesMax, " of them"));
    for (auto& [key, one] : members) {
      if (note.first) break;
      if (services) out.services[std::string(key)] = read_service(one, context);
      else if (networks) read_network(out, one);
      else read_volume(out, one);
    }
  }
  if (out.services.empty()) root.wrong("no service is defined");
  bool uses_default = std::ranges::any_of(out.services, [](const auto& s) { return s.second.networks.contains("default"); });
  if (uses_default && !out.networks.contains("default")) {
    const json::Value nothing;
    read_network(out, At{nothing, note, nullptr, "default"});
  }
  if (note.first) return fail(*std::move(note.first));
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
  json::Array more;  // where there is any: a file without them keeps its hash
  for (const auto& [other, alias] : service.links) more.emplace_back(cat("link ", other, ":", alias));
  for (const std::string& from : service.volumes_from) more.emplace_back(cat("volumes from ", from));
  for (const OwnFile& file : service.files) more.emplace_back(cat("file ", file.target, " ", file.mode, " ", file.uid, ":", file.gid, " ", image::digest_of(file.content)));
  if (!more.empty()) all["more"] = std::move(more);
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
