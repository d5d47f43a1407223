// What a kind does beyond its rows in the tables: defaults, validation, what create and update reset, which fields a field
// selector may name. One ordered list in kinds.cc; a kind that is not in it still works by the generic rules.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/schema/field_error.h"
#include "api/schema/schema.h"
#include "base/clock.h"
#include "codec/json.h"

namespace monopod::api {

// The names for one row of the list; null members mean "nothing special".
struct Behavior {
  std::string_view group;
  std::string_view kind;
  // After the tables' own defaults. The object is canonical before; canonicalize() it after.
  void (*set_defaults)(json::Value& object) = nullptr;
  // What a client may not set on create: status and the like.
  void (*prepare_create)(json::Value& object) = nullptr;
  // Carries over what this kind of update may not touch. `subresource` is empty for the main resource.
  void (*prepare_update)(json::Value& object, const json::Value& old, std::string_view subresource) = nullptr;
  void (*validate)(const json::Value& object, FieldErrors& errors) = nullptr;
  // Both objects canonical with defaults. Runs beside validate().
  void (*validate_update)(const json::Value& object, const json::Value& old, std::string_view subresource, FieldErrors& errors) = nullptr;
  // What the first request to delete does to the object before it is marked.
  void (*prepare_delete)(json::Value& object, WallTime now) = nullptr;
  // Fields a field selector may name besides metadata.name and metadata.namespace, as dotted paths.
  std::vector<std::string_view> (*selectable_fields)() = nullptr;
  // The Warning header of every answer about this kind, whatever the verb.
  std::string_view deprecated = {};
  bool generation = false;            // metadata.generation counts changes of all but metadata and status
  bool keep_status = false;           // create takes the client's status
  bool unconditional_update = true;   // an update without resourceVersion is taken
  bool create_on_update = false;      // PUT of an absent object creates it
  bool validate_name_as_path = false; // RBAC: names need only be one path segment
};

std::span<const Behavior> behaviors();
const Behavior* find_behavior(std::string_view group, std::string_view kind);

// Where a tree's members are, and which of them are empty: the same as long as none comes, goes or moves in this very tree. It is then canonical
// still if what it got are values in their one spelling.
using TreeShape = std::uint64_t;
TreeShape shape_of(const json::Value& tree);

// In the order in which a write uses them. Objects are canonical trees; `set_defaults` leaves them canonical and says their shape then.
TreeShape set_defaults(json::Value& object, const Resource& resource);
// Resets status on kinds that have a status subresource, sets metadata.generation to 1, clears what the server owns
// (uid, resourceVersion, creationTimestamp, deletionTimestamp, selfLink) but for the uid that it gets here (empty: none yet): the caller then
// sets creationTimestamp.
void prepare_create(json::Value& object, const Resource& resource, std::string_view uid = {});
// For the main resource status is carried over from old; for "status" all but status and metadata's status-writable part is.
// metadata.generation rises by one where spec (anything but metadata and status) changed. Server-owned metadata carries over.
// settled: the object's shape when it was canonical; where it still has that, it is not looked through again.
void prepare_update(json::Value& object, const json::Value& old, const Resource& resource, std::string_view subresource, std::optional<TreeShape> settled = std::nullopt);
// ObjectMeta rules of every kind plus the kind's own. The object has its final name and namespace.
FieldErrors validate_create(const json::Value& object, const Resource& resource);
FieldErrors validate_update(const json::Value& object, const json::Value& old, const Resource& resource, std::string_view subresource);
std::string_view deprecation(const Resource& resource);  // empty: none
bool takes_unconditional_update(const Resource& resource);
void prepare_delete(json::Value& object, const Resource& resource, WallTime now);

// True where a field selector of this resource may name the field; its value in an object ("" where unset).
bool is_selectable(const Resource& resource, std::string_view field);
std::vector<std::string_view> selectable_fields(const Resource& resource);  // beside metadata.name and metadata.namespace
std::string selectable_value(const json::Value& object, const Resource& resource, std::string_view field);

}  // namespace monopod::api
