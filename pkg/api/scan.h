// Looking into JSON text without building a tree: what cutting an object out of the store's bytes costs is a pass over
// them. The text is expected to be valid JSON; on anything else the functions stop and say false, never read past the end.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace monopod::api {

// Calls on_member(key, at) for each member of the object that begins at `at` of text; it looks at the value there and returns the position
// after it, npos to stop. The position after the object; npos where it was stopped or there is none.
template <typename F>
std::size_t walk_members(std::string_view text, std::size_t at, F on_member);

// Calls on_member(key, raw value text) for each member of the object that text starts with; it returns false to stop early.
// Keys are given as they stand between the quotes. Returns false where text is not an object.
template <typename F>
bool scan_members(std::string_view text, F on_member);

// Calls on_element(raw value text) for each element of the array that text starts with.
template <typename F>
bool scan_elements(std::string_view text, F on_element);

// The text of a raw JSON string, escapes resolved; numbers and booleans as they stand; "" for null, objects and arrays.
std::string scan_text(std::string_view raw);

// The raw text of a member by dotted path, empty where absent.
std::string_view scan_path(std::string_view text, std::string_view dotted);

// --- implementation
namespace detail {
std::size_t skip_space(std::string_view text, std::size_t at);
// Position after the value that begins at `at`; npos where there is none.
std::size_t skip_value(std::string_view text, std::size_t at);
std::size_t skip_string(std::string_view text, std::size_t at);
}  // namespace detail

template <typename F>
std::size_t walk_members(std::string_view text, std::size_t at, F on_member) {
  constexpr auto kEnd = std::string_view::npos;
  at = detail::skip_space(text, at);
  if (at >= text.size() || text[at] != '{') return kEnd;
  at = detail::skip_space(text, at + 1);
  while (at < text.size() && text[at] == '"') {
    std::size_t key_end = detail::skip_string(text, at);
    if (key_end == kEnd) return kEnd;
    std::string_view key = text.substr(at + 1, key_end - at - 2);
    at = detail::skip_space(text, key_end);
    if (at >= text.size() || text[at] != ':') return kEnd;
    std::size_t end = on_member(key, detail::skip_space(text, at + 1));
    if (end == kEnd) return kEnd;
    at = detail::skip_space(text, end);
    if (at >= text.size() || text[at] != ',') break;
    at = detail::skip_space(text, at + 1);
  }
  return at < text.size() && text[at] == '}' ? at + 1 : kEnd;
}

template <typename F>
bool scan_members(std::string_view text, F on_member) {
  bool stopped = false;
  const std::size_t end = walk_members(text, 0, [&](std::string_view key, std::size_t at) {
    std::size_t after = detail::skip_value(text, at);
    if (after == std::string_view::npos || on_member(key, text.substr(at, after - at))) return after;
    stopped = true;
    return std::string_view::npos;
  });
  return stopped || end != std::string_view::npos;
}

template <typename F>
bool scan_elements(std::string_view text, F on_element) {
  std::size_t at = detail::skip_space(text, 0);
  if (at >= text.size() || text[at] != '[') return false;
  at = detail::skip_space(text, at + 1);
  while (at < text.size() && text[at] != ']') {
    std::size_t end = detail::skip_value(text, at);
    if (end == std::string_view::npos) return false;
    on_element(text.substr(at, end - at));
    at = detail::skip_space(text, end);
    if (at >= text.size() || text[at] != ',') break;
    at = detail::skip_space(text, at + 1);
  }
  return at < text.size() && text[at] == ']';
}

}  // namespace monopod::api
