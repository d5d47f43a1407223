// Processes by pidfd; the sealed copy of our own executable.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sys/fd.h"

namespace monopod::sys {

struct ExitStatus {
  int code = 0;     // 0-255; 128+signal where a signal ended it
  int signal = 0;   // 0 where it exited by itself
};

class Pidfd {
 public:
  Pidfd() = default;
  Pidfd(pid_t pid, Fd fd) : pid_(pid), fd_(std::move(fd)) {}
  static Result<Pidfd> open(pid_t pid);

  pid_t pid() const { return pid_; }
  int fd() const { return fd_.get(); }
  explicit operator bool() const { return static_cast<bool>(fd_); }
  // kNotFound once it has been reaped.
  Result<> send_signal(int signal) const;
  // Does not wait: nullopt while it runs. Children only.
  Result<std::optional<ExitStatus>> try_reap() const;
  Result<ExitStatus> reap() const;  // waits, forever: only for what was killed or is known to end
  bool exited() const;              // poll

 private:
  pid_t pid_ = -1;
  Fd fd_;
};

struct SpawnOptions {
  int executable = -1;               // run by execveat(AT_EMPTY_PATH)
  std::vector<std::string> argv;
  std::vector<std::string> env;
  // The child's descriptors, index = number. -1 leaves a hole; all above are closed.
  std::vector<int> fds;
  std::uint64_t clone_flags = 0;     // CLONE_NEW*
  int cgroup_fd = -1;                // CLONE_INTO_CGROUP (cgroup v2)
  int pid_namespace_fd = -1;         // pidfd or nsfd whose pid namespace the child is born into
  // pidfd or nsfd whose user namespace is joined before anything else: by a process in between, since one cannot come back from there.
  int user_namespace_fd = -1;
  // nsfds that the same process enters: before the user namespace, new or joined, where it may (those of others are closed to who is in there), else after.
  std::vector<int> namespace_fds;
  // In a user namespace, new or joined: waits for before_exec (which writes a new one's maps), then becomes root there where that is mapped, since
  // execve by an id that is not mapped loses every capability. set_groups: whether the namespace lets groups be dropped.
  bool become_root = false;
  std::uint32_t become_uid = 0;      // instead of root, where that is not mapped: with all of root's capabilities, kept over execve as ambient ones
  std::uint32_t become_gid = 0;
  bool set_groups = true;
  std::function<Result<>(const Pidfd&)> before_exec;  // in the parent; its error ends the child
  bool new_session = true;
  int parent_death_signal = 0;
};
// clone3, then only async-signal-safe calls until execveat. Signals are reset to default and unblocked in the child. A failed
// exec shows as exit code 127.
Result<Pidfd> spawn(const SpawnOptions& options);

// /proc/self/exe copied into a memfd sealed against every change (CVE-2019-5736): a container that reaches our executable through
// /proc cannot write the host's file. Copied in the kernel by sendfile.
Result<Fd> sealed_self_executable();
// The same protection without the copy: a detached read-only mount of our executable, through which nobody can open it for writing. It lives as
// long as somebody runs it. The sealed copy where mounts may not be made.
Result<Fd> protected_self_executable();
// Anonymous memory with these bytes, sealed, at offset 0.
Result<Fd> sealed_memfd(const char* name, std::string_view bytes);

// Field 22 of /proc/PID/stat: tells a reused pid from the one we knew.
Result<std::uint64_t> process_start_ticks(pid_t pid);
// Field 4: the parent.
Result<pid_t> process_parent(pid_t pid);

}  // namespace monopod::sys
