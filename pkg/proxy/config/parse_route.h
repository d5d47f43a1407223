// Private: virtual hosts, routes and filters of the configuration file.
#pragma once

#include "proxy/config/reader.h"

namespace monopod::proxy {

void read_virtual_host(MapReader& map, VirtualHostSpec& out);
void read_filter(MapReader& map, FilterSpec& out);

}  // namespace monopod::proxy
