// The canonical form of custom objects: members sorted, metadata as in every kind, what the schema does not know pruned, numbers
// in one spelling, and defaults where they are asked for. The custom half of api/schema/canonical.h.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/crd/kind.h"
#include "api/schema/canonical.h"
#include "base/error.h"
#include "codec/json.h"

namespace monopod::api::crd {

// Fails where apiVersion, kind or metadata have the wrong type; what is below them is left to validation.
Result<> settle_tree(json::Value& tree, const CustomType& type, const CanonicalOptions& options);

// Prunes a value that is no object of its own: a default. Without defaults.
void prune_value(json::Value& value, const Schema& schema);

// Stored text in the form its schema gives it now: its version, pruned, with defaults (upstream's defaulting when read from storage).
Result<std::string> settle_stored(std::string_view stored, const CustomResource& resource);

}  // namespace monopod::api::crd
