// Small string helpers that the standard library lacks.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace monopod {

// Concatenates anything string_view-like and integers: cat("pod ", ns, "/", name, ": ", 3).
namespace detail {
// One argument, whatever its type was: what joins them is a function, not a template for each list of types.
struct CatPiece {
  const char* text = nullptr;  // null: the number is signed; kUnsigned: it is not
  std::uint64_t size;          // of text, or the number
  static const char kUnsigned[1];

  template <typename T>
    requires(std::is_convertible_v<const T&, std::string_view>)
  [[gnu::always_inline]] explicit CatPiece(const T& value) : CatPiece(std::string_view(value), 0) {}
  [[gnu::always_inline]] explicit CatPiece(const char& c) : text(&c), size(1) {}
  template <typename T>
    requires(std::is_integral_v<T> && !std::is_same_v<T, char>)
  [[gnu::always_inline]] explicit CatPiece(const T& n) : text(std::is_signed_v<T> ? nullptr : kUnsigned), size(static_cast<std::uint64_t>(n)) {}

 private:
  [[gnu::always_inline]] CatPiece(std::string_view value, int) : text(value.data() == nullptr ? "" : value.data()), size(value.size()) {}
};
std::string cat_pieces(const CatPiece* pieces, std::size_t count);
}  // namespace detail

template <typename... Args>
[[gnu::always_inline]] inline std::string cat(const Args&... args) {
  const detail::CatPiece pieces[] = {detail::CatPiece(args)...};
  return detail::cat_pieces(pieces, sizeof...(Args));
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
