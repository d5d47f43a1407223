// A file from an address: ADD https://... . Redirects are followed, never from https to http; no credentials are sent.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "async/time.h"
#include "http/tls.h"

namespace monopod::http {
class Resolver;
}

namespace monopod::build {

inline constexpr std::uint64_t kFetchBytesMax = 16ULL << 30;
inline constexpr int kFetchRedirectsMax = 10;

struct FetchParts {
  async::Time& time;
  http::TlsClient* tls = nullptr;      // null: https cannot be reached
  http::Resolver* resolver = nullptr;  // null: IP literals and localhost only
  Duration stall_timeout = std::chrono::seconds(60);
};

// Whether a source of ADD is an address, and whether it is a repository of git (which is not supported).
bool is_address(std::string_view word);
bool is_git(std::string_view word);
// The file's name below a directory: the last part of the address's path. kInvalidArgument where it has none.
Result<std::string> address_file_name(std::string_view url);

// Writes it to fd, which stays the caller's, from where it stands; "sha256:<hex>" of what came. kNotFound, kUnavailable, ... by status.
async::Task<Result<std::string>> fetch(FetchParts parts, std::string url, int fd);

}  // namespace monopod::build
