#include "api/kinds/names.h"

#include <algorithm>

#include "base/strings.h"

namespace monopod::api {
namespace {

bool lower(char c) { return c >= 'a' && c <= 'z'; }
bool digit(char c) { return c >= '0' && c <= '9'; }
bool alnum(char c) { return lower(c) || digit(c) || (c >= 'A' && c <= 'Z'); }

// Upstream's RegexError: message, examples, expression.
std::string regex_error(std::string_view message, std::string_view expression, std::initializer_list<std::string_view> examples) {
  std::string out = cat(message, " (e.g. ");
  bool first = true;
  for (std::string_view e : examples) {
    if (!first) out += " or ";
    out += cat("'", e, "', ");
    first = false;
  }
  return cat(out, "regex used for validation is '", expression, "')");
}

bool is_dns_label(std::string_view s) {
  return !s.empty() && (lower(s.front()) || digit(s.front())) && (lower(s.back()) || digit(s.back())) &&
         std::ranges::all_of(s, [](char c) { return lower(c) || digit(c) || c == '-'; });
}

// [A-Za-z0-9] at both ends, [-A-Za-z0-9_.] between.
bool is_name_part(std::string_view s) {
  return !s.empty() && alnum(s.front()) && alnum(s.back()) &&
         std::ranges::all_of(s, [](char c) { return alnum(c) || c == '-' || c == '_' || c == '.'; });
}

}  // namespace

std::string max_length_error(std::size_t bytes_max) { return cat("must be no more than ", bytes_max, " characters"); }

Messages check_dns1123_label(std::string_view name) {
  Messages out;
  if (name.size() > 63) out.push_back(max_length_error(63));
  if (!is_dns_label(name)) {
    constexpr std::string_view kSub = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
    bool subdomain = check_dns1123_subdomain(name).empty();
    if (subdomain) out.push_back("must not contain dots");
    else out.push_back(regex_error(kSub, "[a-z0-9]([-a-z0-9]*[a-z0-9])?", {"my-name", "123-abc"}));
  }
  return out;
}

Messages check_dns1123_subdomain(std::string_view name) {
  Messages out;
  if (name.size() > 253) out.push_back(max_length_error(253));
  if (!std::ranges::all_of(split(name, '.'), is_dns_label))
    out.push_back(regex_error("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
                              "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", {"example.com"}));
  return out;
}

Messages check_dns1035_label(std::string_view name) {
  Messages out;
  if (name.size() > 63) out.push_back(max_length_error(63));
  if (!is_dns_label(name) || !lower(name.front()))
    out.push_back(regex_error("a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
                              "[a-z]([-a-z0-9]*[a-z0-9])?", {"my-name", "abc-123"}));
  return out;
}

Messages check_qualified_name(std::string_view text) {
  Messages out;
  constexpr std::string_view kForm = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
  constexpr std::string_view kExpression = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
  auto parts = split(text, '/');
  std::string_view name = parts.back();
  if (parts.size() > 2) {
    out.push_back(cat("a qualified name ", regex_error(kForm, kExpression, {"MyName", "my.name", "123-abc"}),
                      " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"));
    return out;
  }
  if (parts.size() == 2) {
    if (parts[0].empty()) out.push_back("prefix part must be non-empty");
    else
      for (std::string& m : check_dns1123_subdomain(parts[0])) out.push_back("prefix part " + m);
  }
  if (name.empty()) out.push_back("name part must be non-empty");
  else if (name.size() > 63) out.push_back("name part " + max_length_error(63));
  if (!is_name_part(name)) out.push_back("name part " + regex_error(kForm, kExpression, {"MyName", "my.name", "123-abc"}));
  return out;
}

Messages check_label_value(std::string_view value) {
  Messages out;
  if (value.size() > 63) out.push_back(max_length_error(63));
  if (!value.empty() && !is_name_part(value))
    out.push_back(regex_error("a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
                              "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?", {"MyValue", "my_value", "12345"}));
  return out;
}

Messages check_config_map_key(std::string_view key) {
  Messages out;
  if (key.size() > 253) out.push_back(max_length_error(253));
  if (key.empty() || !std::ranges::all_of(key, [](char c) { return alnum(c) || c == '-' || c == '_' || c == '.'; }))
    out.push_back(regex_error("a valid config key must consist of alphanumeric characters, '-', '_' or '.'", "[-._a-zA-Z0-9]+", {"key.name", "KEY_NAME", "key-name"}));
  if (key == ".") out.push_back("must not be '.'");
  else if (key == "..") out.push_back("must not be '..'");
  else if (key.starts_with("..")) out.push_back("must not start with '..'");
  return out;
}

Messages check_env_var_name(std::string_view name) {
  Messages out;
  if (name.empty() || !std::ranges::all_of(name, [](char c) { return c >= 0x20 && c < 0x7f && c != '='; }))
    out.push_back("a valid environment variable name must consist only of printable ASCII characters other than '='");
  return out;
}

Messages check_path_segment_name(std::string_view name) {
  if (name == "." || name == "..") return {cat("may not be '", name, "'")};
  Messages out;
  for (std::string_view bad : {"/", "%"})
    if (name.find(bad) != std::string_view::npos) out.push_back(cat("may not contain '", bad, "'"));
  return out;
}

Messages check_port_name(std::string_view name) {
  Messages out;
  if (name.size() > 15) out.push_back("must be no more than 15 characters");
  if (name.empty() || !std::ranges::all_of(name, [](char c) { return lower(c) || digit(c) || c == '-'; }))
    out.push_back("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
  if (!std::ranges::any_of(name, lower)) out.push_back("must contain at least one letter (a-z)");
  if (name.find("--") != std::string_view::npos) out.push_back("must not contain consecutive hyphens");
  if (!name.empty() && (name.front() == '-' || name.back() == '-')) out.push_back("must not begin or end with a hyphen");
  return out;
}

Messages check_port_number(std::int64_t port) {
  if (port >= 1 && port <= 65535) return {};
  return {"must be between 1 and 65535, inclusive"};
}

}  // namespace monopod::api
