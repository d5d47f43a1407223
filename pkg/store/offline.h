// What is done with a database file that no process has open: the full check, and reading it out. Blocking.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "store/types.h"

namespace monopod::store {

// done of total units of a step; total 0: unknown. Called often: be cheap.
using OnProgress = std::function<void(std::string_view step, std::int64_t done, std::int64_t total)>;

struct Finding {
  std::string place{};    // "log row 4194304 (revision 4)", "file"
  std::string problem{};
};
struct FsckReport {
  std::vector<Finding> findings{};  // empty: sound
  bool more = false;                // stopped at 100 findings
  std::int64_t rows = 0;            // of the log
  std::int64_t live_keys = 0;
  Revision revision{};
  Revision compacted{};
  std::int64_t file_bytes = 0;
};

// SQLite's integrity check, then every row's checksum and every key's history. kNotFound: no such file. What opening it would refuse
// (SqliteBackend::open) is refused here too; a write-ahead log left by a crash is first moved into the file, as any start does.
Result<FsckReport> fsck(const std::string& path, const OnProgress& progress = {});

struct ExportOptions {
  std::string key{};        // the range, by the convention of types.h
  std::string range_end{};
  bool keys_only = false;
  bool history = false;     // every change that is still there, by revision, instead of the keys of one state
  Revision revision{};      // the state to show; 0: the newest. With history: the last change shown
};
struct ExportRow {
  KeyValue kv{};  // of a delete: key and mod alone
  bool deleted = false;  // history only
};
// Rows in key order, or by revision with history, until on_row fails. The file is not changed: it may be on read-only media (then without
// a write-ahead log beside it). Returns the revision shown. kUnavailable: a process has it open; kOutOfRange: compacted or in the future;
// kDataLoss: a row fails its checksum.
Result<Revision> export_file(const std::string& path, const ExportOptions& options, const std::function<Result<>(const ExportRow&)>& on_row);

struct FileSummary {
  std::int64_t format = 0;  // format.h; older ones than ours are read here, not exported
  Revision revision{};  // the newest
  Revision compacted{};
};
// The two ends of a file's history, without reading it. Refuses what export_file refuses.
Result<FileSummary> inspect_file(const std::string& path);
// The next start counts on from its newest revision + by, and everything before that is compacted.
Result<> advance_revision(const std::string& path, std::int64_t by);

}  // namespace monopod::store
