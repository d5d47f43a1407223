#include "cri/streaming.h"

#include "base/strings.h"
#include "cri/messages.h"
#include "cri/limits.h"
#include "pki/random.h"

namespace monopod::cri {
namespace {

using async::Task;

constexpr std::size_t kTokenBytes = 32;
constexpr std::string_view kPaths[] = {"exec", "attach", "portforward"};

std::string_view path_of(const Streaming::What& what) { return kPaths[static_cast<std::size_t>(what.kind)]; }

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
  if (tickets_.size() >= kTokensMax) return refuse(Code::kResourceExhausted, {"more than ", std::to_string(kTokensMax), " streams were asked for and not opened"});
  TRY_ASSIGN(std::string token, pki::random_token(kTokenBytes));
  std::string url = cat("http://127.0.0.1:", port_, "/", path_of(what), "/", token);
  for (char separator = '?'; std::int64_t port : what.ports) url += cat(std::exchange(separator, '&'), "port=", port);
  tickets_.emplace(std::move(token), Ticket{std::move(what), time_.mono() + std::chrono::duration_cast<MonoTime::duration>(kTokenLife)});
  return url;
}

Task<Result<>> Streaming::handle(http::Exchange& exchange) {
  forget_old();
  std::vector<std::string_view> parts = split(exchange.request().raw_path(), '/');  // "", kind, token
  auto found = parts.size() == 3 ? tickets_.find(std::string(parts[2])) : tickets_.end();
  if (found == tickets_.end() || parts[1] != path_of(found->second.what)) co_return co_await exchange.respond(404, {}, "not found\n");
  What what = std::move(found->second.what);
  tickets_.erase(found);
  bool terminal = what.request.streams.tty;
  if (what.kind == Kind::kExec) co_return co_await streams::serve_exec(time_, runtime_, exchange, std::move(what.request));
  if (what.kind == Kind::kAttach) co_return co_await streams::serve_attach(time_, runtime_, exchange, std::move(what.request), terminal);
  co_return co_await streams::serve_port_forward(exchange, {time_, pool_, what.network_path, what.pod, what.sandbox});
}

}  // namespace monopod::cri
