// The on-disk format in one place; README.md describes it in words.
#pragma once

#include <cstdint>

namespace monopod::store {

inline constexpr std::uint32_t kApplicationId = 0x6d6f6e6f;  // "mono", at byte 68 of the file
inline constexpr int kSchemaVersion = 2;                     // PRAGMA user_version, at byte 60
inline constexpr int kPageBytes = 1024;                      // of new files: what a small commit appends to the write-ahead log; older files keep their 4096

inline constexpr const char* kTables[][2] = {
    {"lease", "CREATE TABLE lease(id INTEGER PRIMARY KEY, ttl_s INTEGER NOT NULL, remaining_ms INTEGER NOT NULL) STRICT"},
    {"log",
     "CREATE TABLE log(id INTEGER PRIMARY KEY, create_rev INTEGER NOT NULL, version INTEGER NOT NULL, lease INTEGER NOT NULL, "
     "sum INTEGER NOT NULL, key BLOB NOT NULL, value BLOB, coding INTEGER NOT NULL DEFAULT 0) STRICT"},
    {"meta", "CREATE TABLE meta(name TEXT PRIMARY KEY, number INTEGER NOT NULL) STRICT, WITHOUT ROWID"},
    {"state",
     "CREATE TABLE state(bucket BLOB NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY(bucket, key)) STRICT, WITHOUT ROWID"},
};

// Format 1: the log has no coding. Opening adds it; nothing is rewritten.
inline constexpr const char* kLogOfFormat1 =
    "CREATE TABLE log(id INTEGER PRIMARY KEY, create_rev INTEGER NOT NULL, version INTEGER NOT NULL, lease INTEGER NOT NULL, "
    "sum INTEGER NOT NULL, key BLOB NOT NULL, value BLOB) STRICT";
inline constexpr const char* kMigrateFormat1 = "ALTER TABLE log ADD COLUMN coding INTEGER NOT NULL DEFAULT 0; PRAGMA user_version=2";

}  // namespace monopod::store
