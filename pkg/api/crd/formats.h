// The formats of strings that OpenAPI names and upstream's apiextensions-apiserver checks (strfmt). Others are not checked, as there.
#pragma once

#include <string_view>

namespace monopod::api::crd {

// True where the text has the format, or where the format is not one that is checked.
bool has_format(std::string_view text, std::string_view format);

}  // namespace monopod::api::crd
