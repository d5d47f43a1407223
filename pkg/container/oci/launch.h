// The first stage of a container or of an exec, started and led by a parent that does not stay.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "container/init_spec.h"
#include "sys/process.h"

namespace monopod::container::oci {

struct LaunchOptions {
  sys::Fd cgroup;                       // for CLONE_INTO_CGROUP; may be empty
  std::vector<sys::Fd> procs;           // tasks files of v1 that it puts itself into before hooks run
  std::vector<sys::Fd> mounts;          // detached mounts, in the order of the mounts whose source_fd is set
  sys::Fd root;                         // the root file system as a detached mount; may be empty
  sys::Fd listener;                     // where start will come
  int preserve_fds = 0;                 // of ours from 3 on, for the program
  int target = -1;                      // exec: pidfd of the container's process
  int pid_namespace = -1;               // to be born into
  int user_namespace = -1;
  std::vector<sys::Fd> namespaces;      // entered before the user namespace where that is allowed
  bool new_pid_namespace = false;
  bool new_user_namespace = false;
  std::vector<sys::IdMap> uid_maps;     // of the new one
  std::vector<sys::IdMap> gid_maps;
  std::function<Result<>(const sys::Pidfd&)> on_born;  // before it does anything; may be empty
  std::string console_socket;           // gets the terminal's master side
};

// What the parent does when the first stage asks; an error ends it.
struct LaunchEvents {
  std::function<Result<>(const sys::Pidfd&)> on_hooks;     // namespaces are there, the root is the host's
  std::function<Result<>(sys::Fd)> on_terminal;            // the master side, where there is no console socket
  std::function<Result<>(const sys::Pidfd&)> on_ready;     // set up; it waits until this returned
};

class FirstStage {
 public:
  // Spawns and leads it until it is ready and told so. On error it is dead and reaped. Sets the numbers of descriptors in spec.
  static Result<FirstStage> launch(InitSpec spec, LaunchOptions options, const LaunchEvents& events);

  const sys::Pidfd& process() const { return process_; }
  int channel() const { return channel_.get(); }
  // Kills and reaps.
  void end();

 private:
  FirstStage(sys::Pidfd process, sys::Fd channel) : process_(std::move(process)), channel_(std::move(channel)) {}
  Result<> lead(const LaunchOptions& options, const LaunchEvents& events);

  sys::Pidfd process_;
  sys::Fd channel_;
  std::vector<sys::Fd> passed_;  // what it was given; not needed here any more
};

// From start, or from ready where nothing is held, until the program runs: an error is the first stage's own text (kNotFound, kPermissionDenied,
// else kInternal). on_listener gets the descriptor of a notifying filter.
Result<> follow_to_exec(int channel, const std::function<Result<>(sys::Fd)>& on_listener);

// A descriptor over a unix socket at path, as consoles are handed over: its text is name.
Result<> send_descriptor(const std::string& path, std::string_view name, int fd);

}  // namespace monopod::container::oci
