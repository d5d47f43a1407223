#include "base/duration.h"

#include <charconv>
#include <limits>

#include "base/strings.h"

namespace monopod {
namespace {

struct Unit {
  std::string_view name;
  std::int64_t nanoseconds;
};
constexpr Unit kUnits[] = {{"ns", 1}, {"us", 1'000}, {"ms", 1'000'000}, {"s", 1'000'000'000}, {"m", 60'000'000'000}, {"h", 3'600'000'000'000}, {"d", 86'400'000'000'000}};

const Unit* find_unit(std::string_view name) {
  for (const Unit& unit : kUnits)
    if (unit.name == name) return &unit;
  return nullptr;
}

constexpr bool is_number(char c) { return (c >= '0' && c <= '9') || c == '.'; }

}  // namespace

Result<Duration> parse_duration(std::string_view text) {
  auto bad = [text] { return fail(Code::kInvalidArgument, cat("duration \"", text, "\": want a number with a unit, such as 30s, 15m, 6h or 7d")); };
  if (text == "0") return Duration(0);
  if (text.empty()) return bad();
  double sum = 0;
  for (std::string_view rest = text; !rest.empty();) {
    std::size_t digits = 0, letters = 0;
    while (digits < rest.size() && is_number(rest[digits])) ++digits;
    while (digits + letters < rest.size() && !is_number(rest[digits + letters])) ++letters;
    double number = 0;
    auto [end, ec] = std::from_chars(rest.data(), rest.data() + digits, number, std::chars_format::fixed);
    const Unit* unit = find_unit(rest.substr(digits, letters));
    if (digits == 0 || ec != std::errc() || end != rest.data() + digits || unit == nullptr) return bad();
    sum += number * static_cast<double>(unit->nanoseconds);
    rest.remove_prefix(digits + letters);
  }
  if (sum >= static_cast<double>(std::numeric_limits<std::int64_t>::max())) return bad();
  return Duration(static_cast<std::int64_t>(sum));
}

}  // namespace monopod
