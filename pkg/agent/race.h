// Work that something else may end early.
#pragma once

#include "async/scope.h"
#include "async/time.h"

namespace monopod::agent {

// Runs work; once stop is set it is cancelled and waited for, and the result is kCancelled.
async::Task<Result<>> run_until(async::Event& stop, async::Task<Result<>> work);

// Waits for the event, at most until then. True: the event; false: the time.
async::Task<Result<bool>> wait_until(async::Time& time, async::Event& event, std::optional<MonoTime> until);

}  // namespace monopod::agent
