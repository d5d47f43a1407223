// One RUN over a mounted root: a bundle is made, and taken away.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "build/mounts.h"
#include "container/config.h"

namespace monopod::build {

struct MountSource {
  RunMount mount;
  std::string host_path;  // what is bound; empty for a tmpfs. Of a cache: the directory, or where one of its own is due the beginning of its name
  std::string filled_from = {};  // of a cache that is not there yet: host path of the directory whose content it begins with
};

struct RunStep {
  std::string id;        // of the container
  std::string root;      // mounted, absolute
  std::string bundle;    // directory to be made
  std::vector<std::string> args;
  std::vector<std::string> env;
  std::string cwd, user;
  std::string hostname = "buildkitsandbox";
  bool network = true;   // the host's; else none
  std::vector<MountSource> mounts;
};

// The step as a bundle, for as long as it runs. Blocking, its end too: what the runtime had to make in the root for its mounts is gone then, and their
// directories' times are as before.
class StepBundle {
 public:
  static Result<std::unique_ptr<StepBundle>> make(const RunStep& step);
  virtual ~StepBundle() = default;
};

}  // namespace monopod::build
