#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/strings.h"
#include "container/init_steps.h"
#include "container/users.h"
#include "sys/capabilities.h"

namespace monopod::container {
namespace {

sys::CapabilitySet capability_set(const std::vector<std::string>& names, sys::CapabilitySet possible) {
  sys::CapabilitySet out = 0;
  for (const std::string& name : names) {
    if (auto number = sys::find_capability(name)) out |= sys::CapabilitySet{1} << *number;
  }
  return out & possible;
}

Result<> load_filter(const InitSpec& spec, const OnListener& on_listener) {
  const std::string& program = spec.seccomp_program;
  std::vector<struct sock_filter> filter(program.size() / sizeof(struct sock_filter));
  std::memcpy(filter.data(), program.data(), filter.size() * sizeof(struct sock_filter));
  struct sock_fprog fprog = {static_cast<unsigned short>(filter.size()), filter.data()};
  unsigned flags = spec.seccomp_flags | (spec.seccomp_notify ? static_cast<unsigned>(SECCOMP_FILTER_FLAG_NEW_LISTENER) : 0U);
  long loaded = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &fprog);
  if (loaded < 0) return fail_errno("load system call filter");
  if (!spec.seccomp_notify) return {};
  return on_listener(sys::Fd(static_cast<int>(loaded)));
}

// By openat2 without magic links: /proc/self/fd/7 is not a way out (CVE-2024-21626).
Result<> enter_directory(const sys::Root& root, const std::string& cwd) {
  if (cwd == "/") return ::chdir("/") < 0 ? fail_errno("enter /") : Result<>();
  TRY_ASSIGN(sys::Fd directory, root.open_file(cwd, O_PATH | O_DIRECTORY));
  if (::fchdir(directory.get()) < 0) return fail_errno(cat("enter ", cwd));
  char now[4096];
  if (::syscall(SYS_getcwd, now, sizeof now) < 0) return fail_errno(cat("working directory ", cwd));
  // The kernel marks a directory outside of the root with "(unreachable)".
  if (now[0] != '/') return fail(Code::kPermissionDenied, cat("working directory ", cwd, " is outside of the container"));
  return {};
}

}  // namespace

Result<Credentials> find_credentials(const sys::Root& root, const ProcessSpec& process) {
  Credentials out{process.user.uid, process.user.gid, process.user.additional_gids, "/"};
  ResolvedUser user;
  if (process.username.empty()) {
    user.home = find_home_in(root, out.uid);  // numbers given: what else the image's files say of them is not asked for
  } else {
    TRY_ASSIGN(user, resolve_user_in(root, process.username));
    out.uid = user.uid;
    out.gid = user.gid;
  }
  out.home = user.home;
  // The primary group is a supplementary one, too: else setgid programs could shed it (CVE-2022-2995, CVE-2023-25173).
  if (std::find(out.additional_gids.begin(), out.additional_gids.end(), out.gid) == out.additional_gids.end())
    out.additional_gids.insert(out.additional_gids.begin(), out.gid);
  for (std::uint32_t gid : user.additional_gids) {
    if (std::find(out.additional_gids.begin(), out.additional_gids.end(), gid) == out.additional_gids.end()) out.additional_gids.push_back(gid);
  }
  return out;
}

Result<> give_stdio(const Credentials& credentials) {
  auto is_null = [](const struct ::stat& info) { return S_ISCHR(info.st_mode) && info.st_rdev == makedev(1, 3); };
  sys::Fd own;
  for (int fd = 0; fd < 3; ++fd) {
    struct ::stat info = {};
    if (::fstat(fd, &info) < 0) continue;
    if (is_null(info)) {
      // The host's: the container's own instead.
      struct ::stat own_info = {};
      if (!own) {
        own = sys::Fd(::open("/dev/null", O_RDWR | O_NOCTTY | O_CLOEXEC));
        if (own && (::fstat(own.get(), &own_info) < 0 || !is_null(own_info))) own.reset();
      }
      if (own && ::dup2(own.get(), fd) < 0) return fail_errno("reopen /dev/null");
      continue;
    }
    if (info.st_uid != credentials.uid && ::fchown(fd, credentials.uid, static_cast<gid_t>(-1)) < 0 && errno != EPERM && errno != EINVAL && errno != EROFS)
      return fail_errno("own standard stream");
  }
  if (own) leave_open(std::move(own));
  return {};
}

Result<> become(const sys::Root& root, const InitSpec& spec, const Credentials& credentials, const std::vector<std::string>& env, Result<std::string>& program,
                const OnListener& on_listener) {
  const ProcessSpec& process = spec.config.process;
  for (const Rlimit& limit : process.rlimits) {
    if (auto number = sys::find_rlimit(limit.type)) TRY(sys::set_rlimit(*number, limit.soft, limit.hard));
  }
  TRY_ASSIGN(sys::CapabilitySet own, sys::permitted_capabilities());
  sys::CapabilitySet permitted = capability_set(process.capabilities.permitted, own);
  sys::CapabilitySet effective = capability_set(process.capabilities.effective, own);
  sys::CapabilitySet ambient = capability_set(process.capabilities.ambient, own);
  TRY(sys::drop_bounding(capability_set(process.capabilities.bounding, ~sys::CapabilitySet{0})));

  // Before the ids change, while a directory of another user can still be entered; checked again below.
  Result<> entered = enter_directory(root, process.cwd);
  if (!entered && entered.error().os_errno() != EACCES) return fail(std::move(entered).error().with("chdir to cwd"));

  if (credentials.uid != 0 && ::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0) return fail_errno("keep capabilities");
  std::vector<gid_t> groups(credentials.additional_gids.begin(), credentials.additional_gids.end());
  if (spec.setgroups && ::syscall(SYS_setgroups, groups.size(), groups.data()) < 0) return fail_errno("set supplementary groups");
  if (::syscall(SYS_setresgid, credentials.gid, credentials.gid, credentials.gid) < 0) return fail_errno(cat("become group ", credentials.gid));
  if (::syscall(SYS_setresuid, credentials.uid, credentials.uid, credentials.uid) < 0) return fail_errno(cat("become user ", credentials.uid));
  ::umask(process.user.umask.value_or(022) & 0777);
  if (!entered) {
    entered = enter_directory(root, process.cwd);
    if (!entered) return fail(std::move(entered).error().with("chdir to cwd"));
  }
  // A path is what it is: execve tells what is wrong with it.
  bool path = !spec.config.pause && process.args[0].find('/') != std::string::npos;
  if (path) program = process.args[0];
  else if (!spec.config.pause) program = find_program(process.args[0], env);

  // Without no_new_privs only CAP_SYS_ADMIN may load a filter, so it is loaded before that goes; with it, last of all.
  bool filter = !spec.seccomp_program.empty();
  if (credentials.uid != 0) TRY(sys::set_capabilities(own, own, 0));
  if (filter && !process.no_new_privileges) TRY(load_filter(spec, on_listener));
  // Root needs no permitted set beyond its own to gain its capabilities at execve; another user keeps only what is ambient, as everywhere.
  TRY(sys::set_capabilities(effective, permitted, ambient, capability_set(process.capabilities.inheritable, own)));
  if (process.no_new_privileges) {
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return fail_errno("set no_new_privs");
    if (filter) TRY(load_filter(spec, on_listener));
  }
  return {};
}

Result<std::string> find_program(const std::string& name, const std::vector<std::string>& env) {
  auto usable = [](const std::string& path) -> int {
    struct ::stat info = {};
    if (::stat(path.c_str(), &info) < 0) return errno;
    if (S_ISDIR(info.st_mode)) return EISDIR;
    return ::faccessat(AT_FDCWD, path.c_str(), X_OK, AT_EACCESS) < 0 ? errno : 0;
  };
  if (name.find('/') != std::string::npos) {
    int error = usable(name);
    if (error == 0) return name;
    if (error == ENOENT || error == ENOTDIR) return fail(Code::kNotFound, cat("exec: \"", name, "\": stat ", name, ": no such file or directory"));
    if (error == EISDIR) return fail(Code::kPermissionDenied, cat("exec: \"", name, "\": is a directory"));
    return fail(Code::kPermissionDenied, cat("exec: \"", name, "\": permission denied"));
  }
  std::string_view path;
  for (const std::string& entry : env) {
    if (entry.starts_with("PATH=")) path = std::string_view(entry).substr(5);
  }
  bool denied = false;
  for (std::string_view directory : split(path, ':')) {
    std::string candidate = cat(directory.empty() ? "." : directory, "/", name);
    int error = usable(candidate);
    if (error == 0) return candidate;
    denied |= error == EACCES;
  }
  if (denied) return fail(Code::kPermissionDenied, cat("exec: \"", name, "\": permission denied"));
  return fail(Code::kNotFound, cat("exec: \"", name, "\": executable file not found in $PATH"));
}

}  // namespace monopod::container
