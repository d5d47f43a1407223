// Names of signals as people and images write them.
#pragma once

#include <optional>
#include <string_view>

namespace monopod::container {

// "SIGTERM", "term", "15", "SIGRTMIN+3"; nullopt for what is no signal.
std::optional<int> parse_signal(std::string_view text);

}  // namespace monopod::container
