// HTTP header fields: an ordered list, names compared without case. Values never hold CR, LF or NUL: add() and set()
// replace them by a space, so that no text that flowed in from a claim or a path can start a new field (CWE-113).
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace monopod::http {

class Headers {
 public:
  struct Field {
    std::string name;  // as written; h2 sends it lowercase
    std::string value;
  };

  Headers() = default;
  Headers(std::initializer_list<std::pair<std::string_view, std::string_view>> fields);

  void reserve(std::size_t fields) { fields_.reserve(fields); }
  void add(std::string_view name, std::string_view value);
  // Replaces all fields of that name.
  void set(std::string_view name, std::string_view value);
  void remove(std::string_view name);
  // The first one's value, valid until the list changes.
  std::optional<std::string_view> find(std::string_view name) const;
  std::vector<std::string_view> find_all(std::string_view name) const;
  // True when a comma-separated field of that name holds the token, any case: has_token("connection", "upgrade").
  bool has_token(std::string_view name, std::string_view token) const;
  // Sum of names and values in bytes.
  std::size_t bytes() const;

  bool empty() const { return fields_.empty(); }
  std::size_t size() const { return fields_.size(); }
  auto begin() const { return fields_.begin(); }
  auto end() const { return fields_.end(); }

 private:
  std::vector<Field> fields_;
};

// RFC 9110 section 5.6.2 and 5.5: what a parser accepts.
bool is_token(std::string_view text);
bool is_field_value(std::string_view text);

}  // namespace monopod::http
