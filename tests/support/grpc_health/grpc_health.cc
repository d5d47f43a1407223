// grpc.health.v1.Health/Check on a port, without TLS: the service "sick" is NOT_SERVING, every other one SERVING.
//
//   grpc_health PORT
#include "async/loop.h"
#include "async/time.h"
#include "base/log.h"
#include "base/strings.h"
#include "http/grpc.h"
#include "http/server.h"

namespace monopod {
namespace {

class Health final : public http::Handler {
 public:
  async::Task<Result<>> handle(http::Exchange& exchange) override {
    http::GrpcServerCall call(exchange);
    if (call.method() != "/grpc.health.v1.Health/Check") co_return co_await call.finish(fail(Code::kUnimplemented, "only Check"));
    CO_TRY_ASSIGN(std::optional<std::string> request, co_await call.read());
    bool sick = request && request->ends_with("sick");  // HealthCheckRequest: field 1, the name
    CO_TRY(co_await call.write(sick ? "\x08\x02" : "\x08\x01"));  // HealthCheckResponse: field 1, the status
    co_return co_await call.finish({});
  }
};

async::Task<Result<>> serve(async::Executor executor, std::uint16_t port) {
  async::RealTime time;
  Health health;
  CO_TRY_ASSIGN(sys::Fd listener, http::listen_tcp("0.0.0.0", port));
  http::Server server(executor, time, health, {});
  co_return co_await server.serve(std::move(listener));
}

}  // namespace
}  // namespace monopod

int main(int argc, char** argv) {
  auto port = argc > 1 ? monopod::parse_int<std::uint16_t>(argv[1]) : std::nullopt;
  if (!port) return 64;
  monopod::async::Loop loop;
  auto ended = loop.run(monopod::serve(loop.executor(), *port));
  if (!ended) monopod::log::error("health server ended", {{"error", ended.error()}});
  return ended ? 0 : 1;
}
