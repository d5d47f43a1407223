#include "etcd/service.h"

#include "base/strings.h"
#include "etcd/authorize.h"
#include "etcd/methods.h"

namespace monopod::etcd {
namespace {

using async::Task;

Task<Result<>> answer_one(Context& context, http::GrpcServerCall& call, const Method& method) {
  Result<std::optional<std::string>> message = co_await call.read();
  if (!message) co_return co_await call.finish(fail(message.error()));
  if (!*message) co_return co_await call.finish(fail(Code::kInvalidArgument, "no request message"));
  if ((*message)->size() > kRequestBytesMax) co_return co_await call.finish(fail(Code::kInvalidArgument, "etcdserver: request is too large"));
  Result<std::string> answer = co_await call_method(context, method, **message);
  if (!answer) co_return co_await call.finish(fail(answer.error()));
  CO_TRY(co_await call.write(std::move(*answer)));
  co_return co_await call.finish({});
}

Task<Result<>> answer_plain(http::Exchange& exchange) {
  std::string_view path = exchange.request().raw_path();
  http::Headers json{{"content-type", "application/json"}};
  if (path == "/health") co_return co_await exchange.respond(200, std::move(json), std::string(R"({"health":"true","reason":""})"));
  if (path == "/version")
    co_return co_await exchange.respond(200, std::move(json), cat(R"({"etcdserver":")", kVersion, R"(","etcdcluster":"3.5.0"})"));
  co_return co_await exchange.respond(404, {{"content-type", "text/plain; charset=utf-8"}}, std::string("404 page not found\n"));
}

template <typename T>
void append(std::vector<T>& all, std::span<const T> some) {
  all.insert(all.end(), some.begin(), some.end());
}

}  // namespace

std::vector<Method> all_methods() {
  std::vector<Method> all;
  append(all, kv_methods());
  append(all, lease_methods());
  append(all, auth_methods());
  append(all, maintenance_methods());
  append(all, cluster_methods());
  return all;
}

std::vector<StreamMethod> all_streams() {
  std::vector<StreamMethod> all;
  append(all, lease_streams());
  append(all, watch_streams());
  append(all, maintenance_streams());
  return all;
}

Service::Service(store::Backend& backend, async::Time& time, ServiceOptions options)
    : time_(time),
      options_(std::move(options)),
      alarms_(options_.sqlite ? &options_.sqlite->state() : nullptr),
      backend_(backend, options_.sqlite, alarms_, options_.quota_bytes) {
  for (const Method& method : all_methods()) methods_.emplace(method.path, method);
  for (const StreamMethod& stream : all_streams()) streams_.emplace(stream.path, stream);
}
Service::~Service() = default;

Task<Result<>> Service::start() { return alarms_.load(); }

Task<Result<>> Service::handle(http::Exchange& exchange) {
  if (!http::is_grpc(exchange.request())) co_return co_await answer_plain(exchange);
  http::GrpcServerCall call(exchange);
  Context context{.backend = backend_, .time = time_, .options = options_, .auth = options_.auth, .alarms = &alarms_, .maintenance = &maintenance_};
  if (context.auth) context.credentials = credentials_of(exchange.request(), options_.client_cert_auth);
  if (auto at = methods_.find(call.method()); at != methods_.end()) co_return co_await answer_one(context, call, at->second);
  if (auto at = streams_.find(call.method()); at != streams_.end()) co_return co_await call_stream(context, call, at->second);
  co_return co_await call.finish(fail(Code::kUnimplemented, cat("unknown method ", call.method())));
}

}  // namespace monopod::etcd
