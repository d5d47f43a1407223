#include "backup/online.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "backup/file.h"
#include "base/strings.h"
#include "store/offline.h"

namespace monopod::backup {
namespace {

constexpr std::string_view kCopyPrefix = "backup-copy-";
constexpr int kCopiesMax = 16;  // at once, in one folder

// An empty file of ours: SQLite fills it, and nobody else could read it meanwhile.
Result<std::unique_ptr<Copy>> reserve_copy(const std::string& folder) {
  for (int i = 0; i < kCopiesMax; ++i) {
    std::string path = cat(folder, "/", kCopyPrefix, i, ".db");
    sys::Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (fd) return std::make_unique<Copy>(std::move(path));
    if (errno != EEXIST) return fail_errno("create " + path);
  }
  return fail(Code::kResourceExhausted, cat("snapshot: ", kCopiesMax, " are being taken already"));
}

Result<Info> write_all(const std::string& copy, Head head, const std::string& path) {
  TRY_ASSIGN(auto encoder, Encoder::open(copy, std::move(head)));
  TRY_ASSIGN(auto file, PendingFile::create(path));
  for (;;) {
    TRY_ASSIGN(std::string bytes, encoder->next());
    if (bytes.empty()) break;
    TRY(file->write(as_bytes(bytes)));
  }
  TRY(file->commit());
  return encoder->info();
}

Result<Head> describe(const std::string& copy, WallTime now) {
  TRY_ASSIGN(store::FileSummary summary, store::inspect_file(copy));
  return Head{.created = format_rfc3339(now), .revision = summary.revision.value, .version = MONOPOD_VERSION};
}

template <typename F>
std::size_t remove_where(const std::string& folder, F is_ours) {
  std::size_t removed = 0;
  std::error_code ec;
  for (std::filesystem::directory_iterator at(folder, ec), end; !ec && at != end; at.increment(ec))
    if (is_ours(std::string_view(at->path().filename().native()))) removed += ::unlink(at->path().c_str()) == 0 ? 1 : 0;
  return removed;
}

}  // namespace

Copy::~Copy() {
  for (const char* suffix : {"", "-journal", "-wal", "-shm"}) ::unlink((path_ + suffix).c_str());
}

async::Task<Result<std::unique_ptr<Copy>>> take_copy(const Source& source) {
  CO_TRY_ASSIGN(std::unique_ptr<Copy> copy, reserve_copy(source.folder));
  CO_TRY(co_await source.store.snapshot(copy->path()));
  co_return copy;
}

async::Task<Result<std::unique_ptr<Stream>>> open_stream(const Source& source, async::Pool& pool) {
  CO_TRY_ASSIGN(std::unique_ptr<Copy> copy, co_await take_copy(source));
  CO_TRY_ASSIGN(Head head, co_await pool.run([&] { return describe(copy->path(), source.clock.wall()); }));
  CO_TRY_ASSIGN(std::unique_ptr<Encoder> encoder, Encoder::open(copy->path(), std::move(head)));
  co_return std::make_unique<Stream>(Stream{.copy = std::move(copy), .encoder = std::move(encoder)});
}

async::Task<Result<Info>> save(const Source& source, async::Pool& pool, std::string path) {
  CO_TRY_ASSIGN(std::unique_ptr<Copy> copy, co_await take_copy(source));
  WallTime now = source.clock.wall();
  co_return co_await pool.run([&]() -> Result<Info> {
    TRY_ASSIGN(Head head, describe(copy->path(), now));
    Result<Info> written = write_all(copy->path(), std::move(head), path);
    copy.reset();  // here, since removing a large file takes its time
    return written;
  });
}

std::size_t remove_copies(const std::string& folder) {
  return remove_where(folder, [](std::string_view name) { return name.starts_with(kCopyPrefix); });
}

std::size_t remove_partial_backups(const std::string& folder) {
  return remove_where(folder, [](std::string_view name) { return name.starts_with("state-") && name.ends_with(std::string(".db.zst") + PendingFile::kSuffix); });
}

}  // namespace monopod::backup
