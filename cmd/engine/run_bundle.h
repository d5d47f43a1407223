// A bundle run by `monopod runtime`, as another process of this executable: its signals, its subreaper and its end are its own.
#pragma once

#include <string>

#include "base/error.h"

namespace monopod::cmd {

// Blocking: the container's exit code. Standard input is empty, both outputs go to the descriptor. root: where the runtime keeps its state.
Result<int> run_bundle(const std::string& root, const std::string& bundle, const std::string& id, int output);
// Blocking: what a process that was killed left running there.
void end_bundles(const std::string& root);

}  // namespace monopod::cmd
