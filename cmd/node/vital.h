// Parts that a server's process cannot outlive.
#pragma once

#include <string_view>

#include "async/task.h"
#include "base/error.h"

namespace monopod::cmd {

// Runs part. If it fails, the process ends at once, as if killed: what a failed fsync lost cannot be known, and without a supervisor nobody
// can be asked to stop. The next process reads what the files hold.
async::Task<Result<>> vital(std::string_view process, async::Task<Result<>> part);

}  // namespace monopod::cmd
