// Sections Network and Volume.
#include <algorithm>

#include "base/strings.h"
#include "docker/api.h"

namespace monopod::docker {
namespace {
using async::Task;
}

std::map<std::string, std::string> Api::container_names() const {
  std::map<std::string, std::string> out;
  for (const ContainerPtr& c : p_.containers.list()) out[c->id] = c->name;
  return out;
}

Task<Result<>> Api::list_networks(Call& call) {
  CO_TRY_ASSIGN(Filters filters, Filters::parse(call.text("filters")));
  CO_TRY(filters.only({"id", "name", "driver", "type", "scope", "dangling", "label", "label!"}));
  json::Array out;
  for (NetworkInfo* info : p_.networks.list()) {
    auto any = [&](std::string_view key, auto&& test) {
      auto wanted = filters.get(key);
      return wanted.empty() || std::ranges::any_of(wanted, test);
    };
    json::Object labels = object_of(info->labels);
    bool wanted = any("id", [&](const std::string& w) { return info->id.starts_with(w); }) && any("name", [&](const std::string& w) { return info->name.find(w) != std::string::npos; }) &&
                  filters.is("driver", info->driver) && filters.is("scope", "local") && filters.is("type", info->builtin ? "builtin" : "custom") && filters.labels_match(&labels);
    if (wanted && filters.has("dangling")) {
      bool dangling = !info->builtin && info->endpoints.empty();
      wanted = filters.is("dangling", dangling ? "true" : "false") || filters.is("dangling", dangling ? "1" : "0");
    }
    if (wanted) out.push_back(Networks::describe(*info, {}, false));
  }
  co_return co_await call.answer(200, std::move(out));
}

Task<Result<>> Api::create_network(Call& call) {
  CO_TRY_ASSIGN(json::Value request, co_await call.read_json());
  CO_TRY_ASSIGN(NetworkInfo* info, co_await p_.networks.create(std::move(request)));
  std::string id = info->id;
  p_.events.emit("network", "create", id, {{"name", info->name}, {"type", info->driver}});
  co_return co_await call.answer(201, json::Object{{"Id", id}, {"Warning", ""}});
}

namespace {
Result<NetworkInfo*> find_network(Networks& networks, const std::string& name) {
  NetworkInfo* info = networks.find(name);
  if (info == nullptr) return fail(Code::kNotFound, cat("network ", name, " not found"));
  return info;
}
}  // namespace

Task<Result<>> Api::inspect_network(Call& call) {
  CO_TRY_ASSIGN(NetworkInfo* info, find_network(p_.networks, call.name));
  co_return co_await call.answer(200, Networks::describe(*info, container_names(), true));
}

Task<Result<>> Api::remove_network(Call& call) {
  CO_TRY_ASSIGN(NetworkInfo* info, find_network(p_.networks, call.name));
  std::string id = info->id;
  std::map<std::string, std::string> attributes{{"name", info->name}, {"type", info->driver}};
  CO_TRY(co_await p_.networks.remove(*info));
  p_.events.emit("network", "destroy", id, std::move(attributes));
  co_return co_await call.answer(204);
}

Task<Result<>> Api::connect_network(Call& call) {
  CO_TRY_ASSIGN(NetworkInfo* info, find_network(p_.networks, call.name));
  std::string id = info->id;
  CO_TRY_ASSIGN(json::Value request, co_await call.read_json());
  CO_TRY_ASSIGN(ContainerPtr c, p_.containers.find(json::get_string(request, {"Container"})));
  const json::Value* settings = json::find(request, {"EndpointConfig"});
  CO_TRY_ASSIGN(info, find_network(p_.networks, id));
  CO_TRY(co_await p_.containers.connect(c, *info, settings != nullptr ? *settings : json::Value(nullptr)));
  co_return co_await call.answer(200);
}

Task<Result<>> Api::disconnect_network(Call& call) {
  CO_TRY_ASSIGN(json::Value request, co_await call.read_json());
  CO_TRY_ASSIGN(NetworkInfo* info, find_network(p_.networks, call.name));
  CO_TRY_ASSIGN(ContainerPtr c, p_.containers.find(json::get_string(request, {"Container"})));
  CO_TRY(co_await p_.containers.disconnect(c, *info, json::get_bool(request, {"Force"})));
  co_return co_await call.answer(200);
}

Task<Result<>> Api::prune_networks(Call& call) {
  CO_TRY_ASSIGN(Filters filters, Filters::parse(call.text("filters")));
  CO_TRY(filters.only({"label", "label!", "until"}));
  std::vector<std::string> ids;
  for (NetworkInfo* info : p_.networks.list()) {
    json::Object labels = object_of(info->labels);
    bool used = std::ranges::any_of(p_.containers.list(), [&](const ContainerPtr& c) { return c->networks.get_object().contains(info->name); });
    if (!info->builtin && info->endpoints.empty() && !used && filters.labels_match(&labels)) ids.push_back(info->id);
  }
  json::Array removed;
  for (const std::string& id : ids) {
    NetworkInfo* info = p_.networks.find(id);
    if (info == nullptr) continue;
    std::string name = info->name;
    if (co_await p_.networks.remove(*info)) removed.emplace_back(name);
  }
  co_return co_await call.answer(200, json::Object{{"NetworksDeleted", removed.empty() ? json::Value(nullptr) : json::Value(std::move(removed))}});
}

Task<Result<>> Api::list_volumes(Call& call) {
  CO_TRY_ASSIGN(Filters filters, Filters::parse(call.text("filters")));
  CO_TRY(filters.only({"name", "driver", "dangling", "label", "label!"}));
  json::Array out;
  for (const auto& [name, volume] : p_.volumes.all()) {
    auto names = filters.get("name");
    json::Object labels = object_of(volume.labels);
    bool wanted = (names.empty() || std::ranges::any_of(names, [&](const std::string& w) { return name.find(w) != std::string::npos; })) && filters.is("driver", "local") && filters.labels_match(&labels);
    if (wanted && filters.has("dangling")) {
      bool dangling = p_.containers.users_of_volume(name).empty();
      wanted = filters.is("dangling", dangling ? "true" : "false") || filters.is("dangling", dangling ? "1" : "0");
    }
    if (wanted) out.push_back(p_.volumes.describe(volume));
  }
  co_return co_await call.answer(200, json::Object{{"Volumes", std::move(out)}, {"Warnings", nullptr}});
}

Task<Result<>> Api::create_volume(Call& call) {
  CO_TRY_ASSIGN(json::Value request, co_await call.read_json(false));
  CO_TRY_ASSIGN(const Volume* volume, co_await p_.volumes.create(std::move(request)));
  p_.events.emit("volume", "create", volume->name, {{"driver", "local"}});
  co_return co_await call.answer(201, p_.volumes.describe(*volume));
}

Task<Result<>> Api::inspect_volume(Call& call) {
  const Volume* volume = p_.volumes.find(call.name);
  if (volume == nullptr) co_return fail(Code::kNotFound, cat("get ", call.name, ": no such volume"));
  co_return co_await call.answer(200, p_.volumes.describe(*volume));
}

Task<Result<>> Api::remove_volume(Call& call) {
  if (p_.volumes.find(call.name) == nullptr) {
    if (call.flag("force")) co_return co_await call.answer(204);
    co_return fail(Code::kNotFound, cat("get ", call.name, ": no such volume"));
  }
  auto users = p_.containers.users_of_volume(call.name);
  if (!users.empty()) {
    std::vector<std::string> ids;
    for (const ContainerPtr& c : users) ids.push_back(c->id);
    co_return fail(Code::kFailedPrecondition, cat("remove ", call.name, ": volume is in use - [", join(ids, ", "), "]"));
  }
  CO_TRY(co_await p_.volumes.remove(call.name));
  p_.events.emit("volume", "destroy", call.name, {{"driver", "local"}});
  co_return co_await call.answer(204);
}

Task<Result<>> Api::prune_volumes(Call& call) {
  CO_TRY_ASSIGN(Filters filters, Filters::parse(call.text("filters")));
  CO_TRY(filters.only({"label", "label!", "all"}));
  // Since 1.42 only anonymous ones, unless all=true.
  bool all = call.minor < 42 || (filters.has("all") && (filters.is("all", "true") || filters.is("all", "1")));
  std::vector<std::string> names;
  for (const auto& [name, volume] : p_.volumes.all()) {
    json::Object labels = object_of(volume.labels);
    if ((all || volume.anonymous) && p_.containers.users_of_volume(name).empty() && filters.labels_match(&labels)) names.push_back(name);
  }
  json::Array removed;
  std::int64_t freed = 0;
  for (const std::string& name : names) {
    std::int64_t bytes = co_await p_.volumes.bytes(name);
    if (!p_.containers.users_of_volume(name).empty() || !co_await p_.volumes.remove(name)) continue;
    removed.emplace_back(name);
    freed += std::max<std::int64_t>(bytes, 0);
  }
  co_return co_await call.answer(200, json::Object{{"VolumesDeleted", removed.empty() ? json::Value(nullptr) : json::Value(std::move(removed))}, {"SpaceReclaimed", freed}});
}

}  // namespace monopod::docker
