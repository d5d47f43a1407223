#include <fcntl.h>

#include <cstdlib>

#include "base/strings.h"
#include "supervisor/supervisor.h"

namespace monopod::supervisor {

std::optional<sys::Fd> inherited_socket() {
  const char* text = ::getenv("MONOPOD_SUPERVISOR_FD");
  if (text == nullptr) return std::nullopt;
  auto number = parse_int<int>(text);
  ::unsetenv("MONOPOD_SUPERVISOR_FD");
  if (!number || *number < 3 || ::fcntl(*number, F_SETFD, FD_CLOEXEC) < 0) return std::nullopt;
  return sys::Fd(*number);
}

}  // namespace monopod::supervisor
