// A bundle run by `monopod runtime`, as another process of this executable: its signals, its subreaper and its end are its own.
#pragma once

#include <string>

#include "async/task.h"
#include "base/error.h"

namespace monopod::cmd {

// The container's exit code. Standard input is empty, both outputs go to the descriptor. root: where the runtime keeps its state. Cancelled, it ends the
// container first. The runtime dies with the thread that calls.
async::Task<Result<int>> run_bundle(std::string root, std::string bundle, std::string id, int output);
// Blocking: what a process that was killed left running there.
void end_bundles(const std::string& root);

}  // namespace monopod::cmd
