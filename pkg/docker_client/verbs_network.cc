// Networks and volumes.
#include <cstdio>

#include "base/strings.h"
#include "docker/call.h"
#include "docker_client/show.h"
#include "docker_client/values.h"
#include "docker_client/verbs.h"

namespace monopod::docker_client {
namespace {

using enum FlagRow::Kind;

constexpr FlagRow kListObjectsFlags[] = {
    {kList, "-f,--filter", "name=…, label=…, dangling=true"},
    {kValue, "--format", "A line for each: {{.Name}}, json, or table {{…}}"},
    {kSwitch, "--no-trunc", "Whole ids"},
    {kSwitch, "-q,--quiet", "Ids or names only"},
    {kValue, "-o,--output", "table or json"},
};
constexpr FlagRow kInspectObjectFlags[] = {{kValue, "-f,--format", "{{.Name}}, {{json .}}"}};
constexpr FlagRow kPruneObjectFlags[] = {
    {kSwitch, "-f,--force", "Do not ask"},
    {kList, "--filter", "label=…"},
    {kSwitch, "-a,--all", "Volumes: those with a name, too"},
};
constexpr FlagRow kNetworkFlags[] = {
    {kValue, "-d,--driver", "bridge"},
    {kSwitch, "--internal", "No way out of it"},
    {kList, "--subnet", "Addresses: 10.5.0.0/24"},
    {kList, "--gateway", "The bridge's address"},
    {kList, "--ip-range", "Part of the subnet that containers get"},
    {kList, "--label", "NAME=value"},
    {kList, "-o,--opt", "Option of the driver"},
};
constexpr FlagRow kConnectFlags[] = {
    {kList, "--alias", "One more name in the network"},
    {kValue, "--ip", "Address in the network"},
};
constexpr FlagRow kForceFlags[] = {{kSwitch, "-f,--force", "Also where it runs; no error where there is nothing"}};
constexpr FlagRow kVolumeFlags[] = {
    {kValue, "-d,--driver", "local"},
    {kList, "--label", "NAME=value"},
    {kList, "-o,--opt", "Option of the driver"},
};

std::string pairs_of(const json::Value& root) {
  std::vector<std::string> out;
  for (const auto& [key, value] : docker::string_map_of(root, {"Labels"})) out.push_back(cat(key, "=", value));
  return join(out, ",");
}

Result<int> list_networks(Command& c) {
  TRY_ASSIGN(std::string filters, encode_filters(c.flags.list("filter")));
  TRY_ASSIGN(json::Value answer, c.client.get("/networks?filters=" + filters));
  Listing listing{{{"ID", "NETWORK ID"}, {"Name"}, {"Driver"}, {"Scope"}}, "ID"};
  if (answer.is_array())
    for (const json::Value& n : answer.get_array()) {
      std::string id(json::get_string(n, {"Id"}));
      listing.rows.push_back(json::Object{{"ID", c.flags.on("no-trunc") ? id : short_id(id)}, {"Name", json::get_string(n, {"Name"})}, {"Driver", json::get_string(n, {"Driver"})}, {"Scope", json::get_string(n, {"Scope"})},
                                          {"CreatedAt", json::get_string(n, {"Created"})}, {"Internal", json::get_bool(n, {"Internal"}) ? "true" : "false"}, {"Labels", pairs_of(n)}});
    }
  listing.raw = std::move(answer);
  TRY(print(listing, c.flags));
  return 0;
}

Result<int> create_network(Command& c) {
  json::Object body{{"Name", c.words[0]}, {"CheckDuplicate", true}, {"Driver", c.flags.text("driver", "bridge")}, {"Internal", c.flags.on("internal")}, {"Labels", object_of_pairs(c.flags.list("label"))}, {"Options", object_of_pairs(c.flags.list("opt"))}};
  std::vector<std::string> subnets = c.flags.list("subnet"), gateways = c.flags.list("gateway"), ranges = c.flags.list("ip-range");
  if (gateways.size() > subnets.size() || ranges.size() > subnets.size()) return fail(Code::kInvalidArgument, "--gateway and --ip-range go with a --subnet each");
  json::Array pools;
  for (std::size_t i = 0; i < subnets.size(); ++i) {
    json::Object pool{{"Subnet", subnets[i]}};
    if (i < gateways.size()) pool["Gateway"] = gateways[i];
    if (i < ranges.size()) pool["IPRange"] = ranges[i];
    pools.push_back(std::move(pool));
  }
  if (!pools.empty()) body["IPAM"] = json::Object{{"Driver", "default"}, {"Config", std::move(pools)}};
  TRY_ASSIGN(json::Value answer, c.client.post("/networks/create", json::Value(std::move(body))));
  std::printf("%s\n", std::string(json::get_string(answer, {"Id"})).c_str());
  return 0;
}

Result<> remove_named(Command& c, std::string_view kind, const std::string& name, std::string_view tail = {}) {
  auto removed = c.client.call("DELETE", path_of(kind, name, tail));
  if (!removed && removed.error().code() == Code::kNotFound && c.flags.on("force")) return {};
  TRY(std::move(removed));
  return {};
}

Result<int> remove_networks(Command& c) {
  return for_each_word(c, [&](const std::string& name) { return remove_named(c, "networks", name); });
}

Result<int> connect(Command& c) {
  json::Object settings;
  if (c.flags.has("alias")) settings["Aliases"] = docker::array_of(c.flags.list("alias"));
  if (c.flags.has("ip")) settings["IPAMConfig"] = json::Object{{"IPv4Address", c.flags.text("ip")}};
  TRY(c.client.post(path_of("networks", c.words[0], "/connect"), json::Object{{"Container", c.words[1]}, {"EndpointConfig", std::move(settings)}}));
  return 0;
}

Result<int> disconnect(Command& c) {
  TRY(c.client.post(path_of("networks", c.words[0], "/disconnect"), json::Object{{"Container", c.words[1]}, {"Force", c.flags.on("force")}}));
  return 0;
}

Result<int> inspect_networks(Command& c) { return inspect_objects(c, "networks"); }
Result<int> inspect_volumes(Command& c) { return inspect_objects(c, "volumes"); }

Result<int> prune_networks(Command& c) {
  if (!confirmed(c.flags, "This removes all networks that no container uses. Go on?")) return 0;
  TRY_ASSIGN(std::string filters, encode_filters(c.flags.list("filter")));
  TRY_ASSIGN(json::Value answer, c.client.post("/networks/prune?filters=" + filters));
  std::vector<std::string> names = docker::strings_of(answer, {"NetworksDeleted"});
  if (!names.empty()) std::printf("Deleted Networks:\n%s\n", join(names, "\n").c_str());
  return 0;
}

Result<int> list_volumes(Command& c) {
  TRY_ASSIGN(std::string filters, encode_filters(c.flags.list("filter")));
  TRY_ASSIGN(json::Value answer, c.client.get("/volumes?filters=" + filters));
  Listing listing{{{"Driver"}, {"Name", "VOLUME NAME"}}, "Name"};
  if (const json::Array* volumes = json::get_array(answer, {"Volumes"}))
    for (const json::Value& v : *volumes)
      listing.rows.push_back(json::Object{{"Driver", json::get_string(v, {"Driver"})}, {"Name", json::get_string(v, {"Name"})}, {"Mountpoint", json::get_string(v, {"Mountpoint"})}, {"Scope", "local"}, {"Labels", pairs_of(v)}});
  if (const json::Value* volumes = json::find(answer, {"Volumes"})) listing.raw = *volumes;
  TRY(print(listing, c.flags));
  return 0;
}

Result<int> create_volume(Command& c) {
  json::Object body{{"Name", c.words.empty() ? "" : c.words[0]}, {"Driver", c.flags.text("driver", "local")}, {"Labels", object_of_pairs(c.flags.list("label"))}, {"DriverOpts", object_of_pairs(c.flags.list("opt"))}};
  TRY_ASSIGN(json::Value answer, c.client.post("/volumes/create", json::Value(std::move(body))));
  std::printf("%s\n", std::string(json::get_string(answer, {"Name"})).c_str());
  return 0;
}

Result<int> remove_volumes(Command& c) {
  return for_each_word(c, [&](const std::string& name) { return remove_named(c, "volumes", name, c.flags.on("force") ? "?force=1" : ""); });
}

Result<int> prune_volumes(Command& c) {
  bool all = c.flags.on("all");
  if (!confirmed(c.flags, all ? "This removes all volumes that no container uses. Go on?" : "This removes all volumes without a name that no container uses. Go on?")) return 0;
  std::vector<std::string> wanted = c.flags.list("filter");
  if (all) wanted.emplace_back("all=true");
  TRY_ASSIGN(std::string filters, encode_filters(wanted));
  TRY_ASSIGN(json::Value answer, c.client.post("/volumes/prune?filters=" + filters));
  std::vector<std::string> names = docker::strings_of(answer, {"VolumesDeleted"});
  if (!names.empty()) std::printf("Deleted Volumes:\n%s\n\n", join(names, "\n").c_str());
  std::printf("Total reclaimed space: %s\n", format_decimal_size(static_cast<double>(json::get_int(answer, {"SpaceReclaimed"}))).c_str());
  return 0;
}

}  // namespace

std::span<const Verb> network_verbs() {
  static constexpr Verb kVerbs[] = {
      {"ls", "list", "", "List networks", {kListObjectsFlags}, 0, 0, false, list_networks},
      {"create", nullptr, "NETWORK", "Make a network: its containers know each other by name", {kNetworkFlags}, 1, 1, false, create_network},
      {"rm", "remove", "NETWORK...", "Remove networks", {kForceFlags}, 1, 1'000'000, false, remove_networks},
      {"inspect", nullptr, "NETWORK...", "Show all that is known of networks, as JSON", {kInspectObjectFlags}, 1, 1'000'000, false, inspect_networks},
      {"connect", nullptr, "NETWORK CONTAINER", "Put a container into a network", {kConnectFlags}, 2, 2, false, connect},
      {"disconnect", nullptr, "NETWORK CONTAINER", "Take a container out of a network", {kForceFlags}, 2, 2, false, disconnect},
      {"prune", nullptr, "", "Remove networks that no container uses", {kPruneObjectFlags}, 0, 0, false, prune_networks},
  };
  return kVerbs;
}

std::span<const Verb> volume_verbs() {
  static constexpr Verb kVerbs[] = {
      {"ls", "list", "", "List volumes", {kListObjectsFlags}, 0, 0, false, list_volumes},
      {"create", nullptr, "[VOLUME]", "Make a volume; without a name it gets one", {kVolumeFlags}, 0, 1, false, create_volume},
      {"rm", "remove", "VOLUME...", "Remove volumes that no container uses", {kForceFlags}, 1, 1'000'000, false, remove_volumes},
      {"inspect", nullptr, "VOLUME...", "Show all that is known of volumes, as JSON", {kInspectObjectFlags}, 1, 1'000'000, false, inspect_volumes},
      {"prune", nullptr, "", "Remove volumes that no container uses", {kPruneObjectFlags}, 0, 0, false, prune_volumes},
  };
  return kVerbs;
}

}  // namespace monopod::docker_client
