#pragma once

#include "codec/json.h"
#include "container/config.h"

namespace monopod::container::oci {

// The listener of a notifying filter goes to linux.seccomp.listenerPath with the container process state of the specification (runtime.md, "The
// Container Process State").
Result<> hand_over_listener(const ContainerConfig& config, const json::Value& state, int pid, int listener);

}  // namespace monopod::container::oci
