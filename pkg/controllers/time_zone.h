// Time zones as the host's zoneinfo files describe them (TZif, RFC 9636, versions 2 to 4; the rule after the last transition is a POSIX TZ string).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace monopod::controllers {

class TimeZone {
 public:
  TimeZone() = default;  // UTC
  // The bytes of a file. kInvalidArgument where they are no such file.
  static Result<TimeZone> parse(std::string_view tzif);
  // "Europe/Berlin": parts of letters, digits and "+-_" apart by "/"; nothing that leads out of the directory.
  static bool is_name(std::string_view name);

  // Seconds east of UTC at that time (seconds since the epoch).
  std::int64_t offset_at(std::int64_t unix_s) const;

 private:
  struct Rule {  // when a year's change is, in seconds of wall clock time since the year began
    enum class Kind { kJulian, kZeroBased, kMonth } kind = Kind::kMonth;
    int day = 0, week = 0, month = 0;
    std::int64_t time_s = 7200;
  };
  struct Footer {
    std::int64_t standard = 0, summer = 0;
    bool has_summer = false;
    Rule begin, end;
  };
  static Result<Footer> parse_footer(std::string_view text);
  static Result<Rule> parse_rule(std::string_view& rest);
  static std::int64_t begins_at(const Rule& rule, std::int64_t year);
  static std::int64_t footer_offset(const Footer& footer, std::int64_t unix_s);

  std::vector<std::pair<std::int64_t, std::int64_t>> transitions_;  // when, the offset from then on; in order
  std::int64_t before_ = 0;                                         // the offset before the first
  bool has_footer_ = false;
  Footer footer_;
};

}  // namespace monopod::controllers
