#include <fcntl.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "container/init_steps.h"
#include "sys/mounts.h"

namespace monopod::container {

Result<sys::Fd> open_terminal(const sys::Root& root, const InitSpec& spec, bool bind_console) {
  // Of our own devpts instance, checked: a planted file would become the console (CVE-2025-52565).
  TRY_ASSIGN(sys::Fd master, root.open_no_symlinks("/dev/pts/ptmx", O_RDWR | O_NOCTTY));
  TRY_ASSIGN(std::uint64_t magic, sys::file_system_magic(master.get()));
  if (magic != DEVPTS_SUPER_MAGIC) return fail(Code::kFailedPrecondition, "/dev/pts of the container is not a devpts file system");
  int unlocked = 0;
  if (::ioctl(master.get(), TIOCSPTLCK, &unlocked) < 0) return fail_errno("unlock terminal");
  sys::Fd slave(::ioctl(master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!slave) return fail_errno("open terminal");
  struct winsize size = {spec.rows, spec.columns, 0, 0};
  if (::ioctl(master.get(), TIOCSWINSZ, &size) < 0) return fail_errno("size terminal");
  if (bind_console) {
    Result<sys::Fd> console = root.open_no_symlinks("/dev/console", O_PATH);
    if (console) {
      TRY_ASSIGN(sys::Fd copy, sys::clone_mount(slave.get(), false));
      TRY(sys::attach_mount(copy.get(), console->get()));
    }
  }
  for (int fd = 0; fd < 3; ++fd) {
    if (::dup2(slave.get(), fd) < 0) return fail_errno("set terminal");
  }
  if (::ioctl(0, TIOCSCTTY, 0) < 0) return fail_errno("take terminal");
  return master;
}

}  // namespace monopod::container
