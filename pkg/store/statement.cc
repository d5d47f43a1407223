#include "store/statement.h"

#include <cerrno>

#include "base/strings.h"

namespace monopod::store {

Error sqlite_error(sqlite3* db, int rc, std::string_view what) {
  int primary = rc & 0xff;
  int os = db ? sqlite3_system_errno(db) : 0;
  std::string reason = db ? sqlite3_errmsg(db) : sqlite3_errstr(rc);
  if (primary == SQLITE_FULL || rc == SQLITE_IOERR_SHMSIZE || (rc == SQLITE_IOERR_WRITE && (os == ENOSPC || os == EDQUOT)))
    return Error(Code::kResourceExhausted, cat(what, ": no space left on the device: free some, then try again"));
  if (primary == SQLITE_NOMEM) return Error(Code::kResourceExhausted, cat(what, ": out of memory"));
  if (primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB) return Error(Code::kDataLoss, cat(what, ": ", reason));
  if (primary == SQLITE_IOERR) return Error(Code::kUnavailable, cat(what, ": ", reason, " (", sqlite3_errstr(rc), " ", rc, ", errno ", os, ")"));
  return Error(Code::kUnavailable, cat(what, ": ", reason));
}

Statement::~Statement() {
  sqlite3_reset(stmt_);
  sqlite3_clear_bindings(stmt_);
}

void Statement::reset() { sqlite3_reset(stmt_); }

Statement& Statement::bind(int index, std::int64_t value) {
  sqlite3_bind_int64(stmt_, index, value);
  return *this;
}

Statement& Statement::bind(int index, std::string_view bytes) {
  sqlite3_bind_blob64(stmt_, index, bytes.data() ? bytes.data() : "", bytes.size(), SQLITE_STATIC);
  return *this;
}

Statement& Statement::bind_null(int index) {
  sqlite3_bind_null(stmt_, index);
  return *this;
}

Result<bool> Statement::step(std::string_view what) {
  int rc = sqlite3_step(stmt_);
  if (rc == SQLITE_ROW) return true;
  if (rc == SQLITE_DONE) return false;
  sqlite3* db = sqlite3_db_handle(stmt_);
  return fail(sqlite_error(db, sqlite3_extended_errcode(db), what));
}

Result<> Statement::run(std::string_view what) {
  for (;;) {
    TRY_ASSIGN(bool row, step(what));
    if (!row) return {};
  }
}

std::string_view Statement::bytes(int column) const {
  const void* data = sqlite3_column_blob(stmt_, column);
  return {static_cast<const char*>(data), static_cast<std::size_t>(sqlite3_column_bytes(stmt_, column))};
}

Result<std::unique_ptr<Connection>> Connection::open(const std::string& path, int flags, const char* vfs) {
  sqlite3* db = nullptr;
  int rc = sqlite3_open_v2(path.c_str(), &db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, vfs);
  std::unique_ptr<Connection> connection(new Connection(db));
  if (rc != SQLITE_OK) return fail(sqlite_error(db, rc, cat("open ", path)));
  sqlite3_busy_timeout(db, kBusyTimeoutMs);
  for (auto [option, value] : {std::pair{SQLITE_DBCONFIG_DEFENSIVE, 1}, {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
                               {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0}, {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0},
                               {SQLITE_DBCONFIG_ENABLE_VIEW, 0}, {SQLITE_DBCONFIG_DQS_DML, 0}, {SQLITE_DBCONFIG_DQS_DDL, 0}})
    sqlite3_db_config(db, option, value, nullptr);
  sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 1);  // VACUUM INTO attaches its target
  sqlite3_limit(db, SQLITE_LIMIT_LENGTH, 64 * 1024 * 1024);
  sqlite3_limit(db, SQLITE_LIMIT_SQL_LENGTH, 16 * 1024);
  sqlite3_limit(db, SQLITE_LIMIT_COLUMN, 64);
  sqlite3_limit(db, SQLITE_LIMIT_EXPR_DEPTH, 32);
  sqlite3_limit(db, SQLITE_LIMIT_TRIGGER_DEPTH, 1);
  TRY(connection->execute("PRAGMA mmap_size=0; PRAGMA cell_size_check=ON; PRAGMA temp_store=MEMORY", "set up connection"));
  return connection;
}

Connection::~Connection() {
  for (auto& [sql, stmt] : statements_) sqlite3_finalize(stmt);
  sqlite3_close(db_);
}

Result<sqlite3_stmt*> Connection::prepare(const char* sql) {
  auto [at, fresh] = statements_.try_emplace(sql, nullptr);
  if (!at->second) {
    int rc = sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &at->second, nullptr);
    if (rc != SQLITE_OK) return fail(sqlite_error(db_, rc, "prepare statement"));
  }
  return at->second;
}

Result<> Connection::execute(const char* sql, std::string_view what) {
  int rc = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
  if (rc != SQLITE_OK) return fail(sqlite_error(db_, sqlite3_extended_errcode(db_), what));
  return {};
}

Result<std::int64_t> Connection::query_integer(const char* sql, std::string_view what) {
  TRY_ASSIGN(sqlite3_stmt * stmt, prepare(sql));
  Statement statement(stmt);
  TRY_ASSIGN(bool row, statement.step(what));
  return row ? statement.integer(0) : 0;
}

Result<std::string> Connection::query_text(const char* sql, std::string_view what) {
  TRY_ASSIGN(sqlite3_stmt * stmt, prepare(sql));
  Statement statement(stmt);
  TRY_ASSIGN(bool row, statement.step(what));
  return row ? std::string(statement.bytes(0)) : std::string();
}

}  // namespace monopod::store
