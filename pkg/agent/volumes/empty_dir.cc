#include <sys/stat.h>

#include "sys/files.h"
#include "agent/volumes/volumes.h"

namespace monopod::agent {

Result<> set_up_empty_dir(const Volume& volume, const std::string& path, std::optional<std::int64_t> fs_group) {
  bool fresh = !sys::path_exists(path);
  if (volume.memory) {
    std::vector<std::pair<std::string, std::string>> options{{"mode", "0777"}};
    if (volume.size_limit_bytes) options.emplace_back("size", std::to_string(*volume.size_limit_bytes));
    fresh = fresh || !sys::is_mount_point(path);
    TRY(sys::mount_tmpfs(path, options));
  } else {
    TRY(sys::make_directories(path));
  }
  if (!fresh) return {};  // the pod may have changed what is inside
  if (::chmod(path.c_str(), 0777) != 0) return fail_errno(cat("chmod ", path));
  return fs_group ? give_to_group(path, *fs_group) : Result<>();
}

}  // namespace monopod::agent
