// Structured merge and diff of trees by the tables' list-type and map-type facts. Trees are canonical.
//   granular:  structs, maps, lists of type map (by keys) and set (by value)
//   atomic:    everything else, scalars included: one owner, replaced as a whole
#pragma once

#include <span>

#include "api/patch/field_set.h"
#include "api/schema/schema.h"

namespace monopod::api::typed {

// The fields that an applied configuration speaks of. kInvalidArgument: a list repeats a key or an item lacks its keys.
Result<FieldSet> fields_of(const json::Value& tree, const Type& type);

struct Difference {
  FieldSet added, modified, removed;
  bool empty() const { return added.empty() && modified.empty() && removed.empty(); }
};
Difference compare(const json::Value& before, const json::Value& after, const Type& type);

// What nobody owns of an object: members of the object itself, and of its metadata.
struct Unowned {
  std::span<const std::string_view> of_object;
  std::span<const std::string_view> of_metadata;
};
// fields (FieldsV1) is just fields_of(configuration), but for what is unowned. False where that is not plain to see (an item twice, many items).
bool speaks_of(const json::Value& configuration, const Type& type, const Unowned& unowned, const json::Value& fields);

// What a configuration does to an object that has all it speaks of.
enum class Overlay {
  kNothing,  // merge() would give live
  kValues,   // it gives some scalars another value, and that is all that merge() and canonicalize() would do
  kMore,     // or is not plain to see (another order of a list's items)
};
// modified: kValues: which, as compare() would say.
Overlay overlay_of(const json::Value& live, const json::Value& configuration, const Type& type, FieldSet& modified);
// tree: a copy of live. modified: of kValues.
void lay_over(json::Value& tree, const json::Value& configuration, const Type& type, const FieldSet& modified);

// live with configuration over it.
json::Value merge(const json::Value& live, const json::Value& configuration, const Type& type);

// Takes out what `last` had and `kept` no longer has.
void remove_items(json::Value& tree, const Type& type, const FieldSet& last, const FieldSet& kept);

}  // namespace monopod::api::typed
