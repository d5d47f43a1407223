// Task<T>: a lazily started coroutine on the loop. Await it, or hand it to a Scope.
//
// Cancellation: the wait in progress returns Error kCancelled; a cancelled coroutine that tries to wait again is
// unwound (an exception that only Scope catches), so no retry loop can outlive its owner. Clean-up that must wait goes
// through shielded().
#pragma once

#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/error_code.hpp>

#include "base/error.h"

namespace monopod::async {

namespace asio = boost::asio;

template <typename T = void>
using Task = asio::awaitable<T, asio::io_context::executor_type>;
using Executor = asio::io_context::executor_type;
inline constexpr asio::use_awaitable_t<Executor> use_task{};

// The executor of the running coroutine.
inline auto this_executor() { return asio::this_coro::executor; }

// errno-like mapping of Asio's error codes; operation_aborted is kCancelled, end of file is kUnavailable "end of stream".
Error error_from(const boost::system::error_code& ec, std::string_view context);

}  // namespace monopod::async
