// `monopod engine` of an ordinary user: root of user, mount and network namespaces of its own, with a parent outside that makes its sockets to the
// world, and its way out where slirp4netns is installed.
#pragma once

#include <string>
#include <vector>

namespace monopod::cmd {

inline constexpr const char* kRootlessVariable = "MONOPOD_ENGINE_ROOTLESS";  // set inside
inline constexpr int kSocketBrokerFd = 5;  // in the engine's processes

// Whether this process is one inside.
bool rootless();
// Runs argv anew inside, from our own executable, and stays outside until it ends; signals are passed on. Returns its exit code.
int run_rootless(const std::vector<std::string>& argv);

}  // namespace monopod::cmd
