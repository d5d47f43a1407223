// grpc.health.v1.Health (grpc/doc/health-checking.md): of the server as a whole, service "", as etcd registers it.
#include "etcd/methods.h"

namespace monopod::etcd {
namespace {

using async::Task;

enum class Serving { kUnknown = 0, kServing = 1, kNotServing = 2, kServiceUnknown = 3 };

constexpr std::chrono::seconds kLookInterval{1};  // of Watch

Result<std::string> parse_service(std::string_view message) {
  std::string service;
  ProtoReader reader(message);
  for (;;) {
    TRY_ASSIGN(bool more, reader.next());
    if (!more) return service;
    if (reader.field() == 1) service = reader.text();
  }
}

Serving look(const Context& context) {
  return context.options.sqlite != nullptr && context.options.sqlite->failure() ? Serving::kNotServing : Serving::kServing;
}

std::string format_serving(Serving serving) { return ProtoWriter().integer(1, static_cast<int>(serving)).take(); }

Answer check(Context& context, std::string_view message) {
  CO_TRY_ASSIGN(std::string service, parse_service(message));
  if (!service.empty()) co_return fail(Code::kNotFound, "unknown service");
  co_return format_serving(look(context));
}

// The state now, then each change, until the client goes away.
Task<Result<>> watch(Context& context, http::GrpcServerCall& call) {
  Result<std::optional<std::string>> message = co_await call.read();
  if (!message) co_return co_await call.finish(fail(message.error()));
  Result<std::string> service = parse_service(message->value_or(""));
  if (!service) co_return co_await call.finish(fail(service.error()));
  std::optional<Serving> told;
  for (;;) {
    Serving now = service->empty() ? look(context) : Serving::kServiceUnknown;
    if (told != now) CO_TRY(co_await call.write(format_serving(now)));
    told = now;
    CO_TRY(co_await context.time.sleep_for(kLookInterval));
  }
}

}  // namespace

std::span<const Method> health_methods() {
  static constexpr Method kMethods[] = {{"/grpc.health.v1.Health/Check", needs_nothing, check}};
  return kMethods;
}

std::span<const StreamMethod> health_streams() {
  static constexpr StreamMethod kStreams[] = {{"/grpc.health.v1.Health/Watch", needs_nothing, watch}};
  return kStreams;
}

}  // namespace monopod::etcd
