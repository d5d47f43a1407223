#include "etcd/alarms.h"

#include <algorithm>

#include "base/strings.h"

namespace monopod::etcd {
std::string_view alarm_name(AlarmType type) {
  switch (type) {
    case AlarmType::kNone: return "NONE";
    case AlarmType::kNoSpace: return "NOSPACE";
    case AlarmType::kCorrupt: return "CORRUPT";
  }
  return "UNKNOWN";
}

std::string format_alarm(const Alarm& alarm) {
  return ProtoWriter().unsigned_integer(1, alarm.member).integer(2, static_cast<std::int64_t>(alarm.type)).take();
}

Result<Alarm> parse_alarm(std::string_view message) {
  TRY_ASSIGN(std::int64_t member, parse_integer(message, 1));
  TRY_ASSIGN(std::int64_t type, parse_integer(message, 2));
  if (type < 0 || type > 2) return fail(Code::kInvalidArgument, cat("unknown alarm ", type));
  return Alarm{.member = static_cast<std::uint64_t>(member), .type = static_cast<AlarmType>(type)};
}

std::string describe_alarm(const Alarm& alarm) { return cat("memberID:", alarm.member, " alarm:", alarm_name(alarm.type), " "); }

std::string format_stored_alarms(std::span<const Alarm> alarms) {
  ProtoWriter out;
  for (const Alarm& alarm : alarms) out.message(1, format_alarm(alarm));
  return out.take();
}

Result<std::vector<Alarm>> parse_stored_alarms(const std::vector<std::pair<std::string, std::string>>& pairs) {
  std::vector<Alarm> alarms;
  for (const auto& [key, value] : pairs) {
    ProtoReader reader(value);
    for (;;) {
      TRY_ASSIGN(bool more, reader.next());
      if (!more) break;
      TRY_ASSIGN(Alarm alarm, parse_alarm(reader.bytes()));
      alarms.push_back(alarm);
    }
  }
  std::ranges::sort(alarms);
  return alarms;
}

async::Task<Result<>> Alarms::load() {
  if (!state_) co_return Result<>();
  CO_TRY_ASSIGN(auto pairs, co_await state_->list(kAlarmBucket));
  CO_TRY_ASSIGN(alarms_, parse_stored_alarms(pairs));
  co_return Result<>();
}

bool Alarms::active(AlarmType type) const {
  return std::ranges::any_of(alarms_, [type](const Alarm& alarm) { return alarm.type == type; });
}

async::Task<Result<>> Alarms::raise(Alarm alarm) {
  if (!std::ranges::binary_search(alarms_, alarm)) {
    alarms_.push_back(alarm);
    std::ranges::sort(alarms_);
    stored_ = false;
  }
  if (stored_) co_return Result<>();
  co_return co_await store_all();
}

async::Task<Result<bool>> Alarms::disarm(Alarm alarm) {
  auto at = std::ranges::lower_bound(alarms_, alarm);
  if (at == alarms_.end() || *at != alarm) co_return false;
  alarms_.erase(at);
  CO_TRY(co_await store_all());
  co_return true;
}

async::Task<Result<>> Alarms::store_all() {
  stored_ = false;
  if (!state_) co_return Result<>();
  std::vector<Alarm> now = alarms_;
  CO_TRY(co_await state_->put(kAlarmBucket, kAlarmKey, format_stored_alarms(now)));
  stored_ |= now == alarms_;
  co_return Result<>();
}

}  // namespace monopod::etcd
