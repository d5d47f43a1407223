#include "http/query.h"

#include "base/strings.h"

namespace monopod::http {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<std::string> decode(std::string_view text, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus_is_space) {
      out += ' ';
    } else if (text[i] == '%') {
      if (i + 2 >= text.size()) return std::nullopt;
      int high = hex_digit(text[i + 1]);
      int low = hex_digit(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      out += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string encode(std::string_view text, std::string_view also_plain) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size());
  for (char c : text) {
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                 std::string_view("-._~").find(c) != std::string_view::npos || also_plain.find(c) != std::string_view::npos;
    if (plain) {
      out += c;
    } else {
      auto byte = static_cast<unsigned char>(c);
      out += '%';
      out += kHex[byte >> 4U];
      out += kHex[byte & 15U];
    }
  }
  return out;
}

}  // namespace

std::optional<std::string_view> Query::get(std::string_view name) const {
  for (const auto& [key, value] : pairs_)
    if (key == name) return value;
  return std::nullopt;
}

std::vector<std::string_view> Query::get_all(std::string_view name) const {
  std::vector<std::string_view> out;
  for (const auto& [key, value] : pairs_)
    if (key == name) out.push_back(value);
  return out;
}

bool Query::get_bool(std::string_view name, bool fallback) const {
  std::optional<std::string_view> value = get(name);
  if (!value) return fallback;
  return value->empty() || *value == "1" || iequals(*value, "true");
}

std::string Query::format() const {
  std::string out;
  for (const auto& [key, value] : pairs_) {
    if (!out.empty()) out += '&';
    out += encode_query_component(key);
    out += '=';
    out += encode_query_component(value);
  }
  return out;
}

Query parse_query(std::string_view raw_query) {
  Query::Pairs pairs;
  for (std::string_view part : split(raw_query, '&')) {
    if (part.empty() || part.find(';') != std::string_view::npos) continue;
    auto [raw_key, raw_value] = split_once(part, '=');
    std::optional<std::string> key = decode(raw_key, true);
    std::optional<std::string> value = decode(raw_value.value_or(""), true);
    if (key && value) pairs.emplace_back(std::move(*key), std::move(*value));
  }
  return Query(std::move(pairs));
}

std::string encode_query_component(std::string_view text) { return encode(text, ""); }

Result<std::string> decode_path(std::string_view raw_path) {
  std::optional<std::string> out = decode(raw_path, false);
  if (!out || out->find('\0') != std::string::npos) return fail(Code::kInvalidArgument, "path has a broken escape");
  return std::move(*out);
}

std::string encode_path_segment(std::string_view text) { return encode(text, "!$&'()*+,;=:@"); }

}  // namespace monopod::http
