// RUN: what its container sees, and what its step depends on.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/strings.h"
#include "build/build.h"
#include "build/foreign.h"
#include "build/run_mounts.h"
#include "image/digest.h"
#include "sys/root.h"

namespace monopod::build {
namespace {

// The last of the step's words becomes a file that its container runs instead.
Result<> make_program(RunStep& step, const std::string& path, const std::string& name) {
  sys::Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700));
  if (!file) return fail_errno(cat("create ", path));
  TRY(sys::write_all(file.get(), step.args.back()));
  if (::fchmod(file.get(), 0755) != 0) return fail_errno(cat("set mode of ", path));
  MountSource source{.mount = {.target = "/dev/pipes/" + name, .read_only = true}, .host_path = path};
  step.args = {source.mount.target};
  step.mounts.push_back(std::move(source));
  return {};
}

}  // namespace

using async::Task;

Task<Result<>> Build::run_command(Current& at, const Instruction& instruction, bool& cached) {
  RunStep step;
  step.id = cat(kSnapshotPrefix, parts_.rng.uuid());
  step.bundle = cat(options_.work_dir, "/bundle-", step.id);
  step.cwd = at.image.working_dir();
  step.user = at.image.user();
  if (auto given = options_.arguments.find("BUILDKIT_SANDBOX_HOSTNAME"); given != options_.arguments.end()) step.hostname = given->second;
  if (instruction.is_json) {
    step.args = instruction.words;
  } else {
    std::string script = instruction.arguments;
    // A heredoc alone is the script; else the shell gets it with its command.
    if (instruction.heredocs.size() == 1 && script.starts_with("<<") && split_words(script, file_.escape).size() == 1) {
      script = instruction.heredocs.front().content;
    } else if (!instruction.heredocs.empty()) {
      for (const Heredoc& document : instruction.heredocs) script += cat("\n", document.content, document.name);
      script += "\n";
    }
    step.args = at.image.shell();
    step.args.push_back(std::move(script));
  }
  const bool is_program = !instruction.is_json && step.args.back().starts_with("#!");
  for (const std::string& entry : at.image.env()) step.env.push_back(entry);
  std::string key = cat("RUN\n", join(step.args, "\n"), "\n", step.cwd, "\n", step.user, "\n", join(step.env, "\n"), "\n");
  const std::string created_by = cat("RUN ", join(step.args, " "));
  for (const auto& [name, value] : at.arguments)
    if (!at.image.find_env(name)) {
      step.env.push_back(cat(name, "=", value));
      key += cat("ARG ", name, "=", value, "\n");
    }
  for (std::string_view name : kProxyArguments)
    if (auto given = options_.arguments.find(std::string(name)); given != options_.arguments.end() && !at.arguments.contains(given->first)) step.env.push_back(cat(name, "=", given->second));
  struct Secrets {  // files of secrets and programs do not outlive the step
    RunStep& step;
    std::string program = {};
    ~Secrets() {
      for (const MountSource& source : step.mounts)
        if (source.mount.type == RunMount::Type::kSecret || source.host_path == program) (void)::unlink(source.host_path.c_str());
    }
  } secrets{.step = step};
  if (is_program) {  // the kernel runs it by its interpreter line
    secrets.program = step.bundle + ".program";
    CO_TRY(make_program(step, secrets.program, instruction.heredocs.empty() ? "script" : instruction.heredocs.front().name));
  }
  CO_TRY(co_await collect_mounts(at, instruction, step, key));
  struct Step {
    Build& build;
    const Current& at;
    RunStep& step;
    image::Platform platform;
    Task<Result<bool>> operator()(const Mounted& mounted) const {
      CO_TRY(co_await build.parts_.pool.run([&] { return check_runs_here(platform, cat(build.options_.work_dir, "/probe-", build.parts_.rng.uuid())); }));
      step.root = mounted.path;
      Caches caches(build);
      CO_TRY(co_await caches.take(step));
      WritableBinds binds(cat(build.options_.work_dir, "/rw-", step.id));
      CO_TRY(co_await build.parts_.pool.run([&] { return binds.make(step); }));
      Result<int> code = co_await build.run_container(at, step);
      co_await build.parts_.pool.run([&] { binds.clear(); });
      if (code && *code != 0) {
        // The container has no files of the host's, unless the kernel opened the interpreter as it was registered. The runtime says 1 where it finds no program.
        const bool foreign = (*code == 1 || *code == 126 || *code == 127) && platform.architecture != image::host_platform().architecture;
        code = fail(Code::kAborted, cat("process \"", join(step.args, " ").substr(0, 500), "\" did not complete successfully: exit code: ", *code,
                                        foreign ? cat(" (of an image for ", image::format_platform(platform), "; where programs are not found, their interpreter must be registered in binfmt_misc with flag F)") : ""));
      }
      CO_TRY(code);
      co_return co_await build.parts_.pool.run([&]() -> Result<bool> {
        TRY_ASSIGN(sys::Root upper, sys::Root::open(mounted.upper));
        TRY_ASSIGN(auto entries, upper.read_directory("."));
        return !entries.empty();
      });
    }
  };
  co_return co_await layer(at, std::move(key), created_by, cached, Step{*this, at, step, at.image.platform()});
}

}  // namespace monopod::build
