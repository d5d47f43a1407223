// RUN: what its container sees, and what its step depends on.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/strings.h"
#include "build/build.h"
#include "image/digest.h"
#include "sys/root.h"

namespace monopod::build {
namespace {

constexpr std::size_t kSecretBytesMax = 500U << 10;

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

Task<Result<>> Build::collect_mounts(Current& at, const Instruction& instruction, RunStep& step, std::string& key) {
  FindVariable find = variables(at);
  for (const Flag& flag : instruction.flags) {
    if (flag.name == "security" && flag.value != "sandbox") co_return fail(Code::kUnimplemented, cat("RUN --security=", flag.value, " is not supported"));
    if (flag.name == "network") {
      if (flag.value != "none" && flag.value != "host" && flag.value != "default") co_return fail(Code::kInvalidArgument, cat("RUN --network=", flag.value, ": want default, none or host"));
      step.network = flag.value != "none";
      key += cat("network ", flag.value, "\n");
    }
    if (flag.name != "mount") continue;
    CO_TRY_ASSIGN(std::string text, expand(flag.value, find, {.escape = file_.escape}));
    MountSource source;
    CO_TRY_ASSIGN(source.mount, parse_run_mount(text, at.image.working_dir()));
    key += cat("mount ", text, "\n");
    const RunMount& mount = source.mount;
    if (mount.type == RunMount::Type::kBind) {
      std::string root_path = options_.context;
      if (!mount.from.empty()) {
        CO_TRY_ASSIGN(std::string id, co_await source_image(at, mount.from));
        CO_TRY_ASSIGN(root_path, co_await mount_kept(id));
      }
      CO_TRY(co_await parts_.pool.run([&]() -> Result<> {
        TRY_ASSIGN(sys::Root root, sys::Root::open(root_path));
        CopySource below{.root = root, .ignore = mount.from.empty() ? &ignore_ : nullptr, .keep_owner = !mount.from.empty()};
        TRY_ASSIGN(std::vector<std::string> paths, find_sources(below, {mount.source.empty() ? "." : mount.source}));
        TRY_ASSIGN(std::string digest, digest_sources(below, paths));
        key += cat(digest, "\n");
        // Where links lead, they lead inside: the path of what was opened.
        TRY_ASSIGN(sys::Fd fd, root.open_file(paths.front(), O_PATH));
        std::string real(4096, '\0');
        ssize_t n = ::readlink(sys::fd_path(fd.get()).c_str(), real.data(), real.size());
        if (n < 0) return fail_errno("find the mount's source");
        source.host_path = real.substr(0, static_cast<std::size_t>(n));
        return {};
      }));
    } else if (mount.type == RunMount::Type::kCache) {
      if (!mount.from.empty()) co_return fail(Code::kUnimplemented, "RUN --mount=type=cache,from= is not supported");
      std::string caches = options_.work_dir + "/cache";
      source.host_path = cat(caches, "/", image::digest_hex(image::digest_of(mount.id)));
      if (::mkdir(caches.c_str(), 0700) != 0 && errno != EEXIST) co_return fail_errno(cat("make directory ", caches));
      if (::mkdir(source.host_path.c_str(), 0755) == 0) {
        if (::chmod(source.host_path.c_str(), mount.mode.value_or(0755)) != 0 || ::chown(source.host_path.c_str(), mount.uid.value_or(0), mount.gid.value_or(0)) != 0) co_return fail_errno(cat("set attributes of ", source.host_path));
      } else if (errno != EEXIST) {
        co_return fail_errno(cat("make directory ", source.host_path));
      }
    } else if (mount.type == RunMount::Type::kSecret) {
      auto given = options_.secrets.find(mount.id);
      if (given == options_.secrets.end()) {
        if (mount.required) co_return fail(Code::kInvalidArgument, cat("secret ", mount.id, ": not found: give it with --secret id=", mount.id, ",src=FILE"));
        continue;
      }
      CO_TRY_ASSIGN(std::string secret, sys::read_host_file(given->second, kSecretBytesMax));
      if (!mount.env.empty()) step.env.push_back(cat(mount.env, "=", secret));
      if (mount.target.empty()) continue;
      // On a file of its own: the mode and owner are those asked for.
      source.host_path = cat(step.bundle, ".secret-", step.mounts.size());
      sys::Fd file(::open(source.host_path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
      if (!file) co_return fail_errno(cat("create ", source.host_path));
      CO_TRY(sys::write_all(file.get(), secret));
      if (::fchown(file.get(), mount.uid.value_or(0), mount.gid.value_or(0)) != 0 || ::fchmod(file.get(), mount.mode.value_or(0400)) != 0) co_return fail_errno(cat("set attributes of ", source.host_path));
      source.mount.read_only = true;
    } else if (mount.type == RunMount::Type::kSsh) {
      auto given = options_.ssh.find(mount.id);
      if (given == options_.ssh.end()) {
        if (mount.required) co_return fail(Code::kInvalidArgument, cat("ssh agent ", mount.id, ": not found: give it with --ssh ", mount.id, "[=SOCKET]"));
        continue;
      }
      source.host_path = given->second;
      step.env.push_back("SSH_AUTH_SOCK=" + mount.target);
    }
    step.mounts.push_back(std::move(source));
  }
  co_return Result<>{};
}

Task<Result<>> Build::run_command(Current& at, const Instruction& instruction, bool& cached) {
  RunStep step;
  step.id = cat(kSnapshotPrefix, parts_.rng.uuid());
  step.bundle = cat(options_.work_dir, "/bundle-", step.id);
  step.cwd = at.image.working_dir();
  step.user = at.image.user();
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
    RunStep& step;
    image::Platform platform;
    Task<Result<bool>> operator()(const Mounted& mounted) const {
      step.root = mounted.path;
      Result<int> code = co_await build.parts_.pool.run([&] { return run_step(step, build.parts_.run); });
      if (code && *code != 0) code = fail(Code::kAborted, cat("process \"", join(step.args, " ").substr(0, 500), "\" did not complete successfully: exit code: ", *code));
      if (!code && platform.architecture != image::host_platform().architecture)
        code = fail(std::move(code).error().with(cat("a program for ", image::format_platform(platform), ", which runs here only where binfmt_misc has an interpreter for it (Debian: qemu-user-static)")));
      CO_TRY(code);
      co_return co_await build.parts_.pool.run([&]() -> Result<bool> {
        TRY_ASSIGN(sys::Root upper, sys::Root::open(mounted.upper));
        TRY_ASSIGN(auto entries, upper.read_directory("."));
        return !entries.empty();
      });
    }
  };
  co_return co_await layer(at, std::move(key), created_by, cached, Step{*this, step, at.image.platform()});
}

}  // namespace monopod::build
