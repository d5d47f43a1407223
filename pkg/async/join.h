// Bytes both ways between two streams.
//
//   client --copy--> server   ends with the client's end of file (the server is half-closed), or its reset
//   client <--copy-- server   ends with the server's; then the client has a moment to send its rest
#pragma once

#include "async/stream.h"
#include "async/time.h"

namespace monopod::async {

// Until the server is done or the client is lost; closes neither. Both outlive the call.
Task<Result<>> join_streams(Time& time, Stream& client, Stream& server);

}  // namespace monopod::async
