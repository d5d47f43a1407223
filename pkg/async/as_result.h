// Completion tokens that give error codes instead of exceptions:
//   boost::system::error_code ec = co_await timer.async_wait(as_code);
//   auto [ec, n] = co_await socket.async_read_some(buffer, as_tuple);
#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/redirect_error.hpp>
#include <tuple>

#include "async/task.h"

namespace monopod::async {

inline constexpr asio::as_tuple_t<asio::use_awaitable_t<Executor>> as_tuple{use_task};

// For void(error_code) operations: the single code, not a tuple.
struct AsCode {};
inline constexpr AsCode as_code{};

}  // namespace monopod::async

template <>
class boost::asio::async_result<monopod::async::AsCode, void(boost::system::error_code)> {
 public:
  template <typename Initiation, typename... Args>
  static monopod::async::Task<boost::system::error_code> initiate(Initiation initiation, monopod::async::AsCode, Args... args) {
    auto [ec] = co_await boost::asio::async_initiate<decltype(monopod::async::as_tuple), void(boost::system::error_code)>(
        std::move(initiation), monopod::async::as_tuple, std::move(args)...);
    co_return ec;
  }
};
