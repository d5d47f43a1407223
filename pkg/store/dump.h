// Everything durable of a store, in order, and a new store made of such a reading: what backups, hashes and other formats are built on.
// Nothing here knows another format.
//
//   TRY_ASSIGN(auto dump, Dump::open("state.db"));
//   for (;;) { TRY_ASSIGN(bool more, dump->read([&](const DumpRow& row) -> Result<> { ... })); if (!more) break; }
//
// Blocking: for a pool thread or a command, one thread at a time.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "store/types.h"

namespace monopod::store {

// One change of one key. Views live until the callback that got it returns.
struct DumpRow {
  std::int64_t revision = 0;
  std::int64_t sub = 0;      // place among the changes of its revision, from 0
  std::int64_t create = 0;   // 0 for a tombstone
  std::int64_t version = 0;  // 0 for a tombstone
  std::int64_t lease = 0;
  std::string_view key{};
  std::string_view value{};  // empty for a tombstone

  bool tombstone() const { return version == 0; }
};

struct DumpLease {
  LeaseId id{};
  std::chrono::seconds ttl{};
};

// What is not a row.
struct DumpHead {
  Revision current{1};    // newest revision; no row is newer
  Revision compacted{};   // 0: nothing was ever compacted
  std::int64_t reserved = 0;  // keys that live in memory only may have used revisions up to it; 0: none
  std::int64_t file_bytes = 0;
  std::vector<DumpLease> leases{};  // by id
};

using OnDumpRow = std::function<Result<>(const DumpRow& row)>;

// Consistent from the moment it was made, whatever is written meanwhile (it holds the write-ahead log's space until it is destroyed).
// Rows that a compaction has dropped but not yet removed may still come.
class Dump {
 public:
  virtual ~Dump() = default;
  // Of a file that nobody has open; errors as SqliteBackend::open. A file that does not exist is kNotFound.
  static Result<std::unique_ptr<Dump>> open(const std::string& path);

  virtual const DumpHead& head() const = 0;
  // Calls on_row for the next rows, oldest first: about 1 MiB of them, so that a caller can be cancelled and count. False: there are no more.
  // kDataLoss if a row's checksum fails; else the first error of on_row.
  virtual Result<bool> read(const OnDumpRow& on_row) = 0;
  // A bucket of the state store.
  virtual Result<std::vector<std::pair<std::string, std::string>>> state(const std::string& bucket) = 0;
};

// A new store file. It is built beside its place (path + ".new") and renamed into it by finish(); a builder that is destroyed before
// removes what it made.
class StoreBuilder {
 public:
  virtual ~StoreBuilder() = default;
  // kAlreadyExists if there is a file at path, kUnavailable if its directory is in use.
  static Result<std::unique_ptr<StoreBuilder>> create(const std::string& path);

  // In the order of (revision, sub). kDataLoss if it does not follow the rows before it; kInvalidArgument past the store's limits.
  virtual Result<> add(const DumpRow& row) = 0;
  virtual Result<> put_state(std::string bucket, std::string key, std::string value) = 0;
  // head.file_bytes is ignored; leases start anew with their whole time. Checks the file as fsck does, then by verify (may be empty),
  // which gets the path of the closed file before it is moved into place.
  virtual Result<> finish(const DumpHead& head, const std::function<Result<>(const std::string& path)>& verify) = 0;
};

}  // namespace monopod::store
