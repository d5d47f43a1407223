// Cluster and Maintenance: one member, its status, alarms and hashes.
#include "etcd/methods.h"

#include <zlib.h>

namespace monopod::etcd {
namespace {

Answer member_list(Context& context, std::string_view) {
  std::string member = ProtoWriter().unsigned_integer(1, kMemberId).bytes(2, "monopod").bytes(3, context.options.client_url).bytes(4, context.options.client_url).take();
  co_return ProtoWriter().message(1, format_header(context.backend.current_revision())).message(2, member).take();
}

Answer status(Context& context, std::string_view) {
  StoreStats stats;
  if (context.options.sqlite) {
    CO_TRY_ASSIGN(stats, co_await context.options.sqlite->stats());
  }
  std::int64_t revision = context.backend.current_revision().value;
  ProtoWriter out;
  out.message(1, format_header(Revision(revision))).bytes(2, kVersion).integer(3, stats.file_bytes).unsigned_integer(4, kMemberId);
  out.integer(5, revision).integer(6, kRaftTerm).integer(7, revision);
  if (context.options.sqlite)
    if (auto failed = context.options.sqlite->failure()) out.bytes(8, failed->message());
  co_return out.integer(9, stats.file_bytes_in_use).take();
}

// There are no alarms: a full disk is told by the write that meets it.
Answer alarm(Context& context, std::string_view) { co_return ProtoWriter().message(1, format_header(context.backend.current_revision())).take(); }

// Free pages are given back as compaction frees them.
Answer defragment(Context& context, std::string_view) { co_return ProtoWriter().message(1, format_header(context.backend.current_revision())).take(); }

Answer hash_kv(Context& context, std::string_view message) {
  CO_TRY_ASSIGN(std::int64_t revision, parse_integer(message, 1));
  CO_TRY_ASSIGN(RangeResult all, co_await context.backend.range({.key = std::string(1, '\0'), .range_end = std::string(1, '\0'), .revision = Revision(revision)}));
  uLong sum = 0;
  for (const KeyValue& kv : all.kvs) {
    std::string bytes = format_key_value(kv);
    sum = crc32_z(sum, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
  }
  co_return ProtoWriter().message(1, format_header(all.revision)).unsigned_integer(2, sum).integer(3, context.backend.compact_revision().value).take();
}

}  // namespace

std::span<const Method> maintenance_methods() {
  static constexpr Method kMethods[] = {
      {"/etcdserverpb.Cluster/MemberList", needs_user, member_list},
      {"/etcdserverpb.Maintenance/Status", needs_root, status},
      {"/etcdserverpb.Maintenance/Alarm", needs_alarm, alarm},
      {"/etcdserverpb.Maintenance/Defragment", needs_root, defragment},
      {"/etcdserverpb.Maintenance/HashKV", needs_root, hash_kv},
  };
  return kMethods;
}

}  // namespace monopod::etcd
