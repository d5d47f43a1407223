// Thin RAII over sqlite3: a connection with its prepared statements, kept for reuse.
#pragma once

#include <sqlite3.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"

namespace monopod::store {

// code_of: full -> kResourceExhausted, corrupt or not a database -> kDataLoss, the rest -> kUnavailable. Text: "what: reason".
Error sqlite_error(sqlite3* db, int rc, std::string_view what);

inline constexpr int kBusyTimeoutMs = 10'000;  // how long a connection waits for another's lock

class Connection;

// One use of a prepared statement: bind, step, read columns. Resets it at the end.
class Statement {
 public:
  explicit Statement(sqlite3_stmt* stmt) : stmt_(stmt) {}
  ~Statement();
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  // Parameters count from 1. Bound bytes must live until the statement is reset.
  Statement& bind(int index, std::int64_t value);
  Statement& bind(int index, std::string_view bytes);
  Statement& bind_null(int index);
  // True: a row; false: done.
  Result<bool> step(std::string_view what);
  Result<> run(std::string_view what);  // steps to the end
  void reset();

  std::int64_t integer(int column) const { return sqlite3_column_int64(stmt_, column); }
  std::string_view bytes(int column) const;
  bool is_null(int column) const { return sqlite3_column_type(stmt_, column) == SQLITE_NULL; }

 private:
  sqlite3_stmt* stmt_;
};

class Connection {
 public:
  // Hardened: defensive, no trusted schema, no extensions, triggers or views.
  static Result<std::unique_ptr<Connection>> open(const std::string& path, int flags, const char* vfs);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // sql must outlive the connection: a literal. Prepared once.
  Result<sqlite3_stmt*> prepare(const char* sql);
  Result<> execute(const char* sql, std::string_view what);
  // First column of the first row.
  Result<std::int64_t> query_integer(const char* sql, std::string_view what);
  Result<std::string> query_text(const char* sql, std::string_view what);

  sqlite3* get() const { return db_; }

 private:
  explicit Connection(sqlite3* db) : db_(db) {}
  sqlite3* db_;
  std::map<const char*, sqlite3_stmt*> statements_;
};

}  // namespace monopod::store
