// Leases: grant, revoke, keep-alive stream, time to live, list.
#include "etcd/methods.h"

namespace monopod::etcd {
namespace {

Answer grant(Context& context, std::string_view message) {
  CO_TRY_ASSIGN(std::int64_t ttl, parse_integer(message, 1));
  CO_TRY_ASSIGN(std::int64_t id, parse_integer(message, 2));
  CO_TRY_ASSIGN(Lease lease, co_await context.backend.lease_grant(std::chrono::seconds(ttl), LeaseId(id)));
  co_return ProtoWriter().message(1, format_header(context.backend.current_revision())).integer(2, lease.id.value).integer(3, lease.ttl.count()).take();
}

Answer revoke(Context& context, std::string_view message) {
  CO_TRY_ASSIGN(std::int64_t id, parse_integer(message, 1));
  CO_TRY(co_await context.backend.lease_revoke(LeaseId(id)));
  co_return ProtoWriter().message(1, format_header(context.backend.current_revision())).take();
}

Answer time_to_live(Context& context, std::string_view message) {
  CO_TRY_ASSIGN(std::int64_t id, parse_integer(message, 1));
  CO_TRY_ASSIGN(std::int64_t with_keys, parse_integer(message, 2));
  CO_TRY_ASSIGN(Lease lease, co_await context.backend.lease_time_to_live(LeaseId(id)));
  ProtoWriter out;
  out.message(1, format_header(context.backend.current_revision())).integer(2, id).integer(3, lease.remaining.count()).integer(4, lease.ttl.count());
  if (with_keys)
    for (const std::string& key : lease.keys) out.message(5, key);
  co_return out.take();
}

Answer leases(Context& context, std::string_view) {
  CO_TRY_ASSIGN(std::vector<LeaseId> ids, co_await context.backend.leases());
  ProtoWriter out;
  out.message(1, format_header(context.backend.current_revision()));
  for (LeaseId id : ids) out.message(2, ProtoWriter().integer(1, id.value).str());
  co_return out.take();
}

async::Task<Result<>> keep_alive(Context& context, http::GrpcServerCall& call) {
  for (;;) {
    Result<std::optional<std::string>> message = co_await call.read();
    if (!message) co_return co_await call.finish(fail(message.error()));
    if (!*message) co_return co_await call.finish({});
    Result<std::int64_t> id = parse_integer(**message, 1);
    if (!id) co_return co_await call.finish(fail(id.error()));
    Result<Lease> lease = co_await context.backend.lease_keep_alive(LeaseId(*id));
    if (!lease && lease.error().code() != Code::kNotFound) co_return co_await call.finish(fail(lease.error()));
    // A lease that is gone is told by a time to live of 0.
    std::int64_t ttl = lease ? lease->ttl.count() : 0;
    CO_TRY(co_await call.write(ProtoWriter().message(1, format_header(context.backend.current_revision())).integer(2, *id).integer(3, ttl).str()));
  }
}

}  // namespace

std::span<const Method> lease_methods() {
  static constexpr Method kMethods[] = {
      {"/etcdserverpb.Lease/LeaseGrant", needs_user, grant},
      {"/etcdserverpb.Lease/LeaseRevoke", needs_lease_revoke, revoke},
      {"/etcdserverpb.Lease/LeaseTimeToLive", needs_lease_time_to_live, time_to_live},
      {"/etcdserverpb.Lease/LeaseLeases", needs_lease_list, leases},
  };
  return kMethods;
}

std::span<const StreamMethod> lease_streams() {
  static constexpr StreamMethod kStreams[] = {{"/etcdserverpb.Lease/LeaseKeepAlive", needs_lease_keep_alive, keep_alive}};
  return kStreams;
}

}  // namespace monopod::etcd
