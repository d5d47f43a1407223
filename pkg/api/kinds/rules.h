// What is asked of single fields of the simpler kinds, as rows: where the field is, what it must be. What looks at two fields at once is code.
#pragma once

#include "api/schema/field_error.h"

namespace monopod::api::kinds {

// Reports what the rows of this kind find in the object.
void check_rules(const json::Value& object, std::string_view group, std::string_view kind, FieldErrors& errors);
// The fields that an update of this kind may not change.
void check_immutable_fields(const json::Value& object, const json::Value& old, std::string_view group, std::string_view kind, FieldErrors& errors);

}  // namespace monopod::api::kinds
