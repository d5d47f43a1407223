#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/volumes/volumes.h"
#include "sys/root.h"

namespace monopod::agent {

namespace {

Result<> give(const sys::Root& root, const std::string& path, gid_t gid) {
  TRY_ASSIGN(sys::Fd fd, root.open_file(path, O_PATH | O_NOFOLLOW));
  struct stat st{};
  if (::fstat(fd.get(), &st) != 0) return fail_errno(cat("stat ", path));
  if (::fchownat(fd.get(), "", static_cast<uid_t>(-1), gid, AT_EMPTY_PATH) != 0) return fail_errno(cat("chown ", path));
  if (S_ISLNK(st.st_mode)) return {};
  mode_t mode = (st.st_mode & 07777U) | 0060U;
  if (S_ISDIR(st.st_mode)) mode |= S_ISGID | 0010U;
  if (::chmod(sys::fd_path(fd.get()).c_str(), mode) != 0) return fail_errno(cat("chmod ", path));
  if (!S_ISDIR(st.st_mode)) return {};
  TRY_ASSIGN(auto entries, root.read_directory(path));
  for (const sys::DirEntry& e : entries) TRY(give(root, cat(path, "/", e.name), gid));
  return {};
}

}  // namespace

bool is_of_group(const std::string& path, std::int64_t gid) {
  struct stat st{};
  constexpr mode_t kGiven = S_ISGID | 0070U;
  return ::stat(path.c_str(), &st) == 0 && st.st_gid == static_cast<gid_t>(gid) && (st.st_mode & kGiven) == kGiven;
}

Result<> give_to_group(const std::string& path, std::int64_t gid) {
  TRY_ASSIGN(sys::Root root, sys::Root::open(path));
  return give(root, ".", static_cast<gid_t>(gid));
}

}  // namespace monopod::agent
