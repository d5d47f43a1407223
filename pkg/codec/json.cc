#include "codec/json_arena.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/strings.h"

namespace monopod::json {
namespace {

// Numbers whose exponent is beyond a double become infinite, or none at all (0e999): JSON cannot say them again.
bool holds_non_finite(const Value& value) {
  if (const double* number = value.if_double()) return !std::isfinite(*number);
  if (const Array* array = value.if_array()) return std::ranges::any_of(*array, holds_non_finite);
  if (const Object* object = value.if_object()) return std::ranges::any_of(*object, [](const auto& member) { return holds_non_finite(member.value()); });
  return false;
}

// Saturated: a conversion out of range is undefined.
std::int64_t to_int(double number) {
  constexpr double kBeyond = 9223372036854775808.0;
  if (std::isnan(number)) return 0;
  if (number >= kBeyond) return std::numeric_limits<std::int64_t>::max();
  if (number < -kBeyond) return std::numeric_limits<std::int64_t>::min();
  return static_cast<std::int64_t>(number);
}

Result<Value> parse_in(boost::json::storage_ptr storage, std::string_view text, const ParseLimits& limits) {
  if (text.size() > limits.bytes_max)
    return fail(Code::kInvalidArgument, cat("json: ", text.size(), " bytes exceed the limit of ", limits.bytes_max));
  boost::json::parse_options options;
  options.max_depth = limits.depth_max;
  boost::json::stream_parser parser({}, options);
  parser.reset(std::move(storage));
  boost::system::error_code ec;
  std::size_t consumed = parser.write_some(text.data(), text.size(), ec);
  if (!ec && consumed < text.size() && trim(text.substr(consumed)).size() > 0) ec = boost::json::error::extra_data;
  if (!ec) parser.finish(ec);
  if (ec) return fail(Code::kInvalidArgument, cat("json: ", ec.message(), " at byte ", consumed));
  return parser.release();
}

Result<Value> parse_sent(boost::json::storage_ptr storage, std::string_view text, const ParseLimits& limits) {
  Result<Value> value = parse_in(std::move(storage), text, limits);
  if (value && holds_non_finite(*value)) return fail(Code::kInvalidArgument, "json: number out of range");
  return value;
}

}  // namespace

Result<Value> parse(std::string_view text, const ParseLimits& limits) { return parse_sent({}, text, limits); }
Result<Value> parse_into(Arena& arena, std::string_view text, const ParseLimits& limits) { return parse_sent(arena.storage(), text, limits); }

std::string format(const Value& value) { return boost::json::serialize(value); }

Result<Value> parse_into(Arena& arena, std::string_view text) { return parse_in(arena.storage(), text, {}); }

const Value* find(const Value& root, std::initializer_list<std::string_view> path) {
  const Value* at = &root;
  for (std::string_view key : path) {
    const Object* object = at->if_object();
    if (object == nullptr) return nullptr;
    at = object->if_contains(key);
    if (at == nullptr) return nullptr;
  }
  return at;
}

Value* find(Value& root, std::initializer_list<std::string_view> path) {
  return const_cast<Value*>(find(static_cast<const Value&>(root), path));
}

std::string_view get_string(const Value& root, std::initializer_list<std::string_view> path, std::string_view fallback) {
  const Value* v = find(root, path);
  if (v == nullptr || !v->is_string()) return fallback;
  return v->get_string();
}

std::int64_t get_int(const Value& root, std::initializer_list<std::string_view> path, std::int64_t fallback) {
  const Value* v = find(root, path);
  if (v == nullptr) return fallback;
  if (v->is_int64()) return v->get_int64();
  if (v->is_uint64()) return static_cast<std::int64_t>(v->get_uint64());
  if (v->is_double()) return to_int(v->get_double());
  return fallback;
}

bool get_bool(const Value& root, std::initializer_list<std::string_view> path, bool fallback) {
  const Value* v = find(root, path);
  return v != nullptr && v->is_bool() ? v->get_bool() : fallback;
}

const Object* get_object(const Value& root, std::initializer_list<std::string_view> path) {
  const Value* v = find(root, path);
  return v == nullptr ? nullptr : v->if_object();
}

const Array* get_array(const Value& root, std::initializer_list<std::string_view> path) {
  const Value* v = find(root, path);
  return v == nullptr ? nullptr : v->if_array();
}

Value& at_path(Value& root, std::initializer_list<std::string_view> path) {
  Value* at = &root;
  for (std::string_view key : path) {
    if (!at->is_object()) at->emplace_object();
    at = &at->get_object()[key];
  }
  return *at;
}

}  // namespace monopod::json
