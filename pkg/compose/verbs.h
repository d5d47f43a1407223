// The commands of `monopod compose`.
#pragma once

#include "docker_client/verbs.h"

namespace monopod::compose {

std::span<const docker_client::Verb> compose_verbs();
// Flags that stand before the command.
std::span<const docker_client::FlagRow> compose_flags();

}  // namespace monopod::compose
