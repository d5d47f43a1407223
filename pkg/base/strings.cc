#include "base/strings.h"

#include <algorithm>

namespace monopod {

namespace detail {

const char CatPiece::kUnsigned[1] = {};

std::string cat_pieces(const CatPiece* pieces, std::size_t count) {
  std::string out;
  for (const CatPiece* piece = pieces; piece != pieces + count; ++piece) {
    if (piece->text != nullptr && piece->text != CatPiece::kUnsigned) {
      out.append(piece->text, piece->size);
      continue;
    }
    char text[24];
    auto [end, ec] = piece->text == nullptr ? std::to_chars(text, text + sizeof text, static_cast<std::int64_t>(piece->size)) : std::to_chars(text, text + sizeof text, piece->size);
    out.append(text, end);
  }
  return out;
}

}  // namespace detail

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  parts.reserve(static_cast<std::size_t>(std::ranges::count(text, separator)) + 1);
  for (;;) {
    std::size_t at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

std::pair<std::string_view, std::optional<std::string_view>> split_once(std::string_view text, char separator) {
  std::size_t at = text.find(separator);
  if (at == std::string_view::npos) return {text, std::nullopt};
  return {text.substr(0, at), text.substr(at + 1)};
}

std::string_view trim(std::string_view text) {
  static constexpr std::string_view kSpace = " \t\r\n\v\f";
  std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string out;
  for (const std::string& part : parts) {
    if (&part != &parts.front()) out += separator;
    out += part;
  }
  return out;
}

namespace {
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
}  // namespace

std::string to_lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = lower(c);
  return out;
}

bool iequals(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (lower(a[i]) != lower(b[i])) return false;
  return true;
}

}  // namespace monopod
