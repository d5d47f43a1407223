// Texts of Prometheus as one: what several workers counted is the node's sum.
#pragma once

#include <string>
#include <string_view>

namespace monopod::proxy {

// text: several of them, one behind the other. Samples of the same name and labels become one, whole numbers all of them; each family stands there once.
std::string merge_metrics(std::string_view text);

}  // namespace monopod::proxy
