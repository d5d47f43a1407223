// Schedules and time zones: the first line is a schedule, the rest a TZif file. Times come one after the other, and each is found in bounded time.
#include "controllers/cron_clock.h"
#include "tests/fuzz/fuzz.h"

using namespace monopod;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text = fuzz::text_of(data, size);
  std::size_t line = std::min(text.find('\n'), text.size());
  Result<api::kinds::Schedule> schedule = api::kinds::parse_schedule(text.substr(0, line));
  Result<controllers::TimeZone> zone = controllers::TimeZone::parse(text.substr(std::min(line + 1, text.size())));
  if (!schedule) return 0;
  controllers::SysSeconds now(std::chrono::seconds(1'767'225'600));
  for (int i = 0; i < 4; ++i) {
    auto next = controllers::next_time(*schedule, zone ? *zone : controllers::TimeZone(), now);
    if (!next) return 0;
    fuzz::check(*next > now, "times come one after the other");
    auto due = controllers::due_time(*schedule, zone ? *zone : controllers::TimeZone(), now, *next);
    fuzz::check(due && due->time == *next, "a time that has come is due");
    now = *next;
  }
  return 0;
}
