// The one walk over a tree by the tables: check, prune, sort, drop what Go omits, optionally put the tables' defaults in.
// decode.h is the door; kinds and protobuf use this directly.
#pragma once

#include <string>
#include <vector>

#include "api/schema/schema.h"
#include "base/error.h"
#include "codec/json.h"

namespace monopod::api {

struct CanonicalOptions {
  bool defaults = false;                        // fill in Field::default_value()
  bool keep_zero = false;                       // keep empty lists, maps and zero scalars as given (server-side apply configurations)
  bool add_required = true;                     // write required zero values and always-present objects
  std::vector<std::string>* unknown = nullptr;  // paths of unknown fields, at most 100
};
Result<> canonicalize_tree(json::Value& tree, const Type& type, const CanonicalOptions& options);

// What the store keeps must parse again (json::ParseLimits): patches and protobuf may not make trees deeper than this.
inline constexpr int kTreeDepthMax = 120;
Result<> check_depth(const json::Value& tree);  // kInvalidArgument

// Equality of two trees, quick where members stand in the same order, as those of canonical trees do.
bool same_tree(const json::Value& a, const json::Value& b);

// The name Go gives the type of a field, as its JSON errors print it: "int32", "[]v1.Container", "map[string]string".
std::string go_type_name(const Field& field);

}  // namespace monopod::api
