#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "container/init_steps.h"

namespace monopod::container {

int run_reaper(int child) {
  sigset_t all;
  sigfillset(&all);
  ::sigprocmask(SIG_BLOCK, &all, nullptr);
  int code = 0;
  for (;;) {
    int status = 0;
    pid_t pid;
    while ((pid = ::waitpid(-1, &status, WNOHANG)) > 0) {
      if (pid != child) continue;
      // PID 1 takes all of its namespace with it.
      code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
      return code;
    }
    siginfo_t info = {};
    int signal = ::sigwaitinfo(&all, &info);
    if (signal < 0) {
      if (errno == EINTR) continue;
      return 128;
    }
    if (signal == SIGCHLD) continue;
    if (child < 0) {
      if (signal == SIGTERM || signal == SIGINT) return 0;
      continue;
    }
    if (signal != SIGTTIN && signal != SIGTTOU && signal != SIGTSTP) ::kill(child, signal);
  }
}

}  // namespace monopod::container
