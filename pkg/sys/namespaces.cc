#include "sys/namespaces.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <linux/mount.h>  // <sys/mount.h> would find our own header of that name
#include <sys/syscall.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <thread>

#include "base/strings.h"
#include "sys/root.h"

namespace monopod::sys {
namespace {

constexpr int kDetachNoFollow = 2 | 8;  // MNT_DETACH | UMOUNT_NOFOLLOW

struct Kind {
  int flag;
  const char* name;
};
constexpr std::array kPinnable = {Kind{CLONE_NEWUSER, "user"}, Kind{CLONE_NEWNET, "net"}, Kind{CLONE_NEWIPC, "ipc"}, Kind{CLONE_NEWUTS, "uts"}};

Result<> on_own_thread(std::function<Result<>()> work) {
  Result<> result;
  try {
    std::thread([&] { result = work(); }).join();
  } catch (const std::system_error& e) {
    return fail(Code::kResourceExhausted, cat("start a thread: ", e.what()));
  }
  return result;
}

}  // namespace

Result<Fd> open_namespace(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return fail_errno(cat("open namespace ", path));
  struct statfs info = {};
  if (::fstatfs(fd.get(), &info) < 0) return fail_errno(cat("open namespace ", path));
  if (info.f_type != NSFS_MAGIC) return fail(Code::kInvalidArgument, cat(path, " is not a namespace"));
  return fd;
}

Result<Fd> own_namespace(const char* name) { return open_namespace(cat("/proc/thread-self/ns/", name)); }

Result<> run_in_namespace(int namespace_fd, int nstype, std::function<Result<>()> work) {
  return on_own_thread([&]() -> Result<> {
    if (nstype == CLONE_NEWNS && ::unshare(CLONE_FS) < 0) return fail_errno("unshare file system attributes");
    if (::setns(namespace_fd, nstype) < 0) return fail_errno("enter namespace");
    return work();
  });
}

Result<> run_with_private_mounts(std::function<Result<>()> work) {
  return on_own_thread([&]() -> Result<> {
    if (::unshare(CLONE_NEWNS | CLONE_FS) < 0) return fail_errno("make mount namespace");
    if (::syscall(SYS_mount, nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0) return fail_errno("part from the host's mounts");
    return work();
  });
}

namespace {

// Those of flags, in the order of kPinnable: of the calling thread from here on, or with maps, where the one of users is not.
Result<std::vector<Fd>> make_pinned(int flags, const IdMaps& maps) {
  std::vector<const char*> names;
  for (const Kind& kind : kPinnable)
    if ((flags & kind.flag) != 0) names.push_back(kind.name);
  std::vector<Fd> out;
  if (maps.empty()) {
    if (::unshare(flags) < 0) return fail_errno("make namespaces");
    for (const char* name : names) {
      TRY_ASSIGN(Fd fd, own_namespace(name));
      out.push_back(std::move(fd));
    }
    return out;
  }
  TRY_ASSIGN(out, make_mapped_namespaces(flags, maps, names));
  for (std::size_t i = 0; i < out.size(); ++i)
    if (std::string_view(names[i]) != "user" && ::setns(out[i].get(), 0) < 0) return fail_errno("enter namespace");
  return out;
}

}  // namespace

Result<> pin_new_namespaces(int flags, const std::string& directory, std::function<Result<>()> prepare, const IdMaps& maps) {
  if (!maps.empty()) flags |= CLONE_NEWUSER;
  if (::mkdir(directory.c_str(), 0700) < 0 && errno != EEXIST) return fail_errno(cat("make directory ", directory));
  Result<> result = on_own_thread([&]() -> Result<> {
    TRY_ASSIGN(std::vector<Fd> made, make_pinned(flags, maps));
    if (prepare) TRY(prepare());
    auto next = made.begin();
    for (const Kind& kind : kPinnable) {
      if ((flags & kind.flag) == 0) continue;
      std::string path = cat(directory, "/", kind.name);
      Fd file(::open(path.c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0400));
      if (!file) return fail_errno(cat("make ", path));
      std::string source = fd_path((next++)->get());
      if (::syscall(SYS_mount, source.c_str(), path.c_str(), nullptr, MS_BIND, nullptr) < 0) return fail_errno(cat("pin namespace at ", path));
    }
    return {};
  });
  if (!result) (void)unpin_namespaces(directory);
  return result;
}

Result<> unpin_namespaces(const std::string& directory) {
  for (const Kind& kind : kPinnable) {
    std::string path = cat(directory, "/", kind.name);
    if (::syscall(SYS_umount2, path.c_str(), kDetachNoFollow) < 0 && errno != EINVAL && errno != ENOENT)
      return fail_errno(cat("unpin namespace ", path));
    if (::unlink(path.c_str()) < 0 && errno != ENOENT) return fail_errno(cat("remove ", path));
  }
  if (::rmdir(directory.c_str()) < 0 && errno != ENOENT && errno != ENOTEMPTY) return fail_errno(cat("remove ", directory));
  return {};
}

Result<std::vector<int>> processes_with(int pid) {
  auto namespace_of = [](std::string_view process) -> std::string {
    std::array<char, 64> target;
    ssize_t n = ::readlink(cat("/proc/", process, "/ns/pid").c_str(), target.data(), target.size());
    return std::string(target.data(), n > 0 ? static_cast<std::size_t>(n) : 0);
  };
  std::string wanted = namespace_of(cat(pid));
  if (wanted.empty()) return fail_errno(cat("process ", pid));
  TRY_ASSIGN(Root proc, Root::open("/proc"));
  TRY_ASSIGN(std::vector<DirEntry> entries, proc.read_directory("."));
  std::vector<int> out;
  for (const DirEntry& entry : entries)
    if (auto number = parse_int<int>(entry.name); number && namespace_of(entry.name) == wanted) out.push_back(*number);
  return out;
}

}  // namespace monopod::sys
