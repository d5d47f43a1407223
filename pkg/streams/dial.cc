#include "streams/dial.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>

#include "base/strings.h"
#include "http/endpoint.h"
#include "sys/namespaces.h"

namespace monopod::streams {

namespace {

constexpr Duration kDialTimeout = std::chrono::seconds(30);  // a full backlog: refusals come at once

// A socket belongs to the namespace of the thread that makes it, whoever connects it.
Result<> make_sockets(std::array<Result<sys::Fd>, 2>& out) {
  constexpr std::array kFamilies{AF_INET, AF_INET6};
  for (std::size_t i = 0; i < out.size(); ++i) {
    sys::Fd socket(::socket(kFamilies[i], SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    out[i] = socket ? Result<sys::Fd>(std::move(socket)) : Result<sys::Fd>(fail_errno("connect socket"));
  }
  return {};
}

Result<> make_sockets_in(const std::string& network_path, std::array<Result<sys::Fd>, 2>& out) {
  if (network_path.empty()) return make_sockets(out);
  TRY_ASSIGN(sys::Fd network, sys::open_namespace(network_path));
  return sys::run_in_network_namespace(network.get(), [&out] { return make_sockets(out); });
}

async::Task<Result<sys::Fd>> connect_within(async::Time& time, Result<sys::Fd> socket, std::string host, std::uint16_t port) {
  if (!socket) co_return socket;
  co_return co_await async::with_timeout<sys::Fd>(time, kDialTimeout, "dial", http::connect_socket(std::move(*socket), std::move(host), port));
}

}  // namespace

async::Task<Result<sys::Fd>> dial_loopback(async::Time& time, async::Pool& pool, std::string network_path, std::string name, std::uint16_t port) {
  std::array<Result<sys::Fd>, 2> sockets;
  Result<> made = co_await pool.run([&] { return make_sockets_in(network_path, sockets); });
  if (!made && made.error().code() == Code::kNotFound) co_return fail(Code::kNotFound, cat("failed to find sandbox \"", name, "\" in store: not found"));
  CO_TRY(std::move(made));
  Result<sys::Fd> v4 = co_await connect_within(time, std::move(sockets[0]), "127.0.0.1", port);
  if (v4 || v4.error().code() == Code::kCancelled) co_return v4;
  Result<sys::Fd> v6 = co_await connect_within(time, std::move(sockets[1]), "::1", port);
  if (v6 || v6.error().code() == Code::kCancelled) co_return v6;
  co_return fail(Code::kUnavailable, cat("failed to connect to localhost:", port, " inside namespace \"", name, "\", IPv4: ",
                                         http::dial_failure("tcp4", cat("127.0.0.1:", port), v4.error()), " IPv6 ", http::dial_failure("tcp6", cat("[::1]:", port), v6.error()), " "));
}

}  // namespace monopod::streams
