#include "http/server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "async/as_result.h"
#include "async/scope.h"
#include "base/log.h"
#include "base/strings.h"
#include "http/connection.h"

namespace monopod::http {
namespace {

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr Duration kAcceptBackoff = std::chrono::milliseconds(100);

// A connection before its protocol is known: the handshake, or the first bytes.
class Arrival final : public ServerConnection {
 public:
  Arrival(ServerContext& context, Transport& transport) : transport_(transport) {
    deadline_ = context.time.mono() + std::chrono::duration_cast<MonoTime::duration>(context.limits().handshake_timeout);
  }
  void on_sweep(MonoTime now) override {
    if (now >= deadline_) transport_.close();
  }
  void on_shutdown() override { transport_.close(); }

 private:
  Transport& transport_;
  MonoTime deadline_;
};

// Reads while the bytes may still become the preface of HTTP/2.
async::Task<Result<std::string>> read_first_bytes(Transport& transport) {
  std::string bytes;
  while (bytes.size() < 4 && kPreface.starts_with(bytes)) {
    std::array<std::byte, 4> buffer;
    CO_TRY_ASSIGN(std::size_t n, co_await transport.read_some(std::span(buffer).first(4 - bytes.size())));
    if (n == 0) break;
    bytes.append(as_text(std::span(buffer).first(n)));
  }
  co_return bytes;
}

async::Task<Result<>> serve_one(ServerContext& context, sys::Fd socket) {
  Peer peer{.address = format_peer_address(socket.get())};
  std::unique_ptr<Transport> transport;
  if (context.options.tls != nullptr) {
    CO_TRY_ASSIGN(transport, make_tls_server_transport(context.executor, std::move(socket), context.options.tls->context()));
  } else {
    CO_TRY_ASSIGN(transport, make_transport(context.executor, std::move(socket)));
  }
  std::string first;
  {
    Arrival arrival(context, *transport);
    Registration registered(context, arrival);
    CO_TRY(co_await transport->handshake());
    if (!transport->tls()) {
      CO_TRY_ASSIGN(first, co_await read_first_bytes(*transport));
      if (first.empty()) co_return Result<>();
    }
  }
  peer.tls = transport->tls();
  peer.certificates_der = transport->peer_certificates_der();
  bool http2 = transport->tls() ? transport->alpn() == "h2" : first == kPreface.substr(0, 4);
  if (http2) co_return co_await serve_h2(context, std::move(transport), std::move(peer), std::move(first));
  co_return co_await serve_h1(context, std::move(transport), std::move(peer), std::move(first));
}

// A connection's end, whatever its reason, is no error of the server.
async::Task<> run_connection(ServerContext& context, sys::Fd socket) {
  struct Count {
    ServerContext& context;
    explicit Count(ServerContext& c) : context(c) { ++context.stats.connections; }
    ~Count() {
      --context.stats.connections;
      if (context.shutting_down) context.changed.wake_all();
    }
  } count(context);
  Result<> ended = co_await serve_one(context, std::move(socket));
  if (!ended && ended.error().code() != Code::kCancelled) log::debug("connection ended", {{"error", ended.error()}});
}

// Closes what is late. Sleeps without a timer while there is no connection.
async::Task<Result<>> sweep(ServerContext& context) {
  const Limits& limits = context.limits();
  Duration shortest = std::min({limits.handshake_timeout, limits.header_timeout, limits.idle_timeout, limits.stall_timeout});
  Duration period = std::clamp<Duration>(shortest / 4, std::chrono::milliseconds(10), std::chrono::seconds(5));
  for (;;) {
    while (context.connections.empty()) CO_TRY(co_await context.changed.wait());
    CO_TRY(co_await context.time.sleep_for(period));
    std::vector<ServerConnection*> now_live(context.connections.begin(), context.connections.end());
    for (ServerConnection* connection : now_live)
      if (context.connections.contains(connection)) connection->on_sweep(context.time.mono());
  }
}

using Listener = async::asio::posix::basic_stream_descriptor<async::Executor>;

bool is_transient(int err) {
  return err == EINTR || err == ECONNABORTED || err == EPROTO || err == ENETDOWN || err == EHOSTUNREACH || err == ENETUNREACH || err == EPERM;
}
bool is_exhaustion(int err) { return err == EMFILE || err == ENFILE || err == ENOBUFS || err == ENOMEM; }

async::Task<Result<>> accept_loop(ServerContext& context, sys::Fd socket, async::Scope& connections) {
  int raw = socket.release();
  Listener listener(context.executor, raw);
  boost::system::error_code set;
  listener.non_blocking(true, set);
  if (set) co_return fail(async::error_from(set, "listen"));
  while (!context.shutting_down) {
    sys::Fd accepted(::accept4(raw, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (accepted) {
      ++context.stats.accepted;
      if (context.stats.connections >= context.limits().connections_max) continue;  // closed at once
      connections.spawn(run_connection(context, std::move(accepted)));
      continue;
    }
    int err = errno;
    if (is_transient(err)) continue;
    if (is_exhaustion(err)) {
      log::warn("accept backs off", {{"error", std::strerror(err)}});
      CO_TRY(co_await context.time.sleep_for(kAcceptBackoff));
      continue;
    }
    if (err != EAGAIN && err != EWOULDBLOCK) co_return fail(errno_error(err, "accept"));
    boost::system::error_code ec = co_await listener.async_wait(Listener::wait_read, async::as_code);
    if (ec) co_return fail(async::error_from(ec, "accept"));
  }
  co_return Result<>();
}

// Cancels its scope once the server shuts down, so that an accept in progress ends.
async::Task<Result<>> end_at_shutdown(ServerContext& context, async::Scope& accepting) {
  while (!context.shutting_down) CO_TRY(co_await context.changed.wait());
  accepting.cancel();
  co_return Result<>();
}

async::Task<Result<>> accept_until_shutdown(ServerContext& context, sys::Fd socket, async::Scope& connections) {
  async::Scope accepting(context.executor);
  accepting.spawn(accept_loop(context, std::move(socket), connections));
  accepting.spawn(end_at_shutdown(context, accepting));
  Result<> ended = co_await accepting.join();
  if (!ended) co_return ended;
  while (context.stats.connections > 0) CO_TRY(co_await context.changed.wait());
  connections.cancel();  // the sweeper
  co_return Result<>();
}

}  // namespace

const std::string& ServerContext::current_date() {
  std::int64_t second = std::chrono::duration_cast<std::chrono::seconds>(time.wall().time_since_epoch()).count();
  if (second == date_second) return date;
  date_second = second;
  std::time_t t = second;
  std::tm parts{};
  gmtime_r(&t, &parts);
  std::array<char, 40> text{};
  std::size_t size = std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  date.assign(text.data(), size);
  return date;
}

struct Server::State {
  ServerContext context;
};

Server::Server(async::Executor executor, async::Time& time, Handler& handler, Options options)
    : state_(new State{ServerContext(executor, time, handler, std::move(options))}) {}
Server::~Server() = default;

async::Task<Result<>> Server::serve(sys::Fd listening_socket) {
  ServerContext& context = state_->context;
  async::Scope scope(context.executor);
  scope.spawn(sweep(context));
  scope.spawn(accept_until_shutdown(context, std::move(listening_socket), scope));
  co_return co_await scope.join();
}

async::Task<Result<>> Server::serve_connection(sys::Fd socket) {
  ServerContext& context = state_->context;
  async::Scope scope(context.executor);
  scope.spawn(sweep(context));
  auto then_end = [](ServerContext& c, sys::Fd fd, async::Scope& s) -> async::Task<> {
    co_await run_connection(c, std::move(fd));
    s.cancel();
  };
  scope.spawn(then_end(context, std::move(socket), scope));
  co_return co_await scope.join();
}

void Server::shutdown() {
  ServerContext& context = state_->context;
  context.shutting_down = true;
  std::vector<ServerConnection*> live(context.connections.begin(), context.connections.end());
  for (ServerConnection* connection : live) connection->on_shutdown();
  context.changed.wake_all();
}

const ServerStats& Server::stats() const { return state_->context.stats; }

Result<sys::Fd> listen_tcp(const std::string& host, std::uint16_t port) {
  sockaddr_storage storage{};
  socklen_t size = 0;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
  if (inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    size = sizeof *v4;
  } else if (inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    size = sizeof *v6;
  } else {
    return fail(Code::kInvalidArgument, cat("listen ", host, ": not an IP address"));
  }
  sys::Fd fd(::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno("listen: socket");
  int on = 1;
  int off = 0;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (storage.ss_family == AF_INET6) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), size) != 0) return fail_errno(cat("listen ", host, " port ", port));
  if (::listen(fd.get(), SOMAXCONN) != 0) return fail_errno(cat("listen ", host, " port ", port));
  return fd;
}

Result<sys::Fd> listen_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return fail(Code::kInvalidArgument, cat("listen ", path, ": path too long"));
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  sys::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno("listen: socket");
  struct stat old{};
  if (::lstat(path.c_str(), &old) == 0 && S_ISSOCK(old.st_mode)) {
    sys::Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (probe && (::connect(probe.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 || errno == EAGAIN))
      return fail(Code::kUnavailable, cat("listen ", path, ": another process serves there: stop it or choose another path"));
    ::unlink(path.c_str());
  }
  // The mode of the new file is that of the unbound socket: no moment at which others may connect, and no umask of the process to change.
  if (::fchmod(fd.get(), 0600) != 0) return fail_errno(cat("listen ", path));
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return fail_errno(cat("listen ", path));
  if (::listen(fd.get(), SOMAXCONN) != 0) return fail_errno(cat("listen ", path));
  return fd;
}

Result<std::uint16_t> local_port(const sys::Fd& socket) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&storage), &size) != 0) return fail_errno("socket name");
  if (storage.ss_family == AF_INET) return ntohs(reinterpret_cast<sockaddr_in*>(&storage)->sin_port);
  if (storage.ss_family == AF_INET6) return ntohs(reinterpret_cast<sockaddr_in6*>(&storage)->sin6_port);
  return fail(Code::kInvalidArgument, "socket has no port");
}

}  // namespace monopod::http
