#include "etcd/service.h"

#include <algorithm>

#include "base/strings.h"
#include "etcd/auth/authorize.h"
#include "etcd/gateway/gateway.h"
#include "etcd/http_paths.h"

namespace monopod::etcd {
namespace {

using async::Task;

constexpr std::size_t kWholeBytesMax = 16U << 10;  // larger answers go out in pieces

Task<Result<>> answer_one(Context& context, http::GrpcServerCall& call, const Method& method) {
  Result<std::optional<std::string>> message = co_await call.read();
  if (!message) co_return co_await call.finish(fail(message.error()));
  if (!*message) co_return co_await call.finish(fail(Code::kInvalidArgument, "no request message"));
  if ((*message)->size() > kRequestBytesMax) co_return co_await call.finish(fail(Code::kInvalidArgument, "etcdserver: request is too large"));
  Result<Message> answer = co_await call_method(context, method, **message);
  if (!answer) co_return co_await call.finish(fail(answer.error()));
  if (answer->size() <= kWholeBytesMax) co_return co_await call.answer(std::move(*answer).join());
  CO_TRY(co_await call.write(answer->size(), [&answer] { return answer->next_piece(); }));
  co_return co_await call.finish({});
}

// What may be called where read_only is set: a list, so that calls added later are refused until somebody has thought about them.
bool is_reading(std::string_view path) {
  static constexpr std::string_view kReadOnlyCalls[] = {
      "/etcdserverpb.KV/Range",           "/etcdserverpb.Watch/Watch",          "/etcdserverpb.Lease/LeaseTimeToLive", "/etcdserverpb.Lease/LeaseLeases",
      "/etcdserverpb.Cluster/MemberList", "/etcdserverpb.Maintenance/Status",   "/etcdserverpb.Maintenance/Hash",      "/etcdserverpb.Maintenance/HashKV",
      "/etcdserverpb.Maintenance/Snapshot", "/monopod.Store/Stats",             "/monopod.Store/Snapshot",            "/grpc.health.v1.Health/Check",
      "/grpc.health.v1.Health/Watch",
  };
  return std::ranges::find(kReadOnlyCalls, path) != std::end(kReadOnlyCalls);
}

template <typename T>
void append(std::vector<T>& all, std::span<const T> some) {
  all.insert(all.end(), some.begin(), some.end());
}

// A call that nobody finished ended because its client went away.
class CountAtEnd {
 public:
  CountAtEnd(Handled& handled, const http::GrpcServerCall& call) : call_(call), counts_(handled.find(call.method())), known_(counts_ != handled.end()) {}
  ~CountAtEnd() {
    if (known_) ++counts_->second[static_cast<std::size_t>(call_.outcome().value_or(Code::kCancelled))];
  }
  CountAtEnd(const CountAtEnd&) = delete;
  CountAtEnd& operator=(const CountAtEnd&) = delete;

 private:
  const http::GrpcServerCall& call_;
  Handled::iterator counts_;
  bool known_;
};

}  // namespace

std::vector<Method> all_methods() {
  std::vector<Method> all;
  append(all, kv_methods());
  append(all, lease_methods());
  append(all, auth_methods());
  append(all, maintenance_methods());
  append(all, operation_methods());
  append(all, cluster_methods());
  append(all, lock_methods());
  append(all, election_methods());
  append(all, health_methods());
  return all;
}

std::vector<StreamMethod> all_streams() {
  std::vector<StreamMethod> all;
  append(all, lease_streams());
  append(all, watch_streams());
  append(all, maintenance_streams());
  append(all, election_streams());
  append(all, health_streams());
  append(all, operation_streams());
  return all;
}

struct Service::Counts {
  Handled handled{};
  HealthCounts health{};
};

Service::Service(store::Backend& backend, async::Time& time, ServiceOptions options)
    : time_(time),
      options_(std::move(options)),
      alarms_(options_.sqlite ? &options_.sqlite->state() : nullptr),
      backend_(backend, options_.sqlite, alarms_, options_.quota_bytes),
      counts_(std::make_unique<Counts>()) {
  for (const Method& method : all_methods()) methods_.emplace(method.path, method);
  for (const StreamMethod& stream : all_streams()) streams_.emplace(stream.path, stream);
  for (const auto& [path, method] : methods_) counts_->handled[path] = {};
  for (const auto& [path, stream] : streams_) counts_->handled[path] = {};
}
Service::~Service() = default;

Task<Result<>> Service::start() { return alarms_.load(); }

Task<Result<>> Service::handle(http::Exchange& exchange) {
  Context context{.backend = backend_, .time = time_, .options = options_, .auth = options_.auth, .alarms = &alarms_, .maintenance = &maintenance_};
  if (!http::is_grpc(exchange.request())) {
    if (is_gateway_path(exchange.request().raw_path())) co_return co_await serve_gateway(exchange, *this);
    if (options_.operations != nullptr) {
      CO_TRY_ASSIGN(bool answered, co_await answer_operation(*options_.operations, exchange));
      if (answered) co_return Result<>();
    }
    co_return co_await answer_plain(exchange, context, counts_->handled, counts_->health);
  }
  http::GrpcServerCall call(exchange);
  CountAtEnd count(counts_->handled, call);
  if (options_.read_only && !is_reading(call.method()))
    co_return co_await call.finish(fail(Code::kPermissionDenied, "this store is written by the node alone: change objects with kubectl"));
  if (context.auth) context.credentials = credentials_of(exchange.request(), options_.client_cert_auth);
  if (auto at = methods_.find(call.method()); at != methods_.end()) co_return co_await answer_one(context, call, at->second);
  if (auto at = streams_.find(call.method()); at != streams_.end()) co_return co_await call_stream(context, call, at->second);
  co_return co_await call.finish(fail(Code::kUnimplemented, cat("unknown method ", call.method())));
}

}  // namespace monopod::etcd
