// Pieces that routes and filters have in common, as they stand in a file.
#pragma once

#include <string_view>
#include <vector>

#include "proxy/config/reader.h"

namespace monopod::proxy {

// A map with one of exact, prefix, suffix, contains, regex, present; and invert.
StringMatch read_match(MapReader& map);
std::vector<StringMatch> read_matches(MapReader& map, std::string_view key);
// Each with its name. lowercase: names of headers.
std::vector<NamedMatch> read_named(MapReader& map, std::string_view key, bool lowercase);
std::vector<HeaderValue> read_header_values(MapReader& map, std::string_view key);
void read_header_operations(MapReader& map, std::string_view key, HeaderOperations& out);

}  // namespace monopod::proxy
