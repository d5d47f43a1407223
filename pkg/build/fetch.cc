#include "build/fetch.h"

#include "async/scope.h"
#include "base/strings.h"
#include "http/client.h"
#include "image/digest.h"
#include "sys/root.h"

namespace monopod::build {
namespace {

using async::Task;

// "https://host/a?b#c" is "host", and "/a?b".
struct Address {
  std::string_view scheme, authority, target;
};
Address parts_of(std::string_view url) {
  Address out;
  url = url.substr(0, url.find('#'));
  std::size_t scheme = url.find("://");
  out.scheme = url.substr(0, scheme);
  std::string_view rest = url.substr(scheme + 3);
  std::size_t path = rest.find_first_of("/?");
  out.authority = rest.substr(0, path);
  if (path != std::string_view::npos) out.target = rest.substr(path);
  return out;
}

// Where an answer of url leads.
Result<std::string> follow(const std::string& url, const std::string& location) {
  if (location.empty()) return fail(Code::kUnavailable, "a redirect to nowhere");
  if (!location.starts_with('/')) {
    if (!is_address(location)) return fail(Code::kUnimplemented, cat("a redirect to \"", location.substr(0, 200), "\""));
    if (url.starts_with("https:") && !location.starts_with("https:")) return fail(Code::kPermissionDenied, "a redirect from https to http");
    return location;
  }
  Address from = parts_of(url);
  if (location.starts_with("//")) return cat(from.scheme, ":", location);
  return cat(from.scheme, "://", from.authority, location);
}

struct Fetch {
  FetchParts parts;
  std::string url;
  int fd;
  image::Hash hash{};

  Task<Result<>> write_body(http::Body& body) {
    for (std::uint64_t bytes = 0;;) {
      CO_TRY_ASSIGN(SharedBytes chunk, co_await async::with_timeout<SharedBytes>(parts.time, parts.stall_timeout, "the server stalls", body.read_chunk()));
      if (!chunk) co_return Result<>{};
      bytes += chunk->size();
      if (bytes > kFetchBytesMax) co_return fail(Code::kResourceExhausted, cat("more than ", kFetchBytesMax, " bytes"));
      hash.update(as_bytes(*chunk));
      CO_TRY(sys::write_all(fd, *chunk));
    }
  }

  Task<Result<>> run(async::Scope& scope) {
    for (int hops = 0; hops <= kFetchRedirectsMax; ++hops) {
      Address at = parts_of(url);
      if (at.authority.find('@') != std::string_view::npos) co_return fail(Code::kInvalidArgument, "credentials in an address are not supported");
      CO_TRY_ASSIGN(http::Endpoint endpoint, http::parse_endpoint(url));
      if (endpoint.tls && parts.tls == nullptr) co_return fail(Code::kFailedPrecondition, "no root certificates are configured");
      http::Client client(scope, co_await async::this_executor(), parts.time, {.endpoint = endpoint, .tls = endpoint.tls ? parts.tls : nullptr, .resolver = parts.resolver});
      std::string target = at.target.starts_with('/') ? std::string(at.target) : cat("/", at.target);
      CO_TRY_ASSIGN(http::Response response, co_await client.request({.target = std::move(target)}));
      if (response.status == 200) co_return co_await write_body(*response.body);
      if (response.status != 301 && response.status != 302 && response.status != 303 && response.status != 307 && response.status != 308)
        co_return fail(code_of_http_status(response.status), cat("status ", response.status));
      CO_TRY_ASSIGN(url, follow(url, std::string(response.headers.find("location").value_or(""))));
    }
    co_return fail(Code::kUnavailable, "too many redirects");
  }
};

}  // namespace

bool is_address(std::string_view word) { return word.starts_with("http://") || word.starts_with("https://"); }

bool is_git(std::string_view word) {
  if (word.starts_with("git@") || word.starts_with("git://") || word.starts_with("ssh://")) return true;
  std::string_view path = word.substr(0, word.find_first_of("#?"));
  return is_address(word) && path.ends_with(".git");
}

Result<std::string> address_file_name(std::string_view url) {
  std::string_view path = parts_of(url).target;
  path = path.substr(0, path.find('?'));
  std::string name(path.substr(path.rfind('/') + 1));
  if (path.empty() || name.empty() || name == "." || name == "..") return fail(Code::kInvalidArgument, cat("cannot determine a file name for ", url.substr(0, 500)));
  return name;
}

Task<Result<std::string>> fetch(FetchParts parts, std::string url, int fd) {
  Fetch job{.parts = parts, .url = std::move(url), .fd = fd};
  const std::string asked = job.url;
  Fetch* f = &job;
  Result<> done = co_await async::run_scoped([f](async::Scope& scope) { return f->run(scope); });
  if (!done) co_return fail(std::move(done).error().with(asked.substr(0, 500)));
  co_return job.hash.finish();
}

}  // namespace monopod::build
