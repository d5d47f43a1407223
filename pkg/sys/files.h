// Blocking helpers for directories of our own (trusted paths: what a container can influence goes through Root).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace monopod::sys {

Result<> make_directories(const std::string& path, unsigned mode = 0755);
// Temporary file beside it, then rename.
Result<> replace_file(const std::string& path, std::string_view bytes, unsigned mode = 0644);
// Names in a directory; empty where absent.
std::vector<std::string> list_directory(const std::string& path);
bool path_exists(const std::string& path);
bool is_mount_point(const std::string& path);
// Lazily unmounts everything at path (stacked mounts too). Absent or not mounted is no error.
Result<> unmount_all(const std::string& path);
// Unmounts what is mounted below or at path, then removes the tree without following symlinks. Absent is no error.
Result<> remove_tree(const std::string& path);
// options as of fsconfig(2): {{"size", "64m"}}. Mounted already: nothing happens.
Result<> mount_tmpfs(const std::string& path, const std::vector<std::pair<std::string, std::string>>& options);

}  // namespace monopod::sys
