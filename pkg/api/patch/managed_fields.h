// Field ownership: server-side apply, and the upkeep of metadata.managedFields by every other write (KEP-555).
// Works on canonical trees and the tables' list-type and map-type facts.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/schema/schema.h"
#include "base/clock.h"
#include "base/error.h"
#include "codec/json.h"

namespace monopod::api {

// Who writes, and how.
struct FieldManager {
  std::string manager;       // fieldManager, or the user agent's first word where none was given; at most 128 bytes
  std::string api_version;   // of the request: "apps/v1"
  std::string subresource;   // "", "status", "scale"
  WallTime now;
};

struct ApplyConflict {
  std::string manager;  // `"kubectl-client-side-apply" using apps/v1`, with `with subresource "status"` where so
  std::string field;    // ".spec.replicas"
};

struct ApplyResult {
  json::Value object;                   // canonical, with managedFields; null when unchanged or when conflicts is not empty
  bool unchanged = false;               // the live object is what was applied, and says so
  std::vector<ApplyConflict> conflicts; // empty when forced
};

// The tree as the client sent it: what of it is applied, canonical but for zero values, which stay; no defaults. kInvalidArgument: managedFields
// given, an unknown field, a wrong type.
Result<json::Value> read_configuration(json::Value configuration, const Type& type, const FieldManager& who);
// Applies one that was read over the live object. `live` is null when the object is created. The result still needs defaults, prepare and
// validation, but no update_managed_fields(). An apply that changes nothing leaves the old time. kInvalidArgument: a list key twice.
Result<ApplyResult> apply_read(const json::Value* live, const json::Value& config, const Type& type, const FieldManager& who, bool force);
// Both.
Result<ApplyResult> apply_configuration(const json::Value* live, const json::Value& configuration, const Type& type,
                                        const FieldManager& who, bool force);

// The 409 answer: metav1.Status, reason Conflict, causes FieldManagerConflict.
json::Value make_apply_conflict_status(const std::vector<ApplyConflict>& conflicts);

// After a create, update or patch (with defaults, before the write): sets object.metadata.managedFields from old's and what changed. `old` is null on create.
// An object whose managedFields the client emptied ([] or [{}]) starts anew.
void update_managed_fields(json::Value& object, const json::Value* old, const Type& type, const FieldManager& who);

}  // namespace monopod::api
