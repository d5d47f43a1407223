#include "proxy/config/reader.h"

#include <algorithm>

#include "base/duration.h"
#include "base/strings.h"

namespace monopod::proxy {

bool is_plain_name(std::string_view name) {
  if (name.size() > 200) return false;
  for (char c : name)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '"' || c == '\\') return false;
  return true;
}

MapReader::MapReader(const json::Value& value, std::string path, std::optional<ConfigError>& error) : path_(std::move(path)), error_(error) {
  if (value.is_object()) object_ = &value.get_object();
  else if (!error_) error_ = ConfigError{path_, "want a map"};
}

std::string MapReader::path_of(std::string_view key) const { return path_.empty() ? std::string(key) : cat(path_, ".", key); }

void MapReader::fail_at(std::string_view key, std::string why) {
  if (!error_) error_ = ConfigError{key.empty() ? path_ : path_of(key), std::move(why)};
}

const json::Value* MapReader::find(std::string_view key) {
  known_.push_back(key);
  if (object_ == nullptr) return nullptr;
  const json::Value* value = object_->if_contains(key);
  return value != nullptr && value->is_null() ? nullptr : value;
}

bool MapReader::has(std::string_view key) { return find(key) != nullptr; }

std::string MapReader::text(std::string_view key, std::string fallback) {
  const json::Value* value = find(key);
  if (value == nullptr) return fallback;
  if (value->is_string()) return std::string(value->get_string());
  if (value->is_number()) return json::format(*value);  // "server_name: 5" is a text all the same
  fail_at(key, "want text");
  return fallback;
}

std::string MapReader::required_text(std::string_view key) {
  std::string out = text(key);
  if (out.empty()) fail_at(has(key) ? key : std::string_view(), cat(key, " is missing"));
  return out;
}

bool MapReader::boolean(std::string_view key, bool fallback) {
  const json::Value* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_bool()) fail_at(key, "want true or false");
  return value->is_bool() ? value->get_bool() : fallback;
}

std::uint32_t MapReader::number(std::string_view key, std::uint32_t fallback, std::uint32_t min, std::uint32_t max) {
  const json::Value* value = find(key);
  if (value == nullptr) return fallback;
  bool good = value->is_int64() && value->get_int64() >= min && value->get_int64() <= max;
  if (!good) fail_at(key, cat("want a number from ", min, " to ", max));
  return good ? static_cast<std::uint32_t>(value->get_int64()) : fallback;
}

Milliseconds MapReader::duration(std::string_view key, Milliseconds fallback) {
  const json::Value* value = find(key);
  if (value == nullptr) return fallback;
  if (value->is_int64() && value->get_int64() == 0) return Milliseconds(0);
  Result<Duration> parsed = value->is_string() ? parse_duration(value->get_string()) : fail(Code::kInvalidArgument, "");
  if (!parsed || *parsed > std::chrono::hours(24 * 30)) {
    fail_at(key, "want a duration such as 250ms, 15s or 1h, of 30 days at most");
    return fallback;
  }
  return std::chrono::duration_cast<Milliseconds>(*parsed);
}

std::size_t MapReader::choice(std::string_view key, std::initializer_list<std::string_view> names, std::size_t fallback) {
  if (!has(key)) return fallback;
  std::string value = text(key);
  std::string all;
  std::size_t i = 0;
  for (std::string_view name : names) {
    if (name == value) return i;
    all += cat(i++ == 0 ? "" : ", ", name);
  }
  fail_at(key, cat("\"", value, "\" is not one of ", all));
  return fallback;
}

bool MapReader::want_list(std::string_view key, const json::Value& value) {
  if (!value.is_array()) fail_at(key, "want a list");
  return value.is_array();
}

std::vector<std::string> MapReader::texts(std::string_view key) {
  std::vector<std::string> out;
  const json::Value* value = find(key);
  if (value == nullptr || !want_list(key, *value)) return out;
  for (const json::Value& item : value->get_array()) {
    if (!item.is_string()) {
      fail_at(cat(key, "[", out.size(), "]"), "want text");
      return out;
    }
    out.emplace_back(item.get_string());
  }
  return out;
}

std::vector<std::pair<std::string, std::string>> MapReader::pairs(std::string_view key) {
  std::vector<std::pair<std::string, std::string>> out;
  const json::Value* value = find(key);
  if (value == nullptr) return out;
  if (!value->is_object()) {
    fail_at(key, "want a map of names to texts");
    return out;
  }
  MapReader inner(*value, path_of(key), error_);
  for (const auto& item : value->get_object()) out.emplace_back(std::string(item.key()), inner.text(item.key()));
  return out;
}

void MapReader::finish() {
  if (object_ == nullptr || error_) return;
  for (const auto& item : *object_)
    if (std::ranges::find(known_, std::string_view(item.key())) == known_.end()) return fail_at(item.key(), "unknown field");
}

}  // namespace monopod::proxy
