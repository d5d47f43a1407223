// Is a JSONSchemaProps document a structural schema (KEP-1979 and apiextensions validation): typed at every level, nothing that
// prunes or merges ambiguously, no references.
#pragma once

#include "api/schema/field_error.h"

namespace monopod::api::crd {

// path: of openAPIV3Schema.
void check_schema(const json::Value& schema, const Path& path, FieldErrors& errors);

}  // namespace monopod::api::crd
