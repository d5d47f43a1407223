#include "controllers/time_zone.h"

#include <algorithm>
#include <chrono>

#include "base/strings.h"

namespace monopod::controllers {
namespace {

constexpr std::size_t kFileMax = 256U << 10;  // bytes; the largest in use have 4 KiB
constexpr std::size_t kHeader = 44;
constexpr std::int64_t kOffsetMax = 26 * 3600;  // seconds; what POSIX allows
constexpr std::int64_t kDay = 86400;

Error malformed(std::string_view what) { return Error(Code::kInvalidArgument, cat("time zone: ", what)); }

std::int64_t big_endian(std::string_view bytes) {
  std::uint64_t n = 0;
  for (char c : bytes) n = n << 8 | static_cast<unsigned char>(c);
  return bytes.size() == 4 ? static_cast<std::int32_t>(static_cast<std::uint32_t>(n)) : static_cast<std::int64_t>(n);
}

// The counts of a header, and how long the block after it is.
struct TzifBlock {
  std::size_t ut = 0, standard = 0, leap = 0, times = 0, types = 0, chars = 0;
  std::size_t bytes(std::size_t time_bytes) const { return times * time_bytes + times + types * 6 + chars + leap * (time_bytes + 4) + standard + ut; }
};

Result<TzifBlock> read_header(std::string_view& rest) {
  if (rest.size() < kHeader || !rest.starts_with("TZif")) return fail(malformed("no TZif file"));
  if (rest[4] < '2') return fail(malformed("version 1 is not supported"));
  TzifBlock block;
  std::size_t* counts[] = {&block.ut, &block.standard, &block.leap, &block.times, &block.types, &block.chars};
  for (std::size_t i = 0; i < std::size(counts); ++i) {
    std::int64_t n = big_endian(rest.substr(20 + 4 * i, 4));
    if (n < 0 || static_cast<std::size_t>(n) > kFileMax) return fail(malformed("a count is out of range"));
    *counts[i] = static_cast<std::size_t>(n);
  }
  rest.remove_prefix(kHeader);
  return block;
}

std::int64_t days_of(std::int64_t year, unsigned month, unsigned day) {
  using namespace std::chrono;
  return sys_days(std::chrono::year(static_cast<int>(year)) / static_cast<int>(month) / static_cast<int>(day)).time_since_epoch().count();
}

bool is_leap(std::int64_t year) { return std::chrono::year(static_cast<int>(year)).is_leap(); }

std::int64_t year_of(std::int64_t unix_s) {
  std::int64_t days = (unix_s - (unix_s % kDay + kDay) % kDay) / kDay;
  return static_cast<int>(std::chrono::year_month_day(std::chrono::sys_days(std::chrono::days(days))).year());
}

std::optional<std::int64_t> take_number(std::string_view& rest, std::int64_t least, std::int64_t most) {
  std::size_t digits = 0;
  while (digits < rest.size() && rest[digits] >= '0' && rest[digits] <= '9') ++digits;
  auto n = parse_int<std::int64_t>(rest.substr(0, digits));
  rest.remove_prefix(digits);
  return n && *n >= least && *n <= most ? n : std::nullopt;
}

bool take(std::string_view& rest, char c) {
  if (!rest.starts_with(c)) return false;
  rest.remove_prefix(1);
  return true;
}

// [+-]hh[:mm[:ss]]
std::optional<std::int64_t> take_time(std::string_view& rest, std::int64_t hours_max) {
  std::int64_t sign = take(rest, '-') ? -1 : 1;
  if (sign > 0) take(rest, '+');
  auto hours = take_number(rest, 0, hours_max);
  if (!hours) return std::nullopt;
  std::int64_t seconds = *hours * 3600;
  for (std::int64_t unit : {60, 1}) {
    if (!take(rest, ':')) break;
    auto n = take_number(rest, 0, 59);
    if (!n) return std::nullopt;
    seconds += *n * unit;
  }
  return sign * seconds;
}

// "CET" or "<+03>".
bool take_designation(std::string_view& rest) {
  bool quoted = take(rest, '<');
  std::size_t n = 0;
  while (n < rest.size() && (quoted ? rest[n] != '>' : (rest[n] | 0x20) >= 'a' && (rest[n] | 0x20) <= 'z')) ++n;
  rest.remove_prefix(n);
  return n > 0 && (!quoted || take(rest, '>'));
}

}  // namespace

bool TimeZone::is_name(std::string_view name) {
  if (name.empty() || name.size() > 128) return false;
  for (std::string_view part : split(name, '/')) {
    if (part.empty()) return false;
    for (char c : part) {
      bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
      if (!letter && c != '+' && c != '-' && c != '_') return false;
    }
  }
  return true;
}

Result<TimeZone> TimeZone::parse(std::string_view tzif) {
  if (tzif.size() > kFileMax) return fail(malformed("the file is too large"));
  TRY_ASSIGN(TzifBlock old, read_header(tzif));
  if (old.bytes(4) > tzif.size()) return fail(malformed("the file is cut short"));
  tzif.remove_prefix(old.bytes(4));
  TRY_ASSIGN(TzifBlock block, read_header(tzif));
  if (block.bytes(8) > tzif.size()) return fail(malformed("the file is cut short"));
  if (block.types == 0) return fail(malformed("there are no types"));
  std::string_view times = tzif.substr(0, block.times * 8), indexes = tzif.substr(block.times * 8, block.times), types = tzif.substr(block.times * 9, block.types * 6);
  auto offset_of = [&](std::size_t type) -> Result<std::int64_t> {
    if (type >= block.types) return fail(malformed("a type is out of range"));
    std::int64_t offset = big_endian(types.substr(type * 6, 4));
    if (offset < -kOffsetMax || offset > kOffsetMax) return fail(malformed("an offset is out of range"));
    return offset;
  };
  TimeZone zone;
  TRY_ASSIGN(zone.before_, offset_of(0));
  for (std::size_t i = 0; i < block.times; ++i) {
    std::int64_t when = big_endian(times.substr(i * 8, 8));
    if (i > 0 && when <= zone.transitions_.back().first) return fail(malformed("transitions are out of order"));
    TRY_ASSIGN(std::int64_t offset, offset_of(static_cast<unsigned char>(indexes[i])));
    zone.transitions_.emplace_back(when, offset);
  }
  std::string_view footer = tzif.substr(block.bytes(8));
  if (!take(footer, '\n')) return fail(malformed("there is no footer"));
  std::size_t end = footer.find('\n');
  if (end == std::string_view::npos) return fail(malformed("the footer is cut short"));
  if (end == 0) return zone;  // nothing is known of what comes after
  TRY_ASSIGN(zone.footer_, parse_footer(footer.substr(0, end)));
  zone.has_footer_ = true;
  return zone;
}

Result<TimeZone::Footer> TimeZone::parse_footer(std::string_view text) {
  Footer footer;
  if (!take_designation(text)) return fail(malformed("the footer has no name"));
  auto standard = take_time(text, 24);
  if (!standard) return fail(malformed("the footer has no offset"));
  footer.standard = -*standard;  // POSIX counts west of Greenwich
  if (text.empty()) return footer;
  if (!take_designation(text)) return fail(malformed("the footer's summer time has no name"));
  footer.has_summer = true;
  footer.summer = footer.standard + 3600;
  if (!text.starts_with(',')) {
    auto summer = take_time(text, 24);
    if (!summer) return fail(malformed("the footer's summer time has a bad offset"));
    footer.summer = -*summer;
  }
  if (!take(text, ',')) return fail(malformed("the footer has no rules"));
  TRY_ASSIGN(footer.begin, parse_rule(text));
  if (!take(text, ',')) return fail(malformed("the footer has one rule"));
  TRY_ASSIGN(footer.end, parse_rule(text));
  if (!text.empty()) return fail(malformed("there is more behind the footer"));
  return footer;
}

Result<TimeZone::Rule> TimeZone::parse_rule(std::string_view& rest) {
  Rule rule;
  auto number = [&](int& into, std::int64_t least, std::int64_t most) {
    auto n = take_number(rest, least, most);
    into = static_cast<int>(n.value_or(0));
    return n.has_value();
  };
  bool good = false;
  if (take(rest, 'M')) {
    good = number(rule.month, 1, 12) && take(rest, '.') && number(rule.week, 1, 5) && take(rest, '.') && number(rule.day, 0, 6);
  } else if (take(rest, 'J')) {
    rule.kind = Rule::Kind::kJulian;
    good = number(rule.day, 1, 365);
  } else {
    rule.kind = Rule::Kind::kZeroBased;
    good = number(rule.day, 0, 365);
  }
  if (!good) return fail(malformed("the footer has a bad rule"));
  if (take(rest, '/')) {
    auto time = take_time(rest, 167);
    if (!time) return fail(malformed("the footer's rule has a bad time"));
    rule.time_s = *time;
  }
  return rule;
}

std::int64_t TimeZone::begins_at(const Rule& rule, std::int64_t year) {
  std::int64_t first = days_of(year, 1, 1), day = first + rule.day;
  if (rule.kind == Rule::Kind::kJulian) {  // 29 February is never counted
    day = first + rule.day - 1 + (is_leap(year) && rule.day >= 60 ? 1 : 0);
  } else if (rule.kind == Rule::Kind::kMonth) {
    unsigned month = static_cast<unsigned>(rule.month);
    std::int64_t begin = days_of(year, month, 1), next = month == 12 ? days_of(year + 1, 1, 1) : days_of(year, month + 1, 1);
    std::int64_t weekday = ((begin + 4) % 7 + 7) % 7;  // 1 January 1970 was a Thursday
    day = begin + (rule.day - weekday + 7) % 7 + (rule.week - 1) * 7;
    while (day >= next) day -= 7;
  }
  return day * kDay + rule.time_s;
}

std::int64_t TimeZone::footer_offset(const Footer& footer, std::int64_t unix_s) {
  if (!footer.has_summer) return footer.standard;
  std::int64_t year = year_of(unix_s + footer.standard);
  std::int64_t begin = begins_at(footer.begin, year) - footer.standard, end = begins_at(footer.end, year) - footer.summer;
  bool summer = begin < end ? unix_s >= begin && unix_s < end : unix_s >= begin || unix_s < end;  // southern: over the turn of the year
  return summer ? footer.summer : footer.standard;
}

std::int64_t TimeZone::offset_at(std::int64_t unix_s) const {
  if (transitions_.empty() || unix_s < transitions_.front().first) return transitions_.empty() && has_footer_ ? footer_offset(footer_, unix_s) : before_;
  if (has_footer_ && unix_s >= transitions_.back().first) return footer_offset(footer_, unix_s);
  auto after = std::ranges::upper_bound(transitions_, unix_s, {}, &std::pair<std::int64_t, std::int64_t>::first);
  return std::prev(after)->second;
}

}  // namespace monopod::controllers
