// Maintenance: status, alarms, hashes, defragmentation, and the snapshot stream.
#include <algorithm>

#include "base/log.h"
#include "etcd/snapshot/backend_image.h"
#include "etcd/snapshot/bolt_reader.h"
#include "etcd/snapshot/hash.h"
#include "etcd/methods.h"
#include "etcd/snapshot/snapshot_file.h"

namespace monopod::etcd {
namespace {

using async::Task;

constexpr std::size_t kBlobBytes = 128 * 1024;  // of one message of a snapshot

std::string format_header_now(const Context& context) { return format_header(context.backend.current_revision()); }

Result<SqliteBackend*> sqlite_of(const Context& context) {
  if (!context.options.sqlite || !context.maintenance) return fail(Code::kUnimplemented, "this store keeps no file of its own");
  return context.options.sqlite;
}

std::span<const Alarm> alarms_of(const Context& context) { return context.alarms ? context.alarms->all() : std::span<const Alarm>(); }

// What reading everything found out.
Task<Error> note_damage(Context& context, Error error) {
  if (error.code() == Code::kDataLoss && context.alarms) {
    log::error("the store is damaged, CORRUPT raised: restore a backup", {{"error", error}});
    Result<> raised = co_await context.alarms->raise({.type = AlarmType::kCorrupt});
    if (!raised) log::warn("the alarm is in force but not stored", {{"error", raised.error()}});
  }
  co_return error;
}

Answer status(Context& context, std::string_view) {
  StoreStats stats;
  if (context.options.sqlite) {
    CO_TRY_ASSIGN(stats, co_await context.options.sqlite->stats());
  }
  std::int64_t revision = context.backend.current_revision().value;
  ProtoWriter out;
  out.message(1, format_header(Revision(revision))).bytes(2, kEtcdVersion).integer(3, stats.file_bytes).unsigned_integer(4, kMemberId);
  out.integer(5, revision).integer(6, kRaftTerm).integer(7, revision);
  if (context.options.sqlite)
    if (auto failed = context.options.sqlite->failure()) out.bytes(8, failed->message());
  for (const Alarm& alarm : alarms_of(context)) out.bytes(8, describe_alarm(alarm));
  co_return out.integer(9, stats.file_bytes_in_use).integer(12, context.options.quota_bytes).take();
}

Answer alarm(Context& context, std::string_view message) {
  CO_TRY_ASSIGN(std::int64_t action, parse_integer(message, 1));
  CO_TRY_ASSIGN(std::int64_t member, parse_integer(message, 2));
  CO_TRY_ASSIGN(std::int64_t number, parse_integer(message, 3));
  if (action < 0 || action > 2 || number < 0 || number > 2) co_return fail(Code::kInvalidArgument, "unknown alarm or action");
  Alarm asked{.member = static_cast<std::uint64_t>(member), .type = static_cast<AlarmType>(number)};
  if (action != 0 && !context.alarms) co_return fail(Code::kUnimplemented, "there are no alarms");
  std::vector<Alarm> told;
  if (action == 0) {
    for (const Alarm& on : alarms_of(context))
      if (asked.type == AlarmType::kNone || on.type == asked.type) told.push_back(on);
  } else if (action == 1 && asked.type != AlarmType::kNone) {
    CO_TRY(co_await context.alarms->raise(asked));
    told.push_back(asked);
  } else if (action == 2) {
    CO_TRY_ASSIGN(bool was_on, co_await context.alarms->disarm(asked));
    if (was_on) told.push_back(asked);
  }
  ProtoWriter out;
  out.message(1, format_header_now(context));
  for (const Alarm& on : told) out.message(2, format_alarm(on));
  co_return out.take();
}

Answer defragment(Context& context, std::string_view) {
  CO_TRY_ASSIGN(SqliteBackend * sqlite, sqlite_of(context));
  CO_TRY(co_await sqlite->defragment());
  co_return ProtoWriter().message(1, format_header_now(context)).take();
}

Answer hash_kv(Context& context, std::string_view message) {
  CO_TRY_ASSIGN(std::int64_t revision, parse_integer(message, 1));
  CO_TRY_ASSIGN(SqliteBackend * sqlite, sqlite_of(context));
  Result<KvHash> hash = co_await etcd::hash_kv(*sqlite, *context.maintenance, Revision(revision));
  if (!hash) {
    Error error = co_await note_damage(context, std::move(hash).error());
    co_return fail(std::move(error));
  }
  std::int64_t compacted = hash->compacted.value > 0 ? hash->compacted.value : -1;  // etcd's way to say never
  co_return ProtoWriter().message(1, format_header_now(context)).unsigned_integer(2, hash->hash).integer(3, compacted).integer(4, hash->revision.value).take();
}

// Makes the image slice by slice; out may be null.
Task<Result<ImageHash>> write_image(Context& context, SqliteBackend& sqlite, BoltWriter* out) {
  CO_TRY_ASSIGN(std::unique_ptr<Dump> dump, co_await sqlite.dump());
  ImageWriter image(*dump, {.client_url = context.options.client_url}, out);
  for (bool more = true; more;) {
    CO_TRY_ASSIGN(more, co_await context.maintenance->run([&image] { return image.step(); }));
  }
  co_return image.hash();
}

Answer hash(Context& context, std::string_view) {
  CO_TRY_ASSIGN(SqliteBackend * sqlite, sqlite_of(context));
  Result<ImageHash> made = co_await write_image(context, *sqlite, nullptr);
  if (!made) {
    Error error = co_await note_damage(context, std::move(made).error());
    co_return fail(std::move(error));
  }
  co_return ProtoWriter().message(1, format_header_now(context)).unsigned_integer(2, made->value()).take();
}

// There is nobody to move it to.
Answer move_leader(Context& context, std::string_view message) {
  CO_TRY_ASSIGN(std::int64_t target, parse_integer(message, 1));
  if (static_cast<std::uint64_t>(target) != kMemberId) co_return fail(Code::kFailedPrecondition, "etcdserver: bad leader transferee");
  co_return ProtoWriter().message(1, format_header_now(context)).take();
}

// The format is this version's only.
Answer downgrade(Context&, std::string_view message) {
  CO_TRY_ASSIGN(std::int64_t action, parse_integer(message, 1));
  if (action == 2) co_return fail(Code::kFailedPrecondition, "etcdserver: no inflight downgrade job");
  co_return fail(Code::kInvalidArgument, "etcdserver: invalid downgrade target version");
}

// --- the snapshot stream: the image in a file without a name, then its bytes and their hash

Task<Result<>> send_file(Context& context, http::GrpcServerCall& call, int fd, std::int64_t bytes) {
  FileSource source(fd, static_cast<std::uint64_t>(bytes));
  pki::Sha256 digest;
  for (std::int64_t sent = 0; sent < bytes;) {
    auto size = static_cast<std::size_t>(std::min<std::int64_t>(kBlobBytes, bytes - sent));
    auto slice = [&]() -> Result<std::string> {
      TRY_ASSIGN(std::string blob, source.read(static_cast<std::uint64_t>(sent), size));
      digest.update(blob);
      return blob;
    };
    CO_TRY_ASSIGN(std::string blob, co_await context.maintenance->run(slice));
    sent += static_cast<std::int64_t>(size);
    CO_TRY(co_await call.write(ProtoWriter().integer(2, bytes - sent).bytes(3, blob).str()));
  }
  co_return co_await call.write(ProtoWriter().bytes(3, digest.finish()).str());
}

Task<Result<>> send_snapshot(Context& context, http::GrpcServerCall& call) {
  CO_TRY_ASSIGN(SqliteBackend * sqlite, sqlite_of(context));
  CO_TRY_ASSIGN(sys::Fd file, open_unnamed(context.options.snapshot_dir));
  BoltWriter writer(file.get());
  Result<ImageHash> made = co_await write_image(context, *sqlite, &writer);
  if (!made) {
    Error error = co_await note_damage(context, std::move(made).error());
    co_return fail(std::move(error));
  }
  CO_TRY_ASSIGN(std::int64_t bytes, co_await context.maintenance->run([&writer] { return writer.finish(); }));
  log::info("snapshot is sent", {{"bytes", bytes}});
  co_return co_await send_file(context, call, file.get(), bytes);
}

Task<Result<>> snapshot(Context& context, http::GrpcServerCall& call) {
  CO_TRY(co_await call.read());
  Result<> sent = co_await send_snapshot(context, call);
  co_return co_await call.finish(std::move(sent));
}

}  // namespace

std::span<const Method> maintenance_methods() {
  static constexpr Method kMethods[] = {
      {"/etcdserverpb.Maintenance/Status", needs_root, status},
      {"/etcdserverpb.Maintenance/Alarm", needs_alarm, alarm},
      {"/etcdserverpb.Maintenance/Defragment", needs_root, defragment},
      {"/etcdserverpb.Maintenance/Hash", needs_root, hash},
      {"/etcdserverpb.Maintenance/HashKV", needs_root, hash_kv},
      {"/etcdserverpb.Maintenance/MoveLeader", needs_root, move_leader},
      {"/etcdserverpb.Maintenance/Downgrade", needs_root, downgrade},
  };
  return kMethods;
}

std::span<const StreamMethod> maintenance_streams() {
  static constexpr StreamMethod kStreams[] = {{"/etcdserverpb.Maintenance/Snapshot", needs_root, snapshot}};
  return kStreams;
}

}  // namespace monopod::etcd
