// One RUN over a mounted root: a bundle is made, run, and taken away. Blocking.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "build/mounts.h"
#include "container/config.h"

namespace monopod::build {

struct MountSource {
  RunMount mount;
  std::string host_path;  // what is bound; empty for a tmpfs
};

struct RunStep {
  std::string id;        // of the container
  std::string root;      // mounted, absolute
  std::string bundle;    // directory to be made
  std::vector<std::string> args;
  std::vector<std::string> env;
  std::string cwd, user;
  bool network = true;   // the host's; else none
  std::vector<MountSource> mounts;
};

// The program's exit code. What the runtime had to make in the root for its mounts is gone afterwards, and their directories' times are as before.
Result<int> run_step(const RunStep& step, const std::function<Result<int>(const std::string& bundle, const std::string& id)>& run);

}  // namespace monopod::build
