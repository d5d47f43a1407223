#include "sys/fd.h"

#include <fcntl.h>
#include <unistd.h>

namespace monopod::sys {

void Fd::reset() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

Result<Fd> Fd::duplicate() const {
  int copy = ::fcntl(fd_, F_DUPFD_CLOEXEC, 3);
  if (copy < 0) return fail_errno("duplicate file descriptor");
  return Fd(copy);
}

}  // namespace monopod::sys
