#include "cmd/proxy/ocsp.h"

#include <algorithm>
#include <ctime>

#include "base/log.h"
#include "base/strings.h"
#include "http/client.h"
#include "proxy/limits.h"

namespace monopod::cmd {
namespace {

using async::Task;

constexpr std::chrono::seconds kPatience{10};  // of one question
constexpr std::int64_t kRestS = 3'600;         // where nothing is due sooner

std::vector<std::shared_ptr<proxy::OcspStaple>> staples_of(const proxy::Snapshot& snapshot) {
  std::vector<std::shared_ptr<proxy::OcspStaple>> out;
  for (const auto& listener : snapshot.listeners)
    if (listener->tls) out.insert(out.end(), listener->tls->staples().begin(), listener->tls->staples().end());
  return out;
}

}  // namespace

Task<Result<>> OcspFetcher::run() {
  for (;;) {  // forever: until cancelled
    std::int64_t next = std::time(nullptr) + kRestS;
    for (std::shared_ptr<proxy::OcspStaple> staple : staples_of(*proxy_.snapshot())) {
      if (staple->due_s() <= std::time(nullptr)) co_await refresh(staple);
      next = std::min(next, staple->due_s());
    }
    Duration rest = std::chrono::seconds(std::max<std::int64_t>(1, next - std::time(nullptr)));
    Result<> woken = co_await async::with_timeout<void>(time_, rest, "OCSP", changed_.wait());
    if (!woken && woken.error().code() == Code::kCancelled) co_return woken;
  }
}

Task<> OcspFetcher::refresh(std::shared_ptr<proxy::OcspStaple> staple) {
  Result<> fetched = co_await async::with_timeout<void>(time_, kPatience, "OCSP", fetch(staple));
  if (fetched) co_return;
  staple->note_failure(std::time(nullptr));
  log::warn("no new OCSP answer: the one before is stapled while it is in its time", {{"url", staple->url()}, {"error", fetched.error()}});
}

Task<Result<>> OcspFetcher::fetch(std::shared_ptr<proxy::OcspStaple> staple) {
  const std::string& url = staple->url();
  CO_TRY_ASSIGN(http::Endpoint endpoint, http::parse_endpoint(url));
  std::size_t path = url.find('/', std::string_view("http://").size());
  async::Scope scope(executor_);
  Result<> taken;
  {
    http::Client client(scope, executor_, time_, {.endpoint = endpoint, .resolver = &resolver_});
    http::ClientRequest request{.method = "POST", .target = path == std::string::npos ? "/" : url.substr(path), .body = share(staple->request())};
    request.headers.set("content-type", "application/ocsp-request");
    Result<http::Response> response = co_await client.request(std::move(request));
    Result<std::string> der = fail(Code::kUnavailable, "no answer");
    if (!response) der = fail(response.error());
    else if (response->status != 200) der = fail(Code::kUnavailable, cat("status ", response->status));
    else der = co_await response->body->read_all(proxy::kOcspBytesMax);
    taken = der ? staple->take(*der, std::time(nullptr)) : Result<>(fail(der.error()));
  }
  scope.cancel();
  [[maybe_unused]] Result<> joined = co_await scope.join();
  co_return taken;
}

}  // namespace monopod::cmd
