#include "container/oci/pid_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

#include "base/strings.h"
#include "sys/root.h"

namespace monopod::container::oci {

Result<> write_pid_file(const std::string& path, int pid) {
  if (path.empty()) return {};
  std::size_t slash = path.rfind('/');
  std::string draft = slash == std::string::npos ? cat(".", path) : cat(path.substr(0, slash + 1), ".", path.substr(slash + 1));
  sys::Fd file(::open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!file) return fail_errno(cat("make pid file ", draft));
  TRY(sys::write_all(file.get(), cat(pid)));
  if (::rename(draft.c_str(), path.c_str()) < 0) return fail_errno(cat("make pid file ", path));
  return {};
}

}  // namespace monopod::container::oci
