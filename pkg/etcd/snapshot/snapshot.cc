#include "etcd/snapshot/snapshot.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/strings.h"
#include "etcd/snapshot/backend_image.h"
#include "etcd/snapshot/bolt_reader.h"
#include "etcd/snapshot/snapshot_file.h"

namespace monopod::etcd {
namespace {

constexpr std::string_view kRows = "key";

Result<> tell(const OnSnapshotProgress& on_progress, std::int64_t done, std::int64_t total) {
  return on_progress ? on_progress({.done = done, .total = total}) : Result<>();
}

// The database part of a snapshot file, its hash checked where there is one.
struct OpenSnapshot {
  sys::Fd fd{};
  std::int64_t bytes = 0;
  bool has_sha256 = false;
};

Result<OpenSnapshot> open_snapshot(const std::string& path, const OnSnapshotProgress& on_progress) {
  OpenSnapshot open;
  open.fd = sys::Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat st{};
  if (!open.fd || ::fstat(open.fd.get(), &st) < 0) return fail_errno(cat("open ", path));
  if (!S_ISREG(st.st_mode)) return fail(Code::kFailedPrecondition, cat("open ", path, ": not a file"));
  open.bytes = st.st_size;
  open.has_sha256 = st.st_size % kSectorBytes == kSha256Bytes;
  if (!open.has_sha256) return open;
  open.bytes -= kSha256Bytes;
  pki::Sha256 digest;
  FileSource source(open.fd.get(), static_cast<std::uint64_t>(st.st_size));
  for (std::int64_t at = 0; at < open.bytes;) {
    auto n = static_cast<std::size_t>(std::min<std::int64_t>(kHashSliceBytes, open.bytes - at));
    TRY_ASSIGN(std::string bytes, source.read(static_cast<std::uint64_t>(at), n));
    digest.update(bytes);
    at += static_cast<std::int64_t>(n);
    TRY(tell(on_progress, at, 2 * open.bytes));
  }
  TRY_ASSIGN(std::string expected, source.read(static_cast<std::uint64_t>(open.bytes), kSha256Bytes));
  if (digest.finish() != expected)
    return fail(Code::kDataLoss, cat(path, ": its SHA-256 does not match: the file is damaged or incomplete; take another snapshot"));
  return open;
}

using OnRow = std::function<Result<>(const store::DumpRow& row, std::string_view key, std::string_view value)>;

// Walks every bucket in the order of names, as the hash wants it.
class SnapshotWalk {
 public:
  SnapshotWalk(const OpenSnapshot& file, const OnSnapshotProgress& on_progress)
      : file_(file), on_progress_(on_progress), source_(file.fd.get(), static_cast<std::uint64_t>(file.bytes)) {}

  Result<> run(const OnRow& on_row) {
    TRY_ASSIGN(BoltReader reader, BoltReader::open(source_));
    if (!reader.has(kRows) || !reader.has("meta")) return fail(Code::kFailedPrecondition, "a bbolt file, but not etcd's: it has no buckets key and meta");
    info_.bytes = file_.bytes;
    info_.has_sha256 = file_.has_sha256;
    for (const std::string& bucket : reader.buckets()) {
      hash_.begin_bucket(bucket);
      TRY(reader.walk(bucket, [&](std::string_view key, std::string_view value) -> Result<> {
        hash_.add(key, value);
        if (bucket != kRows) return heads_.take(bucket, key, value);
        return take_row(key, value, on_row);
      }));
    }
    return {};
  }

  store::DumpHead head() const { return heads_.head(newest_); }
  const std::vector<Alarm>& alarms() const { return heads_.alarms(); }
  const AuthReader& auth() const { return heads_.auth(); }
  SnapshotInfo info() const {
    SnapshotInfo info = info_;
    info.hash = hash_.value();
    info.total_keys = hash_.pairs();
    info.revision = store::Revision(newest_);
    info.compacted = head().compacted;
    info.auth_enabled = auth().enabled();
    info.leases = static_cast<std::int64_t>(head().leases.size());
    return info;
  }

 private:
  Result<> take_row(std::string_view key, std::string_view value, const OnRow& on_row) {
    TRY_ASSIGN(store::DumpRow row, parse_row(key, value));
    newest_ = row.revision;
    ++info_.records;
    read_ += static_cast<std::int64_t>(key.size() + value.size());
    if (read_ - told_ >= static_cast<std::int64_t>(kHashSliceBytes)) {
      told_ = read_;
      TRY(tell(on_progress_, std::min(file_.bytes + read_, 2 * file_.bytes), 2 * file_.bytes));
    }
    return on_row(row, key, value);
  }

  const OpenSnapshot& file_;
  const OnSnapshotProgress& on_progress_;
  FileSource source_;
  HeadReader heads_;
  ImageHash hash_;
  SnapshotInfo info_;
  std::int64_t newest_ = 0;
  std::int64_t read_ = 0;
  std::int64_t told_ = 0;
};

// Every record of the new store, as the snapshot has it.
Result<> compare(const std::string& store, const ImageHash& expected) {
  TRY_ASSIGN(auto dump, store::Dump::open(store));
  ImageHash found;
  for (;;) {
    TRY_ASSIGN(bool more, dump->read([&found](const store::DumpRow& row) -> Result<> {
      auto [key, value] = format_row(row);
      found.add(key, value);
      return {};
    }));
    if (!more) break;
  }
  if (found.value() != expected.value() || found.pairs() != expected.pairs())
    return fail(Code::kDataLoss, cat(store, ": what was written differs from the snapshot: the disk or memory is at fault; do not use it"));
  return {};
}

}  // namespace

Result<SnapshotInfo> save_snapshot(const SaveSnapshotOptions& options) {
  if (std::error_code ec; std::filesystem::exists(options.snapshot, ec))
    return fail(Code::kAlreadyExists, cat("write ", options.snapshot, ": there is a file; choose another name"));
  TRY_ASSIGN(auto dump, store::Dump::open(options.store));
  TRY_ASSIGN(NewFile file, NewFile::create(options.snapshot));
  BoltWriter writer(file.fd());
  ImageWriter image(*dump, {}, &writer);
  for (bool more = true; more;) {
    TRY_ASSIGN(more, image.step());
    TRY(tell(options.on_progress, image.revision(), std::max(image.revision(), dump->head().current.value)));
  }
  SnapshotInfo info{.hash = image.hash().value(), .compacted = dump->head().compacted, .total_keys = image.hash().pairs(), .records = image.rows(), .has_sha256 = true};
  info.revision = store::Revision(image.revision());
  info.leases = static_cast<std::int64_t>(dump->head().leases.size());
  TRY_ASSIGN(info.bytes, writer.finish());
  TRY(append_sha256(file.fd(), info.bytes));
  TRY(file.publish());
  return info;
}

Result<SnapshotInfo> restore_snapshot(const RestoreSnapshotOptions& options) {
  TRY_ASSIGN(OpenSnapshot file, open_snapshot(options.snapshot, options.on_progress));
  if (!file.has_sha256 && !options.skip_hash_check)
    return fail(Code::kFailedPrecondition, cat(options.snapshot, ": has no SHA-256 behind it, so it was not taken by a snapshot: skip the check only if the file is known to be good"));
  TRY_ASSIGN(auto builder, store::StoreBuilder::create(options.store));
  SnapshotWalk walk(file, options.on_progress);
  ImageHash rows;
  Result<> walked = walk.run([&](const store::DumpRow& row, std::string_view key, std::string_view value) {
    rows.add(key, value);
    return builder->add(row);
  });
  if (!walked) return fail(std::move(walked).error().with(options.snapshot));
  if (!options.drop_auth) {
    if (walk.auth().enabled() && walk.auth().has_foreign_password())
      return fail(Code::kFailedPrecondition, cat(options.snapshot, ": its keys are guarded by passwords that only etcd can check: disable auth before the snapshot, or agree to drop users and roles"));
    for (auto& [key, value] : walk.auth().records()) TRY(builder->put_state(kAuthBucket, key, value));
  }
  if (!walk.alarms().empty()) TRY(builder->put_state(kAlarmBucket, kAlarmKey, format_stored_alarms(walk.alarms())));
  TRY(builder->finish(walk.head(), [&](const std::string& fresh) { return compare(fresh, rows); }));
  TRY(tell(options.on_progress, 1, 1));
  return walk.info();
}

Result<SnapshotInfo> snapshot_status(const std::string& path) {
  OnSnapshotProgress none;
  TRY_ASSIGN(OpenSnapshot file, open_snapshot(path, none));
  SnapshotWalk walk(file, none);
  Result<> walked = walk.run([](const store::DumpRow&, std::string_view, std::string_view) -> Result<> { return {}; });
  if (!walked) return fail(std::move(walked).error().with(path));
  return walk.info();
}

}  // namespace monopod::etcd
