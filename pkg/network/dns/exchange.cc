#include "network/dns/exchange.h"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include <algorithm>

#include "async/as_result.h"
#include "base/strings.h"
#include "sys/world_socket.h"

namespace monopod::network::dns {
namespace {

namespace asio = boost::asio;
using async::as_code;
using async::as_tuple;
using async::error_from;
using async::Task;
template <typename P>
using Socket = asio::basic_datagram_socket<P, async::Executor>;

asio::ip::address to_asio(const IpAddress& ip) {
  if (ip.is_v4()) return asio::ip::address_v4(ip.v4_host_order());
  asio::ip::address_v6::bytes_type bytes{};
  std::ranges::copy(ip.bytes(), bytes.begin());
  return asio::ip::address_v6(bytes);
}

Task<Result<Answer>> udp(Rng& rng, Upstream server, std::string question) {
  Socket<asio::ip::udp> socket(co_await async::this_executor());
  asio::ip::udp::endpoint peer(to_asio(server.ip), server.port);
  boost::system::error_code ec;
  CO_TRY_ASSIGN(sys::Fd made, sys::make_world_socket(peer.protocol().family(), SOCK_DGRAM));
  socket.assign(peer.protocol(), made.release(), ec);
  if (!ec) socket.connect(peer, ec);  // the kernel drops what comes from elsewhere
  if (ec) co_return fail(error_from(ec, cat("dns server ", format_ip(server.ip))));
  const auto id = static_cast<std::uint16_t>(rng.next());
  std::string query = format_query(id, question, true);
  auto [send_error, sent] = co_await socket.async_send(asio::buffer(query), as_tuple);
  if (send_error) co_return fail(error_from(send_error, cat("dns server ", format_ip(server.ip))));
  Answer answer;
  for (;;) {
    answer.packet.resize(kUdpBytesMax);
    auto [error, got] = co_await socket.async_receive(asio::buffer(answer.packet), as_tuple);
    if (error) co_return fail(error_from(error, cat("dns server ", format_ip(server.ip))));
    answer.packet.resize(got);
    std::optional<Response> response = parse_response(answer.packet, id, question);
    if (!response) continue;
    answer.response = std::move(*response);
    co_return answer;
  }
}

Task<Result<Answer>> tcp(Rng& rng, Upstream server, std::string question) {
  asio::basic_stream_socket<asio::ip::tcp, async::Executor> socket(co_await async::this_executor());
  auto failed = [&](const boost::system::error_code& e) { return fail(error_from(e, cat("dns server ", format_ip(server.ip), " over tcp"))); };
  asio::ip::tcp::endpoint peer(to_asio(server.ip), server.port);
  CO_TRY_ASSIGN(sys::Fd made, sys::make_world_socket(peer.protocol().family(), SOCK_STREAM));
  boost::system::error_code ec;
  socket.assign(peer.protocol(), made.release(), ec);
  if (!ec) ec = co_await socket.async_connect(peer, as_code);
  if (ec) co_return failed(ec);
  const auto id = static_cast<std::uint16_t>(rng.next());
  std::string query = format_query(id, question, false);
  query.insert(0, {static_cast<char>(query.size() >> 8), static_cast<char>(query.size() & 0xFF)});
  auto [write_error, written] = co_await asio::async_write(socket, asio::buffer(query), as_tuple);
  if (write_error) co_return failed(write_error);
  std::array<std::uint8_t, 2> size{};
  auto [size_error, size_got] = co_await asio::async_read(socket, asio::buffer(size), as_tuple);
  if (size_error) co_return failed(size_error);
  Answer answer;
  answer.packet.resize(static_cast<std::size_t>(size[0]) << 8 | size[1]);
  auto [read_error, got] = co_await asio::async_read(socket, asio::buffer(answer.packet), as_tuple);
  if (read_error) co_return failed(read_error);
  std::optional<Response> response = parse_response(answer.packet, id, question);
  if (!response) co_return fail(Code::kDataLoss, cat("dns server ", format_ip(server.ip), " over tcp: not an answer to the question"));
  answer.response = std::move(*response);
  co_return answer;
}

}  // namespace

Task<Result<Answer>> ask_udp(async::Time& time, Rng& rng, Upstream server, std::string question) {
  co_return co_await async::with_timeout<Answer>(time, server.timeout, "dns query", udp(rng, server, std::move(question)));
}

Task<Result<Answer>> ask_tcp(async::Time& time, Rng& rng, Upstream server, std::string question) {
  co_return co_await async::with_timeout<Answer>(time, server.timeout, "dns query over tcp", tcp(rng, server, std::move(question)));
}

}  // namespace monopod::network::dns
