// Where in a YAML text a field stands: for messages, once something was found wrong with it.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace monopod::yaml {

// The line, from 1, of the node at path in the first document: "a.b[3].c". Keys hold no dot or bracket. Where the path ends early, the line of what
// there is of it; nullopt where the text cannot be parsed. Takes as long as parsing.
std::optional<std::size_t> find_line(std::string_view text, std::string_view path);

}  // namespace monopod::yaml
