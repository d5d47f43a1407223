// What the kubelet's API is asked for of a log.
#pragma once

#include "supervisor/log_reader.h"

namespace monopod::agent {

using supervisor::LogOptions;
using supervisor::LogStream;
using supervisor::parse_log_line;
using supervisor::read_log_tail;
using supervisor::stream_log;

// From a query string; kInvalidArgument names the parameter.
Result<LogOptions> parse_log_options(std::string_view raw_query, WallTime now);

}  // namespace monopod::agent
