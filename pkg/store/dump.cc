// Reading everything, and building a new file from such a reading.
#include "store/dump.h"

#include <unistd.h>

#include <deque>

#include "base/strings.h"
#include "store/checksum.h"
#include "store/database.h"

namespace monopod::store {
namespace {

constexpr const char* kDumpRows = "SELECT id, create_rev, version, lease, sum, key, value, coding FROM log ORDER BY id";
constexpr std::size_t kSliceBytes = 1024 * 1024;
constexpr std::size_t kSliceRows = 4096;

Result<DumpHead> read_head(Connection& connection) {
  DumpHead head;
  TRY_ASSIGN(Meta meta, read_meta(connection));
  {
    TRY_ASSIGN(sqlite3_stmt * stmt, connection.prepare("SELECT id, ttl_s FROM lease ORDER BY id"));
    Statement statement(stmt);
    for (;;) {
      TRY_ASSIGN(bool more, statement.step("read leases"));
      if (!more) break;
      head.leases.push_back({LeaseId(statement.integer(0)), std::chrono::seconds(statement.integer(1))});
    }
  }
  TRY_ASSIGN(std::int64_t last, connection.query_integer("SELECT max(id) FROM log", "read the log"));
  TRY_ASSIGN(std::int64_t pages, connection.query_integer("PRAGMA page_count", "read file size"));
  TRY_ASSIGN(std::int64_t page_bytes, connection.query_integer("PRAGMA page_size", "read file size"));
  head.current = Revision(std::max({std::int64_t{1}, revision_of(last), meta.compact_revision, meta.reserved_revision > 0 ? meta.reserved_revision + 1 : 0}));
  head.compacted = Revision(meta.compact_revision);
  head.reserved = meta.reserved_revision;
  head.file_bytes = pages * page_bytes;
  return head;
}

// row.value is a view of value.
Result<DumpRow> row_of(const Statement& statement, ValueDecoder& decoder, SharedBytes& value) {
  Version version{.row = statement.integer(0), .create = statement.integer(1), .version = statement.integer(2), .lease = statement.integer(3)};
  DumpRow row{.revision = version.revision(), .sub = version.row & kSubMax, .create = version.create, .version = version.version, .lease = version.lease};
  row.key = statement.bytes(5);
  Result<SharedBytes> decoded = decoder.decode(statement.integer(7), statement.bytes(6));
  if (!decoded && decoded.error().code() != Code::kDataLoss) return fail(decoded.error());
  if (decoded) value = std::move(*decoded);
  if (decoded) row.value = *value;
  if (!decoded || row_checksum(version, row.key, row.value) != static_cast<std::uint32_t>(statement.integer(4)))
    return fail(Code::kDataLoss, cat("log row ", version.row, ": checksum does not match: the disk or the file is damaged; restore a backup"));
  return row;
}

class FileDump final : public Dump {
 public:
  // database: what must stay open as long, may be null.
  static Result<std::unique_ptr<Dump>> make(std::unique_ptr<Database> database, std::unique_ptr<Connection> connection) {
    std::unique_ptr<FileDump> dump(new FileDump());
    dump->database_ = std::move(database);
    dump->connection_ = std::move(connection);
    TRY(dump->connection_->execute("PRAGMA query_only=ON; PRAGMA cache_size=-256; BEGIN", "begin reading"));
    TRY_ASSIGN(dump->head_, read_head(*dump->connection_));
    TRY_ASSIGN(sqlite3_stmt * stmt, dump->connection_->prepare(kDumpRows));
    dump->rows_.emplace(stmt);
    return dump;
  }

  const DumpHead& head() const override { return head_; }

  Result<bool> read(const OnDumpRow& on_row) override {
    std::size_t bytes = 0;
    for (std::size_t rows = 0; rows < kSliceRows && bytes < kSliceBytes; ++rows) {
      if (done_) return false;
      TRY_ASSIGN(bool more, rows_->step("read the log"));
      done_ = !more;
      if (done_) return false;
      SharedBytes value;
      TRY_ASSIGN(DumpRow row, row_of(*rows_, decoder_, value));
      bytes += row.key.size() + row.value.size();
      TRY(on_row(row));
    }
    return true;
  }

  Result<StatePairs> state(const std::string& bucket) override { return read_state(*connection_, bucket); }

 private:
  FileDump() = default;
  std::unique_ptr<Database> database_;
  std::unique_ptr<Connection> connection_;
  DumpHead head_;
  std::optional<Statement> rows_;
  ValueDecoder decoder_;
  bool done_ = false;
};

// Of ":memory:", which has one connection for all threads: a copy.
class MemoryDump final : public Dump {
 public:
  static Result<std::unique_ptr<Dump>> make(Connection& connection, std::mutex& mutex) {
    std::lock_guard lock(mutex);
    std::unique_ptr<MemoryDump> dump(new MemoryDump(connection, mutex));
    TRY_ASSIGN(dump->head_, read_head(connection));
    TRY_ASSIGN(sqlite3_stmt * stmt, connection.prepare(kDumpRows));
    Statement statement(stmt);
    ValueDecoder decoder;
    for (;;) {
      TRY_ASSIGN(bool more, statement.step("read the log"));
      if (!more) return dump;
      SharedBytes value;
      TRY_ASSIGN(DumpRow row, row_of(statement, decoder, value));
      dump->bytes_.emplace_back(row.key, row.value);
      row.key = dump->bytes_.back().first;
      row.value = dump->bytes_.back().second;
      dump->rows_.push_back(row);
    }
  }
  const DumpHead& head() const override { return head_; }
  Result<bool> read(const OnDumpRow& on_row) override {
    for (std::size_t slice = 0; slice < kSliceRows; ++slice, ++next_) {
      if (next_ == rows_.size()) return false;
      TRY(on_row(rows_[next_]));
    }
    return true;
  }
  Result<StatePairs> state(const std::string& bucket) override {
    std::lock_guard lock(mutex_);
    return read_state(connection_, bucket);
  }

 private:
  MemoryDump(Connection& connection, std::mutex& mutex) : connection_(connection), mutex_(mutex) {}
  Connection& connection_;
  std::mutex& mutex_;
  DumpHead head_;
  std::deque<std::pair<std::string, std::string>> bytes_;
  std::vector<DumpRow> rows_;
  std::size_t next_ = 0;
};

}  // namespace

Result<std::unique_ptr<Dump>> Database::dump() {
  if (memory_) return MemoryDump::make(*writer_, memory_mutex_);
  TRY_ASSIGN(auto connection, Connection::open(path_, SQLITE_OPEN_READWRITE, vfs_));
  return FileDump::make(nullptr, std::move(connection));
}

Result<std::unique_ptr<Dump>> Dump::open(const std::string& path) {
  if (::access(path.c_str(), F_OK) < 0) return fail_errno(cat("open ", path));
  TRY_ASSIGN(auto database, Database::open({.path = path}));
  TRY_ASSIGN(auto connection, Connection::open(path, SQLITE_OPEN_READWRITE, nullptr));
  return FileDump::make(std::move(database), std::move(connection));
}

}  // namespace monopod::store
