// The three patch formats that need no field ownership. All work on trees and leave the original untouched; the caller
// decodes the result (decode_tree), which prunes and checks it. Limits keep a small patch from making a large document.
#pragma once

#include <string_view>

#include "api/schema/schema.h"
#include "base/error.h"
#include "codec/json.h"

namespace monopod::api {

struct PatchLimits {
  std::size_t operations_max = 10000;          // RFC 6902 operations, as upstream
  std::size_t copied_bytes_max = 3U << 20;     // what all copy operations of one patch may add
};

// RFC 6902. kInvalidArgument (400) where the patch is malformed, kFailedPrecondition (422 "the server rejected our request due
// to an error in our request") where an operation cannot be done or a test fails, kResourceExhausted (413) over the limit.
Result<json::Value> apply_json_patch(const json::Value& original, const json::Value& patch, const PatchLimits& limits = {});
// RFC 7396.
json::Value apply_merge_patch(json::Value original, const json::Value& patch);
// Strategic merge by the tables' merge keys: $patch (replace, delete, merge), $retainKeys, $setElementOrder/x,
// $deleteFromPrimitiveList/x. kInvalidArgument with upstream's text for malformed directives.
Result<json::Value> apply_strategic_merge_patch(const json::Value& original, const json::Value& patch, const Type& type);

}  // namespace monopod::api
