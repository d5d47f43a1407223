// exec, attach and run, for kubectl and the API server.
#include "agent/node_handler.h"
#include "base/strings.h"
#include "streams/session.h"

namespace monopod::agent {

namespace {

constexpr std::size_t kRunOutputBytesMax = 4U << 20;

// Query parameters as kubectl sends them to the API server (stdin) and as the API server sends them to a node (input).
Result<streams::Request> parse_stream_request(std::string container_id, const http::Exchange& exchange) {
  http::Query query = http::parse_query(exchange.request().raw_query());
  streams::Request o{.container_id = std::move(container_id), .command = {}, .streams = {}};
  for (std::string_view word : query.get_all("command")) o.command.emplace_back(word);
  o.streams.in = query.get_bool("stdin") || query.get_bool("input");
  o.streams.out = query.get_bool("stdout") || query.get_bool("output");
  o.streams.tty = query.get_bool("tty");
  o.streams.err = !o.streams.tty && (query.get_bool("stderr") || query.get_bool("error"));  // a terminal has one output
  if (!o.streams.in && !o.streams.out && !o.streams.err) return fail(Code::kInvalidArgument, "you must specify at least 1 of stdin, stdout, stderr");
  return o;
}

}  // namespace

async::Task<Result<>> NodeHandler::exec(http::Exchange& exchange, Target target) {
  if (!target.state.running()) co_return fail(Code::kInvalidArgument, cat("container not found (\"", target.container->name, "\")"));
  CO_TRY_ASSIGN(streams::Request request, parse_stream_request(target.state.current->id, exchange));
  co_return co_await streams::serve_exec(deps_.time, deps_.containers, exchange, std::move(request));
}

async::Task<Result<>> NodeHandler::attach(http::Exchange& exchange, Target target) {
  if (!target.state.running()) co_return fail(Code::kInvalidArgument, cat("container not found (\"", target.container->name, "\")"));
  CO_TRY_ASSIGN(streams::Request request, parse_stream_request(target.state.current->id, exchange));
  co_return co_await streams::serve_attach(deps_.time, deps_.containers, exchange, std::move(request), target.container->tty);
}

async::Task<Result<>> NodeHandler::run(http::Exchange& exchange, Target target) {
  if (!target.state.running()) co_return fail(Code::kInvalidArgument, cat("container not found (\"", target.container->name, "\")"));
  http::Query query = http::parse_query(exchange.request().raw_query());
  std::vector<std::string> argv;
  for (std::string_view word : split(query.get("cmd").value_or(""), ' '))
    if (!word.empty()) argv.emplace_back(word);
  if (argv.empty()) co_return fail(Code::kInvalidArgument, "you must specify a command: cmd");
  CO_TRY_ASSIGN(ExecResult result, co_await machine_.exec(target.state.current->id, std::move(argv), std::chrono::minutes(10), kRunOutputBytesMax));
  http::Headers headers;
  headers.set("content-type", "text/plain; charset=utf-8");
  co_return co_await exchange.respond(result.exit_code == 0 ? 200 : 500, std::move(headers), std::move(result.output));
}

}  // namespace monopod::agent
