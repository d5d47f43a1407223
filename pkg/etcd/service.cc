#include "etcd/service.h"

#include <zlib.h>

#include "base/strings.h"
#include "etcd/messages.h"

namespace monopod::etcd {
namespace {

using async::Task;

constexpr std::string_view kWatchPath = "/etcdserverpb.Watch/Watch";
constexpr std::string_view kKeepAlivePath = "/etcdserverpb.Lease/LeaseKeepAlive";
constexpr std::string_view kVersion = "3.5.17";  // the etcd whose behaviour this follows; kube-apiserver decides by it

}  // namespace

// Every unary method. A method that is not here does not exist.
const Service::Method Service::kMethods[] = {
    {"/etcdserverpb.KV/Range", &Service::range},
    {"/etcdserverpb.KV/Put", &Service::put},
    {"/etcdserverpb.KV/DeleteRange", &Service::delete_range},
    {"/etcdserverpb.KV/Txn", &Service::txn},
    {"/etcdserverpb.KV/Compact", &Service::compact},
    {"/etcdserverpb.Lease/LeaseGrant", &Service::lease_grant},
    {"/etcdserverpb.Lease/LeaseRevoke", &Service::lease_revoke},
    {"/etcdserverpb.Lease/LeaseTimeToLive", &Service::lease_time_to_live},
    {"/etcdserverpb.Lease/LeaseLeases", &Service::lease_leases},
    {"/etcdserverpb.Cluster/MemberList", &Service::member_list},
    {"/etcdserverpb.Maintenance/Status", &Service::status},
    {"/etcdserverpb.Maintenance/Alarm", &Service::alarm},
    {"/etcdserverpb.Maintenance/Defragment", &Service::defragment},
    {"/etcdserverpb.Maintenance/HashKV", &Service::hash_kv},
};

Task<Result<>> Service::handle(http::Exchange& exchange) {
  if (!http::is_grpc(exchange.request())) co_return co_await handle_plain(exchange);
  http::GrpcServerCall call(exchange);
  std::string path(call.method());
  if (path == kWatchPath) co_return co_await watch(call);
  if (path == kKeepAlivePath) co_return co_await keep_alive(call);
  for (const Method& method : kMethods)
    if (method.path == path) co_return co_await answer_one(call, method);
  co_return co_await call.finish(fail(Code::kUnimplemented, cat("unknown method ", path)));
}

Task<Result<>> Service::handle_plain(http::Exchange& exchange) {
  std::string_view path = exchange.request().raw_path();
  http::Headers json{{"content-type", "application/json"}};
  if (path == "/health") co_return co_await exchange.respond(200, std::move(json), std::string(R"({"health":"true","reason":""})"));
  if (path == "/version")
    co_return co_await exchange.respond(200, std::move(json), cat(R"({"etcdserver":")", kVersion, R"(","etcdcluster":"3.5.0"})"));
  co_return co_await exchange.respond(404, {{"content-type", "text/plain; charset=utf-8"}}, std::string("404 page not found\n"));
}

Task<Result<>> Service::answer_one(http::GrpcServerCall& call, const Method& method) {
  Result<std::optional<std::string>> message = co_await call.read();
  if (!message) co_return co_await call.finish(fail(message.error()));
  if (!*message) co_return co_await call.finish(fail(Code::kInvalidArgument, "no request message"));
  if ((*message)->size() > kRequestBytesMax) co_return co_await call.finish(fail(Code::kInvalidArgument, "etcdserver: request is too large"));
  Result<std::string> answer = co_await (this->*method.call)(**message);
  if (!answer) co_return co_await call.finish(fail(answer.error()));
  CO_TRY(co_await call.write(*answer));
  co_return co_await call.finish({});
}

Service::Answer Service::range(std::string_view message) {
  CO_TRY_ASSIGN(Range range, parse_range(message));
  CO_TRY_ASSIGN(RangeResult result, co_await backend_.range(std::move(range.request)));
  Revision header = result.revision;
  co_return format_range(header, std::move(result), range.shape);
}

Service::Answer Service::put(std::string_view message) {
  CO_TRY_ASSIGN(PutRequest put, parse_put(message));
  Txn txn;
  txn.success.emplace_back(std::move(put));
  CO_TRY_ASSIGN(TxnResult result, co_await backend_.txn(std::move(txn)));
  co_return format_put(result.revision, std::get<PutResult>(result.results.at(0)));
}

Service::Answer Service::delete_range(std::string_view message) {
  CO_TRY_ASSIGN(DeleteRequest del, parse_delete(message));
  Txn txn;
  txn.success.emplace_back(std::move(del));
  CO_TRY_ASSIGN(TxnResult result, co_await backend_.txn(std::move(txn)));
  co_return format_delete(result.revision, std::get<DeleteResult>(result.results.at(0)));
}

Service::Answer Service::txn(std::string_view message) {
  CO_TRY_ASSIGN(ParsedTxn parsed, parse_txn(message));
  CO_TRY_ASSIGN(TxnResult result, co_await backend_.txn(std::move(parsed.txn)));
  co_return format_txn(result, parsed.shape);
}

Service::Answer Service::compact(std::string_view message) {
  CO_TRY_ASSIGN(std::int64_t revision, parse_integer(message, 1));
  CO_TRY(co_await backend_.compact(Revision(revision)));
  co_return ProtoWriter().message(1, format_header(backend_.current_revision())).take();
}

Service::Answer Service::lease_grant(std::string_view message) {
  CO_TRY_ASSIGN(std::int64_t ttl, parse_integer(message, 1));
  CO_TRY_ASSIGN(std::int64_t id, parse_integer(message, 2));
  CO_TRY_ASSIGN(Lease lease, co_await backend_.lease_grant(std::chrono::seconds(ttl), LeaseId(id)));
  co_return ProtoWriter().message(1, format_header(backend_.current_revision())).integer(2, lease.id.value).integer(3, lease.ttl.count()).take();
}

Service::Answer Service::lease_revoke(std::string_view message) {
  CO_TRY_ASSIGN(std::int64_t id, parse_integer(message, 1));
  CO_TRY(co_await backend_.lease_revoke(LeaseId(id)));
  co_return ProtoWriter().message(1, format_header(backend_.current_revision())).take();
}

Task<Result<>> Service::keep_alive(http::GrpcServerCall& call) {
  for (;;) {
    Result<std::optional<std::string>> message = co_await call.read();
    if (!message) co_return co_await call.finish(fail(message.error()));
    if (!*message) co_return co_await call.finish({});
    Result<std::int64_t> id = parse_integer(**message, 1);
    if (!id) co_return co_await call.finish(fail(id.error()));
    Result<Lease> lease = co_await backend_.lease_keep_alive(LeaseId(*id));
    if (!lease && lease.error().code() != Code::kNotFound) co_return co_await call.finish(fail(lease.error()));
    // A lease that is gone is told by a time to live of 0.
    std::int64_t ttl = lease ? lease->ttl.count() : 0;
    CO_TRY(co_await call.write(ProtoWriter().message(1, format_header(backend_.current_revision())).integer(2, *id).integer(3, ttl).str()));
  }
}

Service::Answer Service::lease_time_to_live(std::string_view message) {
  CO_TRY_ASSIGN(std::int64_t id, parse_integer(message, 1));
  CO_TRY_ASSIGN(std::int64_t with_keys, parse_integer(message, 2));
  CO_TRY_ASSIGN(Lease lease, co_await backend_.lease_time_to_live(LeaseId(id)));
  ProtoWriter out;
  out.message(1, format_header(backend_.current_revision())).integer(2, id).integer(3, lease.remaining.count()).integer(4, lease.ttl.count());
  if (with_keys)
    for (const std::string& key : lease.keys) out.message(5, key);
  co_return out.take();
}

Service::Answer Service::lease_leases(std::string_view) {
  CO_TRY_ASSIGN(std::vector<LeaseId> ids, co_await backend_.leases());
  ProtoWriter out;
  out.message(1, format_header(backend_.current_revision()));
  for (LeaseId id : ids) out.message(2, ProtoWriter().integer(1, id.value).str());
  co_return out.take();
}

Service::Answer Service::member_list(std::string_view) {
  std::string member = ProtoWriter().unsigned_integer(1, kMemberId).bytes(2, "monopod").bytes(3, options_.client_url).bytes(4, options_.client_url).take();
  co_return ProtoWriter().message(1, format_header(backend_.current_revision())).message(2, member).take();
}

Service::Answer Service::status(std::string_view) {
  StoreStats stats;
  if (options_.sqlite) {
    CO_TRY_ASSIGN(stats, co_await options_.sqlite->stats());
  }
  std::int64_t revision = backend_.current_revision().value;
  ProtoWriter out;
  out.message(1, format_header(Revision(revision))).bytes(2, kVersion).integer(3, stats.file_bytes).unsigned_integer(4, kMemberId);
  out.integer(5, revision).integer(6, kRaftTerm).integer(7, revision);
  if (options_.sqlite)
    if (auto failed = options_.sqlite->failure()) out.bytes(8, failed->message());
  co_return out.integer(9, stats.file_bytes_in_use).take();
}

// There are no alarms: a full disk is told by the write that meets it.
Service::Answer Service::alarm(std::string_view) { co_return ProtoWriter().message(1, format_header(backend_.current_revision())).take(); }

// Free pages are given back as compaction frees them.
Service::Answer Service::defragment(std::string_view) { co_return ProtoWriter().message(1, format_header(backend_.current_revision())).take(); }

Service::Answer Service::hash_kv(std::string_view message) {
  CO_TRY_ASSIGN(std::int64_t revision, parse_integer(message, 1));
  CO_TRY_ASSIGN(RangeResult all, co_await backend_.range({.key = std::string(1, '\0'), .range_end = std::string(1, '\0'), .revision = Revision(revision)}));
  uLong sum = 0;
  for (const KeyValue& kv : all.kvs) {
    std::string bytes = format_key_value(kv);
    sum = crc32_z(sum, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
  }
  co_return ProtoWriter().message(1, format_header(all.revision)).unsigned_integer(2, sum).integer(3, backend_.compact_revision().value).take();
}

}  // namespace monopod::etcd
