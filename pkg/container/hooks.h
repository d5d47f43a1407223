// Hooks of the OCI runtime spec: programs that get the container's state on standard input.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "container/config.h"

namespace monopod::container {

inline constexpr std::int64_t kHookTimeoutMaxS = 3600;         // of a hook that has none of its own
inline constexpr std::size_t kHookErrorBytesMax = 64U << 10;   // kept of its standard error; the rest is read and dropped

// Runs each in turn and waits for it; the first that cannot run, exits with another code than 0 or takes longer than its timeout is the error, and
// is killed. Blocking. Its standard output goes nowhere. Must be called by a process without threads of its own. become: what the hook's process
// does to itself before it is the hook; its error is the hook's.
Result<> run_hooks(std::string_view name, const std::vector<Hook>& hooks, const std::string& state, const std::function<Result<>()>& become = {});

// All of them: whatever one does the others follow, and it is a warning (runtime-spec, lifecycle step 13).
void run_poststop_hooks(const std::vector<Hook>& hooks, const std::string& state, const std::string& container);

// The OCI state with these two members set: what hooks get, and `state` prints.
std::string state_with(const std::string& state, std::string_view status, int pid);

}  // namespace monopod::container
