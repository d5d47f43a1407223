// Paths into an object. Two forms:
//   simple   ".spec.replicas", member names only: scale, selectableFields
//   columns  additionalPrinterColumns: members, [0], [-1], [*], ['a.b'], ..name, [?(@.type=="Ready")] (one comparison)
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "codec/json.h"

namespace monopod::api::crd {

struct PathStep {
  enum Kind : std::uint8_t { kMember, kIndex, kAll, kFilter, kDescend } kind = kMember;
  std::string name;                 // kMember, kDescend
  std::int64_t index = 0;           // kIndex; negative counts from the end
  std::vector<std::string> left;    // kFilter: members below @
  std::string op;                   // ==, !=, <, <=, >, >=; empty: it exists
  json::Value right;
};
using JsonPath = std::vector<PathStep>;

inline constexpr std::size_t kPathStepsMax = 32;
inline constexpr std::size_t kPathResultsMax = 100;  // of one cell
inline constexpr std::size_t kPathVisitsMax = 100'000;  // of values that ..name looks at, for one cell

// kInvalidArgument with the reason.
Result<JsonPath> parse_json_path(std::string_view text);
// What the path leads to, in document order; at most kPathResultsMax.
std::vector<const json::Value*> evaluate(const JsonPath& path, const json::Value& root);

// ".spec.a.b" -> {spec, a, b}. kInvalidArgument: no leading dot, an empty name, an array.
Result<std::vector<std::string>> parse_simple_path(std::string_view text);
const json::Value* find_at(const json::Value& root, const std::vector<std::string>& path);

}  // namespace monopod::api::crd
