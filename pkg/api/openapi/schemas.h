// components.schemas of an OpenAPI v3 document, from the tables.
#pragma once

#include <set>

#include "api/schema/schema.h"
#include "codec/json.h"

namespace monopod::api::openapi {

// The schemas of these types and of all they refer to.
json::Object make_schemas(const std::set<const Type*>& roots);

}  // namespace monopod::api::openapi
