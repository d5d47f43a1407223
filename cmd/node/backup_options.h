// --backup-dir, --backup-every, --backup-keep: shared by `monopod server` and `monopod store serve`.
#pragma once

#include <optional>
#include <string>

#include "backup/schedule.h"
#include "cmd/command.h"

namespace monopod::cmd {

struct BackupOptions {
  std::string dir;  // empty: no backups
  std::string every = "6h";
  int keep = 8;
};

// env_prefix: "MONOPOD_" for options that the environment may set, "" for none.
void add_backup_options(CLI::App& app, BackupOptions& options, const std::string& env_prefix);
// nullopt where no folder is given. kInvalidArgument: a bad duration, or less than a minute.
Result<std::optional<backup::ScheduleOptions>> parse_backup_options(const BackupOptions& options);

}  // namespace monopod::cmd
