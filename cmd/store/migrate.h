// `monopod store migrate`.
#pragma once

#include "cmd/command.h"

namespace monopod::cmd {

void add_store_migrate(CLI::App& store, Invocation& invocation);

}  // namespace monopod::cmd
