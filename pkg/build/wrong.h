// What is wrong with an instruction; the builder puts its line and column before it.
#pragma once

#include <string>

#include "base/error.h"

namespace monopod::build {

inline std::unexpected<Error> wrong(std::string why) { return fail(Code::kInvalidArgument, std::move(why)); }

}  // namespace monopod::build
