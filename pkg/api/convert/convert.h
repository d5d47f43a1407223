// Between the versions of a kind: the store holds one, requests may speak another. Identity but for the kinds in convert.cc.
#pragma once

#include "api/schema/schema.h"
#include "api/status.h"

namespace monopod::api {

// The row whose schema a write is held to: the stored one, but for custom kinds the requested version's own.
const Resource& working_resource(const Resource& requested);
// True where a request for this row needs no conversion.
bool is_stored_form(const Resource& resource);
// A tree of the requested version as the stored one, and back. apiVersion and kind are set.
json::Value to_stored(json::Value object, const Resource& requested);
json::Value to_requested(json::Value stored, const Resource& requested);

}  // namespace monopod::api
