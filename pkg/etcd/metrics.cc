// GET /metrics: what etcd's dashboards and alerts ask for, under etcd's names, as far as it has a meaning here.
#include "base/metrics_text.h"

#include <algorithm>

#include "base/strings.h"
#include "etcd/http_paths.h"
#include "etcd/gateway/routes.h"
#include "sys/process_metrics.h"

namespace monopod::etcd {
namespace {

using metrics::append_family;
using metrics::append_one;
using metrics::append_sample;

// google.golang.org/grpc/codes, by number.
constexpr std::string_view kCodeNames[kCodeCount] = {
    "OK",            "Canceled",         "Unknown",           "InvalidArgument",    "DeadlineExceeded", "NotFound",
    "AlreadyExists", "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted",          "OutOfRange",
    "Unimplemented", "Internal",         "Unavailable",       "DataLoss",           "Unauthenticated"};

std::string_view type_of(std::string_view path) {
  for (const StreamMethod& stream : all_streams()) {
    if (stream.path != path) continue;
    auto route = std::ranges::find(routes(), path, &Route::method);
    return route != routes().end() && route->streams == Streams::kBoth ? "bidi_stream" : "server_stream";
  }
  return "unary";
}

void append_handled(std::string& out, const Handled& handled) {
  append_family(out, "grpc_server_handled_total", "counter", "Calls that ended, by code. The gateway's count as the gRPC calls they become.");
  std::vector<std::string_view> paths;
  for (const auto& [path, counts] : handled) paths.push_back(path);
  std::ranges::sort(paths);
  for (std::string_view path : paths) {
    auto [service, method] = split_once(path.substr(1), '/');
    std::string rest = cat("\",grpc_method=\"", method.value_or(""), "\",grpc_service=\"", service, "\",grpc_type=\"", type_of(path), '"');
    const auto& counts = handled.at(path);
    for (std::size_t code = 0; code < counts.size(); ++code)
      if (code == 0 || counts[code] > 0)
        append_sample(out, "grpc_server_handled_total", cat("grpc_code=\"", kCodeNames[code], rest), static_cast<std::int64_t>(counts[code]));
  }
}

void append_server(std::string& out, const Context& context, const HealthCounts& health) {
  bool leads = context.options.sqlite == nullptr || !context.options.sqlite->failure();
  append_one(out, "etcd_server_has_leader", "gauge", "Whether writes are taken: 1 unless the store failed.", leads ? 1 : 0);
  append_one(out, "etcd_server_is_leader", "gauge", "Always 1: one member.", 1);
  append_one(out, "etcd_server_is_learner", "gauge", "Always 0: one member.", 0);
  append_family(out, "etcd_server_version", "gauge", "The version of etcd's behaviour that is followed.");
  append_sample(out, "etcd_server_version", cat("server_version=\"", kEtcdVersion, '"'), std::int64_t{1});
  append_family(out, "etcd_cluster_version", "gauge", "The same, as clusters tell it.");
  append_sample(out, "etcd_cluster_version", "cluster_version=\"3.5\"", std::int64_t{1});
  append_one(out, "etcd_server_health_success", "counter", "Requests of /health answered with true.", static_cast<std::int64_t>(health.success));
  append_one(out, "etcd_server_health_failures", "counter", "Requests of /health answered with false.", static_cast<std::int64_t>(health.failures));
  append_one(out, "etcd_debugging_mvcc_current_revision", "gauge", "The newest durable revision.", context.backend.current_revision().value);
  append_one(out, "etcd_debugging_mvcc_compact_revision", "gauge", "The revision of the last compaction.", context.backend.compact_revision().value);
}

void append_store(std::string& out, const StoreStats& stats) {
  append_one(out, "etcd_mvcc_db_total_size_in_bytes", "gauge", "Size of the database file.", stats.file_bytes);
  append_one(out, "etcd_mvcc_db_total_size_in_use_in_bytes", "gauge", "Of it: not on the free list.", stats.file_bytes_in_use);
  append_one(out, "etcd_debugging_mvcc_keys_total", "gauge", "Live keys.", stats.keys);
  append_one(out, "etcd_mvcc_put_total", "counter", "Keys put.", stats.puts);
  append_one(out, "etcd_mvcc_delete_total", "counter", "Keys deleted.", stats.deletes);
  append_one(out, "etcd_mvcc_range_total", "counter", "Ranges read, those within transactions not counted.", stats.ranges);
  append_one(out, "etcd_mvcc_txn_total", "counter", "Transactions that changed something.", stats.txns);
  append_one(out, "etcd_debugging_mvcc_total_put_size_in_bytes", "counter", "Bytes of keys and values acknowledged.", stats.payload_bytes);
  append_one(out, "etcd_debugging_mvcc_watcher_total", "gauge", "Watchers.", stats.watchers);
  append_one(out, "etcd_debugging_mvcc_slow_watcher_total", "gauge", "Of them: not at the newest revision yet.", stats.slow_watchers);
  append_one(out, "etcd_disk_wal_write_bytes_total", "gauge", "Bytes written to the write-ahead log.", stats.wal_bytes_written);
  append_family(out, "etcd_disk_wal_fsync_duration_seconds", "histogram", "A group commit with its fsync, as the writers that wait for it see it.");
  stats.commit_seconds.append(out, "etcd_disk_wal_fsync_duration_seconds", {});
}

}  // namespace

async::Task<Result<std::string>> format_metrics(Context& context, const Handled& handled, const HealthCounts& health) {
  std::string out;
  append_server(out, context, health);
  if (context.options.sqlite != nullptr) {
    CO_TRY_ASSIGN(StoreStats stats, co_await context.options.sqlite->stats());
    append_store(out, stats);
  }
  append_handled(out, handled);
  out += sys::format_process_metrics();
  co_return out;
}

}  // namespace monopod::etcd
