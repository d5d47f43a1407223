// Names of containers, volumes and networks.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "base/rng.h"
#include "container/signals.h"
#include "image/reference.h"

namespace monopod::docker {

using container::parse_signal;

// [a-zA-Z0-9][a-zA-Z0-9_.-]*, at least two bytes; kInvalidArgument with Docker's text.
Result<> check_object_name(std::string_view name, std::string_view what);
std::string random_name(Rng& rng);  // "quiet_heron"

// "docker.io/library/busybox:1" as people write it: "busybox:1".
std::string familiar_name(std::string_view reference);

}  // namespace monopod::docker
