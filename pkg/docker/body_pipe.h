// Bodies of requests and answers as descriptors, for what reads and writes them blocking on the pool.
#pragma once

#include <functional>

#include "async/pool.h"
#include "async/scope.h"
#include "http/exchange.h"
#include "sys/stream.h"

namespace monopod::docker {

// use gets the read end of a pipe that holds the request's body; it may stop early.
async::Task<Result<>> with_body(http::Exchange& exchange, std::function<async::Task<Result<>>(int fd)> use);
// make writes an answer's body to the descriptor. The head must be sent already.
async::Task<Result<>> send_body(http::Exchange& exchange, std::function<async::Task<Result<>>(int fd)> make);

}  // namespace monopod::docker
