// Connections to the ports of a pod's own loopback, where port-forward leads.
#pragma once

#include <cstdint>
#include <string>

#include "async/pool.h"
#include "async/time.h"
#include "sys/fd.h"

namespace monopod::streams {

// 127.0.0.1, else ::1, in the namespace pinned at network_path (empty: the node's own). name is the sandbox's, for the error's text; kUnavailable
// where nothing answers.
async::Task<Result<sys::Fd>> dial_loopback(async::Time& time, async::Pool& pool, std::string network_path, std::string name, std::uint16_t port);

}  // namespace monopod::streams
