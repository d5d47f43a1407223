// A map of a configuration tree being read: typed fields with defaults, every one asked for by name; what nobody asked for is an error. The first
// error stays, with the field's path ("clusters[2].endpoints[0].address"), and what is read after it does not matter.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "codec/json.h"
#include "proxy/config/spec.h"

namespace monopod::proxy {

// The field an error is about, and why. The path is how the loader finds its line.
struct ConfigError {
  std::string path;
  std::string why;
};

// What can stand in a metric's label and a log line as it is: printable, no quotes or backslashes, 200 bytes at most.
bool is_plain_name(std::string_view name);

class MapReader {
 public:
  // value, error and path's storage outlive it.
  MapReader(const json::Value& value, std::string path, std::optional<ConfigError>& error);

  bool has(std::string_view key);
  std::string text(std::string_view key, std::string fallback = {});
  std::string required_text(std::string_view key);
  bool boolean(std::string_view key, bool fallback);
  std::uint32_t number(std::string_view key, std::uint32_t fallback, std::uint32_t min, std::uint32_t max);
  Milliseconds duration(std::string_view key, Milliseconds fallback);
  // Of a list of names, the index of the value.
  std::size_t choice(std::string_view key, std::initializer_list<std::string_view> names, std::size_t fallback = 0);
  std::vector<std::string> texts(std::string_view key);
  // f(MapReader&) for a map, or for each map of a list. Nothing where absent.
  template <typename F>
  void map(std::string_view key, F f) {
    if (const json::Value* value = find(key)) {
      MapReader inner(*value, path_of(key), error_);
      f(inner);
      inner.finish();
    }
  }
  template <typename F>
  void list(std::string_view key, F f) {
    const json::Value* value = find(key);
    if (value == nullptr || !want_list(key, *value)) return;
    std::size_t i = 0;
    for (const json::Value& item : value->get_array()) {
      MapReader inner(item, path_of(key) + "[" + std::to_string(i++) + "]", error_);
      f(inner);
      inner.finish();
    }
  }
  // name: value pairs, in their order.
  std::vector<std::pair<std::string, std::string>> pairs(std::string_view key);
  const json::Value* find(std::string_view key);  // marks it as known; key outlives the reader
  // What is left is an error.
  void finish();
  void fail_at(std::string_view key, std::string why);
  std::string path_of(std::string_view key) const;
  const std::string& path() const { return path_; }
  std::optional<ConfigError>& error() { return error_; }

 private:
  bool want_list(std::string_view key, const json::Value& value);
  const json::Object* object_ = nullptr;
  std::string path_;
  std::optional<ConfigError>& error_;
  std::vector<std::string_view> known_;  // literals, and keys of the tree itself
};

}  // namespace monopod::proxy
