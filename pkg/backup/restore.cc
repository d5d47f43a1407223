#include "backup/restore.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <vector>

#include "backup/file.h"
#include "base/strings.h"

namespace monopod::backup {
namespace {

constexpr std::string_view kName = "state.db";

bool is_leftover(std::string_view name) { return name.starts_with(cat(kName, PendingFile::kSuffix)); }

Result<std::vector<std::string>> list_folder(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code ec;
  for (std::filesystem::directory_iterator at(folder, ec), end; !ec && at != end; at.increment(ec)) names.push_back(at->path().filename());
  if (ec && ec.value() != ENOENT) return fail(errno_error(ec.value(), "read " + folder));
  return names;
}

}  // namespace

Result<> check_restore_target(const std::string& data_dir) {
  TRY_ASSIGN(std::vector<std::string> names, list_folder(data_dir));
  for (const std::string& name : names)
    if (!is_leftover(name)) return fail(Code::kAlreadyExists, cat("restore into ", data_dir, ": it is not empty (", name, "): choose an empty directory, or move that one away"));
  return {};
}

Result<Info> restore(const std::string& backup_path, const std::string& data_dir, const RestoreOptions& options, const OnProgress& progress) {
  TRY(check_restore_target(data_dir));
  TRY_ASSIGN(Info info, decode(backup_path, nullptr));
  if (::mkdir(data_dir.c_str(), 0700) != 0 && errno != EEXIST) return fail_errno("create " + data_dir);
  TRY_ASSIGN(std::vector<std::string> left, list_folder(data_dir));
  for (const std::string& name : left)
    if (is_leftover(name)) ::unlink(cat(data_dir, "/", name).c_str());
  TRY_ASSIGN(auto file, PendingFile::create(cat(data_dir, "/", kName)));
  TRY_ASSIGN(info, decode(backup_path, file.get(), progress));
  if (options.bump_revision > 0) TRY(store::advance_revision(file->pending_path(), options.bump_revision));
  TRY_ASSIGN(store::FileSummary summary, store::inspect_file(file->pending_path()));
  info.head.revision = summary.revision.value;
  TRY(file->commit());
  return info;
}

}  // namespace monopod::backup
