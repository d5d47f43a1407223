// Private: port-forward over the channels of one WebSocket.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "async/scope.h"
#include "http/port_forward.h"

namespace monopod::http {

// One connection per port, each given once. The socket is closed when the last of them is dropped.
async::Task<Result<std::unique_ptr<PortForward>>> make_channel_forward(std::unique_ptr<WebSocket> socket, std::vector<std::uint16_t> ports, async::Scope& scope);

}  // namespace monopod::http
