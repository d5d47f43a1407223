#include "container/oci/pid_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

#include "base/strings.h"
#include "container/oci/launch.h"
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

Result<> tell_process(const std::string& pid_file, const std::string& pidfd_socket, const sys::Pidfd& process) {
  TRY(write_pid_file(pid_file, process.pid()));
  return pidfd_socket.empty() ? Result<>() : send_descriptor(pidfd_socket, "pidfd", process.fd());
}

}  // namespace monopod::container::oci
