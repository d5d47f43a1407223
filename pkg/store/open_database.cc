// Opening the file: lock, header, schema, cheap soundness. Nothing here changes a file that is not wholly ours.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <thread>

#include "base/failpoint.h"
#include "base/strings.h"
#include "store/database.h"
#include "store/format.h"
#include "store/log_damage.h"

namespace monopod::store {
namespace {

constexpr std::int64_t kQuickCheckBytesMax = 8 * 1024 * 1024;  // larger files are read once anyway, when the index is built

std::uint32_t big_endian(const unsigned char* at) {
  return (std::uint32_t{at[0]} << 24) | (std::uint32_t{at[1]} << 16) | (std::uint32_t{at[2]} << 8) | at[3];
}

std::string directory_of(const std::string& path) {
  std::string directory = std::filesystem::path(path).parent_path();
  return directory.empty() ? "." : directory;
}

Result<std::int64_t> size_of(const std::string& path) {  // -1: absent
  struct stat st{};
  if (::stat(path.c_str(), &st) == 0) return st.st_size;
  if (errno == ENOENT) return -1;
  return fail_errno(cat("open ", path));
}

// SQLite's own findings may span lines.
Error damaged(const std::string& path, std::string what) {
  std::replace(what.begin(), what.end(), '\n', ' ');
  return Error(Code::kDataLoss, cat("open ", path, ": ", what, ": restore a snapshot, or move the file away to start empty; it was left as it is"));
}

// The first 100 bytes, before SQLite may touch the file (sqlite.org/fileformat2.html section 1.3).
Result<> check_header(const std::string& path, std::int64_t size, bool has_wal) {
  std::array<unsigned char, 100> head{};
  sys::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_errno(cat("open ", path));
  ssize_t got = ::pread(fd.get(), head.data(), head.size(), 0);
  if (got < 0) return fail_errno(cat("read ", path));
  if (size == 0 || got < static_cast<ssize_t>(head.size())) return fail(damaged(path, "file is truncated"));
  if (std::memcmp(head.data(), "SQLite format 3", 16) != 0)
    return fail(Code::kFailedPrecondition, cat("open ", path, ": not a monopod store: choose another path; it was left as it is"));
  if (big_endian(&head[68]) != kApplicationId)
    return fail(Code::kFailedPrecondition, cat("open ", path, ": an SQLite file of another application: choose another path; it was left as it is"));
  std::uint32_t version = big_endian(&head[60]);
  if (version > static_cast<std::uint32_t>(kSchemaVersion))
    return fail(Code::kFailedPrecondition, cat("open ", path, ": written by a newer monopod (format ", version, ", this one knows ", kSchemaVersion,
                                               "): use that version or newer; it was left as it is"));
  std::int64_t page = (head[16] << 8) | head[17];
  if (page == 1) page = 65536;
  if (!has_wal && size < page * std::int64_t{big_endian(&head[28])}) return fail(damaged(path, "file is truncated"));
  return {};
}

// A new file is built beside its place and renamed into it, so a crash leaves either nothing or a whole store.
Result<> create(const std::string& path) {
  for (const char* suffix : {"-wal", "-journal"}) {
    TRY_ASSIGN(std::int64_t left, size_of(path + suffix));
    if (left > 0) return fail(damaged(path, cat("the file is missing but ", path, suffix, " is there")));
  }
  std::string fresh = path + ".new";
  for (const char* suffix : {"", "-journal", "-wal", "-shm"}) ::unlink((fresh + suffix).c_str());
  int fd = ::open(fresh.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return fail_errno(cat("create ", fresh));
  ::close(fd);
  {
    TRY_ASSIGN(auto connection, Connection::open(fresh, SQLITE_OPEN_READWRITE, nullptr));
    TRY(connection->execute(cat("PRAGMA page_size=", kPageBytes, "; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA synchronous=OFF; PRAGMA application_id=",
                                kApplicationId, "; PRAGMA user_version=", kSchemaVersion, "; BEGIN")
                                .c_str(),
                            "create store"));
    for (const auto& table : kTables) TRY(connection->execute(table[1], "create store"));
    TRY(connection->execute("COMMIT; PRAGMA journal_mode=WAL", "create store"));
  }
  // On disk as a whole, before it gets its name.
  sys::Fd whole(::open(fresh.c_str(), O_RDWR | O_CLOEXEC));
  if (!whole || ::fsync(whole.get()) < 0) return fail_errno(cat("fsync ", fresh));
  TRY(failpoint("store.before_create"));
  if (::rename(fresh.c_str(), path.c_str()) < 0) return fail_errno(cat("rename ", fresh));
  TRY(failpoint("store.after_create"));
  return Database::sync_directory_of(path);
}

// The tables of this format; with an older log where log_sql says so.
Result<> check_schema(Connection& connection, const std::string& path, std::string_view log_sql = {}) {
  TRY_ASSIGN(sqlite3_stmt * stmt, connection.prepare("SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_autoindex%' ORDER BY name"));
  Statement statement(stmt);
  for (const auto& [name, sql] : kTables) {
    std::string_view expected = !log_sql.empty() && std::string_view(name) == "log" ? log_sql : sql;
    TRY_ASSIGN(bool row, statement.step("read schema"));
    if (!row || statement.bytes(0) != "table" || statement.bytes(1) != name || statement.bytes(2) != expected)
      return fail(Code::kFailedPrecondition, cat("open ", path, ": its tables are not a monopod store's: restore a snapshot; it was left as it is"));
  }
  TRY_ASSIGN(bool more, statement.step("read schema"));
  if (more)
    return fail(Code::kFailedPrecondition,
                cat("open ", path, ": ", statement.bytes(0), " \"", statement.bytes(1), "\" does not belong there: restore a snapshot; it was left as it is"));
  return {};
}

// Forward only, in one transaction: a kill leaves the older format or the newer one.
Result<> migrate(Connection& connection, const std::string& path) {
  TRY_ASSIGN(std::int64_t version, connection.query_integer("PRAGMA user_version", "read version"));
  if (version == kSchemaVersion) return {};
  if (version != 1) return fail(Code::kFailedPrecondition, cat("open ", path, ": format ", version, " is unknown to this monopod"));
  TRY(check_schema(connection, path, kLogOfFormat1));
  TRY(connection.execute("PRAGMA synchronous=FULL; BEGIN IMMEDIATE", "migrate"));
  Result<> migrated = connection.execute(kMigrateFormat1, "migrate");
  if (migrated) migrated = failpoint("store.before_migrate");
  if (migrated) migrated = connection.execute("COMMIT", "migrate");
  if (!migrated) (void)connection.execute("ROLLBACK", "migrate");
  return migrated;
}

}  // namespace

Result<> Database::sync_directory_of(const std::string& path) {
  std::string directory = directory_of(path);
  sys::Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail_errno(cat("open ", directory));
  if (::fsync(fd.get()) < 0) return fail_errno(cat("fsync ", directory));
  return {};
}

Result<sys::Fd> Database::lock(const std::string& path) {
  std::string directory = directory_of(path);
  if (::mkdir(directory.c_str(), 0700) < 0 && errno != EEXIST) return fail_errno(cat("create ", directory));
  sys::Fd fd(::open((path + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return fail_errno(cat("open ", path, ".lock"));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  if (errno == EWOULDBLOCK)
    return fail(Code::kUnavailable, cat("open ", path, ": data dir in use by another monopod process: stop it or choose another directory"));
  return fail_errno(cat("lock ", path));
}

Result<> wait_until_unused(const std::string& path, std::chrono::milliseconds longest) {
  constexpr std::chrono::milliseconds kStep{5};
  for (std::chrono::milliseconds waited{0};; waited += kStep) {
    Result<sys::Fd> lock = Database::lock(path);
    if (lock) return {};
    if (lock.error().code() != Code::kUnavailable || waited >= longest) return fail(std::move(lock).error());
    std::this_thread::sleep_for(kStep);
  }
}

struct DatabaseOpener {
  Database& db;
  const SqliteOptions& options;

  Result<> open_file() {
    TRY_ASSIGN(db.lock_, Database::lock(options.path));
    TRY_ASSIGN(std::int64_t size, size_of(options.path));
    if (size < 0) {
      TRY(create(options.path));
      TRY_ASSIGN(size, size_of(options.path));
    }
    TRY_ASSIGN(std::int64_t wal, size_of(options.path + "-wal"));
    TRY(check_header(options.path, size, wal > 0));
    TRY_ASSIGN(auto damage, find_log_damage(options.path + "-wal"));
    TRY_ASSIGN(db.writer_, Connection::open(options.path, SQLITE_OPEN_READWRITE, options.vfs));
    if (damage) TRY(check_log_damage(*damage));
    Result<> opened = prepare(size);
    if (!opened && opened.error().code() == Code::kDataLoss) return fail(damaged(options.path, opened.error().message()));
    return opened;
  }

  // Where commits were synced one by one, what follows the damage was acknowledged; otherwise a power cut leaves the same picture.
  Result<> check_log_damage(std::int64_t offset) {
    sqlite3_db_config(db.writer_->get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);  // nothing is changed
    TRY_ASSIGN(bool weak, was_weakly_synced());
    if (weak) return {};
    std::string log = options.path + "-wal";
    return fail(Code::kDataLoss, cat("open ", options.path, ": ", log, " is damaged at byte ", offset, ", and acknowledged changes follow it: restore a snapshot, or go on without "
                                     "them: truncate -s ", offset, " ", log, "; nothing was changed"));
  }

  // Whether commits since the last whole sync may have been acknowledged before they were on disk.
  Result<bool> was_weakly_synced() {
    TRY_ASSIGN(std::int64_t number, db.writer_->query_integer("SELECT coalesce(max(number), 0) FROM meta WHERE name='weak_sync'", "read how commits are synced"));
    return number != 0;
  }
  Result<> record_sync() {
    TRY_ASSIGN(bool weak, was_weakly_synced());
    bool now = options.durability != Durability::kAlways;
    if (weak == now) return {};
    return db.writer_->execute(now ? "PRAGMA synchronous=FULL; INSERT OR REPLACE INTO meta(name, number) VALUES('weak_sync', 1)"
                                   : "PRAGMA synchronous=FULL; DELETE FROM meta WHERE name='weak_sync'",
                               "record how commits are synced");
  }

  Result<> prepare(std::int64_t size) {
    Connection& writer = *db.writer_;
    TRY(migrate(writer, options.path));
    TRY(check_schema(writer, options.path));
    TRY_ASSIGN(std::string mode, writer.query_text("PRAGMA journal_mode=WAL", "set journal mode"));
    if (mode != "wal") return fail(Code::kUnavailable, cat("open ", options.path, ": the file system cannot hold a write-ahead log (mode ", mode, ")"));
    TRY(record_sync());
    TRY(writer.execute(options.durability == Durability::kAlways ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL", "set synchronous"));
    TRY(writer.execute("PRAGMA cache_size=-1024; PRAGMA wal_autocheckpoint=0; PRAGMA journal_size_limit=67108864", "set up store"));
    // What the log still holds moves into the file, so that its size can be checked and the log starts short.
    TRY_ASSIGN(std::int64_t log, size_of(options.path + "-wal"));
    const bool leave = options.brief && log > 0 && log <= kBriefLogBytesMax;
    int rc = leave ? SQLITE_OK : sqlite3_wal_checkpoint_v2(writer.get(), nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
    if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_FULL) return fail(sqlite_error(writer.get(), rc, "recover the write-ahead log"));
    TRY(failpoint("store.after_recover"));
    TRY_ASSIGN(std::int64_t pages, writer.query_integer("PRAGMA page_count", "read file size"));
    TRY_ASSIGN(db.page_bytes_, writer.query_integer("PRAGMA page_size", "read file size"));
    TRY_ASSIGN(size, size_of(options.path));
    if (rc == SQLITE_OK && !leave && size < pages * db.page_bytes_) return fail(Code::kDataLoss, "file is truncated");
    if (size <= kQuickCheckBytesMax) {
      TRY_ASSIGN(std::string found, writer.query_text("PRAGMA quick_check(1)", "check"));
      if (found != "ok") return fail(Code::kDataLoss, found);
    }
    db.file_bytes_ = pages * db.page_bytes_;
    db.brief_ = options.brief;
    db.watch_writes(options.durability);
    return {};
  }

  Result<> open_memory() {
    db.memory_ = true;
    TRY_ASSIGN(db.writer_, Connection::open(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr));
    for (const auto& table : kTables) TRY(db.writer_->execute(table[1], "create store"));
    TRY_ASSIGN(db.page_bytes_, db.writer_->query_integer("PRAGMA page_size", "read file size"));
    return {};
  }
};

Result<std::unique_ptr<Database>> Database::open(const SqliteOptions& options) {
  std::unique_ptr<Database> db(new Database());
  db->path_ = options.path;
  db->vfs_ = options.vfs;
  DatabaseOpener opener{*db, options};
  if (options.path == ":memory:") TRY(opener.open_memory());
  else TRY(opener.open_file());
  return db;
}

}  // namespace monopod::store
