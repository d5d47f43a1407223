// From bytes to a canonical tree and back.
//
// Canonical: members sorted by name, unknown fields gone, nulls gone, zero values that Go would omit gone, zero values that
// Go always writes present, quantities, times and integers in their one spelling. The canonical text of an object is
// json::format() of its canonical tree; canonicalize() of a canonical tree changes nothing.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/schema/schema.h"
#include "base/error.h"
#include "codec/json.h"

namespace monopod::api {

enum class FieldValidation { kIgnore, kWarn, kStrict };
// The query parameter fieldValidation; the empty text is kWarn (upstream's default). kInvalidArgument otherwise.
Result<FieldValidation> parse_field_validation(std::string_view text);

struct Decoded {
  json::Value object;                 // canonical
  std::vector<std::string> warnings;  // kWarn: `unknown field "spec.foo"`, `duplicate field "spec.bar"`: one Warning header each
};

// What is decoded: its type, and the apiVersion and kind the body may leave out.
struct DecodeTarget {
  const Type* type;
  std::string_view group_version;  // filled in where the body has none
  std::string_view kind;
};

// JSON text. Errors are kInvalidArgument (400) with upstream's text:
//   strict decoding error: unknown field "spec.foo", duplicate field "spec.bar"
//   json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type []v1.Container
Result<Decoded> decode_json(std::string_view text, const DecodeTarget& target, FieldValidation validation);
// A parsed tree (from YAML, a patch, a webhook): the same checks but for duplicates. The tree is consumed.
Result<Decoded> decode_tree(json::Value tree, const DecodeTarget& target, FieldValidation validation);

// Where a key stands twice in the text that the tree was parsed from: `duplicate field "spec.replicas"`, at most 100. One cheap pass where there is none.
std::vector<std::string> duplicate_fields(std::string_view text, const json::Value& tree);

// Brings a tree of this type to its canonical form in place. Unknown fields are dropped. Fails where a value has the wrong type.
Result<> canonicalize(json::Value& tree, const Type& type);

// apiVersion and kind of a body of unknown type, without a full parse of it where possible.
struct TypeMeta {
  std::string api_version;
  std::string kind;
};
Result<TypeMeta> peek_type(std::string_view text);

}  // namespace monopod::api
