// Private: RemoteCommand over SPDY/3.1.
#pragma once

#include <memory>

#include "http/remote_command.h"

namespace monopod::http {

// The exchange asks for an upgrade to SPDY/3.1; otherwise as accept_remote_command().
async::Task<Result<std::unique_ptr<RemoteCommand>>> accept_spdy_command(Exchange& exchange, async::Time& time, async::Scope& scope, RemoteStreams streams);

}  // namespace monopod::http
