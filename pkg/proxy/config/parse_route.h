// Private: virtual hosts, routes and filters of the configuration file.
#pragma once

#include <functional>

#include "proxy/config/reader.h"

namespace monopod::proxy {

// The bytes of the file that a field names; empty where the field is absent, or the file cannot be read, which map knows then.
using ReadNamedFile = std::function<std::string(MapReader& map, std::string_view key)>;

void read_virtual_host(MapReader& map, VirtualHostSpec& out);
void read_filter(MapReader& map, FilterSpec& out, const ReadNamedFile& read);  // parse_filter.cc

}  // namespace monopod::proxy
