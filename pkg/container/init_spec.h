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
  int procs_fds = 0;                                              // cgroup.procs files among the passed descriptors, after the pidfd of exec
  bool hold = false;
  std::uint16_t columns = 80;
  std::uint16_t rows = 24;
};

std::string format_init_spec(const InitSpec& spec);
Result<InitSpec> parse_init_spec(std::string_view text);

}  // namespace monopod::container
