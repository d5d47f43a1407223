// Reading and writing the metadata that every object has.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "client/api.h"

namespace monopod::client {

struct OwnerReference {
  std::string api_version;
  std::string kind;
  std::string name;
  std::string uid;
  bool controller = false;
  bool block_owner_deletion = false;
};

std::vector<OwnerReference> owners_of(const json::Value& tree);
// The owner with controller: true, at most one.
std::optional<OwnerReference> controller_of(const json::Value& tree);
// The JSON of an owner reference with controller and blockOwnerDeletion set.
json::Value controller_reference(const Resource& resource, const Object& owner);

inline std::string_view uid_of(const json::Value& tree) { return json::get_string(tree, {"metadata", "uid"}); }
inline std::string_view name_of(const json::Value& tree) { return json::get_string(tree, {"metadata", "name"}); }
inline std::string_view namespace_of(const json::Value& tree) { return json::get_string(tree, {"metadata", "namespace"}); }
inline bool is_deleting(const json::Value& tree) { return json::find(tree, {"metadata", "deletionTimestamp"}) != nullptr; }
inline const json::Object* labels_of(const json::Value& tree) { return json::get_object(tree, {"metadata", "labels"}); }
bool has_finalizer(const json::Value& tree, std::string_view finalizer);
WallTime time_at(const json::Value& tree, std::initializer_list<std::string_view> path);  // the epoch where absent or malformed

// "ns/name" or "name" to its parts; ns is empty for the latter.
std::pair<std::string, std::string> split_key(std::string_view key);

// conditions: the object's status.conditions. Sets or adds the one of that type; lastTransitionTime moves only with status.
// Returns whether anything changed.
bool set_condition(json::Value& status, json::Object condition, WallTime now);
const json::Object* find_condition(const json::Value& tree, std::string_view type);  // in status.conditions
std::string_view condition_status(const json::Value& tree, std::string_view type);   // "True", "False", "Unknown" or ""

}  // namespace monopod::client
