// What would become of a request: which route takes it, and where it would go. Nothing is sent.
#pragma once

#include <string>
#include <string_view>

#include "proxy/config/snapshot.h"

namespace monopod::proxy {

// request: "GET http://a.test/path?query"; a method alone may be left out. fields: "name: value" each. Lines for every HTTP listener. kInvalidArgument
// where no request can be made of it.
Result<std::string> explain(const Snapshot& snapshot, std::string_view request, const std::vector<std::string>& fields);

}  // namespace monopod::proxy
