#include "client/meta.h"

namespace monopod::client {

std::vector<OwnerReference> owners_of(const json::Value& tree) {
  std::vector<OwnerReference> out;
  const json::Array* refs = json::get_array(tree, {"metadata", "ownerReferences"});
  if (refs == nullptr) return out;
  for (const json::Value& ref : *refs) {
    out.push_back({.api_version = std::string(json::get_string(ref, {"apiVersion"})),
                   .kind = std::string(json::get_string(ref, {"kind"})),
                   .name = std::string(json::get_string(ref, {"name"})),
                   .uid = std::string(json::get_string(ref, {"uid"})),
                   .controller = json::get_bool(ref, {"controller"}),
                   .block_owner_deletion = json::get_bool(ref, {"blockOwnerDeletion"})});
  }
  return out;
}

std::optional<OwnerReference> controller_of(const json::Value& tree) {
  for (OwnerReference& owner : owners_of(tree))
    if (owner.controller) return std::move(owner);
  return std::nullopt;
}

json::Value controller_reference(const Resource& resource, const Object& owner) {
  return json::Object{{"apiVersion", resource.api_version()}, {"kind", resource.kind},           {"name", owner.name},
                      {"uid", owner.uid},                     {"controller", true}, {"blockOwnerDeletion", true}};
}

bool has_finalizer(const json::Value& tree, std::string_view finalizer) {
  const json::Array* list = json::get_array(tree, {"metadata", "finalizers"});
  if (list == nullptr) return false;
  for (const json::Value& f : *list)
    if (f.is_string() && std::string_view(f.get_string()) == finalizer) return true;
  return false;
}

WallTime time_at(const json::Value& tree, std::initializer_list<std::string_view> path) {
  Result<WallTime> parsed = parse_rfc3339(json::get_string(tree, path));
  return parsed ? *parsed : WallTime{};
}

std::pair<std::string, std::string> split_key(std::string_view key) {
  std::size_t slash = key.find('/');
  if (slash == std::string_view::npos) return {"", std::string(key)};
  return {std::string(key.substr(0, slash)), std::string(key.substr(slash + 1))};
}

bool set_condition(json::Value& status, json::Object condition, WallTime now) {
  if (!status.is_object()) status.emplace_object();
  json::Value& slot = status.get_object()["conditions"];
  if (!slot.is_array()) slot.emplace_array();
  std::string wanted_type(condition["type"].as_string());
  for (json::Value& existing : slot.get_array()) {
    if (json::get_string(existing, {"type"}) != wanted_type) continue;
    bool same_status = existing.get_object()["status"] == condition["status"];
    bool changed = !same_status;
    for (std::string_view field : {"reason", "message"}) {
      json::Value* value = condition.if_contains(field);
      if (value != nullptr && json::get_string(existing, {field}) != std::string_view(value->get_string())) changed = true;
    }
    if (!changed) return false;
    json::Object& merged = existing.get_object();
    if (!same_status) merged["lastTransitionTime"] = format_rfc3339(now);
    for (auto& [key, value] : condition) merged[key] = value;
    return true;
  }
  condition["lastTransitionTime"] = format_rfc3339(now);
  slot.get_array().push_back(std::move(condition));
  return true;
}

const json::Object* find_condition(const json::Value& tree, std::string_view type) {
  const json::Array* list = json::get_array(tree, {"status", "conditions"});
  if (list == nullptr) return nullptr;
  for (const json::Value& condition : *list)
    if (json::get_string(condition, {"type"}) == type) return condition.if_object();
  return nullptr;
}

std::string_view condition_status(const json::Value& tree, std::string_view type) {
  const json::Object* condition = find_condition(tree, type);
  if (condition == nullptr) return {};
  const json::Value* status = condition->if_contains("status");
  return status != nullptr && status->is_string() ? std::string_view(status->get_string()) : std::string_view();
}

}  // namespace monopod::client
