#include "base/clock.h"

#include <cstdint>
#include <utility>

namespace monopod {
namespace {

using std::chrono::days;
using std::chrono::nanoseconds;

// The last n digits of value.
void append_digits(std::string& out, std::uint64_t value, int n) {
  const std::size_t begin = out.size();
  out.resize(begin + static_cast<std::size_t>(n));
  for (std::size_t at = out.size(); at > begin; value /= 10) out[--at] = static_cast<char>('0' + value % 10);
}

// By hand: a formatter's machinery takes longer than the rest of a small write's upkeep.
std::string format_time(WallTime t, int digits) {
  auto day = std::chrono::floor<days>(t);
  std::chrono::year_month_day date(day);
  std::chrono::hh_mm_ss<nanoseconds> clock(t - day);
  std::string out;
  append_digits(out, static_cast<std::uint64_t>(static_cast<int>(date.year())), 4);
  const std::pair<char, std::int64_t> parts[] = {{'-', static_cast<unsigned>(date.month())}, {'-', static_cast<unsigned>(date.day())},
                                                 {'T', clock.hours().count()}, {':', clock.minutes().count()}, {':', clock.seconds().count()}};
  for (auto [mark, number] : parts) {
    out += mark;
    append_digits(out, static_cast<std::uint64_t>(number), 2);
  }
  if (digits > 0) {
    out += '.';
    append_digits(out, static_cast<std::uint64_t>(clock.subseconds().count()), 9);
    out.resize(20 + static_cast<std::size_t>(digits));
  }
  out += 'Z';
  return out;
}

// Reads exactly n digits at text[pos]; -1 where there are none.
int digits_at(std::string_view text, std::size_t pos, std::size_t n) {
  if (pos + n > text.size()) return -1;
  int value = 0;
  for (std::size_t i = pos; i < pos + n; ++i) {
    if (text[i] < '0' || text[i] > '9') return -1;
    value = value * 10 + (text[i] - '0');
  }
  return value;
}

}  // namespace

std::string format_rfc3339(WallTime t) { return format_time(t, 0); }
std::string format_rfc3339_micro(WallTime t) { return format_time(t, 6); }
std::string format_rfc3339_nano(WallTime t) { return format_time(t, 9); }

Result<WallTime> parse_rfc3339(std::string_view text) {
  auto bad = [&] { return fail(Code::kInvalidArgument, "parse time \"" + std::string(text) + "\": not RFC 3339"); };
  int year = digits_at(text, 0, 4);
  int month = digits_at(text, 5, 2);
  int day = digits_at(text, 8, 2);
  int hour = digits_at(text, 11, 2);
  int minute = digits_at(text, 14, 2);
  int second = digits_at(text, 17, 2);
  if (year < 0 || month < 1 || day < 1 || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60)
    return bad();
  if (text[4] != '-' || text[7] != '-' || (text[10] != 'T' && text[10] != 't') || text[13] != ':' || text[16] != ':')
    return bad();
  std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                   std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return bad();
  std::size_t pos = 19;
  std::int64_t nanos = 0;
  if (pos < text.size() && text[pos] == '.') {
    std::int64_t scale = 100'000'000;
    std::size_t start = ++pos;
    for (; pos < text.size() && text[pos] >= '0' && text[pos] <= '9'; ++pos, scale /= 10) nanos += (text[pos] - '0') * scale;
    if (pos == start) return bad();
  }
  std::chrono::minutes offset{0};
  if (pos >= text.size()) return bad();
  if (text[pos] == 'Z' || text[pos] == 'z') {
    ++pos;
  } else if (text[pos] == '+' || text[pos] == '-') {
    int oh = digits_at(text, pos + 1, 2);
    int om = digits_at(text, pos + 4, 2);
    if (oh < 0 || oh > 23 || om < 0 || om > 59 || text[pos + 3] != ':') return bad();
    offset = std::chrono::minutes(oh * 60 + om) * (text[pos] == '-' ? -1 : 1);
    pos += 6;
  }
  if (pos != text.size()) return bad();
  return WallTime(std::chrono::sys_days(date)) + std::chrono::hours(hour) + std::chrono::minutes(minute) +
         std::chrono::seconds(second) + nanoseconds(nanos) - offset;
}

// The thresholds are those of k8s.io/apimachinery duration.HumanDuration: they are what people read in tables.
std::string format_age(Duration d) {
  std::int64_t s = std::chrono::duration_cast<std::chrono::seconds>(d).count();
  if (s < -1) return "<invalid>";
  if (s < 0) return "0s";
  auto unit = [](std::int64_t n, const char* u) { return std::to_string(n) + u; };
  auto two = [&](std::int64_t a, const char* ua, std::int64_t b, const char* ub) {
    return b == 0 ? unit(a, ua) : unit(a, ua) + unit(b, ub);
  };
  std::int64_t m = s / 60;
  std::int64_t h = s / 3600;
  if (s < 120) return unit(s, "s");
  if (m < 10) return two(m, "m", s % 60, "s");
  if (m < 180) return unit(m, "m");
  if (h < 8) return two(h, "h", m % 60, "m");
  if (h < 48) return unit(h, "h");
  if (h < 24 * 8) return two(h / 24, "d", h % 24, "h");
  if (h < 24 * 365 * 2) return unit(h / 24, "d");
  if (h < 24 * 365 * 8) return two(h / 24 / 365, "y", h / 24 % 365, "d");
  return unit(h / 24 / 365, "y");
}

Duration age_lasts(Duration d) {
  constexpr Duration kSecond = std::chrono::seconds(1), kMinute = std::chrono::minutes(1), kHour = std::chrono::hours(1), kDay = std::chrono::days(1);
  Duration step = d < 10 * kMinute ? kSecond : d < 8 * kHour ? kMinute : d < 8 * kDay ? kHour : kDay;
  Duration past = d % step;
  return past < Duration{} ? -past : step - past;
}

}  // namespace monopod
