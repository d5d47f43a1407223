// Where a server is: scheme, host and port, or a unix socket.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "async/task.h"
#include "sys/fd.h"

namespace monopod::http {

struct Endpoint {
  bool tls = false;
  std::string host{};  // name or IP literal, without brackets
  std::uint16_t port = 0;
  std::string unix_path{};  // instead of host and port

  std::string authority() const;  // "host:port", brackets for IPv6, no port where it is the scheme's own
};

// "https://h[:p]", "http://h[:p]", "unix:///path"; a path after the authority is ignored. kInvalidArgument otherwise.
Result<Endpoint> parse_endpoint(std::string_view url);

// Name resolution is handed in: a static binary has no getaddrinfo. IP literals and "localhost" never reach it.
class Resolver {
 public:
  virtual ~Resolver() = default;
  // IP literals in the order to try. kNotFound when there is none.
  virtual async::Task<Result<std::vector<std::string>>> resolve(std::string host) = 0;
};

// A connected, non-blocking socket. resolver may be null. kUnavailable when nothing answers.
async::Task<Result<sys::Fd>> dial(const Endpoint& endpoint, Resolver* resolver);
// The same with a non-blocking socket that exists already: one made in another network namespace connects there. host: an IP literal.
async::Task<Result<sys::Fd>> connect_socket(sys::Fd socket, std::string host, std::uint16_t port);

// What the field's clients say of a connection that could not be made: "dial tcp 10.0.0.1:80: connect: connection refused".
std::string dial_failure(std::string_view network, std::string_view address, const Error& error);

}  // namespace monopod::http
