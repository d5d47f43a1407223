#include "base/failpoint.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "base/strings.h"

namespace monopod {
namespace {

// One line each: where it stands. Keep sorted.
constexpr std::string_view kNames[] = {
    "backup.before_rename",             // a backup or a restored database is whole beside its place, not renamed into it
    "cri.connected",                    // run sandbox: its link and address are there
    "cri.container_record_removed",     // remove: the record is gone, the snapshot is there
    "cri.container_recorded",           // create: all is there, the client has not heard
    "cri.exit_saved",                   // exit: its code is written down, the process is not forgotten
    "cri.mounted",                      // create: the root is mounted
    "cri.namespaces_made",              // run sandbox: its namespaces are pinned
    "cri.pause_started",                // run sandbox: all is there but the record
    "cri.process_made",                 // create: the first stage waits, no record
    "cri.process_removed",              // exit: process and group are gone, the mount is there
    "cri.sandbox_record_removed",       // remove sandbox: the record is gone, its files are there
    "cri.sandbox_recorded",             // run sandbox: all is there, the client has not heard
    "cri.snapshot_made",                // create: the snapshot is there
    "cri.started",                      // start: the program runs, the client has not heard
    "docker.connected",                 // start: the container's links and addresses are there
    "docker.exit_saved",                // exit: its code is written down, the process is not forgotten
    "docker.mounted",                   // start: its root is mounted
    "docker.process_made",              // start: the first stage waits, the program has not begun
    "docker.process_removed",           // exit: process and group are gone, mount and links are there
    "docker.record_removed",            // remove: the record is gone, the snapshot is there
    "docker.recorded",                  // create: snapshot and record are there, the client has not heard
    "docker.snapshot_made",             // create: the snapshot is there, no record
    "docker.snapshot_removed",          // remove: snapshot and record are gone, files are there
    "docker.started",                   // start: the program runs, the client has not heard
    "engine.leaving",                   // an engine that nobody asks has hidden its sockets, and looks once more
    "image.after_publish",              // layers and blobs are visible and durable, no record names them
    "image.after_unpack",               // layers are verified in staging
    "image.before_publish",             // nothing of the import is synced or visible
    "image.before_record",              // content is published, the image's record is next
    "image.between_kept_and_record",    // a layer that was here without its record has got what the record needs, not the record
    "image.between_layers_and_blobs",   // layers are visible, manifests and configurations are not
    "registry.before_publish",          // an upload or manifest is whole in staging, nothing names it
    "registry.before_record",           // its content is among the blobs, no record names it
    "registry.before_unlink",           // the record of a deleted blob or manifest is gone, its content is there
    "runtime.after_directory",          // create: the container's directory is there and empty
    "runtime.after_group",              // its control group is there, with limits, and nobody in it
    "runtime.after_kill",               // delete: its processes are dead, all else is there
    "runtime.after_ready",              // the first stage is set up, its pid is not written down
    "runtime.after_record",             // the record says what will be made, nothing is
    "runtime.after_remove_group",       // delete: the control group is gone, the record is there
    "runtime.after_spawn",              // the first stage runs, nobody leads it
    "runtime.after_start",              // the program runs, poststart hooks have not
    "runtime.before_pid_file",          // the pid is in the record, the caller has not got it
    "runtime.before_start",             // the first stage waits, start has not been said
    "store.after_checkpoint",           // the write-ahead log is in the file
    "store.after_commit",               // rows are durable, nobody was told yet
    "store.after_create",               // a new file is in its place, its directory not synced
    "store.after_recover",              // at the start: what the log held is in the file, the index is not built
    "store.after_snapshot",             // the copy is complete, nobody was told
    "store.before_checkpoint",          // the write-ahead log is about to be moved into the file
    "store.before_commit",              // rows are in the transaction, not committed
    "store.before_compact_rows",        // the compacted revision is durable, rows before it are about to go
    "store.before_create",              // a new file is complete beside its place, not renamed into it
    "store.before_lease_end",           // a lease's time is over, its keys are there
    "store.before_migrate",             // an older file is changed to the newer format, not committed
    "store.before_snapshot",            // nothing of the copy is written
    "store.before_sync",                // durability batch: commits wait for this fsync
    "store.before_vacuum",              // rows are gone, their pages are not given back
};
constexpr std::size_t kCount = std::size(kNames);

enum class Action { kOff, kError, kCrash, kDelay };

struct Point {
  Action action = Action::kOff;
  int remaining = -1;  // trips left; -1: for ever
  int delay_ms = 0;
};

std::atomic<bool> g_armed{false};  // the second of the two mutable globals of the tree, set in main or by tests
std::mutex g_mutex;
std::array<Point, kCount> g_points;

std::size_t index_of(std::string_view name) {
  for (std::size_t i = 0; i < kCount; ++i)
    if (kNames[i] == name) return i;
  return kCount;
}

Result<Point> parse_action(std::string_view text) {
  Point point;
  if (std::size_t star = text.find('*'); star != std::string_view::npos) {
    auto count = parse_int<int>(text.substr(0, star));
    if (!count || *count < 1) return fail(Code::kInvalidArgument, cat("failpoint count \"", text, "\""));
    point.remaining = *count;
    text.remove_prefix(star + 1);
  }
  if (text == "off") point.action = Action::kOff;
  else if (text == "error") point.action = Action::kError;
  else if (text == "crash") point.action = Action::kCrash;
  else if (text.starts_with("delay(") && text.ends_with(")")) {
    auto ms = parse_int<int>(text.substr(6, text.size() - 7));
    if (!ms || *ms < 0) return fail(Code::kInvalidArgument, cat("failpoint delay \"", text, "\""));
    point.action = Action::kDelay;
    point.delay_ms = *ms;
  } else return fail(Code::kInvalidArgument, cat("failpoint action \"", text, "\": want off, error, crash or delay(ms)"));
  return point;
}

}  // namespace

std::span<const std::string_view> failpoint_names() { return kNames; }

Result<> failpoint(std::string_view name) {
  if (!g_armed.load(std::memory_order_relaxed)) return {};
  Point tripped;
  {
    std::lock_guard lock(g_mutex);
    std::size_t i = index_of(name);
    if (i == kCount) std::abort();
    Point& point = g_points[i];
    if (point.action == Action::kOff || point.remaining == 0) return {};
    if (point.remaining > 0) --point.remaining;
    tripped = point;
  }
  switch (tripped.action) {
    case Action::kCrash: ::_exit(98);
    case Action::kDelay: std::this_thread::sleep_for(std::chrono::milliseconds(tripped.delay_ms)); return {};
    case Action::kError: return fail(Code::kUnavailable, cat("failpoint ", name));
    case Action::kOff: return {};
  }
  return {};
}

Result<> arm_failpoints(std::string_view spec) {
  std::array<Point, kCount> points;
  for (std::string_view item : split(spec, ';')) {
    if (item.empty()) continue;
    auto [name, action] = split_once(item, '=');
    std::size_t i = index_of(name);
    if (i == kCount) return fail(Code::kInvalidArgument, cat("failpoint \"", name, "\" does not exist"));
    TRY_ASSIGN(points[i], parse_action(action.value_or("")));
  }
  std::lock_guard lock(g_mutex);
  g_points = points;
  g_armed = true;
  return {};
}

void disarm_failpoints() {
  std::lock_guard lock(g_mutex);
  g_points = {};
  g_armed = false;
}

}  // namespace monopod
