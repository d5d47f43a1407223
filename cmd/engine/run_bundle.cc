#include "cmd/engine/run_bundle.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <vector>

#include "async/scope.h"
#include "base/log.h"
#include "base/strings.h"
#include "sys/files.h"
#include "sys/process.h"
#include "sys/stream.h"

namespace monopod::cmd {
namespace {

using async::Task;

// A runtime of our own; it ends when the thread that starts it does, and so when this process is killed.
Result<sys::Pidfd> start_runtime(std::vector<std::string> words, int output) {
  words.insert(words.begin(), {"monopod", "runtime"});
  sys::Fd self(::open("/proc/self/exe", O_PATH | O_CLOEXEC)), nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!self || !nothing) return fail_errno("start the runtime");
  const int to = output < 0 ? nothing.get() : output;
  sys::SpawnOptions options{.executable = self.get(), .argv = std::move(words), .fds = {nothing.get(), to, to}, .new_session = false, .parent_death_signal = SIGKILL};
  for (char** entry = environ; *entry != nullptr; ++entry) options.env.emplace_back(*entry);
  auto child = sys::spawn(options);
  if (!child) return fail(std::move(child).error().with("start the runtime"));
  return child;
}

// Blocking.
Result<int> runtime(std::vector<std::string> words) {
  TRY_ASSIGN(sys::Pidfd child, start_runtime(std::move(words), -1));
  auto ended = child.reap();
  if (!ended) return fail(std::move(ended).error().with("wait for the runtime"));
  return ended->code;
}

Task<Result<int>> wait_for(const sys::Pidfd& child) {
  CO_TRY(co_await sys::wait_readable(child.fd()));
  auto ended = child.reap();
  if (!ended) co_return fail(std::move(ended).error().with("wait for the runtime"));
  co_return ended->code;
}

// As after a kill: the runtime first, so that it makes nothing any more, then what it had made.
Task<> end_bundle(const sys::Pidfd& child, const std::string& root, const std::string& id) {
  (void)child.send_signal(SIGKILL);
  (void)co_await wait_for(child);
  auto remover = start_runtime({"--root", root, "delete", "--force", id}, -1);
  Result<int> code = remover ? co_await wait_for(*remover) : fail(remover.error());
  if (!code) log::warn("a build's step could not be ended", {{"container", id}, {"error", code.error()}});
}

}  // namespace

Task<Result<int>> run_bundle(std::string root, std::string bundle, std::string id, int output) {
  CO_TRY_ASSIGN(sys::Pidfd child, start_runtime({"--root", root, "run", "--bundle", bundle, id}, output));
  co_await async::asio::this_coro::throw_if_cancelled(false);
  Result<int> code = co_await wait_for(child);
  if (!code) co_await async::shielded(end_bundle(child, root, id));
  co_await async::asio::this_coro::throw_if_cancelled(true);
  co_return code;
}

void end_bundles(const std::string& root) {
  for (const std::string& id : sys::list_directory(root)) {
    Result<int> code = runtime({"--root", root, "delete", "--force", id});
    if (!code || *code != 0) log::warn("a step of a killed build could not be ended", {{"container", id}, {"error", code ? cat("exit code ", *code) : code.error().message()}});
    else log::info("a step of a killed build was ended", {{"container", id}});
  }
}

}  // namespace monopod::cmd
