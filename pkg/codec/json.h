// JSON trees are Boost.JSON's; this header adds parsing with limits and lookups that do not throw.
#pragma once

#include <boost/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace monopod::json {

using Value = boost::json::value;
using Object = boost::json::object;
using Array = boost::json::array;

struct ParseLimits {
  std::size_t depth_max = 128;
  std::size_t bytes_max = 64U << 20;
};

// RFC 8259, no extensions. Duplicate keys: the last wins (as Go's encoding/json). Errors name the byte offset.
Result<Value> parse(std::string_view text, const ParseLimits& limits = {});
std::string format(const Value& value);

// Walks object members; null where one is missing or not an object: find(pod, {"spec", "nodeName"}).
const Value* find(const Value& root, std::initializer_list<std::string_view> path);
Value* find(Value& root, std::initializer_list<std::string_view> path);
// Member as text, number or bool; the fallback where absent or of another type.
std::string_view get_string(const Value& root, std::initializer_list<std::string_view> path, std::string_view fallback = {});
std::int64_t get_int(const Value& root, std::initializer_list<std::string_view> path, std::int64_t fallback = 0);
bool get_bool(const Value& root, std::initializer_list<std::string_view> path, bool fallback = false);
const Object* get_object(const Value& root, std::initializer_list<std::string_view> path);  // null where absent
const Array* get_array(const Value& root, std::initializer_list<std::string_view> path);    // null where absent
// Makes missing objects on the way; replaces what stands in the way. Returns the member to assign to.
Value& at_path(Value& root, std::initializer_list<std::string_view> path);

}  // namespace monopod::json
