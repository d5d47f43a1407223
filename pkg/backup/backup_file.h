// One backup: a store's database, compressed and checksummed, in one file that also `zstd -dc` and sqlite3 can read.
//
//   skippable frame   8 bytes 0x184D2A5B, length; JSON {"kind":"monopod-store-backup","format":1,"created":…,"revision":…,"version":…}
//   zstd frame(s)     the SQLite file (pkg/store/README.md says what is in it)
//   skippable frame   8 bytes 0x184D2A5B, length 256; JSON {"bytes":…,"sha256":"…"}, spaces up to the length
//
// (Skippable frames: RFC 8878 section 3.1.2; numbers are little endian.) bytes is the size of the SQLite file, sha256 is over all bytes of this
// file before the last frame. A file without that frame was never finished. Everything here blocks: it belongs on a pool thread.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/error.h"
#include "codec/byte_stream.h"

namespace monopod::backup {

struct Head {
  std::string created{};      // RFC 3339, UTC
  std::int64_t revision = 0;  // newest one in it
  std::string version{};      // of the monopod that wrote it
};
struct Info {
  Head head{};
  std::int64_t database_bytes = 0;
  std::int64_t file_bytes = 0;
  std::string sha256_hex{};
};

using OnProgress = std::function<void(std::int64_t done, std::int64_t total)>;  // bytes of the database

// Makes the bytes of a backup piece by piece, out of a database file that nobody writes (a copy).
class Encoder {
 public:
  static Result<std::unique_ptr<Encoder>> open(const std::string& database_path, Head head);
  ~Encoder();
  // The next bytes, never empty; empty at the end.
  Result<std::string> next();
  // Whole only once next() has returned the end.
  const Info& info() const;

 private:
  struct State;
  explicit Encoder(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Reads a whole backup and checks all of it; the database goes to sink on the way (null: only check).
// kInvalidArgument: not a backup; kDataLoss: cut short or damaged; kFailedPrecondition: a newer format.
Result<Info> decode(const std::string& backup_path, codec::ByteSink* sink, const OnProgress& progress = {});

// Head and sizes, without reading the database: quick, and no proof that the rest is sound.
Result<Info> read_info(const std::string& backup_path);

}  // namespace monopod::backup
