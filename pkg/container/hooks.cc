#include "container/hooks.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "base/log.h"
#include "base/strings.h"
#include "codec/json.h"
#include "sys/process.h"
#include "sys/root.h"
#include "sys/stream.h"

namespace monopod::container {
namespace {

using Clock = std::chrono::steady_clock;

struct Running {
  sys::Pidfd process;
  sys::Fd errors;
};

std::vector<char*> c_strings(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (const std::string& text : texts) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

// Without become only async-signal-safe calls: the caller's memory is a copy of a process that may have had threads.
[[noreturn]] void become_hook(const Hook& hook, char** argv, char** envp, int input, int errors, const std::function<Result<>()>& become) {
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  int null = ::open("/dev/null", O_WRONLY);
  ::dup2(input, 0);
  ::dup2(null < 0 ? errors : null, 1);
  ::dup2(errors, 2);
  if (Result<> became = become ? become() : Result<>(); !became) {
    (void)sys::write_all(2, became.error().message());
    ::_exit(127);
  }
  ::syscall(SYS_close_range, 3U, ~0U, 0U);
  ::execve(hook.path.c_str(), argv, envp);
  int saved = errno;
  const char* why = saved == ENOENT ? "no such file or directory" : saved == EACCES ? "permission denied" : "cannot be executed";
  (void)!::write(2, why, std::char_traits<char>::length(why));
  ::_exit(127);
}

Result<Running> start_hook(const Hook& hook, int input, const std::function<Result<>()>& become) {
  TRY_ASSIGN(sys::Pipe errors, sys::make_pipe());
  std::vector<std::string> words = hook.args.empty() ? std::vector<std::string>{hook.path} : hook.args;
  std::vector<char*> argv = c_strings(words);
  std::vector<char*> envp = c_strings(hook.env);
  int pidfd = -1;
  struct clone_args args = {};
  args.flags = CLONE_PIDFD | 0x100000000ULL /* CLONE_CLEAR_SIGHAND */;
  args.pidfd = reinterpret_cast<std::uintptr_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  long pid = ::syscall(SYS_clone3, &args, sizeof args);
  if (pid == 0) become_hook(hook, argv.data(), envp.data(), input, errors.write.get(), become);
  if (pid < 0) return fail_errno("clone");
  return Running{sys::Pidfd(static_cast<pid_t>(pid), sys::Fd(pidfd)), std::move(errors.read)};
}

// Reads what it says until it is gone. A child of the hook that keeps its standard error open is not waited for.
Result<sys::ExitStatus> watch(const Running& running, Clock::time_point deadline, std::string& said) {
  bool open = true;
  for (;;) {
    std::array<struct pollfd, 2> fds = {{{running.process.fd(), POLLIN, 0}, {open ? running.errors.get() : -1, POLLIN, 0}}};
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return fail(Code::kDeadlineExceeded, "takes longer than its timeout");
    int n = ::poll(fds.data(), fds.size(), static_cast<int>(left));
    if (n < 0 && errno != EINTR) return fail_errno("wait for it");
    if (n <= 0) continue;
    if (fds[1].revents != 0) {
      std::array<char, 4096> buffer;
      ssize_t bytes = ::read(running.errors.get(), buffer.data(), buffer.size());
      if (bytes > 0 && said.size() < kHookErrorBytesMax) said.append(buffer.data(), static_cast<std::size_t>(bytes));
      open = bytes > 0;
      continue;  // all of it before the end is looked at
    }
    TRY_ASSIGN(std::optional<sys::ExitStatus> status, running.process.try_reap());
    if (status) return *status;
  }
}

std::string describe_end(const sys::ExitStatus& status) {
  if (status.signal == 0) return cat("exit status ", status.code);
  return cat("signal: ", to_lower(::strsignal(status.signal)));
}

Result<> run_hook(const Hook& hook, const std::string& state, const std::function<Result<>()>& become) {
  // In memory, not in a pipe: a hook that does not read must not block us.
  TRY_ASSIGN(sys::Fd input, sys::sealed_memfd("state", state));
  TRY_ASSIGN(Running running, start_hook(hook, input.get(), become));
  std::string said;
  Result<sys::ExitStatus> status = watch(running, Clock::now() + std::chrono::seconds(hook.timeout_s.value_or(kHookTimeoutMaxS)), said);
  if (!status) {
    (void)running.process.send_signal(SIGKILL);
    (void)running.process.reap();
    return fail(std::move(status).error());
  }
  if (status->code == 0) return {};
  std::string_view text = trim(said);
  return fail(Code::kInternal, cat(describe_end(*status), text.empty() ? "" : ": ", text));
}

}  // namespace

Result<> run_hooks(std::string_view name, const std::vector<Hook>& hooks, const std::string& state, const std::function<Result<>()>& become) {
  for (std::size_t i = 0; i < hooks.size(); ++i) {
    Result<> done = run_hook(hooks[i], state, become);
    if (!done) return fail(std::move(done).error().with(cat("error running ", name, " hook #", i, ": ", hooks[i].path)));
  }
  return {};
}

void run_poststop_hooks(const std::vector<Hook>& hooks, const std::string& state, const std::string& container) {
  for (const Hook& hook : hooks) {
    Result<> done = run_hooks("poststop", {hook}, state);
    if (!done) log::warn("a hook failed", {{"container", container}, {"error", done.error()}});
  }
}

std::string state_with(const std::string& state, std::string_view status, int pid) {
  Result<json::Value> value = json::parse(state);
  if (!value || !value->is_object()) return state;
  value->as_object()["status"] = status;
  value->as_object()["pid"] = pid;
  return json::format(*value);
}

}  // namespace monopod::container
