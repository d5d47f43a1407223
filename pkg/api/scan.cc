#include "api/scan.h"

#include <bit>
#include <cstdint>
#include <cstring>

#include "codec/json.h"

namespace monopod::api {
namespace detail {

constexpr auto kEnd = std::string_view::npos;

std::size_t skip_space(std::string_view text, std::size_t at) {
  while (at < text.size() && (text[at] == ' ' || text[at] == '\n' || text[at] == '\t' || text[at] == '\r')) ++at;
  return at;
}

namespace {
// The high bit of each byte that equals the pattern's (the lowest one found is right, which is all that is looked at).
constexpr std::uint64_t equal_bytes(std::uint64_t word, std::uint64_t pattern) {
  std::uint64_t x = word ^ pattern;
  return (x - 0x0101010101010101U) & ~x & 0x8080808080808080U;
}
}  // namespace

std::size_t skip_string(std::string_view text, std::size_t at) {
  ++at;
  while (at < text.size()) {
    if constexpr (std::endian::native == std::endian::little) {  // eight at a time up to a quote or a backslash
      std::uint64_t word = 0, found = 0;
      while (found == 0 && at + sizeof word <= text.size()) {
        std::memcpy(&word, text.data() + at, sizeof word);
        found = equal_bytes(word, 0x2222222222222222U) | equal_bytes(word, 0x5c5c5c5c5c5c5c5cU);
        at += found == 0 ? sizeof word : static_cast<std::size_t>(std::countr_zero(found)) / 8;
      }
      if (at >= text.size()) break;
    }
    if (text[at] == '"') return at + 1;
    at += text[at] == '\\' ? 2 : 1;
  }
  return kEnd;
}

std::size_t skip_value(std::string_view text, std::size_t at) {
  std::size_t depth = 0;
  while (at < text.size()) {
    switch (text[at]) {
      case '"':
        at = skip_string(text, at);
        if (at == kEnd) return kEnd;
        if (depth == 0) return at;
        continue;
      case '{':
      case '[':
        ++depth;
        break;
      case '}':
      case ']':
        if (depth == 0) return kEnd;
        if (--depth == 0) return at + 1;
        break;
      default:
        if (depth == 0) {  // number, true, false, null
          std::size_t begin = at;
          while (at < text.size() && text[at] != ',' && text[at] != '}' && text[at] != ']' && text[at] > ' ') ++at;
          return at == begin ? kEnd : at;
        }
    }
    ++at;
  }
  return kEnd;
}

}  // namespace detail

std::string scan_text(std::string_view raw) {
  if (raw.size() >= 2 && raw.front() == '"') {
    std::string_view inner = raw.substr(1, raw.size() - 2);
    if (inner.find('\\') == std::string_view::npos) return std::string(inner);
    Result<json::Value> value = json::parse(raw);
    return value && value->is_string() ? std::string(value->get_string()) : std::string();
  }
  if (raw.empty() || raw.front() == '{' || raw.front() == '[' || raw == "null") return {};
  return std::string(raw);
}

std::string_view scan_path(std::string_view text, std::string_view dotted) {
  while (true) {
    std::size_t dot = dotted.find('.');
    std::string_view head = dotted.substr(0, dot);
    std::string_view found;
    scan_members(text, [&](std::string_view key, std::string_view value) {
      if (key != head) return true;
      found = value;
      return false;
    });
    if (dot == std::string_view::npos || found.empty()) return found;
    dotted = dotted.substr(dot + 1);
    text = found;
  }
}

}  // namespace monopod::api
