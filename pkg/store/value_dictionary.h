// Texts that compress API objects (value_coding.h). Each is part of the on-disk format for ever.
#pragma once

#include <string_view>

namespace monopod::store {

extern const std::string_view kValueDictionary1;

}  // namespace monopod::store
