// A structural schema (apiextensions.k8s.io/v1 JSONSchemaProps), compiled once for each served version: what pruning, defaults,
// validation, server-side apply and column paths walk beside an object. Immutable; shared by every request.
//
//   JSON of the definition ─ check_schema() (structural.h: is it one?) ─ compile_schema() ─> Schema
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "codec/pattern.h"
#include "base/error.h"
#include "codec/json.h"

namespace monopod::api::crd {

enum class SchemaType : std::uint8_t { kAny, kObject, kArray, kString, kInteger, kNumber, kBoolean };
std::string_view type_name(SchemaType type);  // "object"; empty for kAny
SchemaType parse_type(std::string_view name); // kAny where it is none of the names

enum class MergeRule : std::uint8_t { kNone, kAtomic, kSet, kMap, kGranular };  // list-type and map-type

class Schema;
using SchemaPtr = std::unique_ptr<const Schema>;

// What a value must satisfy besides its type. Most nodes of real schemas have none of it.
struct Rules {
  std::unique_ptr<const Pattern> pattern;
  std::string pattern_text;
  std::string format;
  json::Array enumeration;
  std::vector<std::string> required;
  double minimum = 0, maximum = 0, multiple_of = 0;
  std::int64_t min_length = 0, max_length = 0, min_items = 0, max_items = 0, min_properties = 0, max_properties = 0;
  enum Has : std::uint32_t {
    kMinimum = 1, kMaximum = 2, kMultipleOf = 4, kMinLength = 8, kMaxLength = 16, kMinItems = 32, kMaxItems = 64,
    kMinProperties = 128, kMaxProperties = 256, kExclusiveMinimum = 512, kExclusiveMaximum = 1024, kUniqueItems = 2048, kEnum = 4096,
  };
  std::uint32_t has = 0;
  std::vector<SchemaPtr> all_of, any_of, one_of;
  SchemaPtr none_of;  // "not"
};

class Schema {
 public:
  SchemaType type = SchemaType::kAny;
  MergeRule merge = MergeRule::kNone;
  bool nullable = false;
  bool preserve_unknown = false;
  bool embedded = false;       // x-kubernetes-embedded-resource
  bool int_or_string = false;
  bool any_additional = false; // additionalProperties: true
  std::vector<std::pair<std::string, SchemaPtr>> properties;  // sorted
  SchemaPtr items;
  SchemaPtr additional;
  std::vector<std::string> list_keys;
  std::unique_ptr<const json::Value> default_value;
  std::unique_ptr<const Rules> rules;

  const Schema* property(std::string_view name) const;  // null where it is not specified
  // What a member of an object is held to: its property, else additionalProperties; null where nothing is said of it.
  const Schema* member(std::string_view name) const;
  bool has_defaults = false;   // somewhere in here
  std::size_t default_bytes = 0;  // of default_value as text
};

// Of a schema that check_schema() found good. kInvalidArgument otherwise: too deep, too many nodes, a pattern that is none.
Result<SchemaPtr> compile_schema(const json::Value& json);

}  // namespace monopod::api::crd
