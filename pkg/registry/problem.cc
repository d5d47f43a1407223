#include "registry/problem.h"

#include "codec/json.h"

namespace monopod::registry {

async::Task<Result<>> respond(http::Exchange& exchange, const Problem& problem, std::string detail, http::Headers headers) {
  json::Object error;
  error["code"] = problem.code;
  error["message"] = problem.message;
  if (!detail.empty()) error["detail"] = detail;
  json::Object body;
  body["errors"] = json::Array{std::move(error)};
  headers.set("Content-Type", "application/json");
  co_return co_await exchange.respond(problem.status, std::move(headers), json::format(std::move(body)));
}

}  // namespace monopod::registry
