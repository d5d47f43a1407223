// The JSON gateway: POST /v3/kv/range and so on, as grpc-gateway v1 in front of etcd 3.5 answers them. It is a translator around the
// gRPC handlers and nothing else: a call goes through the very same handler (auth, limits and counting included) over an Exchange whose
// bodies are JSON outside and gRPC inside.
//
//   one answer    200 and the message, or the status of the error and {"error":text,"message":text,"code":gRPC's}
//   a stream      lines {"result":message}; an error is the last line, {"error":{"grpc_code":…,"http_code":…,"message":…,"http_status":…}}
//
// What differs from etcd, on purpose: requests of web pages (an Origin header) are refused (etcd lets every page in, "Access-Control-
// Allow-Origin: *"), a union with two members is refused, so is what follows the one message of a unary call.
//
// Who calls is told by the Authorization header alone (its token goes to the handlers as their "token"). A client certificate opens the
// connection, but its name does not count here.
#pragma once

#include "http/exchange.h"

namespace monopod::etcd {

// Is it a path that the gateway answers, with an error too?
bool is_gateway_path(std::string_view path);
// grpc outlives the call.
async::Task<Result<>> serve_gateway(http::Exchange& exchange, http::Handler& grpc);

}  // namespace monopod::etcd
