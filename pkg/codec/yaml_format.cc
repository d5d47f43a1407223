#include <cstdio>

#include "base/strings.h"
#include "codec/yaml.h"
#include "codec/yaml_scalar.h"

namespace monopod::yaml {
namespace {

using json::Value;

// Length of the UTF-8 sequence at i if it is well formed and printable in YAML, else 0.
std::size_t printable_utf8(std::string_view t, std::size_t i) {
  auto at = [&](std::size_t k) { return k < t.size() ? static_cast<unsigned char>(t[k]) : 0U; };
  unsigned lead = at(i);
  std::size_t n = lead >= 0xf0 && lead <= 0xf4 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc2 ? 2 : 0;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  unsigned code = lead & (0xffU >> (n + 1));
  for (std::size_t k = 1; k < n; ++k) {
    if ((at(i + k) & 0xc0) != 0x80) return 0;
    code = code << 6 | (at(i + k) & 0x3f);
  }
  bool ok = code >= 0xa0 && code != 0x2028 && code != 0x2029 && code != 0xfeff && (code < 0xd800 || code > 0xdfff) && code != 0xfffe && code != 0xffff;
  return ok ? n : 0;
}

std::string quote(std::string_view text) {
  std::string out = "\"";
  for (std::size_t i = 0; i < text.size();) {
    auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x80) {
      if (std::size_t n = printable_utf8(text, i); n > 0) {
        out += text.substr(i, n);
        i += n;
        continue;
      }
    }
    ++i;
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\t': out += "\\t"; break;
      case '\r': out += "\\r"; break;
      default:
        if (c < 0x20 || c == 0x7f) {
          char hex[8];
          std::snprintf(hex, sizeof hex, "\\x%02x", c);
          out += hex;
        } else if (c >= 0x80) {
          // Bytes of a code point that must be escaped stay as they are where UTF-8 holds; JSON text is UTF-8 already.
          out += static_cast<char>(c);
        } else {
          out += static_cast<char>(c);
        }
    }
  }
  return out + '"';
}

// A literal block keeps the text exactly: no trailing blanks trouble, no tabs or leading spaces on the first line.
bool fits_literal(std::string_view text) {
  if (text.size() < 2 || text.find('\n') == std::string_view::npos) return false;
  if (text.front() == ' ' || text.front() == '\n' || text.front() == '\t') return false;
  for (std::size_t i = 0; i < text.size();) {
    auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x80) {
      std::size_t n = printable_utf8(text, i);
      if (n == 0) return false;
      i += n;
      continue;
    }
    if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f) return false;
    ++i;
  }
  return true;
}

class Writer {
 public:
  std::string out;

  // At the start of a line position already indented, or after "key:".
  void value(const Value& v, std::size_t indent, bool after_key) {
    if (v.is_object() && !v.get_object().empty()) {
      if (after_key) out += '\n';
      members(v.get_object(), indent, after_key);
    } else if (v.is_array() && !v.get_array().empty()) {
      if (after_key) out += '\n';
      items(v.get_array(), indent, after_key);
    } else {
      if (after_key) out += ' ';
      scalar(v, indent);
    }
  }

 private:
  // first_indented: whether the first line still needs its indentation.
  void members(const boost::json::object& object, std::size_t indent, bool first_indented) {
    bool pad = first_indented;
    for (const auto& item : object) {
      if (pad) out.append(indent, ' ');
      pad = true;
      std::string_view key = item.key();
      out += is_safe_plain(key) ? std::string(key) : quote(key);
      out += ':';
      // Lists stand at their key's own column, as kubectl prints them.
      bool list = item.value().is_array() && !item.value().get_array().empty();
      value(item.value(), list ? indent : indent + 2, true);
    }
  }
  void items(const boost::json::array& array, std::size_t indent, bool first_indented) {
    bool pad = first_indented;
    for (const Value& item : array) {
      if (pad) out.append(indent, ' ');
      pad = true;
      out += "- ";
      value(item, indent + 2, false);
    }
  }
  void scalar(const Value& v, std::size_t indent) {
    if (v.is_string()) string(v.get_string(), indent);
    else if (v.is_null()) out += "null\n";
    else if (v.is_object()) out += "{}\n";
    else if (v.is_array()) out += "[]\n";
    else {
      if (v.is_double()) {
        char text[40];
        auto [end, ec] = std::to_chars(text, text + sizeof text, v.get_double());
        out.append(text, end);
      } else {
        out += json::format(v);
      }
      out += '\n';
    }
  }
  void string(std::string_view text, std::size_t indent) {
    if (is_safe_plain(text)) {
      out += text;
    } else if (fits_literal(text)) {
      literal(text, indent < 2 ? 2 : indent);
      return;
    } else {
      out += quote(text);
    }
    out += '\n';
  }
  void literal(std::string_view text, std::size_t indent) {
    out += !text.ends_with('\n') ? "|-\n" : text.ends_with("\n\n") ? "|+\n" : "|\n";
    if (text.ends_with('\n')) text.remove_suffix(1);
    for (std::string_view line : split(text, '\n')) {
      if (!line.empty()) out.append(indent, ' ') += line;
      out += '\n';
    }
  }
};

}  // namespace

std::string format(const Value& value) {
  Writer writer;
  writer.value(value, 0, false);
  return std::move(writer.out);
}

}  // namespace monopod::yaml
