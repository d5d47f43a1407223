#include "api/crd/formats.h"

#include <arpa/inet.h>

#include <algorithm>
#include <string>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/strings.h"

namespace monopod::api::crd {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
bool is_alnum(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// '0' stands for a digit, 'x' for a hexadecimal one.
bool fits(std::string_view text, std::string_view form) {
  if (text.size() != form.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i)
    if (form[i] == '0' ? !is_digit(text[i]) : form[i] == 'x' ? !is_hex(text[i]) : text[i] != form[i]) return false;
  return true;
}

bool is_date(std::string_view t) { return fits(t, "0000-00-00") && parse_rfc3339(cat(t, "T00:00:00Z")).has_value(); }
bool is_date_time(std::string_view t) { return parse_rfc3339(t).has_value(); }

bool is_address(std::string_view t, int family) {
  if (t.size() > 64 || t.find('\0') != std::string_view::npos) return false;
  unsigned char out[16];
  return inet_pton(family, std::string(t).c_str(), out) == 1;
}
bool is_ipv4(std::string_view t) { return is_address(t, AF_INET); }
bool is_ipv6(std::string_view t) { return is_address(t, AF_INET6); }

bool is_cidr(std::string_view t) {
  auto [address, bits] = split_once(t, '/');
  auto length = bits ? parse_int<unsigned>(*bits) : std::nullopt;
  if (!length) return false;
  return (is_ipv4(address) && *length <= 32) || (is_ipv6(address) && *length <= 128);
}

bool is_mac(std::string_view t) {
  for (std::size_t groups : {6U, 8U, 20U})
    for (char separator : {':', '-'}) {
      if (t.size() != groups * 3 - 1) continue;
      bool good = true;
      for (std::size_t i = 0; i < t.size(); ++i) good = good && (i % 3 == 2 ? t[i] == separator : is_hex(t[i]));
      if (good) return true;
    }
  return fits(t, "xxxx.xxxx.xxxx");
}

bool is_uuid(std::string_view t, char version) {
  bool plain = fits(t, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx");
  if (!plain && (version != 0 || !fits(t, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"))) return false;
  if (version == 0) return true;
  return t[14] == version && std::string_view("89abAB").find(t[19]) != std::string_view::npos;
}

bool is_hostname(std::string_view t) {
  if (t.empty() || t.size() > 255) return false;
  if (t.ends_with('.')) t.remove_suffix(1);
  for (std::string_view label : split(t, '.')) {
    if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-') return false;
    if (!std::ranges::all_of(label, [](char c) { return is_alnum(c) || c == '-'; })) return false;
  }
  return true;
}

bool is_email(std::string_view t) {
  std::size_t at = t.rfind('@');
  if (at == std::string_view::npos || at == 0 || at > 64) return false;
  std::string_view local = t.substr(0, at);
  if (local.front() == '.' || local.back() == '.' || local.find("..") != std::string_view::npos) return false;
  if (!std::ranges::all_of(local, [](char c) { return is_alnum(c) || std::string_view("!#$%&'*+-/=?^_`{|}~.").find(c) != std::string_view::npos || (c & 0x80) != 0; })) return false;
  return is_hostname(t.substr(at + 1));
}

bool is_uri(std::string_view t) {
  if (t.starts_with('/')) return t.find(' ') == std::string_view::npos;  // Go's ParseRequestURI takes an absolute path
  std::size_t colon = t.find(':');
  if (colon == std::string_view::npos || colon == 0 || !std::ranges::all_of(t.substr(0, colon), [](char c) { return is_alnum(c) || c == '+' || c == '-' || c == '.'; })) return false;
  return !is_digit(t[0]) && std::ranges::none_of(t, [](char c) { return static_cast<unsigned char>(c) <= ' ' || c == 0x7F; });
}

// Go's time.ParseDuration, and strfmt's words: "1h30m", "2 days".
bool is_duration(std::string_view t) {
  if (t.starts_with('-') || t.starts_with('+')) t.remove_prefix(1);
  if (t == "0") return true;
  constexpr std::string_view kUnits[] = {"ns", "us", "µs", "μs", "ms", "s", "m", "h", "nanos", "nanosecond", "nanoseconds", "micros", "microsecond", "microseconds", "millis", "millisecond",
                                         "milliseconds", "sec", "second", "seconds", "min", "minute", "minutes", "hr", "hour", "hours", "d", "day", "days", "w", "wk", "week", "weeks"};
  if (t.empty()) return false;
  while (!t.empty()) {
    std::size_t digits = 0;
    bool any = false;
    for (; digits < t.size() && (is_digit(t[digits]) || t[digits] == '.'); ++digits) any |= is_digit(t[digits]);
    if (!any) return false;
    t.remove_prefix(digits);
    t = trim(t);
    std::size_t letters = 0;
    while (letters < t.size() && !is_digit(t[letters]) && t[letters] != ' ' && t[letters] != '.') ++letters;
    if (std::ranges::find(kUnits, t.substr(0, letters)) == std::end(kUnits)) return false;
    t.remove_prefix(letters);
    t = trim(t);
  }
  return true;
}

bool is_color(std::string_view t) {
  if (t.starts_with('#')) return fits(t, "#xxx") || fits(t, "#xxxxxx");
  if (!t.starts_with("rgb(") || !t.ends_with(')')) return false;
  auto parts = split(t.substr(4, t.size() - 5), ',');
  return parts.size() == 3 && std::ranges::all_of(parts, [](std::string_view p) { return parse_int<std::uint8_t>(trim(p)).has_value(); });
}

// Luhn's check over 13 to 19 digits.
bool is_credit_card(std::string_view t) {
  int sum = 0;
  std::size_t digits = 0;
  for (std::size_t i = t.size(); i-- > 0;) {
    if (t[i] == ' ' || t[i] == '-') continue;
    if (!is_digit(t[i])) return false;
    int d = t[i] - '0';
    if (digits % 2 == 1) d = d * 2 > 9 ? d * 2 - 9 : d * 2;
    sum += d;
    ++digits;
  }
  return digits >= 13 && digits <= 19 && sum % 10 == 0;
}

bool is_isbn10(std::string_view t) {
  int sum = 0, n = 0;
  for (char c : t) {
    if (c == '-' || c == ' ') continue;
    if (!is_digit(c) && !(c == 'X' && n == 9)) return false;
    sum += (10 - n) * (c == 'X' ? 10 : c - '0');
    ++n;
  }
  return n == 10 && sum % 11 == 0;
}
bool is_isbn13(std::string_view t) {
  int sum = 0, n = 0;
  for (char c : t) {
    if (c == '-' || c == ' ') continue;
    if (!is_digit(c)) return false;
    sum += (n % 2 == 0 ? 1 : 3) * (c - '0');
    ++n;
  }
  return n == 13 && sum % 10 == 0;
}
bool is_isbn(std::string_view t) { return is_isbn10(t) || is_isbn13(t); }

bool is_byte(std::string_view t) { return parse_base64(t).has_value(); }
bool is_bson_id(std::string_view t) { return fits(t, "xxxxxxxxxxxxxxxxxxxxxxxx"); }
bool is_ssn(std::string_view t) { return fits(t, "000-00-0000") || fits(t, "000 00 0000") || fits(t, "000000000"); }
bool is_uuid_any(std::string_view t) { return is_uuid(t, 0); }
bool is_uuid3(std::string_view t) { return fits(t, "xxxxxxxx-xxxx-3xxx-xxxx-xxxxxxxxxxxx"); }
bool is_uuid4(std::string_view t) { return is_uuid(t, '4'); }
bool is_uuid5(std::string_view t) { return is_uuid(t, '5'); }

struct Format {
  std::string_view name;
  bool (*check)(std::string_view text);
};
constexpr Format kFormats[] = {
    {"bsonobjectid", is_bson_id}, {"uri", is_uri}, {"email", is_email}, {"hostname", is_hostname}, {"ipv4", is_ipv4}, {"ipv6", is_ipv6}, {"cidr", is_cidr},
    {"mac", is_mac}, {"uuid", is_uuid_any}, {"uuid3", is_uuid3}, {"uuid4", is_uuid4}, {"uuid5", is_uuid5}, {"isbn", is_isbn}, {"isbn10", is_isbn10},
    {"isbn13", is_isbn13}, {"creditcard", is_credit_card}, {"ssn", is_ssn}, {"hexcolor", is_color}, {"rgbcolor", is_color}, {"byte", is_byte},
    {"date", is_date}, {"duration", is_duration}, {"datetime", is_date_time},
};

}  // namespace

bool has_format(std::string_view text, std::string_view format) {
  std::string name;
  for (char c : format)
    if (c != '-') name += c;  // strfmt ignores dashes
  for (const Format& known : kFormats)
    if (known.name == name) return known.check(text);
  return true;
}

}  // namespace monopod::api::crd
