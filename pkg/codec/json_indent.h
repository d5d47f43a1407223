// JSON for people.
#pragma once

#include "codec/json.h"

namespace monopod::json {

std::string format_indented(const Value& value);  // two spaces, one member a line

}  // namespace monopod::json
