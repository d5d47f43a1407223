#include "network/dns/server.h"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include <algorithm>

#include "async/as_result.h"
#include "async/scope.h"
#include "base/log.h"
#include "base/strings.h"
#include "network/dns/forwarder.h"
#include "network/dns/zone.h"

namespace monopod::network::dns {
namespace {

namespace asio = boost::asio;
using async::as_code;
using async::as_tuple;
using async::Task;
using UdpSocket = asio::basic_datagram_socket<asio::ip::udp, async::Executor>;
using TcpSocket = asio::basic_stream_socket<asio::ip::tcp, async::Executor>;
using Acceptor = asio::basic_socket_acceptor<asio::ip::tcp, async::Executor>;

constexpr int kPacketsPerTurn = 64;  // of one socket, before the loop serves others
constexpr std::chrono::seconds kTcpIdleLimit{10};
constexpr std::size_t kTcpQueryBytesMax = 4'096;
constexpr std::size_t kTcpAnswerBytesMax = 65'535;
constexpr int kAliasesMax = 8;

asio::ip::address to_asio(const IpAddress& ip) {
  if (ip.is_v4()) return asio::ip::address_v4(ip.v4_host_order());
  asio::ip::address_v6::bytes_type bytes{};
  std::ranges::copy(ip.bytes(), bytes.begin());
  return asio::ip::address_v6(bytes);
}

// What a query needs: nothing more, or a wait.
struct Outcome {
  bool answered = false;  // reply holds the packet ("" for none)
  std::string reply{};
  Query query{};
  Zone::Result zone{};
};

}  // namespace

struct Server::Impl {
  Impl(async::Executor ex, async::Time& t, Rng& r, ServerOptions o)
      : executor(ex), time(t), rng(r), options(std::move(o)), zone({}, zone_options()),
        forwarder(t, r, {.upstreams = foreign(options.upstreams), .port = options.upstream_port, .cache_entries_max = options.cache_entries_max, .in_flight_max = options.forwards_in_flight_max}) {}

  Zone::Options zone_options() {
    return {.zone = to_lower(options.zone), .ttl = static_cast<std::uint32_t>(options.ttl.count()), .pod_records = options.pod_records, .serial = ++serial};
  }
  // Asking ourselves would be a loop.
  std::vector<IpAddress> foreign(std::vector<IpAddress> upstreams) const {
    std::erase_if(upstreams, [&](const IpAddress& ip) { return options.upstream_port == options.port && std::ranges::find(options.addresses, ip) != options.addresses.end(); });
    return upstreams;
  }

  boost::system::error_code bind_pair(const IpAddress& ip, UdpSocket& socket, Acceptor& acceptor);
  Result<> listen();
  Outcome answer_now(std::string_view packet, bool tcp);
  Task<std::string> answer_later(Outcome outcome, bool tcp);
  Task<Result<Reply>> follow(Zone::Result zone_result, Query query);
  Task<Result<>> serve_udp(UdpSocket& socket, async::Scope& scope);
  Task<Result<>> reply_later(UdpSocket& socket, asio::ip::udp::endpoint peer, Outcome outcome);
  Task<Result<>> serve_tcp(Acceptor& acceptor, async::Scope& scope);
  Task<Result<>> serve_connection(TcpSocket socket);
  Task<Result<bool>> serve_one(TcpSocket& socket);

  async::Executor executor;
  async::Time& time;
  Rng& rng;
  ServerOptions options;
  std::uint32_t serial = 0;
  Zone zone;
  Forwarder forwarder;
  ServerStats stats;
  std::uint32_t turn = 0;
  std::size_t connections = 0;
  std::size_t waiting = 0;
  std::vector<std::unique_ptr<UdpSocket>> udp;
  std::vector<std::unique_ptr<Acceptor>> tcp;
  std::uint16_t bound_port = 0;
};

// Binds both sockets of one address; port 0 takes a port that is free in both protocols.
boost::system::error_code Server::Impl::bind_pair(const IpAddress& ip, UdpSocket& socket, Acceptor& acceptor) {
  boost::system::error_code ec;
  asio::ip::udp::endpoint at(to_asio(ip), bound_port);
  socket.open(at.protocol(), ec);
  if (!ec) socket.bind(at, ec);
  if (!ec) socket.non_blocking(true, ec);
  if (ec) return ec;
  asio::ip::tcp::endpoint same(at.address(), socket.local_endpoint().port());
  acceptor.open(same.protocol(), ec);
  if (!ec) acceptor.set_option(asio::socket_base::reuse_address(true), ec);
  if (!ec) acceptor.bind(same, ec);
  if (!ec) acceptor.listen(128, ec);
  if (!ec) bound_port = same.port();
  return ec;
}

Result<> Server::Impl::listen() {
  if (!udp.empty()) return {};
  bound_port = options.port;
  for (const IpAddress& ip : options.addresses) {
    constexpr int kTriesMax = 32;  // the kernel's choice for UDP may be in use for TCP
    boost::system::error_code ec;
    for (int tries = 0; tries < kTriesMax; ++tries) {
      udp.push_back(std::make_unique<UdpSocket>(executor));
      tcp.push_back(std::make_unique<Acceptor>(executor));
      ec = bind_pair(ip, *udp.back(), *tcp.back());
      if (!ec) break;
      udp.pop_back();
      tcp.pop_back();
      if (bound_port != 0 || ec != asio::error::address_in_use) break;
    }
    if (ec) {
      udp.clear();
      tcp.clear();
      return fail(async::error_from(ec, cat("dns server: listen on ", format_ip(ip), " port ", options.port)));
    }
  }
  return {};
}

Outcome Server::Impl::answer_now(std::string_view packet, bool is_tcp) {
  ++stats.queries;
  ParsedQuery parsed = parse_query(packet);
  Outcome out{.answered = true};
  if (parsed.drop) {
    ++stats.dropped;
    return out;
  }
  out.query = std::move(parsed.query);
  if (parsed.refuse != kNoError || !out.query.edns_version_known) {
    ++stats.refused;
    out.reply = format_empty(out.query, parsed.refuse, false);
    return out;
  }
  const std::size_t limit = is_tcp ? kTcpAnswerBytesMax : out.query.answer_bytes_max;
  out.zone = zone.find(out.query, turn++);
  if (out.zone.kind == Zone::Kind::kAnswer) {
    ++stats.answered_from_zone;
    out.reply = format_reply(out.query, out.zone.reply, limit);
    return out;
  }
  if (out.zone.kind == Zone::Kind::kElsewhere) {
    if (!forwarder.has_upstreams() || !out.query.recursion) {
      ++stats.refused;
      out.reply = format_empty(out.query, kRefused, false);
      return out;
    }
    std::optional<Answer> cached = forwarder.find_cached({.name = out.query.name, .question = out.query.question, .type = out.query.type, .tcp = is_tcp});
    if (cached && cached->packet.size() <= limit) {
      ++stats.answered_from_cache;
      out.reply = std::move(cached->packet);
      out.reply[0] = static_cast<char>(out.query.id >> 8);
      out.reply[1] = static_cast<char>(out.query.id & 0xFF);
      return out;
    }
  }
  out.answered = false;
  return out;
}

// A service that is another name: its chain, here or upstream, so that clients need not ask again.
Task<Result<Reply>> Server::Impl::follow(Zone::Result found, Query query) {
  Reply reply = std::move(found.reply);
  Query next = query;
  for (int step = 0; step < kAliasesMax && found.kind == Zone::Kind::kAlias; ++step) {
    next.name = found.alias;
    next.question = make_question(next.name, query.type);
    found = zone.find(next, turn++);
    if (found.kind == Zone::Kind::kElsewhere) break;
    std::ranges::move(found.reply.answers, std::back_inserter(reply.answers));
  }
  if (found.kind != Zone::Kind::kElsewhere || !forwarder.has_upstreams()) co_return reply;
  Result<Answer> answer = co_await forwarder.resolve({.name = next.name, .question = next.question, .type = next.type});
  if (!answer) co_return fail(std::move(answer).error());
  std::ranges::move(answer->response.answers, std::back_inserter(reply.answers));
  co_return reply;
}

Task<std::string> Server::Impl::answer_later(Outcome outcome, bool is_tcp) {
  ++stats.forwarded;
  const std::size_t limit = is_tcp ? kTcpAnswerBytesMax : outcome.query.answer_bytes_max;
  if (outcome.zone.kind == Zone::Kind::kAlias) {
    Result<Reply> reply = co_await follow(std::move(outcome.zone), outcome.query);
    if (!reply) co_return format_empty(outcome.query, kServerFailure, false);
    co_return format_reply(outcome.query, *reply, limit);
  }
  Result<Answer> answer = co_await forwarder.resolve({.name = outcome.query.name, .question = outcome.query.question, .type = outcome.query.type, .tcp = is_tcp});
  if (!answer) co_return format_empty(outcome.query, kServerFailure, false);
  std::string packet = std::move(answer->packet);
  if (packet.size() > limit) co_return format_empty(outcome.query, answer->response.rcode, true);
  packet[0] = static_cast<char>(outcome.query.id >> 8);
  packet[1] = static_cast<char>(outcome.query.id & 0xFF);
  co_return packet;
}

Task<Result<>> Server::Impl::reply_later(UdpSocket& socket, asio::ip::udp::endpoint peer, Outcome outcome) {
  struct Count {
    std::size_t& n;
    ~Count() { --n; }
  } count{waiting};
  std::string reply = co_await answer_later(std::move(outcome), false);
  boost::system::error_code ec;
  socket.send_to(asio::buffer(reply), peer, 0, ec);  // a full buffer loses it, as the network may
  co_return Result<>();
}

Task<Result<>> Server::Impl::serve_udp(UdpSocket& socket, async::Scope& scope) {
  std::array<char, kUdpBytesMax> buffer{};
  for (;;) {  // forever: until cancelled
    boost::system::error_code ready = co_await socket.async_wait(asio::socket_base::wait_read, as_code);
    if (ready == asio::error::operation_aborted) co_return fail(Code::kCancelled, "cancelled");
    if (ready) co_return fail(async::error_from(ready, "dns server: wait for queries"));
    for (int i = 0; i < kPacketsPerTurn; ++i) {
      asio::ip::udp::endpoint peer;
      boost::system::error_code ec;
      std::size_t got = socket.receive_from(asio::buffer(buffer), peer, 0, ec);
      if (ec == asio::error::would_block) break;
      if (ec) continue;  // an ICMP error for an earlier answer
      Outcome outcome = answer_now(std::string_view(buffer.data(), got), false);
      if (!outcome.answered) {
        if (waiting >= options.forwards_in_flight_max) {
          ++stats.refused;
          outcome.reply = format_empty(outcome.query, kServerFailure, false);
        } else {
          ++waiting;
          scope.spawn(reply_later(socket, peer, std::move(outcome)));
          continue;
        }
      }
      if (!outcome.reply.empty()) socket.send_to(asio::buffer(outcome.reply), peer, 0, ec);
    }
  }
}

Task<Result<bool>> Server::Impl::serve_one(TcpSocket& socket) {
  std::array<std::uint8_t, 2> size{};
  auto [size_error, size_got] = co_await asio::async_read(socket, asio::buffer(size), as_tuple);
  if (size_error) co_return false;
  const std::size_t bytes = static_cast<std::size_t>(size[0]) << 8 | size[1];
  if (bytes > kTcpQueryBytesMax) co_return false;
  std::string packet(bytes, '\0');
  auto [read_error, got] = co_await asio::async_read(socket, asio::buffer(packet), as_tuple);
  if (read_error) co_return false;
  Outcome outcome = answer_now(packet, true);
  std::string reply = std::move(outcome.reply);
  if (!outcome.answered) reply = co_await answer_later(std::move(outcome), true);
  if (reply.empty()) co_return false;
  reply.insert(0, {static_cast<char>(reply.size() >> 8), static_cast<char>(reply.size() & 0xFF)});
  auto [write_error, written] = co_await asio::async_write(socket, asio::buffer(reply), as_tuple);
  co_return !write_error;
}

Task<Result<>> Server::Impl::serve_connection(TcpSocket socket) {
  struct Count {
    std::size_t& n;
    ~Count() { --n; }
  } count{connections};
  for (;;) {
    Result<bool> more = co_await async::with_timeout<bool>(time, kTcpIdleLimit, "dns connection", serve_one(socket));
    if (!more || !*more) co_return Result<>();
  }
}

Task<Result<>> Server::Impl::serve_tcp(Acceptor& acceptor, async::Scope& scope) {
  for (;;) {  // forever: until cancelled
    TcpSocket socket(executor);
    boost::system::error_code ec = co_await acceptor.async_accept(socket, as_code);
    if (ec == asio::error::operation_aborted) co_return fail(Code::kCancelled, "cancelled");
    if (ec) {
      CO_TRY(co_await time.sleep_for(std::chrono::milliseconds(100)));  // out of descriptors, most likely
      continue;
    }
    if (connections >= options.tcp_connections_max) {
      ++stats.refused;
      continue;
    }
    ++connections;
    scope.spawn(serve_connection(std::move(socket)));
  }
}

Server::Server(async::Executor executor, async::Time& time, Rng& rng, ServerOptions options)
    : impl_(std::make_unique<Impl>(executor, time, rng, std::move(options))) {}
Server::~Server() = default;

void Server::set_table(const DnsTable& table) { impl_->zone = Zone(table, impl_->zone_options()); }
void Server::set_upstreams(std::vector<IpAddress> upstreams) { impl_->forwarder.set_upstreams(impl_->foreign(std::move(upstreams))); }
Result<> Server::listen() { return impl_->listen(); }
std::uint16_t Server::port() const { return impl_->bound_port; }
ServerStats Server::stats() const { return impl_->stats; }

async::Task<Result<>> Server::serve() {
  CO_TRY(impl_->listen());
  async::Scope scope(impl_->executor);
  for (auto& socket : impl_->udp) scope.spawn(impl_->serve_udp(*socket, scope));
  for (auto& acceptor : impl_->tcp) scope.spawn(impl_->serve_tcp(*acceptor, scope));
  co_return co_await scope.join();
}

}  // namespace monopod::network::dns
