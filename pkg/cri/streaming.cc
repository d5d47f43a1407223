#include "cri/streaming.h"

#include "base/strings.h"
#include "cri/limits.h"
#include "pki/random.h"

namespace monopod::cri {
namespace {

using async::Task;

constexpr std::size_t kTokenBytes = 32;
constexpr std::string_view kPaths[] = {"exec", "attach", "portforward"};  // by What's index

}  // namespace

Result<> Streaming::listen() {
  TRY_ASSIGN(socket_, http::listen_tcp("127.0.0.1", 0));
  TRY_ASSIGN(port_, http::local_port(socket_));
  return {};
}

void Streaming::forget_old() {
  MonoTime now = time_.mono();
  std::erase_if(tickets_, [now](const auto& entry) { return entry.second.until <= now; });
}

Result<std::string> Streaming::add(What what) {
  forget_old();
  if (tickets_.size() >= kTokensMax) return fail(Code::kResourceExhausted, cat("more than ", kTokensMax, " streams were asked for and not opened"));
  TRY_ASSIGN(std::string token, pki::random_token(kTokenBytes));
  std::string url = cat("http://127.0.0.1:", port_, "/", kPaths[what.index()], "/", token);
  if (auto* forward = std::get_if<Forward>(&what))
    for (char separator = '?'; std::int64_t port : forward->ports) url += cat(std::exchange(separator, '&'), "port=", port);
  tickets_.emplace(std::move(token), Ticket{std::move(what), time_.mono() + std::chrono::duration_cast<MonoTime::duration>(kTokenLife)});
  return url;
}

Task<Result<>> Streaming::handle(http::Exchange& exchange) {
  forget_old();
  std::vector<std::string_view> parts = split(exchange.request().raw_path(), '/');  // "", kind, token
  auto found = parts.size() == 3 ? tickets_.find(std::string(parts[2])) : tickets_.end();
  if (found == tickets_.end() || parts[1] != kPaths[found->second.what.index()]) co_return co_await exchange.respond(404, {}, "not found\n");
  What what = std::move(found->second.what);
  tickets_.erase(found);
  if (auto* exec = std::get_if<Exec>(&what)) co_return co_await streams::serve_exec(time_, runtime_, exchange, std::move(exec->request));
  if (auto* attach = std::get_if<Attach>(&what)) co_return co_await streams::serve_attach(time_, runtime_, exchange, std::move(attach->request), attach->terminal);
  co_return co_await streams::serve_port_forward(exchange, std::move(std::get<Forward>(what).target));
}

}  // namespace monopod::cri
