// Commands that people stop with Ctrl-C, and what they have begun is ended well.
#pragma once

#include "async/scope.h"

namespace monopod::cmd {

// Cancels the scope at SIGINT or SIGTERM, and sets stopped then; ends with the scope. The scope's owner cancels it when all else is done.
async::Task<Result<>> until_signal(async::Scope& scope, bool& stopped);

}  // namespace monopod::cmd
