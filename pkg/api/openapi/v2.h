// OpenAPI v2 (Swagger), made from the v3 documents: what Argo CD, Terraform, older clients and `kubectl explain --output=plaintext-openapiv2`
// read. One document for all groups, as JSON and as the protobuf message that client-go asks for (gnostic's openapi.v2.Document).
#pragma once

#include <string>
#include <vector>

#include "codec/json.h"

namespace monopod::api::openapi {

// documents: v3, parsed. Defaults are left out, as upstream leaves them out.
json::Object make_v2(const std::vector<json::Value>& documents);

// The protobuf message of such a document.
std::string encode_v2(const json::Object& document);

}  // namespace monopod::api::openapi
