// Query strings and percent-encoding (WHATWG form decoding as Go's net/url: '+' is a space in queries, not in paths).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace monopod::http {

class Query {
 public:
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  Query() = default;
  explicit Query(Pairs pairs) : pairs_(std::move(pairs)) {}

  std::optional<std::string_view> get(std::string_view name) const;  // the first
  std::vector<std::string_view> get_all(std::string_view name) const;
  // "", "1", "true" (any case) are true: how Kubernetes reads boolean parameters. Absent: the fallback.
  bool get_bool(std::string_view name, bool fallback = false) const;
  void add(std::string name, std::string value) { pairs_.emplace_back(std::move(name), std::move(value)); }
  std::string format() const;  // encoded, without '?'

  bool empty() const { return pairs_.empty(); }
  auto begin() const { return pairs_.begin(); }
  auto end() const { return pairs_.end(); }

 private:
  Pairs pairs_;
};

// Decoded pairs in order. A pair with a broken escape or with ';' is left out, as Go does.
Query parse_query(std::string_view raw_query);

std::string encode_query_component(std::string_view text);
// kInvalidArgument for a broken escape or NUL.
Result<std::string> decode_path(std::string_view raw_path);
// Escapes one path segment ('/' too).
std::string encode_path_segment(std::string_view text);

}  // namespace monopod::http
