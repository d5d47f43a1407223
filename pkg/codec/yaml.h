// YAML to JSON trees and back, with the scalar typing of Kubernetes tools (sigs.k8s.io/yaml over go-yaml v2: YAML 1.2 core
// plus 1.1's booleans yes/no/on/off, octal 0o17 and 017, binary 0b1, underscores in numbers).
//
// Keys that are not strings become their JSON text, as there ("1: a" is {"1":"a"}). Merge keys ("<<") are applied.
// Time is linear in the bytes and in the alias budget; errors are kInvalidArgument "yaml: line 3, column 5: why".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "codec/json_arena.h"

namespace monopod::yaml {

struct Limits {
  std::size_t bytes_max = 16U << 20;
  std::size_t depth_max = 100;
  std::size_t documents_max = 10'000;
  std::size_t alias_nodes_max = 100'000;  // nodes made by expanding aliases, all documents together (billion laughs)
};

// One document; an empty text is null. More than one document fails.
Result<json::Value> parse(std::string_view text, const Limits& limits = {});
// The same, but a key that stands twice in a map is no error: its last value counts, and twice gets `line 11: key "foo" already set in map`, up to
// 100 of them. A tree of JSON lies in the arena, where one is given.
Result<json::Value> parse_noting_twice(std::string_view text, std::vector<std::string>& twice, const Limits& limits = {}, json::Arena* arena = nullptr);
// One document whose plain scalars stay the text they are written as, but for null (empty, ~, null): for formats that give their values types
// themselves (1.10 is a version, yes a word). A node with a tag of the format's own is {"!tag": node}.
Result<json::Value> parse_text(std::string_view text, const Limits& limits = {});
// Every document in order, those that are empty (only comments, or nothing between "---") left out.
Result<std::vector<json::Value>> parse_all(std::string_view text, const Limits& limits = {});

// Block style, two spaces, keys in the order of the tree, strings quoted only where plain text would read as another type;
// several lines become a literal block. Ends with a newline. What parse() reads back is equal.
std::string format(const json::Value& value);

}  // namespace monopod::yaml
