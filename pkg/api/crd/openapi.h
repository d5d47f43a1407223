// Custom kinds in OpenAPI v3: their schemas as their definitions give them, with what every object has.
#pragma once

#include "api/crd/kind.h"

namespace monopod::api::crd {

// components.schemas of the kind and of its list. References: to ObjectMeta and ListMeta, which the document must have.
json::Object make_openapi_schema(const CustomResource& resource);
json::Object make_openapi_list_schema(const CustomResource& resource);
std::string openapi_list_name(const CustomResource& resource);  // "com.example.v1.WidgetList"

}  // namespace monopod::api::crd
