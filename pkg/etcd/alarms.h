// Alarms: a raised one stays, over restarts too, until it is disarmed (`etcdctl alarm disarm`).
//   NOSPACE  the quota is reached or the disk is full: no puts, no new leases; reads, deletes, compaction and defragmentation go on
//   CORRUPT  a checksum failed: no reads and no writes of keys
#pragma once

#include <span>
#include <vector>

#include "async/state_store.h"
#include "async/task.h"
#include "etcd/messages.h"

namespace monopod::etcd {

enum class AlarmType { kNone = 0, kNoSpace = 1, kCorrupt = 2 };  // etcd's numbers

struct Alarm {
  std::uint64_t member = kMemberId;
  AlarmType type = AlarmType::kNone;
  auto operator<=>(const Alarm&) const = default;
};

std::string_view alarm_name(AlarmType type);      // "NOSPACE"
std::string format_alarm(const Alarm& alarm);     // etcdserverpb.AlarmMember
Result<Alarm> parse_alarm(std::string_view message);
std::string describe_alarm(const Alarm& alarm);   // "memberID:1 alarm:NOSPACE ", as Status shows it

// How they are remembered: under one key of a bucket of the store's state.
inline constexpr const char* kAlarmBucket = "etcd-alarm";
inline constexpr const char* kAlarmKey = "raised";
std::string format_stored_alarms(std::span<const Alarm> alarms);
Result<std::vector<Alarm>> parse_stored_alarms(const std::vector<std::pair<std::string, std::string>>& pairs);  // sorted

class Alarms {
 public:
  // state: where they are remembered; null: in memory only. Outlives this.
  explicit Alarms(async::StateStore* state) : state_(state) {}
  // Once, before anything else.
  async::Task<Result<>> load();

  bool active(AlarmType type) const;
  std::span<const Alarm> all() const { return alarms_; }
  // In force at once; durable when it returns, or at a later raise() if that fails now (a full disk). An alarm that is on: nothing.
  async::Task<Result<>> raise(Alarm alarm);
  // False if it was not on.
  async::Task<Result<bool>> disarm(Alarm alarm);

 private:
  async::Task<Result<>> store_all();
  async::StateStore* state_;
  std::vector<Alarm> alarms_;  // sorted
  bool stored_ = true;         // what is in force is durable
};

}  // namespace monopod::etcd
