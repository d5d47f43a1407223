// Copies every live key from one store to another: `monopod store migrate`.
//
//   source: keys at one state, in order  -> compare with what the sink has -> write what differs -> read both again and compare
//
// Values and lease TTLs are copied as they are; revisions and versions are the sink's own, since a live store gives out its own.
// A key of the sink (kMigrationMarker) says that a migration is under way: one that was stopped goes on where it was, by comparing.
#pragma once

#include <functional>

#include "async/time.h"
#include "store/backend.h"

namespace monopod::etcd {

inline constexpr std::string_view kMigrationMarker = "monopod/migration";

// Where keys come from. Pages are of one state however often they are read.
class KeySource {
 public:
  virtual ~KeySource() = default;
  virtual std::string describe() const = 0;
  virtual async::Task<Result<std::int64_t>> count() = 0;
  // The keys from start on, in order, at most a page; empty: none is left.
  virtual async::Task<Result<std::vector<store::KeyValue>>> read(std::string start) = 0;
  // As granted; nullopt: it has ended meanwhile, and with it its keys.
  virtual async::Task<Result<std::optional<store::Lease>>> lease(store::LeaseId id) = 0;
};

// Where they go to.
class KeySink {
 public:
  virtual ~KeySink() = default;
  virtual std::string describe() const = 0;
  virtual async::Task<Result<std::int64_t>> count() = 0;
  // What it has in [start, end); end "\0": to the last key.
  virtual async::Task<Result<std::vector<store::KeyValue>>> read(std::string start, std::string end) = 0;
  // All of it in one go or in parts; may be called again with the same.
  virtual async::Task<Result<>> write(std::vector<store::KeyValue> put, std::vector<std::string> remove) = 0;
  // There is such a lease afterwards, with at least this TTL.
  virtual async::Task<Result<>> need_lease(const store::Lease& lease) = 0;
};

// Over any backend, which outlives them.
async::Task<Result<std::unique_ptr<KeySource>>> make_backend_source(store::Backend& backend, std::string name);
std::unique_ptr<KeySink> make_backend_sink(store::Backend& backend, async::Time& time, std::string name);

struct MigrateOptions {
  bool replace = false;  // the sink may have other keys, and loses those that the source has not
  std::function<void(std::int64_t done, std::int64_t total, std::string_view step)> progress{};  // step: "copy", "verify"
};
struct MigrateReport {
  std::int64_t keys = 0;     // in the source, and now in the sink
  std::int64_t written = 0;  // the others were there already
  std::int64_t removed = 0;
  std::int64_t leases = 0;
  std::int64_t expired = 0;  // keys left out: their lease ended meanwhile
  bool resumed = false;
};
// kFailedPrecondition: the sink has keys, or another migration is under way in it. kDataLoss: what was read back differs (names the key).
async::Task<Result<MigrateReport>> migrate(KeySource& source, KeySink& sink, MigrateOptions options);

}  // namespace monopod::etcd
