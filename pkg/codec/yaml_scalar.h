// How plain YAML text becomes a typed value: the rules of the YAML library that Kubernetes' tools decode with.
#pragma once

#include <optional>
#include <string_view>

#include "codec/json.h"

namespace monopod::yaml {

// A plain (unquoted, untagged) scalar. Numbers that JSON has no form for (.nan, .inf) are nullopt.
// Dates stay text; integral floats become integers, as Go's encoding/json prints them.
std::optional<json::Value> resolve_plain(std::string_view text);
// Whether the text may stand unquoted and still be read as itself, by this reader and by YAML 1.1 ones.
bool is_safe_plain(std::string_view text);

}  // namespace monopod::yaml
