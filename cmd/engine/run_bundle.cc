#include "cmd/engine/run_bundle.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <vector>

#include "base/log.h"
#include "base/strings.h"
#include "sys/files.h"
#include "sys/process.h"

namespace monopod::cmd {
namespace {

// A runtime of our own; it ends when the thread that waits for it does, and so when this process is killed.
Result<int> runtime(std::vector<std::string> words, int output) {
  words.insert(words.begin(), {"monopod", "runtime"});
  sys::Fd self(::open("/proc/self/exe", O_PATH | O_CLOEXEC)), nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!self || !nothing) return fail_errno("start the runtime");
  const int to = output < 0 ? nothing.get() : output;
  sys::SpawnOptions options{.executable = self.get(), .argv = std::move(words), .fds = {nothing.get(), to, to}, .new_session = false, .parent_death_signal = SIGKILL};
  for (char** entry = environ; *entry != nullptr; ++entry) options.env.emplace_back(*entry);
  auto child = sys::spawn(options);
  if (!child) return fail(std::move(child).error().with("start the runtime"));
  auto ended = child->reap();
  if (!ended) return fail(std::move(ended).error().with("wait for the runtime"));
  return ended->code;
}

}  // namespace

Result<int> run_bundle(const std::string& root, const std::string& bundle, const std::string& id, int output) { return runtime({"--root", root, "run", "--bundle", bundle, id}, output); }

void end_bundles(const std::string& root) {
  for (const std::string& id : sys::list_directory(root)) {
    Result<int> code = runtime({"--root", root, "delete", "--force", id}, -1);
    if (!code || *code != 0) log::warn("a step of a killed build could not be ended", {{"container", id}, {"error", code ? cat("exit code ", *code) : code.error().message()}});
    else log::info("a step of a killed build was ended", {{"container", id}});
  }
}

}  // namespace monopod::cmd
