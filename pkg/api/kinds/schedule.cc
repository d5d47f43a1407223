#include "api/kinds/schedule.h"

#include "base/duration.h"
#include "base/strings.h"

namespace monopod::api::kinds {
namespace {

struct Field {
  unsigned least, most;
  std::string_view names;  // of least, least + 1, …
};
constexpr Field kFields[] = {{0, 59, ""}, {0, 23, ""}, {1, 31, ""}, {1, 12, "jan feb mar apr may jun jul aug sep oct nov dec"}, {0, 6, "sun mon tue wed thu fri sat"}};

Result<unsigned> number_of(std::string_view text, const Field& field) {
  if (!field.names.empty()) {
    std::string name = to_lower(text);
    auto names = split(field.names, ' ');
    for (unsigned i = 0; i < names.size(); ++i)
      if (names[i] == name) return field.least + i;
  }
  if (text.starts_with('-') && parse_int<std::int64_t>(text)) return fail(Code::kInvalidArgument, cat("negative number (", text, ") not allowed: ", text));
  auto number = parse_int<unsigned>(text);
  if (!number) return fail(Code::kInvalidArgument, cat("failed to parse int from ", text, ": strconv.Atoi: parsing \"", text, "\": invalid syntax"));
  return *number;
}

// number | number "-" number | "*" | "?", each with "/" step. star: it was one of the last two, each value of it.
Result<std::uint64_t> parse_range(std::string_view text, const Field& field, bool& star) {
  auto steps = split(text, '/');
  auto ends = split(steps[0], '-');
  if (ends.size() > 2) return fail(Code::kInvalidArgument, cat("too many hyphens: ", text));
  if (steps.size() > 2) return fail(Code::kInvalidArgument, cat("too many slashes: ", text));
  unsigned first = field.least, last = field.most;
  bool all = ends.size() == 1 && (ends[0] == "*" || ends[0] == "?");
  unsigned step = 1;
  if (!all) {
    TRY_ASSIGN(first, number_of(ends[0], field));
    last = first;
    if (ends.size() == 2) {
      TRY_ASSIGN(last, number_of(ends[1], field));
    }
  }
  if (steps.size() == 2) {
    TRY_ASSIGN(step, number_of(steps[1], {0, ~0U, ""}));
    if (step == 0) return fail(Code::kInvalidArgument, cat("step of range should be a positive number: ", text));
    if (ends.size() == 1) last = field.most;  // "3/5" runs to the end
  }
  if (first < field.least) return fail(Code::kInvalidArgument, cat("beginning of range (", first, ") below minimum (", field.least, "): ", text));
  if (last > field.most) return fail(Code::kInvalidArgument, cat("end of range (", last, ") above maximum (", field.most, "): ", text));
  if (first > last) return fail(Code::kInvalidArgument, cat("beginning of range (", first, ") beyond end of range (", last, "): ", text));
  std::uint64_t bits = 0;
  for (std::uint64_t n = first; n <= last; n += step) bits |= std::uint64_t{1} << n;
  if (all && step == 1) star = true;
  return bits;
}

Result<Schedule> parse_fields(const std::vector<std::string>& fields) {
  Schedule out;
  bool star[std::size(kFields)] = {};
  std::uint64_t* bits[] = {&out.minutes, &out.hours, &out.days, &out.months, &out.weekdays};
  for (std::size_t i = 0; i < fields.size(); ++i)
    for (std::string_view range : split(fields[i], ','))
      if (!range.empty()) {
        TRY_ASSIGN(std::uint64_t more, parse_range(range, kFields[i], star[i]));
        *bits[i] |= more;
      }
  out.every_day = star[2];
  out.every_weekday = star[4];
  return out;
}

constexpr std::pair<std::string_view, std::string_view> kMacros[] = {{"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"}, {"@weekly", "0 0 * * 0"},
                                                                     {"@daily", "0 0 * * *"},  {"@midnight", "0 0 * * *"}, {"@hourly", "0 * * * *"}};

}  // namespace

Result<Schedule> parse_schedule(std::string_view text) {
  if (text.empty()) return fail(Code::kInvalidArgument, "empty spec string");
  if (text.starts_with('@')) {
    for (auto [name, fields] : kMacros)
      if (text == name) return parse_schedule(fields);
    constexpr std::string_view kEvery = "@every ";
    if (text.starts_with(kEvery)) {
      auto every = parse_duration(text.substr(kEvery.size()));
      if (every) return Schedule{.every = std::max(std::chrono::seconds(1), std::chrono::duration_cast<std::chrono::seconds>(*every))};
      return fail(Code::kInvalidArgument, cat("failed to parse duration ", text, ": time: invalid duration \"", text.substr(kEvery.size()), "\""));
    }
    return fail(Code::kInvalidArgument, cat("unrecognized descriptor: ", text));
  }
  std::vector<std::string> fields;
  for (std::string_view part : split(text, ' '))
    if (!trim(part).empty()) fields.emplace_back(trim(part));
  if (fields.size() != std::size(kFields)) return fail(Code::kInvalidArgument, cat("expected exactly 5 fields, found ", fields.size(), ": [", join(fields, " "), "]"));
  return parse_fields(fields);
}

}  // namespace monopod::api::kinds
