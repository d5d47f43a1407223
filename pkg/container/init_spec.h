// What the runtime tells the first stage, as JSON in a sealed memfd.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "container/config.h"

namespace monopod::container {

enum class InitMode { kContainer, kExec };

struct InitSpec {
  InitMode mode = InitMode::kContainer;
  ContainerConfig config;
  std::string seccomp_program;                                   // struct sock_filter array; empty: unconfined
  std::vector<std::pair<std::string, std::string>> cgroup_views;  // sys::Cgroups::views
  int procs_fds = 0;                                              // tasks files of v1 control groups among the passed descriptors, after the pidfd of exec
  bool enters_views = false;                                      // enter those of v1 among cgroup_views by their paths, with no descriptor passed
  bool hold = false;
  // The rest is for a parent that does not stay (monopod runtime). Numbers of descriptors are the first stage's own; -1: none.
  bool host_hooks = false;         // the parent runs hooks before the root changes
  bool acknowledged = false;       // set up, waits for the parent's word; the parent's death is the end
  int root_fd = -1;                // the root file system as a detached mount, where its path may be closed to us
  int listen_fd = -1;              // unix socket on which start comes, after the parent's word
  int preserve_first = -1;         // descriptors for the program, from 3 on
  int preserve_count = 0;
  std::uint64_t join = 0;          // exec: CLONE_NEW* to join by the passed pidfd; 0: all that a pod's container has
  std::uint64_t joined = 0;        // CLONE_NEW* that the parent had us born into
  bool new_keyring = true;
  bool pivot = true;
  std::uint32_t seccomp_flags = 0;  // SECCOMP_FILTER_FLAG_*
  bool seccomp_notify = false;      // the listener goes to the parent
  bool setgroups = true;            // false where the user namespace forbids it
  std::string state;                // of the container, as JSON, for hooks that run here
  std::uint16_t columns = 80;
  std::uint16_t rows = 24;
};

std::string format_init_spec(const InitSpec& spec);
Result<InitSpec> parse_init_spec(std::string_view text);

}  // namespace monopod::container
