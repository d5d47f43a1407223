#include "cmd/node/local_volumes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/strings.h"
#include "sys/files.h"

namespace monopod::cmd {
namespace {

constexpr std::string_view kRemoved = ".removed";

// Names of objects are DNS subdomains: letters, digits, '-' and '.', the first no dot.
Result<> check_volume_name(std::string_view name) {
  bool good = !name.empty() && name.size() <= 253 && name[0] != '.';
  for (char c : name) good = good && ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.');
  if (good) return {};
  return fail(Code::kInvalidArgument, cat("volume \"", name, "\": no name for a directory"));
}

// So that a volume that the store remembers is there after a power failure, and one that it forgot is not.
Result<> flush_directory(const sys::Root& root) {
  TRY_ASSIGN(sys::Fd directory, root.open_file(".", O_RDONLY | O_DIRECTORY));
  if (::fsync(directory.get()) != 0) return fail_errno("flush the directory of volumes");
  return {};
}

}  // namespace

LocalVolumes::LocalVolumes(async::Executor executor, async::Pool& pool, std::string directory, std::string node)
    : pool_(pool), directory_(std::move(directory)), node_(std::move(node)), removed_(executor) {}

async::Task<Result<std::string>> LocalVolumes::make(std::string volume) {
  CO_TRY(check_volume_name(volume));
  CO_TRY(co_await pool_.run([this, &volume] { return make_directory(volume); }));
  co_return cat(directory_, "/", volume);
}

async::Task<Result<>> LocalVolumes::remove(std::string volume) {
  CO_TRY(check_volume_name(volume));
  CO_TRY_ASSIGN(bool moved, co_await pool_.run([this, &volume] { return move_away(volume); }));
  if (moved) {
    leftovers_ = true;
    removed_.wake_all();
  }
  co_return Result<>();
}

async::Task<Result<>> LocalVolumes::run() {
  for (;;) {  // forever: until cancelled
    while (leftovers_) {
      leftovers_ = false;
      Result<> deleted = co_await pool_.run([this] { return delete_removed(); });
      if (!deleted) log::warn("removed volumes still take space", {{"directory", directory_}, {"why", deleted.error()}});
    }
    CO_TRY(co_await removed_.wait());
  }
}

Result<> LocalVolumes::make_directory(const std::string& volume) const {
  TRY(sys::make_directories(directory_, 0700));  // of what is below, others on this host see nothing
  TRY_ASSIGN(sys::Root root, sys::Root::open(directory_));
  Result<> made = root.make_directory(volume, 0777);
  if (!made && made.error().code() != Code::kAlreadyExists) return made;
  if (made) {
    TRY_ASSIGN(sys::Fd directory, root.open_file(volume, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    if (::fchmod(directory.get(), 0777) != 0) return fail_errno(cat("chmod ", volume));  // whatever the umask is: pods run as any user
  }
  return flush_directory(root);
}

Result<bool> LocalVolumes::move_away(const std::string& volume) const {
  Result<sys::Root> root = sys::Root::open(directory_);
  if (!root && root.error().code() == Code::kNotFound) return false;
  if (!root) return fail(root.error());
  if (Result<struct ::stat> is = root->lstat(volume); !is) return is.error().code() == Code::kNotFound ? Result<bool>(false) : fail(is.error());
  Result<> made = root->make_directory(kRemoved, 0700);
  if (!made && made.error().code() != Code::kAlreadyExists) return fail(made.error());
  std::string away = cat(kRemoved, "/", volume);
  TRY(root->remove_tree(away));  // of its name, from before
  TRY(root->rename(volume, away));
  TRY(flush_directory(*root));
  return true;
}

Result<> LocalVolumes::delete_removed() const {
  Result<sys::Root> root = sys::Root::open(cat(directory_, "/", kRemoved));
  if (!root && root.error().code() == Code::kNotFound) return {};
  if (!root) return fail(root.error());
  TRY_ASSIGN(std::vector<sys::DirEntry> entries, root->read_directory("."));
  for (const sys::DirEntry& entry : entries) TRY(root->remove_tree(entry.name));
  return {};
}

}  // namespace monopod::cmd
