// Structured merge and diff of trees by the tables' list-type and map-type facts. Trees are canonical.
//   granular:  structs, maps, lists of type map (by keys) and set (by value)
//   atomic:    everything else, scalars included: one owner, replaced as a whole
#pragma once

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

// The configuration says nothing that live does not: merge() would give live. False where that is not plain to see (other order
// of a list's items).
bool covers(const json::Value& live, const json::Value& configuration, const Type& type);

// live with configuration over it.
json::Value merge(const json::Value& live, const json::Value& configuration, const Type& type);

// Takes out what `last` had and `kept` no longer has.
void remove_items(json::Value& tree, const Type& type, const FieldSet& last, const FieldSet& kept);

}  // namespace monopod::api::typed
