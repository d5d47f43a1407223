#include "etcd/operations.h"

#include <functional>

#include "base/strings.h"
#include "etcd/methods.h"

namespace monopod::etcd {
namespace {

using async::Task;

json::Value describe_backups(const backup::Schedule* schedule) {
  if (schedule == nullptr) return nullptr;
  const backup::ScheduleStatus& s = schedule->status();
  return json::Object{{"folder", schedule->options().folder}, {"every_s", schedule->options().every.count()}, {"keep", schedule->options().keep},
                      {"newest_file", s.newest_file}, {"newest_created", s.newest_created}, {"newest_bytes", s.newest_bytes},
                      {"taken", s.taken}, {"failed", s.failed}, {"last_error", s.last_error}, {"next", s.next}};
}

using Send = std::function<Task<Result<>>(std::string bytes)>;

// An error in the middle cuts the answer short; the reader then misses the backup's last frame too.
Task<Result<>> send_backup(const Operations& operations, const Send& send) {
  CO_TRY_ASSIGN(std::unique_ptr<backup::Stream> stream, co_await backup::open_stream({.store = operations.store, .folder = operations.data_dir, .clock = operations.clock}, operations.pool));
  for (;;) {
    CO_TRY_ASSIGN(std::string bytes, co_await operations.pool.run([&stream] { return stream->encoder->next(); }));
    if (bytes.empty()) co_return Result<>();
    CO_TRY(co_await send(std::move(bytes)));
  }
}

Task<Result<>> respond_snapshot(const Operations& operations, http::Exchange& exchange) {
  CO_TRY(co_await exchange.start(200, {{"content-type", "application/zstd"}}));
  const Send send = [&exchange](std::string bytes) { return exchange.write(share(std::move(bytes))); };
  CO_TRY(co_await send_backup(operations, send));
  co_return co_await exchange.finish();
}

Result<const Operations*> operations_of(const Context& context) {
  if (context.options.operations == nullptr) return fail(Code::kUnimplemented, "this store keeps no file");
  return context.options.operations;
}

Answer stats(Context& context, std::string_view) {
  CO_TRY_ASSIGN(const Operations* operations, operations_of(context));
  CO_TRY_ASSIGN(json::Value described, co_await describe_store(*operations));
  co_return ProtoWriter().bytes(1, json::format(described)).take();
}

// bytes lives in this frame until the client took it.
Task<Result<>> write_piece(http::GrpcServerCall& call, std::string bytes) {
  std::string message = ProtoWriter().bytes(1, bytes).take();
  co_return co_await call.write(message);
}

Task<Result<>> snapshot(Context& context, http::GrpcServerCall& call) {
  CO_TRY(co_await call.read());
  Result<const Operations*> operations = operations_of(context);
  if (!operations) co_return co_await call.finish(fail(operations.error()));
  const Send send = [&call](std::string bytes) { return write_piece(call, std::move(bytes)); };
  Result<> sent = co_await send_backup(**operations, send);
  co_return co_await call.finish(std::move(sent));
}

}  // namespace

Task<Result<json::Value>> describe_store(const Operations& operations) {
  CO_TRY_ASSIGN(store::StoreStats s, co_await operations.store.stats());
  json::Object store{{"keys", s.keys}, {"versions", s.versions}, {"leases", s.leases}, {"watchers", s.watchers}, {"commits", s.commits}, {"txns", s.txns},
                     {"payload_bytes", s.payload_bytes}, {"wal_bytes_written", s.wal_bytes_written}, {"file_bytes_written", s.file_bytes_written},
                     {"file_bytes", s.file_bytes}, {"file_bytes_in_use", s.file_bytes_in_use}, {"open_s", s.open_for.count()}};
  std::optional<Error> failure = operations.store.failure();
  co_return json::Object{{"revision", operations.store.current_revision().value}, {"compact_revision", operations.store.compact_revision().value},
                         {"failure", failure ? failure->message() : std::string()}, {"store", std::move(store)}, {"backup", describe_backups(operations.schedule)}};
}

Task<Result<bool>> answer_operation(const Operations& operations, http::Exchange& exchange) {
  std::string_view path = exchange.request().raw_path();
  if ((path != "/v1/stats" && path != "/v1/snapshot") || exchange.request().peer.address != "unix") co_return false;
  if (exchange.request().method != "GET") {
    CO_TRY(co_await exchange.respond(405, {{"content-type", "text/plain; charset=utf-8"}, {"allow", "GET"}}, std::string("only GET\n")));
    co_return true;
  }
  if (path == "/v1/snapshot") {
    CO_TRY(co_await respond_snapshot(operations, exchange));
    co_return true;
  }
  CO_TRY_ASSIGN(json::Value described, co_await describe_store(operations));
  CO_TRY(co_await exchange.respond(200, {{"content-type", "application/json"}}, json::format(described) + "\n"));
  co_return true;
}

std::span<const Method> operation_methods() {
  static constexpr Method kMethods[] = {{"/monopod.Store/Stats", needs_root, stats}};
  return kMethods;
}

std::span<const StreamMethod> operation_streams() {
  static constexpr StreamMethod kStreams[] = {{"/monopod.Store/Snapshot", needs_root, snapshot}};
  return kStreams;
}

}  // namespace monopod::etcd
