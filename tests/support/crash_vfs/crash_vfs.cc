#include "tests/support/crash_vfs/crash_vfs.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <new>

namespace monopod::testing {
namespace {

constexpr std::int64_t kSector = 512;

struct File {
  sqlite3_file base;
  sqlite3_file* real;
  CrashVfs* vfs;
  std::shared_ptr<CrashVfs::FileState>* state;  // null: not tracked (temporary)
};

File* file_of(sqlite3_file* file) { return reinterpret_cast<File*>(file); }

int close_file(sqlite3_file* file) {
  File* f = file_of(file);
  delete f->state;
  return f->real->pMethods ? f->real->pMethods->xClose(f->real) : SQLITE_OK;
}
int read_file(sqlite3_file* file, void* into, int size, sqlite3_int64 offset) {
  sqlite3_file* real = file_of(file)->real;
  return real->pMethods->xRead(real, into, size, offset);
}
int write_file(sqlite3_file* file, const void* bytes, int size, sqlite3_int64 offset) {
  File* f = file_of(file);
  if (int rc = f->vfs->admit(false); rc != SQLITE_OK) return rc;
  if (f->state) f->vfs->record(**f->state, {.offset = offset, .bytes = std::string(static_cast<const char*>(bytes), static_cast<std::size_t>(size))});
  return f->real->pMethods->xWrite(f->real, bytes, size, offset);
}
int truncate_file(sqlite3_file* file, sqlite3_int64 size) {
  File* f = file_of(file);
  if (int rc = f->vfs->admit(false); rc != SQLITE_OK) return rc;
  if (f->state) f->vfs->record(**f->state, {.truncate = true, .offset = size});
  return f->real->pMethods->xTruncate(f->real, size);
}
int sync_file(sqlite3_file* file, int) {
  File* f = file_of(file);
  if (int rc = f->vfs->admit(true); rc != SQLITE_OK) return rc;
  if (f->state) f->vfs->sync(**f->state);
  return SQLITE_OK;  // this machine does not lose power
}
int file_size(sqlite3_file* file, sqlite3_int64* size) {
  sqlite3_file* real = file_of(file)->real;
  return real->pMethods->xFileSize(real, size);
}
int lock_file(sqlite3_file* file, int level) {
  sqlite3_file* real = file_of(file)->real;
  return real->pMethods->xLock(real, level);
}
int unlock_file(sqlite3_file* file, int level) {
  sqlite3_file* real = file_of(file)->real;
  return real->pMethods->xUnlock(real, level);
}
int check_reserved(sqlite3_file* file, int* out) {
  sqlite3_file* real = file_of(file)->real;
  return real->pMethods->xCheckReservedLock(real, out);
}
int control(sqlite3_file* file, int op, void* arg) {
  sqlite3_file* real = file_of(file)->real;
  if (op == SQLITE_FCNTL_SIZE_HINT || op == SQLITE_FCNTL_CHUNK_SIZE) return SQLITE_OK;  // would grow the file past us
  return real->pMethods->xFileControl(real, op, arg);
}
int sector_size(sqlite3_file*) { return kSector; }
int characteristics(sqlite3_file*) { return SQLITE_IOCAP_POWERSAFE_OVERWRITE; }
int shm_map(sqlite3_file* file, int page, int size, int extend, void volatile** out) {
  sqlite3_file* real = file_of(file)->real;
  if (extend && page > 0 && file_of(file)->vfs->index_full()) return SQLITE_IOERR_SHMSIZE;
  return real->pMethods->xShmMap(real, page, size, extend, out);
}
int shm_lock(sqlite3_file* file, int offset, int count, int flags) {
  sqlite3_file* real = file_of(file)->real;
  return real->pMethods->xShmLock(real, offset, count, flags);
}
void shm_barrier(sqlite3_file* file) {
  sqlite3_file* real = file_of(file)->real;
  real->pMethods->xShmBarrier(real);
}
int shm_unmap(sqlite3_file* file, int drop) {
  sqlite3_file* real = file_of(file)->real;
  return real->pMethods->xShmUnmap(real, drop);
}

constexpr sqlite3_io_methods kMethods = {2,           close_file,  read_file, write_file,     truncate_file, sync_file,       file_size, lock_file, unlock_file,
                                         check_reserved, control,  sector_size, characteristics, shm_map,    shm_lock,        shm_barrier, shm_unmap, nullptr,
                                         nullptr};

CrashVfs* self_of(sqlite3_vfs* vfs) { return static_cast<CrashVfs*>(vfs->pAppData); }

int open_file(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags, int* out_flags) {
  CrashVfs* self = self_of(vfs);
  File* f = new (file) File{};
  f->vfs = self;
  f->real = reinterpret_cast<sqlite3_file*>(reinterpret_cast<char*>(file) + sizeof(File));
  int rc = self->real()->xOpen(self->real(), path, f->real, flags, out_flags);
  if (rc != SQLITE_OK) return rc;
  f->base.pMethods = &kMethods;
  if (path && (flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)))
    f->state = new std::shared_ptr<CrashVfs::FileState>(self->state_of(path, f->real));
  return SQLITE_OK;
}

int delete_file(sqlite3_vfs* vfs, const char* path, int sync_dir) {
  CrashVfs* self = self_of(vfs);
  if (int rc = self->admit(false); rc != SQLITE_OK) return rc;
  self->forget(path);
  return self->real()->xDelete(self->real(), path, sync_dir);
}

void apply(std::string& content, const CrashVfs::Write& write) {
  if (write.truncate) {
    content.resize(static_cast<std::size_t>(write.offset));
    return;
  }
  std::size_t end = static_cast<std::size_t>(write.offset) + write.bytes.size();
  if (content.size() < end) content.resize(end);
  content.replace(static_cast<std::size_t>(write.offset), write.bytes.size(), write.bytes);
}

// Only some of the sectors that the write touches reach the disk.
void apply_torn(std::string& content, const CrashVfs::Write& write, Rng& rng) {
  auto end = write.offset + static_cast<std::int64_t>(write.bytes.size());
  for (std::int64_t from = write.offset; from < end;) {
    std::int64_t to = std::min(end, (from / kSector + 1) * kSector);
    if (rng.below(2) == 0)
      apply(content, {.offset = from, .bytes = write.bytes.substr(static_cast<std::size_t>(from - write.offset), static_cast<std::size_t>(to - from))});
    from = to;
  }
}

}  // namespace

CrashVfs::CrashVfs(std::string name) : name_(std::move(name)), real_(sqlite3_vfs_find(nullptr)) {
  vfs_ = *real_;
  vfs_.zName = name_.c_str();
  vfs_.pAppData = this;
  vfs_.szOsFile = static_cast<int>(sizeof(File)) + real_->szOsFile;
  vfs_.xOpen = open_file;
  vfs_.xDelete = delete_file;
  sqlite3_vfs_register(&vfs_, 0);
}

CrashVfs::~CrashVfs() { sqlite3_vfs_unregister(&vfs_); }

void CrashVfs::arm(const Plan& plan) {
  std::lock_guard lock(mutex_);
  plan_ = plan;
  operations_ = syncs_ = 0;
}

std::int64_t CrashVfs::operations() const {
  std::lock_guard lock(mutex_);
  return operations_;
}

std::int64_t CrashVfs::syncs() const {
  std::lock_guard lock(mutex_);
  return syncs_;
}

bool CrashVfs::crashed() const {
  std::lock_guard lock(mutex_);
  return plan_.crash_at >= 0 && operations_ >= plan_.crash_at;
}

bool CrashVfs::index_full() const {
  std::lock_guard lock(mutex_);
  return plan_.index_full;
}

int CrashVfs::admit(bool is_sync) {
  std::lock_guard lock(mutex_);
  ++operations_;
  if (is_sync) ++syncs_;
  if (plan_.crash_at >= 0 && operations_ >= plan_.crash_at) return is_sync ? SQLITE_IOERR_FSYNC : SQLITE_IOERR_WRITE;
  if (plan_.fail_at < 0 || (plan_.fail_syncs_only && !is_sync)) return SQLITE_OK;
  std::int64_t count = plan_.fail_syncs_only ? syncs_ : operations_;
  if (is_sync && plan_.fail_code == SQLITE_FULL) {  // a sync that fails is an I/O error to SQLite, whatever the reason: the next write meets it
    if (count == plan_.fail_at) ++plan_.fail_at;
    return SQLITE_OK;
  }
  bool fails = count >= plan_.fail_at && count < plan_.fail_at + plan_.fail_count;
  return fails ? plan_.fail_code : SQLITE_OK;
}

void CrashVfs::record(FileState& state, Write write) {
  std::lock_guard lock(mutex_);
  state.unsynced.push_back(std::move(write));
}

void CrashVfs::sync(FileState& state) {
  std::lock_guard lock(mutex_);
  if (plan_.syncs_lie) return;
  for (const Write& write : state.unsynced) apply(state.durable, write);
  state.unsynced.clear();
}

std::shared_ptr<CrashVfs::FileState> CrashVfs::state_of(const std::string& path, sqlite3_file* real) {
  std::lock_guard lock(mutex_);
  auto& state = files_[path];
  if (state) return state;
  state = std::make_shared<FileState>();
  sqlite3_int64 size = 0;
  real->pMethods->xFileSize(real, &size);
  state->durable.resize(static_cast<std::size_t>(size));
  if (size > 0) real->pMethods->xRead(real, state->durable.data(), static_cast<int>(size), 0);
  return state;
}

void CrashVfs::forget(const std::string& path) {
  std::lock_guard lock(mutex_);
  files_.erase(path);
}

void CrashVfs::lose_power(Rng& rng) {
  std::lock_guard lock(mutex_);
  for (auto& [path, state] : files_) {
    std::string content = state->durable;
    enum class Fate { kKeepAll, kDropAll, kPrefix, kSubset };
    auto fate = static_cast<Fate>(rng.below(4));
    std::size_t prefix = state->unsynced.empty() ? 0 : rng.below(state->unsynced.size() + 1);
    for (std::size_t i = 0; i < state->unsynced.size(); ++i) {
      const Write& write = state->unsynced[i];
      if (fate == Fate::kDropAll || (fate == Fate::kPrefix && i > prefix)) continue;
      if (fate == Fate::kPrefix && i == prefix && !write.truncate) {
        apply_torn(content, write, rng);
        continue;
      }
      std::uint64_t dice = fate == Fate::kSubset ? rng.below(3) : 0;
      if (dice == 0) apply(content, write);
      else if (dice == 1 && !write.truncate) apply_torn(content, write, rng);
    }
    std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
    ::unlink((path + "-shm").c_str());
  }
  files_.clear();
  plan_ = {};
}

}  // namespace monopod::testing
