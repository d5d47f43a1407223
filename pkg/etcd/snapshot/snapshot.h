// Snapshots as etcd's tools make and take them: a database file of etcd (bbolt) with the SHA-256 of its bytes behind it.
//
//   save_snapshot({.store = "state.db", .snapshot = "backup.db"})      `etcdctl snapshot restore backup.db` takes it
//   restore_snapshot({.snapshot = "backup.db", .store = "state.db"})   from monopod or etcd 3.x
//   snapshot_status("backup.db")                                       the numbers `etcdctl snapshot status` shows
//
// Keys with their whole history that is not compacted, their revisions and versions, the compaction revision, leases (with the time
// they were granted), alarms, users and roles go over, byte for byte; what the node remembers about itself (images, containers) does not.
// Passwords verify only where they were set, in etcd or here: the hashes differ.
// A running server is asked by etcd's Maintenance/Snapshot, which streams the same bytes.
//
// Blocking, memory bounded. Errors are one line:
//   kNotFound, kAlreadyExists  the file to read is not there; the file to write is (neither is ever overwritten)
//   kUnavailable               the store is in use by a running process
//   kDataLoss                  the snapshot's hash does not match, or its pages or records are broken; the store's checksums fail
//   kFailedPrecondition        not a database of etcd; a file copied without the hash, unless skip_hash_check says so
//   kInvalidArgument           a key or value beyond this store's limits (store/limits.h)
#pragma once

#include <functional>
#include <string>

#include "base/error.h"
#include "store/types.h"

namespace monopod::etcd {

struct SnapshotInfo {
  std::uint32_t hash = 0;             // CRC-32C of every bucket's name, keys and values, as etcdctl prints it in hex
  store::Revision revision{};         // of the newest record
  store::Revision compacted{};        // 0: nothing was ever compacted
  std::int64_t total_keys = 0;        // records in all buckets, as etcdctl counts them
  std::int64_t records = 0;           // changes of keys: puts and deletes, history too
  std::int64_t leases = 0;
  std::int64_t bytes = 0;             // of the file without the hash
  bool has_sha256 = false;            // and it matches
  bool auth_enabled = false;          // its keys are guarded by users and roles
};

// done of total, in bytes or revisions: only the ratio means something. Called about once a MiB, on the calling thread; an error
// it returns ends the work with that error, and what was made so far is removed.
struct SnapshotProgress {
  std::int64_t done = 0;
  std::int64_t total = 0;
};
using OnSnapshotProgress = std::function<Result<>(SnapshotProgress progress)>;

struct SaveSnapshotOptions {
  std::string store{};     // state.db, which nobody has open
  std::string snapshot{};  // must not exist; made 0600, complete or not at all
  OnSnapshotProgress on_progress{};
};
Result<SnapshotInfo> save_snapshot(const SaveSnapshotOptions& options);

struct RestoreSnapshotOptions {
  std::string snapshot{};
  std::string store{};  // state.db, must not exist; complete or not at all
  // Without users and roles, so that the new store is open to everybody who reaches it. Else a snapshot whose keys are guarded by
  // passwords that etcd hashed is refused (kFailedPrecondition): nobody could get in.
  bool drop_auth = false;
  bool skip_hash_check = false;  // takes a database file without the hash, such as member/snap/db of a stopped etcd
  OnSnapshotProgress on_progress{};
};
// After writing, every record is read back from the new store and compared with the snapshot's.
Result<SnapshotInfo> restore_snapshot(const RestoreSnapshotOptions& options);

// Reads all of it: every page and record is checked.
Result<SnapshotInfo> snapshot_status(const std::string& path);

}  // namespace monopod::etcd
