// Backups on a timetable: one every so often into a folder, the newest N are kept.
//
//   Schedule schedule(executor, source, time, {.folder = "/mnt/usb/backups"});
//   scope.spawn(schedule.run());
//
// A failed backup is logged, shown in status(), and tried again after a while; it never ends run() nor touches the older ones.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "async/pool.h"
#include "async/time.h"
#include "backup/online.h"

namespace monopod::backup {

struct ScheduleOptions {
  std::string folder{};  // made (0700) if absent; a second medium is what a backup is for
  std::chrono::seconds every = std::chrono::hours(6);
  int keep = 8;
};

struct ScheduleStatus {
  std::string newest_file{};           // name in the folder
  std::string newest_created{};        // RFC 3339
  std::int64_t newest_bytes = 0;
  std::int64_t taken = 0, failed = 0;  // since start
  std::string last_error{};            // empty: the last attempt worked
  std::string next{};                  // RFC 3339, of the next attempt
};

// "state-00000012-20261125T180909Z.db.zst". The number rises with every backup, so that order survives a clock that was set back.
struct BackupName {
  std::int64_t number = 0;
  std::optional<WallTime> created{};
};
std::string format_backup_name(std::int64_t number, WallTime created);
std::optional<BackupName> parse_backup_name(std::string_view name);
// Which of the names rotation removes: all but the keep with the highest numbers. Names of other shapes are nobody's to remove.
std::vector<std::string> find_surplus(std::vector<std::string> names, int keep);

class Schedule {
 public:
  // What source refers to, and time, outlive it.
  Schedule(Source source, async::Time& time, ScheduleOptions options);
  // forever: until cancelled. A backup in progress is finished first.
  async::Task<Result<>> run();
  // One now, whatever the timetable says; and the rotation.
  async::Task<Result<Info>> take();
  const ScheduleStatus& status() const { return status_; }
  const ScheduleOptions& options() const { return options_; }

 private:
  Duration delay_after_start(const std::vector<std::string>& names) const;
  async::Task<Result<Info>> take_one();

  Source source_;
  async::Time& time_;
  ScheduleOptions options_;
  async::Pool thread_{1};  // of its own: compressing must not keep the store's readers waiting
  ScheduleStatus status_;
};

}  // namespace monopod::backup
