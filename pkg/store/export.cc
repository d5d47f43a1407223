#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/strings.h"
#include "store/database.h"
#include "store/format.h"
#include "store/key_index.h"
#include "store/offline.h"

namespace monopod::store {
namespace {

constexpr std::size_t kRowsAtOnce = 256;

// SQLite's URI form of a path (sqlite.org/uri.html): only these three have a meaning there.
std::string file_uri(const std::string& path) {
  std::string uri = "file:";
  for (char c : path)
    if (c == '%' || c == '?' || c == '#') uri += c == '%' ? "%25" : c == '?' ? "%3f" : "%23";
    else uri += c;
  return uri + "?immutable=1";
}

bool has_content(const std::string& path) {
  struct stat info{};
  return ::stat(path.c_str(), &info) == 0 && info.st_size > 0;
}

// As a start of the store counts (SqliteStore::load).
std::int64_t newest_of(const Meta& meta, std::int64_t head) {
  return std::max({head, meta.compact_revision, meta.reserved_revision > 0 ? meta.reserved_revision + 1 : 0, std::int64_t{1}});
}

Result<std::int64_t> choose_revision(const Meta& meta, std::int64_t head, const ExportOptions& options) {
  std::int64_t newest = newest_of(meta, head);
  std::int64_t wanted = options.revision.value;
  if (wanted == 0) return newest;
  if (wanted > newest) return fail(Code::kOutOfRange, cat("revision ", wanted, ": the newest is ", newest));
  if (wanted < meta.compact_revision) return fail(Code::kOutOfRange, cat("revision ", wanted, ": compacted; the oldest is ", meta.compact_revision));
  return wanted;
}

Result<> export_history(Database& db, std::int64_t last, const ExportOptions& options, const std::function<Result<>(const ExportRow&)>& on_row) {
  for (std::int64_t next = 1; next <= last;) {
    TRY_ASSIGN(Database::LogSlice slice, db.read_log(next, last, options.key, options.range_end));
    for (LogRow& row : slice.rows) {
      const Version& v = row.version;
      ExportRow out{.kv = {.key = std::move(row.key), .value = nullptr, .create = Revision(v.create), .mod = Revision(v.revision()), .version = v.version, .lease = LeaseId(v.lease)}, .deleted = v.tombstone()};
      if (!options.keys_only) out.kv.value = std::move(row.value);
      TRY(on_row(out));
    }
    next = slice.next_revision;
  }
  return {};
}

Result<> export_state(Database& db, const KeyIndex& index, std::int64_t at, const ExportOptions& options, const std::function<Result<>(const ExportRow&)>& on_row) {
  std::vector<ExportRow> found;
  std::vector<RowId> rows;
  auto flush = [&]() -> Result<> {
    std::vector<SharedBytes> values(rows.size());
    if (!options.keys_only) {
      TRY_ASSIGN(values, db.read_values(rows));
    }
    for (std::size_t i = 0; i < found.size(); ++i) {
      found[i].kv.value = std::move(values[i]);
      TRY(on_row(found[i]));
    }
    found.clear();
    rows.clear();
    return {};
  };
  Result<> result;
  index.walk(options.key, options.range_end, [&](const KeyIndex::Entry& entry) {
    const Version* v = entry.visible_at(at);
    if (v == nullptr) return true;
    found.push_back({.kv = {.key = entry.key, .value = nullptr, .create = Revision(v->create), .mod = Revision(v->revision()), .version = v->version, .lease = LeaseId(v->lease)}});
    rows.push_back(v->row);
    if (rows.size() >= kRowsAtOnce) result = flush();
    return result.has_value();
  });
  TRY(std::move(result));
  return flush();
}

}  // namespace

Result<std::unique_ptr<Database>> Database::open_read_only(const std::string& path) {
  if (::access(path.c_str(), R_OK) != 0) return fail_errno("read " + path);
  std::unique_ptr<Database> db(new Database());
  db->path_ = path;
  db->memory_ = true;
  db->lock_ = sys::Fd(::open((path + ".lock").c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (db->lock_ && ::flock(db->lock_.get(), LOCK_SH | LOCK_NB) != 0)
    return fail(Code::kUnavailable, cat("read ", path, ": data dir in use by another monopod process"));
  // Without a log there is nothing to recover, so that SQLite needs neither locks nor files of its own.
  bool whole = !has_content(path + "-wal");
  TRY_ASSIGN(db->writer_, Connection::open(whole ? file_uri(path) : path, SQLITE_OPEN_READONLY | (whole ? SQLITE_OPEN_URI : 0), nullptr));
  TRY_ASSIGN(std::int64_t application, db->writer_->query_integer("PRAGMA application_id", "read " + path));
  TRY_ASSIGN(std::int64_t version, db->writer_->query_integer("PRAGMA user_version", "read " + path));
  if (application != kApplicationId) return fail(Code::kFailedPrecondition, cat("read ", path, ": not a monopod store"));
  if (version < 1 || version > kSchemaVersion) return fail(Code::kFailedPrecondition, cat("read ", path, ": format ", version, ", this monopod knows ", kSchemaVersion));
  TRY_ASSIGN(db->page_bytes_, db->writer_->query_integer("PRAGMA page_size", "read " + path));
  return db;
}

Result<FileSummary> Database::summary() {
  TRY_ASSIGN(Meta meta, read_meta());
  TRY_ASSIGN(std::int64_t last, writer_->query_integer("SELECT max(id) FROM log", "read the log"));
  TRY_ASSIGN(std::int64_t format, writer_->query_integer("PRAGMA user_version", "read the format"));
  return FileSummary{.format = format, .revision = Revision(newest_of(meta, revision_of(last))), .compacted = Revision(meta.compact_revision)};
}

Result<FileSummary> inspect_file(const std::string& path) {
  TRY_ASSIGN(auto db, Database::open_read_only(path));
  return db->summary();
}

Result<> advance_revision(const std::string& path, std::int64_t by) {
  TRY_ASSIGN(FileSummary summary, inspect_file(path));
  if (by < 1 || by > kRevisionMax - summary.revision.value) return fail(Code::kInvalidArgument, cat("advance the revision by ", by, ": want 1 to ", kRevisionMax - summary.revision.value));
  std::int64_t newest = summary.revision.value + by;
  TRY_ASSIGN(auto connection, Connection::open(path, SQLITE_OPEN_READWRITE, nullptr));
  std::string sql = cat("INSERT OR REPLACE INTO meta(name, number) VALUES('reserved_revision', ", newest - 1, "), ('compact_revision', ", newest, ")");
  return connection->execute(sql.c_str(), "advance the revision");
}

Result<Revision> export_file(const std::string& path, const ExportOptions& options, const std::function<Result<>(const ExportRow&)>& on_row) {
  TRY_ASSIGN(auto db, Database::open_read_only(path));
  TRY_ASSIGN(FileSummary summary, db->summary());
  if (summary.format != kSchemaVersion) return fail(Code::kFailedPrecondition, cat("read ", path, ": an older format (", summary.format, "): monopod store serve or monopod server bring it up to date"));
  TRY_ASSIGN(Meta meta, db->read_meta());
  KeyIndex index;
  std::int64_t head = 0;
  TRY(db->scan([&](const Version& version, std::string_view key) -> Result<> {
    head = std::max(head, version.revision());
    if (!options.history && in_range(key, options.key, options.range_end)) index.push(key, version);
    return {};
  }));
  TRY_ASSIGN(std::int64_t at, choose_revision(meta, head, options));
  if (options.history) TRY(export_history(*db, at, options, on_row));
  else TRY(export_state(*db, index, at, options, on_row));
  return Revision(at);
}

}  // namespace monopod::store
