// Work that is done to its end whoever waits for it.
#pragma once

#include "async/task.h"

namespace monopod::async {

// Runs task to its end, also where its caller is cancelled meanwhile: a client that goes away leaves nothing half done. Unlike shielded(), its
// result comes back, and a caller that is cancelled already still runs it.
Task<Result<>> whole(Task<Result<>> task);

}  // namespace monopod::async
