#include "http/endpoint.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <cerrno>
#include <cstring>

#include "async/as_result.h"
#include "base/strings.h"
#include "sys/world_socket.h"

namespace monopod::http {
namespace {

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

std::optional<Address> parse_address(const std::string& host, std::uint16_t port) {
  Address out;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&out.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&out.storage);
  if (inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    out.size = sizeof *v4;
    return out;
  }
  if (inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    out.size = sizeof *v6;
    return out;
  }
  return std::nullopt;
}

using Descriptor = async::asio::posix::basic_stream_descriptor<async::Executor>;

async::Task<Result<sys::Fd>> connect_with(sys::Fd socket, Address address, std::string name) {
  int failed = ::connect(socket.get(), reinterpret_cast<sockaddr*>(&address.storage), address.size) == 0 ? 0 : errno;
  if (failed == EINPROGRESS) {
    async::Executor executor = co_await async::this_executor();
    Descriptor descriptor(executor, socket.get());
    boost::system::error_code ec = co_await descriptor.async_wait(Descriptor::wait_write, async::as_code);
    [[maybe_unused]] int released = descriptor.release();
    if (ec) co_return fail(async::error_from(ec, "connect"));
    socklen_t size = sizeof failed;
    ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &failed, &size);
  }
  if (failed != 0) co_return fail(Code::kUnavailable, errno_error(failed, cat("connect ", name)).message());
  co_return socket;
}

async::Task<Result<sys::Fd>> connect_to(Address address, std::string name) {
  Result<sys::Fd> socket;
  if (address.storage.ss_family == AF_UNIX) socket = sys::Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  else socket = sys::make_world_socket(address.storage.ss_family, SOCK_STREAM);
  if (!socket || !*socket) co_return socket ? fail_errno("connect: socket") : fail(std::move(socket).error().with("connect"));
  co_return co_await connect_with(*std::move(socket), address, std::move(name));
}

}  // namespace

std::string Endpoint::authority() const {
  if (!unix_path.empty()) return "localhost";
  std::string out = host.find(':') == std::string::npos ? host : cat("[", host, "]");
  if (port != (tls ? 443 : 80)) out += cat(":", port);
  return out;
}

Result<Endpoint> parse_endpoint(std::string_view url) {
  auto refuse = [&] { return fail(Code::kInvalidArgument, cat("invalid endpoint: ", url)); };
  Endpoint out;
  if (url.starts_with("unix://")) {
    out.unix_path = std::string(url.substr(7));
    if (!out.unix_path.starts_with('/')) return refuse();
    return out;
  }
  if (url.starts_with("https://")) out.tls = true;
  else if (!url.starts_with("http://")) return refuse();
  std::string_view rest = url.substr(out.tls ? 8 : 7);
  rest = rest.substr(0, rest.find_first_of("/?#"));
  if (rest.find('@') != std::string_view::npos) return refuse();
  std::string_view port;
  if (rest.starts_with('[')) {
    std::size_t end = rest.find(']');
    if (end == std::string_view::npos) return refuse();
    out.host = std::string(rest.substr(1, end - 1));
    port = rest.substr(end + 1);
  } else {
    out.host = std::string(rest.substr(0, rest.find(':')));
    port = rest.substr(out.host.size());
  }
  if (out.host.empty()) return refuse();
  out.port = out.tls ? 443 : 80;
  if (port.empty()) return out;
  std::optional<std::uint16_t> number = port.front() == ':' ? parse_int<std::uint16_t>(port.substr(1)) : std::nullopt;
  if (!number || *number == 0) return refuse();
  out.port = *number;
  return out;
}

async::Task<Result<sys::Fd>> dial(const Endpoint& endpoint, Resolver* resolver) {
  if (!endpoint.unix_path.empty()) {
    Address address;
    auto* unix_address = reinterpret_cast<sockaddr_un*>(&address.storage);
    unix_address->sun_family = AF_UNIX;
    if (endpoint.unix_path.size() >= sizeof unix_address->sun_path) co_return fail(Code::kInvalidArgument, "connect: socket path too long");
    std::memcpy(unix_address->sun_path, endpoint.unix_path.c_str(), endpoint.unix_path.size() + 1);
    address.size = sizeof *unix_address;
    co_return co_await connect_to(address, endpoint.unix_path);
  }
  std::vector<std::string> hosts{endpoint.host};
  if (iequals(endpoint.host, "localhost")) {
    hosts = {"127.0.0.1", "::1"};
  } else if (!parse_address(endpoint.host, endpoint.port)) {
    if (resolver == nullptr) co_return fail(Code::kUnavailable, cat("connect ", endpoint.host, ": no resolver for host names"));
    CO_TRY_ASSIGN(hosts, co_await resolver->resolve(endpoint.host));
  }
  Result<sys::Fd> last = fail(Code::kUnavailable, cat("connect ", endpoint.host, ": no address"));
  for (const std::string& host : hosts) {
    std::optional<Address> address = parse_address(host, endpoint.port);
    if (!address) continue;
    std::string name = cat(host, ":", endpoint.port);
    last = co_await connect_to(*address, std::move(name));
    if (last) break;
  }
  co_return last;
}

async::Task<Result<sys::Fd>> connect_socket(sys::Fd socket, std::string host, std::uint16_t port) {
  std::optional<Address> address = parse_address(host, port);
  if (!address) co_return fail(Code::kInvalidArgument, cat("connect ", host, ": not an address"));
  co_return co_await connect_with(std::move(socket), *address, cat(host, ":", port));
}

// Ours ends with the system's own words, after the last ": ".
std::string dial_failure(std::string_view network, std::string_view address, const Error& error) {
  const std::string& text = error.message();
  if (error.code() == Code::kDeadlineExceeded) return cat("dial ", network, " ", address, ": i/o timeout");
  if (!text.starts_with("connect ")) return text;
  std::size_t at = text.rfind(": ");
  return cat("dial ", network, " ", address, ": connect: ", to_lower(std::string_view(text).substr(at == std::string::npos ? 0 : at + 2)));
}

}  // namespace monopod::http
