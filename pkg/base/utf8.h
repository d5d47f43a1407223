// RFC 3629: no overlong forms, no surrogates, nothing past U+10FFFF.
#pragma once

#include <string>
#include <string_view>

namespace monopod {

// Bytes of the well-formed character that text begins with; 0 where there is none.
std::size_t utf8_length(std::string_view text);
bool is_utf8(std::string_view text);
// With U+FFFD for each byte that is not part of a well-formed character.
std::string to_utf8(std::string_view text);

}  // namespace monopod
