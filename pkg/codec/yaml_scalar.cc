#include "codec/yaml_scalar.h"

#include <cmath>
#include <cstdlib>

#include "base/strings.h"

namespace monopod::yaml {
namespace {

using json::Value;

bool any_of(std::string_view text, std::initializer_list<std::string_view> words) {
  for (std::string_view word : words)
    if (text == word) return true;
  return false;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?
bool looks_like_float(std::string_view t) {
  std::size_t i = 0, before = 0, after = 0;
  if (i < t.size() && (t[i] == '+' || t[i] == '-')) ++i;
  while (i < t.size() && is_digit(t[i])) ++i, ++before;
  if (i < t.size() && t[i] == '.') {
    ++i;
    while (i < t.size() && is_digit(t[i])) ++i, ++after;
  }
  if (before + after == 0) return false;
  if (i < t.size() && (t[i] == 'e' || t[i] == 'E')) {
    ++i;
    if (i < t.size() && (t[i] == '+' || t[i] == '-')) ++i;
    if (i == t.size()) return false;
    while (i < t.size() && is_digit(t[i])) ++i;
  }
  return i == t.size();
}

Value from_double(double d) {
  if (std::abs(d) < 9007199254740992.0 && d == std::floor(d) && !(d == 0 && std::signbit(d))) return static_cast<std::int64_t>(d);
  return d;
}

std::optional<double> to_double(std::string_view t) {
  if (!t.empty() && t.front() == '+') t.remove_prefix(1);
  double d = 0;
  auto [end, ec] = std::from_chars(t.data(), t.data() + t.size(), d);
  if (ec != std::errc() || end != t.data() + t.size() || !std::isfinite(d)) return std::nullopt;
  return d;
}

// Base by prefix: 0x, 0o, 0b, a leading 0 is octal.
std::optional<Value> to_integer(std::string_view t) {
  bool negative = false;
  if (!t.empty() && (t.front() == '+' || t.front() == '-')) {
    negative = t.front() == '-';
    t.remove_prefix(1);
  }
  int base = 10;
  if (t.size() > 1 && t[0] == '0') {
    char c = static_cast<char>(t[1] | 0x20);
    if (c == 'x' || c == 'o' || c == 'b') {
      base = c == 'x' ? 16 : c == 'o' ? 8 : 2;
      t.remove_prefix(2);
    } else {
      base = 8;
      t.remove_prefix(1);
    }
  }
  if (t.empty()) return std::nullopt;
  std::uint64_t magnitude = 0;
  auto [end, ec] = std::from_chars(t.data(), t.data() + t.size(), magnitude, base);
  if (ec != std::errc() || end != t.data() + t.size()) return std::nullopt;
  if (negative) {
    if (magnitude > std::uint64_t{1} << 63) return std::nullopt;
    return Value(static_cast<std::int64_t>(0 - magnitude));
  }
  if (magnitude >> 63 == 0) return Value(static_cast<std::int64_t>(magnitude));
  return Value(magnitude);
}

}  // namespace

std::optional<Value> resolve_plain(std::string_view text) {
  if (text.empty()) return Value(nullptr);
  const char first = text.front();
  if (std::string_view("yYnNtTfFoO~").find(first) != std::string_view::npos) {
    if (any_of(text, {"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"})) return Value(true);
    if (any_of(text, {"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"})) return Value(false);
    if (any_of(text, {"~", "null", "Null", "NULL"})) return Value(nullptr);
    return Value(text);
  }
  if (first == '.') {
    if (any_of(text, {".nan", ".NaN", ".NAN", ".inf", ".Inf", ".INF"})) return std::nullopt;
    if (looks_like_float(text))
      if (auto d = to_double(text)) return from_double(*d);
    return Value(text);
  }
  if (!is_digit(first) && first != '+' && first != '-') return Value(text);
  if (any_of(text, {"+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF"})) return std::nullopt;
  std::string plain;
  plain.reserve(text.size());
  for (char c : text)
    if (c != '_') plain += c;
  if (auto integer = to_integer(plain)) return integer;
  if (looks_like_float(plain))
    if (auto d = to_double(plain)) return from_double(*d);
  return Value(text);
}

bool is_safe_plain(std::string_view text) {
  if (text.empty() || text.size() > 1024) return false;
  if (text.front() == ' ' || text.back() == ' ' || text.back() == ':') return false;
  if (std::string_view("-?:,[]{}#&*!|>'\"%@`=<~").find(text.front()) != std::string_view::npos) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    auto c = static_cast<unsigned char>(text[i]);
    if (c < 0x20 || c >= 0x7f) return false;
    if (c == ':' && i + 1 < text.size() && text[i + 1] == ' ') return false;
    if (c == '#' && i > 0 && text[i - 1] == ' ') return false;
  }
  if (text.starts_with("...")) return false;
  auto value = resolve_plain(text);
  if (!value || !value->is_string()) return false;
  // Dates and base-60 numbers are typed by other readers.
  bool numeric = is_digit(text.front()) || text.front() == '+' || text.front() == '.';
  return !numeric || text.find_first_not_of("0123456789-:.+_TtZz ") != std::string_view::npos;
}

}  // namespace monopod::yaml
