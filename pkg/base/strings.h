// Small string helpers that the standard library lacks.
#pragma once

#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace monopod {

// Concatenates anything string_view-like and integers: cat("pod ", ns, "/", name, ": ", 3).
namespace detail {
inline void cat_one(std::string& out, std::string_view v) { out += v; }
inline void cat_one(std::string& out, char c) { out += c; }
template <typename T>
  requires std::is_integral_v<T>
void cat_one(std::string& out, T n) {
  char text[24];
  auto [end, ec] = std::to_chars(text, text + sizeof text, n);
  out.append(text, end);
}
}  // namespace detail

template <typename... Args>
std::string cat(const Args&... args) {
  std::string out;
  (detail::cat_one(out, args), ...);
  return out;
}

// Every part, empty ones too: split("a,,b", ',') is {"a", "", "b"}; split("", ',') is {""}. Views into text.
std::vector<std::string_view> split(std::string_view text, char separator);
// At the first separator; the second part is nullopt where there is none.
std::pair<std::string_view, std::optional<std::string_view>> split_once(std::string_view text, char separator);
std::string_view trim(std::string_view text);  // ASCII white space, both ends
std::string join(const std::vector<std::string>& parts, std::string_view separator);
std::string to_lower(std::string_view text);  // ASCII
bool iequals(std::string_view a, std::string_view b);  // ASCII, case-insensitive

// The whole of text as a decimal number within T; nullopt otherwise (signs only as to_chars writes them).
template <typename T>
std::optional<T> parse_int(std::string_view text) {
  T value{};
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

}  // namespace monopod
