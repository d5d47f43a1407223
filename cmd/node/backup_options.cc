#include "cmd/node/backup_options.h"

#include "base/duration.h"

namespace monopod::cmd {
namespace {

constexpr std::chrono::seconds kEveryMin{60};
constexpr std::chrono::seconds kEveryMax = std::chrono::days(365);

}  // namespace

void add_backup_options(CLI::App& app, BackupOptions& o, const std::string& env_prefix) {
  auto env = [&env_prefix](CLI::Option* option, const char* name) {
    if (!env_prefix.empty()) option->envname(env_prefix + name);
    return option;
  };
  env(app.add_option("--backup-dir", o.dir, "Backups of the datastore go here, best on another medium (default: none are made)"), "BACKUP_DIR");
  env(app.add_option("--backup-every", o.every, "How often, such as 30m, 6h, 1d"), "BACKUP_EVERY")->capture_default_str();
  env(app.add_option("--backup-keep", o.keep, "How many to keep"), "BACKUP_KEEP")->check(CLI::Range(1, 10000))->capture_default_str();
}

Result<std::optional<backup::ScheduleOptions>> parse_backup_options(const BackupOptions& o) {
  if (o.dir.empty()) return std::optional<backup::ScheduleOptions>();
  Result<Duration> every = parse_duration(o.every);
  if (!every) return fail(std::move(every).error().with("--backup-every"));
  if (*every < kEveryMin || *every > kEveryMax) return fail(Code::kInvalidArgument, "--backup-every: want 1m to 365d");
  return backup::ScheduleOptions{.folder = o.dir, .every = std::chrono::duration_cast<std::chrono::seconds>(*every), .keep = o.keep};
}

}  // namespace monopod::cmd
