#include "backup/schedule.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/log.h"
#include "base/strings.h"

namespace monopod::backup {
namespace {

constexpr std::string_view kPrefix = "state-";
constexpr std::string_view kSuffix = ".db.zst";
constexpr std::chrono::seconds kRetryMax = std::chrono::minutes(10);
constexpr std::chrono::seconds kStartDelay = std::chrono::minutes(1);  // a node that starts has better things to do
constexpr int kNice = 10;

Result<std::vector<std::string>> list_backups(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code ec;
  for (std::filesystem::directory_iterator at(folder, ec), end; !ec && at != end; at.increment(ec))
    if (std::string name = at->path().filename(); parse_backup_name(name)) names.push_back(std::move(name));
  if (ec) return fail(errno_error(ec.value(), "read " + folder));
  std::ranges::sort(names, {}, [](const std::string& name) { return parse_backup_name(name)->number; });
  return names;
}

Result<std::vector<std::string>> prepare(const std::string& folder) {
  ::setpriority(PRIO_PROCESS, 0, kNice);  // of this thread alone; a failure costs nothing but politeness
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return fail_errno("create " + folder);
  if (std::size_t removed = remove_partial_backups(folder); removed > 0) log::info("leftovers of unfinished backups removed", {{"files", removed}});
  return list_backups(folder);
}

Result<> rotate(const std::string& folder, int keep) {
  TRY_ASSIGN(std::vector<std::string> names, list_backups(folder));
  for (const std::string& name : find_surplus(std::move(names), keep)) {
    std::string path = cat(folder, "/", name);
    if (::unlink(path.c_str()) != 0) return fail_errno("remove " + path);
  }
  return {};
}

}  // namespace

std::string format_backup_name(std::int64_t number, WallTime created) {
  std::string digits = std::to_string(number);
  if (digits.size() < 8) digits.insert(0, 8 - digits.size(), '0');
  std::string stamp;  // 2026-11-25T18:09:09Z without its punctuation
  for (char c : format_rfc3339(created))
    if (c != '-' && c != ':') stamp += c;
  return cat(kPrefix, digits, "-", stamp, kSuffix);
}

std::optional<BackupName> parse_backup_name(std::string_view name) {
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix) || name.size() <= kPrefix.size() + kSuffix.size()) return std::nullopt;
  name = name.substr(kPrefix.size(), name.size() - kPrefix.size() - kSuffix.size());
  auto [digits, stamp] = split_once(name, '-');
  auto number = parse_int<std::int64_t>(digits);
  if (!number || *number < 0 || !stamp || stamp->size() != 16) return std::nullopt;
  std::string_view s = *stamp;
  Result<WallTime> created = parse_rfc3339(cat(s.substr(0, 4), "-", s.substr(4, 2), "-", s.substr(6, 5), ":", s.substr(11, 2), ":", s.substr(13)));
  if (!created) return std::nullopt;
  return BackupName{.number = *number, .created = *created};
}

std::vector<std::string> find_surplus(std::vector<std::string> names, int keep) {
  std::erase_if(names, [](const std::string& name) { return !parse_backup_name(name); });
  std::ranges::sort(names, {}, [](const std::string& name) { return parse_backup_name(name)->number; });
  names.resize(names.size() - std::min(names.size(), static_cast<std::size_t>(std::max(1, keep))));
  return names;
}

Schedule::Schedule(Source source, async::Time& time, ScheduleOptions options) : source_(std::move(source)), time_(time), options_(std::move(options)) {}

// A restart does not bring the next backup nearer or farther, unless the clock makes no sense.
Duration Schedule::delay_after_start(const std::vector<std::string>& names) const {
  if (names.empty()) return kStartDelay;
  Duration age = time_.wall() - *parse_backup_name(names.back())->created;
  if (age < Duration(0)) return options_.every;
  return std::max<Duration>(kStartDelay, options_.every - age);
}

async::Task<Result<>> Schedule::run() {
  Result<std::vector<std::string>> found = co_await thread_.run([this] { return prepare(options_.folder); });
  Duration delay = kStartDelay;
  if (found) {
    delay = delay_after_start(*found);
    if (!found->empty()) {
      status_.newest_file = found->back();
      status_.newest_created = format_rfc3339(*parse_backup_name(found->back())->created);
    }
  } else {
    status_.last_error = found.error().message();
    log::warn("backup folder is not usable", {{"error", found.error()}});
  }
  for (;;) {
    status_.next = format_rfc3339(time_.wall() + delay);
    CO_TRY(co_await time_.sleep_for(delay));
    Result<Info> taken = co_await take();
    if (!taken && taken.error().code() == Code::kCancelled) co_return fail(std::move(taken).error());
    delay = taken ? options_.every : std::min(options_.every, kRetryMax);
  }
}

async::Task<Result<Info>> Schedule::take() {
  Result<Info> taken = co_await take_one();
  if (taken) {
    ++status_.taken;
    status_.last_error.clear();
    log::info("backup taken", {{"file", status_.newest_file}, {"bytes", taken->file_bytes}, {"revision", taken->head.revision}});
  } else if (taken.error().code() != Code::kCancelled) {
    ++status_.failed;
    status_.last_error = taken.error().message();
    log::warn("backup failed", {{"error", taken.error()}});
  }
  co_return taken;
}

async::Task<Result<Info>> Schedule::take_one() {
  // The folder may be a medium that was not there at the start.
  CO_TRY_ASSIGN(std::vector<std::string> names, co_await thread_.run([this]() -> Result<std::vector<std::string>> {
    if (::mkdir(options_.folder.c_str(), 0700) != 0 && errno != EEXIST) return fail_errno("create " + options_.folder);
    return list_backups(options_.folder);
  }));
  std::int64_t number = names.empty() ? 1 : parse_backup_name(names.back())->number + 1;
  std::string name = format_backup_name(number, time_.wall());
  CO_TRY_ASSIGN(Info info, co_await save(source_, thread_, cat(options_.folder, "/", name)));
  status_.newest_file = name;
  status_.newest_created = info.head.created;
  status_.newest_bytes = info.file_bytes;
  CO_TRY(co_await thread_.run([this] { return rotate(options_.folder, options_.keep); }));
  co_return info;
}

}  // namespace monopod::backup
