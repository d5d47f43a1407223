#include "store/database.h"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <numeric>

#include "base/failpoint.h"
#include "base/strings.h"
#include "store/checksum.h"

namespace monopod::store {
namespace {

constexpr const char* kInsertRow = "INSERT INTO log(id, create_rev, version, lease, sum, key, value, coding) VALUES(?,?,?,?,?,?,?,?)";
constexpr const char* kDeleteRow = "DELETE FROM log WHERE id=?";
constexpr const char* kReadRow = "SELECT create_rev, version, lease, sum, key, value, coding FROM log WHERE id=?";
constexpr const char* kReadFrom = "SELECT id, create_rev, version, lease, sum, key, value, coding FROM log WHERE id>=? ORDER BY id";
constexpr int kNeighbourSteps = 8;
constexpr const char* kScan = "SELECT id, create_rev, version, lease, key FROM log ORDER BY id";
constexpr const char* kTail = "SELECT id, create_rev, version, lease, sum, key, value, coding FROM log WHERE id>=? AND id<=? ORDER BY id";
constexpr const char* kPutMeta = "INSERT OR REPLACE INTO meta(name, number) VALUES(CAST(? AS TEXT),?)";
constexpr const char* kReadMeta = "SELECT name, number FROM meta";
constexpr const char* kPutLease = "INSERT OR REPLACE INTO lease(id, ttl_s, remaining_ms) VALUES(?,?,?)";
constexpr const char* kDeleteLease = "DELETE FROM lease WHERE id=?";
constexpr const char* kReadLeases = "SELECT id, ttl_s, remaining_ms FROM lease ORDER BY id";
constexpr const char* kPutState = "INSERT OR REPLACE INTO state(bucket, key, value) VALUES(?,?,?)";
constexpr const char* kDeleteState = "DELETE FROM state WHERE bucket=? AND key=?";
constexpr const char* kReadState = "SELECT key, value FROM state WHERE bucket=? ORDER BY key";
constexpr std::size_t kIdleReadersMax = 4;
constexpr std::size_t kSliceBytesMax = 4 * 1024 * 1024;

int on_wal_commit(void* pages, sqlite3*, const char*, int count) {
  *static_cast<std::int64_t*>(pages) = count;
  return SQLITE_OK;
}

// A row as read: columns create_rev, version, lease, sum, key, value, coding from column first on.
Result<LogRow> read_row(const Statement& statement, RowId id, int first, ValueDecoder& decoder) {
  LogRow row;
  row.id = id;
  row.version = {.row = id, .create = statement.integer(first), .version = statement.integer(first + 1), .lease = statement.integer(first + 2)};
  std::string_view key = statement.bytes(first + 4);
  Result<SharedBytes> value = decoder.decode(statement.integer(first + 6), statement.bytes(first + 5));
  if (!value && value.error().code() != Code::kDataLoss) return fail(value.error());
  if (!value || row_checksum(row.version, key, **value) != static_cast<std::uint32_t>(statement.integer(first + 3)))
    return fail(Code::kDataLoss, cat("log row ", id, ": checksum does not match: the disk or the file is damaged; restore a backup"));
  row.key = key;
  if (!row.version.tombstone()) row.value = std::move(*value);
  return row;
}

}  // namespace

std::uint32_t row_checksum(const Version& version, std::string_view key, std::string_view value) {
  std::int64_t head[5] = {version.row, version.create, version.version, version.lease, static_cast<std::int64_t>(key.size())};
  static_assert(std::endian::native == std::endian::little, "the checksum is of little-endian numbers");
  unsigned char bytes[sizeof head];
  std::memcpy(bytes, head, sizeof head);
  uLong sum = crc32_z(0, bytes, sizeof bytes);
  if (!key.empty()) sum = crc32_z(sum, reinterpret_cast<const Bytef*>(key.data()), key.size());
  if (!value.empty()) sum = crc32_z(sum, reinterpret_cast<const Bytef*>(value.data()), value.size());
  return static_cast<std::uint32_t>(sum);
}

bool Writes::empty() const {
  if (!delete_rows.empty() || !state.empty() || !leases.empty() || compact_revision || reserved_revision || vacuum_pages > 0) return false;
  for (const Change& change : changes)
    if (!change.is_volatile) return false;
  return true;
}

std::size_t Writes::bytes() const {
  std::size_t bytes = 0;
  for (const Change& change : changes) bytes += change.key.size() + (change.value ? change.value->size() : 0);
  for (const StateWrite& each : state) bytes += each.value ? each.value->size() : 0;
  return bytes;
}

// ":memory:" has one connection for all threads, under a lock; a file has one per reading thread.
class Database::Reader {
 public:
  static Result<Reader> borrow(Database& db) {
    Reader reader(db);
    if (db.memory_) {
      reader.lock_ = std::unique_lock(db.memory_mutex_);
      reader.connection_ = db.writer_.get();
      reader.decoder_ = &db.decoder_;
      return reader;
    }
    {
      std::lock_guard lock(db.readers_mutex_);
      if (!db.idle_readers_.empty()) {
        reader.owned_ = std::move(db.idle_readers_.back());
        db.idle_readers_.pop_back();
      }
    }
    if (!reader.owned_) {
      auto fresh = std::make_unique<ReadConnection>();
      TRY_ASSIGN(fresh->sql, Connection::open(db.path_, SQLITE_OPEN_READWRITE, db.vfs_));
      TRY(fresh->sql->execute("PRAGMA query_only=ON; PRAGMA cache_size=-256", "open for reading"));
      reader.owned_ = std::move(fresh);
    }
    reader.connection_ = reader.owned_->sql.get();
    reader.decoder_ = &reader.owned_->decoder;
    return reader;
  }
  Reader(Reader&&) = default;
  Reader& operator=(Reader&&) = delete;
  ~Reader() {
    if (!owned_) return;
    if (!sqlite3_get_autocommit(owned_->sql->get())) (void)owned_->sql->execute("ROLLBACK", "end read");
    std::lock_guard lock(db_->readers_mutex_);
    if (db_->idle_readers_.size() < kIdleReadersMax) db_->idle_readers_.push_back(std::move(owned_));
  }
  // One snapshot for several statements.
  Result<> begin() { return owned_ ? connection_->execute("BEGIN", "begin read") : Result<>(); }
  Connection* operator->() const { return connection_; }
  ValueDecoder& decoder() const { return *decoder_; }
  Connection& operator*() const { return *connection_; }

 private:
  explicit Reader(Database& db) : db_(&db) {}
  Database* db_;
  Connection* connection_ = nullptr;
  ValueDecoder* decoder_ = nullptr;
  std::unique_ptr<ReadConnection> owned_;
  std::unique_lock<std::mutex> lock_;
};

Database::~Database() {
  idle_readers_.clear();
  // What the log holds is durable where it is.
  if (struct ::stat st; brief_ && writer_ && ::stat((path_ + "-wal").c_str(), &st) == 0 && st.st_size <= kBriefLogBytesMax) sqlite3_db_config(writer_->get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  writer_.reset();
}

void Database::watch_writes(Durability durability) {
  sqlite3_wal_hook(writer_->get(), on_wal_commit, &wal_pages_);
  file_writes_.attach(writer_->get());
  if (durability == Durability::kAlways && !brief_) log_writer_.attach(writer_->get(), vfs_ == nullptr ? path_ + "-wal" : std::string());
}

Result<Meta> read_meta(Connection& connection) {
  Meta meta;
  TRY_ASSIGN(sqlite3_stmt * stmt, connection.prepare(kReadMeta));
  Statement statement(stmt);
  for (;;) {
    TRY_ASSIGN(bool more, statement.step("read meta"));
    if (!more) return meta;
    std::string_view name = statement.bytes(0);
    std::int64_t number = statement.integer(1);
    if (number < 0 || number > kRevisionMax) return fail(Code::kDataLoss, cat("meta ", name, ": ", number, " is no revision"));
    if (name == "compact_revision") meta.compact_revision = number;
    if (name == "reserved_revision") meta.reserved_revision = number;
  }
}

Result<std::vector<LeaseRow>> Database::read_leases() {
  std::vector<LeaseRow> rows;
  TRY_ASSIGN(sqlite3_stmt * stmt, writer_->prepare(kReadLeases));
  Statement statement(stmt);
  for (;;) {
    TRY_ASSIGN(bool more, statement.step("read leases"));
    if (!more) return rows;
    LeaseRow row{statement.integer(0), statement.integer(1), statement.integer(2)};
    if (row.id == 0 || row.ttl_s < 1 || row.ttl_s > kLeaseTtlMax.count() || row.remaining_ms < 0 || row.remaining_ms > row.ttl_s * 1000)
      return fail(Code::kDataLoss, cat("lease ", row.id, ": impossible times: the disk or the file is damaged; restore a backup"));
    rows.push_back(row);
  }
}

Result<> Database::scan(const std::function<Result<>(const Version&, std::string_view)>& on_row) {
  TRY_ASSIGN(sqlite3_stmt * stmt, writer_->prepare(kScan));
  Statement statement(stmt);
  for (;;) {
    TRY_ASSIGN(bool more, statement.step("read the log"));
    if (!more) return {};
    Version version{.row = statement.integer(0), .create = statement.integer(1), .version = statement.integer(2), .lease = statement.integer(3)};
    TRY(on_row(version, statement.bytes(4)));
  }
}

Result<> Database::check(Result<> result) {
  if (!result && result.error().code() != Code::kResourceExhausted) broken_ = true;
  return result;
}

// Where the end of the transaction was written before the failure (its index could not grow, say), a restart would find it: such a
// write may not be called refused. A full file cuts the end off.
Result<> Database::check_commit(Result<> result) {
  if (result) return result;
  int rc = sqlite3_extended_errcode(writer_->get());
  if (rc == SQLITE_FULL || rc == SQLITE_IOERR_WRITE) return check(std::move(result));
  return check(fail(Code::kUnavailable, result.error().message()));
}

Result<> Database::load_previous(Change& change) {
  TRY_ASSIGN(sqlite3_stmt * stmt, writer_->prepare(kReadRow));
  Statement statement(stmt);
  statement.bind(1, change.prev.row);
  TRY_ASSIGN(bool found, statement.step("read previous value"));
  if (!found) return {};  // volatile, or compacted
  TRY_ASSIGN(LogRow row, read_row(statement, change.prev.row, 0, decoder_));
  change.prev_value = std::move(row.value);
  return {};
}

Result<> Database::write(Writes& writes) {
  for (Change& change : writes.changes) {
    if (change.want_prev && !change.prev_value && !change.prev.tombstone() && !change.is_volatile) TRY(load_previous(change));
    if (change.is_volatile) continue;
    TRY_ASSIGN(sqlite3_stmt * stmt, writer_->prepare(kInsertRow));
    Statement insert(stmt);
    std::string_view value = change.value ? std::string_view(*change.value) : std::string_view();
    insert.bind(1, change.now.row).bind(2, change.now.create).bind(3, change.now.version).bind(4, change.now.lease);
    insert.bind(5, row_checksum(change.now, change.key, value)).bind(6, change.key);
    EncodedValue encoded = encoder_.encode(value);
    if (change.now.tombstone()) insert.bind_null(7);
    else insert.bind(7, encoded.bytes);
    insert.bind(8, static_cast<std::int64_t>(encoded.coding));
    TRY(insert.run("write log"));
  }
  if (!writes.delete_rows.empty()) TRY(failpoint("store.before_compact_rows"));
  for (RowId row : writes.delete_rows) {
    TRY_ASSIGN(sqlite3_stmt * stmt, writer_->prepare(kDeleteRow));
    TRY(Statement(stmt).bind(1, row).run("compact log"));
  }
  for (const StateWrite& state : writes.state) {
    TRY_ASSIGN(sqlite3_stmt * stmt, writer_->prepare(state.value ? kPutState : kDeleteState));
    Statement statement(stmt);
    statement.bind(1, state.bucket).bind(2, state.key);
    if (state.value) statement.bind(3, *state.value);
    TRY(statement.run("write state"));
  }
  for (const LeaseWrite& lease : writes.leases) {
    TRY_ASSIGN(sqlite3_stmt * stmt, writer_->prepare(lease.remove ? kDeleteLease : kPutLease));
    Statement statement(stmt);
    statement.bind(1, lease.row.id);
    if (!lease.remove) statement.bind(2, lease.row.ttl_s).bind(3, lease.row.remaining_ms);
    TRY(statement.run("write lease"));
  }
  for (auto [name, number] : {std::pair{"compact_revision", writes.compact_revision}, {"reserved_revision", writes.reserved_revision}}) {
    if (!number) continue;
    TRY_ASSIGN(sqlite3_stmt * stmt, writer_->prepare(kPutMeta));
    TRY(Statement(stmt).bind(1, std::string_view(name)).bind(2, *number).run("write meta"));
  }
  if (writes.vacuum_pages > 0) TRY(failpoint("store.before_vacuum"));
  if (writes.vacuum_pages > 0) TRY(writer_->execute(cat("PRAGMA incremental_vacuum(", writes.vacuum_pages, ")").c_str(), "give pages back"));
  return {};
}

Result<> Database::run_prepared(const char* sql, std::string_view what) {
  TRY_ASSIGN(sqlite3_stmt * stmt, writer_->prepare(sql));
  return Statement(stmt).run(what);
}

Result<> Database::commit(std::span<Writes* const> batch) {
  std::unique_lock<std::mutex> memory_lock(memory_mutex_, std::defer_lock);
  if (memory_) memory_lock.lock();
  if (broken_) return fail(Code::kUnavailable, "the store has failed");
  std::int64_t pages_before = wal_pages_, pages = 0;
  auto run = [&]() -> Result<> {
    TRY(run_prepared("BEGIN IMMEDIATE", "begin commit"));
    for (Writes* writes : batch) TRY(write(*writes));
    if (Result<std::int64_t> counted = writer_->query_integer("PRAGMA page_count", "read file size")) pages = *counted;  // here it needs no lock of its own
    return {};
  };
  Result<> written = check(run());
  if (written) written = failpoint("store.before_commit");
  if (written) written = check_commit(run_prepared("COMMIT", "commit"));
  if (!written) {
    if (!sqlite3_get_autocommit(writer_->get())) (void)check(writer_->execute("ROLLBACK", "roll back"));
    return written;
  }
  if (pages > 0) file_bytes_ = pages * page_bytes_;
  wal_bytes_written_ += (wal_pages_ >= pages_before ? wal_pages_ - pages_before : wal_pages_) * (page_bytes_ + 24);
  return check(failpoint("store.after_commit"));  // durable but unacknowledged: only a restart tells
}

Result<bool> Database::run_checkpoint(int mode) {
  if (memory_ || broken_) return true;
  TRY(check(failpoint("store.before_checkpoint")));
  // What went past the page cache is read back from the disk: all at once then.
  if (log_writer_.direct() && open_log()) (void)::posix_fadvise(wal_fd_.get(), 0, 32 + wal_pages_ * (page_bytes_ + 24), POSIX_FADV_WILLNEED);
  int rc = sqlite3_wal_checkpoint_v2(writer_->get(), nullptr, mode, nullptr, nullptr);
  bool busy = (rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_LOCKED;
  if (rc != SQLITE_OK && !busy) TRY(check(fail(sqlite_error(writer_->get(), rc, "checkpoint"))));
  TRY(check(failpoint("store.after_checkpoint")));
  return !busy;
}

Result<> Database::checkpoint() {
  TRY(run_checkpoint(SQLITE_CHECKPOINT_PASSIVE));
  return {};
}

Result<bool> Database::checkpoint_and_truncate() {
  // Readers are not waited for here: commits would stand behind them.
  if (writer_) sqlite3_busy_timeout(writer_->get(), 0);
  Result<bool> done = run_checkpoint(SQLITE_CHECKPOINT_TRUNCATE);
  if (writer_) sqlite3_busy_timeout(writer_->get(), kBusyTimeoutMs);
  return done;
}

bool Database::open_log() {
  if (!wal_fd_) wal_fd_ = sys::Fd(::open((path_ + "-wal").c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  return static_cast<bool>(wal_fd_);
}

Result<> Database::sync_wal() {
  if (memory_ || broken_) return {};
  TRY(check(failpoint("store.before_sync")));
  if (!open_log()) return check(fail_errno(cat("open ", path_, "-wal")));
  if (::fdatasync(wal_fd_.get()) < 0) {
    broken_ = true;
    return fail_errno(cat("fsync ", path_, "-wal"));
  }
  return {};
}

Result<> Database::snapshot(const std::string& path) {
  TRY(failpoint("store.before_snapshot"));
  // A connection of its own: it reads one snapshot while commits go on.
  std::unique_lock<std::mutex> memory_lock(memory_mutex_, std::defer_lock);
  std::unique_ptr<Connection> own;
  if (memory_) memory_lock.lock();
  if (!memory_) {
    TRY_ASSIGN(own, Connection::open(path_, SQLITE_OPEN_READWRITE, vfs_));
    TRY(own->execute("PRAGMA synchronous=OFF", "snapshot"));  // of the copy: most live for seconds and need not reach the disk
  }
  Connection& connection = memory_ ? *writer_ : *own;
  TRY_ASSIGN(sqlite3_stmt * stmt, connection.prepare("VACUUM INTO CAST(? AS TEXT)"));
  TRY(Statement(stmt).bind(1, path).run(cat("snapshot to ", path)));
  return failpoint("store.after_snapshot");
}

// In the order of the log: neighbours are a step of the cursor away, which costs a tenth of looking a row up.
Result<std::vector<SharedBytes>> Database::read_values(std::span<const RowId> rows) {
  std::vector<std::uint32_t> order(rows.size());
  std::iota(order.begin(), order.end(), 0U);
  std::sort(order.begin(), order.end(), [rows](std::uint32_t a, std::uint32_t b) { return rows[a] < rows[b]; });
  TRY_ASSIGN(Reader reader, Reader::borrow(*this));
  if (rows.size() > 1) TRY(reader.begin());
  std::vector<SharedBytes> values(rows.size());
  TRY_ASSIGN(sqlite3_stmt * stmt, reader->prepare(kReadFrom));
  Statement statement(stmt);
  bool on_row = false;  // the cursor stands on a row, at
  RowId at = 0;
  auto step = [&]() -> Result<> {
    TRY_ASSIGN(on_row, statement.step("read value"));
    if (on_row) at = statement.integer(0);
    return {};
  };
  for (std::uint32_t place : order) {
    const RowId id = rows[place];
    for (int steps = 0; on_row && at < id && steps < kNeighbourSteps; ++steps) TRY(step());
    if (!on_row || at < id) {
      statement.reset();
      statement.bind(1, id);
      TRY(step());
    }
    if (!on_row || at != id) continue;  // gone
    TRY_ASSIGN(LogRow row, read_row(statement, id, 1, reader.decoder()));
    values[place] = std::move(row.value);
  }
  return values;
}

Result<Database::LogSlice> Database::read_log(std::int64_t revision, std::int64_t last, std::string_view begin, std::string_view end) {
  TRY_ASSIGN(Reader reader, Reader::borrow(*this));
  TRY_ASSIGN(sqlite3_stmt * stmt, reader->prepare(kTail));
  Statement statement(stmt);
  statement.bind(1, row_id(revision, 0)).bind(2, row_id(last, kSubMax));
  LogSlice slice;
  std::size_t looked_at = 0, bytes = 0;
  for (std::int64_t previous = 0;; ++looked_at) {
    TRY_ASSIGN(bool more, statement.step("read the log"));
    if (!more) {
      slice.next_revision = last + 1;
      return slice;
    }
    RowId id = statement.integer(0);
    if (revision_of(id) != previous && (looked_at >= kCatchUpRows || bytes >= kSliceBytesMax)) {
      slice.next_revision = revision_of(id);
      return slice;
    }
    previous = revision_of(id);
    if (!in_range(statement.bytes(5), begin, end)) continue;
    TRY_ASSIGN(LogRow row, read_row(statement, id, 1, reader.decoder()));
    bytes += row.key.size() + (row.value ? row.value->size() : 0);
    slice.rows.push_back(std::move(row));
  }
}

Result<StatePairs> read_state(Connection& connection, const std::string& bucket) {
  TRY_ASSIGN(sqlite3_stmt * stmt, connection.prepare(kReadState));
  Statement statement(stmt);
  statement.bind(1, bucket);
  StatePairs pairs;
  for (;;) {
    TRY_ASSIGN(bool more, statement.step("read state"));
    if (!more) return pairs;
    pairs.emplace_back(statement.bytes(0), statement.bytes(1));
  }
}

Result<StatePairs> Database::read_state(const std::string& bucket) {
  TRY_ASSIGN(Reader reader, Reader::borrow(*this));
  return store::read_state(*reader, bucket);
}

Result<Database::FileSize> Database::file_size() {
  TRY_ASSIGN(Reader reader, Reader::borrow(*this));
  FileSize size;
  TRY_ASSIGN(size.pages, reader->query_integer("PRAGMA page_count", "read file size"));
  TRY_ASSIGN(size.free_pages, reader->query_integer("PRAGMA freelist_count", "read file size"));
  TRY_ASSIGN(size.page_bytes, reader->query_integer("PRAGMA page_size", "read file size"));
  return size;
}

}  // namespace monopod::store
