// A custom object against the schema of its version, in the words of upstream's apiextensions validation (kube-openapi).
#pragma once

#include "api/crd/kind.h"
#include "api/schema/field_error.h"

namespace monopod::api::crd {

// old: the object before an update; what has not changed since is not judged again (KEP-4008, ratcheting). Null on create.
// At most kErrorsMax errors; patterns that take more than kPatternStepsMax steps in sum are one.
void validate_object(const json::Value& object, const json::Value* old, const CustomResource& resource, FieldErrors& errors);
// A value of no object: the defaults in a definition. Null old.
void validate_value(const json::Value& value, const Schema& schema, const Path& path, FieldErrors& errors);

}  // namespace monopod::api::crd
