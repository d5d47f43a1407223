#include <fcntl.h>
#include <sys/stat.h>

#include "sys/files.h"
#include "agent/volumes/volumes.h"
#include "sys/fd.h"

namespace monopod::agent {

Result<> check_host_path(const Volume& volume) {
  const std::string& path = volume.path;
  const std::string& type = volume.path_type;
  if (path.empty() || path[0] != '/' || path.find("/../") != std::string::npos || path.ends_with("/.."))
    return fail(Code::kInvalidArgument, cat("hostPath \"", path, "\" must be absolute and must not contain '..'"));
  struct stat st{};
  bool there = ::stat(path.c_str(), &st) == 0;
  auto wrong = [&](std::string_view what) { return fail(Code::kFailedPrecondition, cat("hostPath type check failed: ", path, " is not ", what)); };
  if (type.empty()) {
    // As the field's runtimes do: a missing directory is made.
    return there ? Result<>() : sys::make_directories(path);
  }
  if (type == "DirectoryOrCreate" || type == "Directory") {
    if (!there && type == "DirectoryOrCreate") return sys::make_directories(path);
    if (!there || !S_ISDIR(st.st_mode)) return wrong("a directory");
  } else if (type == "FileOrCreate" || type == "File") {
    if (!there && type == "FileOrCreate") {
      sys::Fd made(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
      if (!made) return fail_errno(cat("create ", path));
      return {};
    }
    if (!there || !S_ISREG(st.st_mode)) return wrong("a file");
  } else if (type == "Socket") {
    if (!there || !S_ISSOCK(st.st_mode)) return wrong("a socket file");
  } else if (type == "CharDevice") {
    if (!there || !S_ISCHR(st.st_mode)) return wrong("a character device");
  } else if (type == "BlockDevice") {
    if (!there || !S_ISBLK(st.st_mode)) return wrong("a block device");
  } else {
    return fail(Code::kInvalidArgument, cat(type, " is an invalid volume type"));
  }
  return {};
}

}  // namespace monopod::agent
