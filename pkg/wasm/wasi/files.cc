// Open files: reading, writing, positions, attributes, directories' entries.
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "wasm/wasi/abi.h"

namespace monopod::wasm {
namespace {

using namespace wasi;

int host_fd(const Wasi::File& f) { return f.root != nullptr ? f.root->fd() : f.fd.get(); }

// What may block is waited for where an interruption reaches; a file that the guest set non-blocking does not wait.
u16 ready(Wasi& w, const Wasi::File& f, short events) {
  if (f.kind == Wasi::Kind::kFile || (f.flags & kNonblock) != 0) return kSuccess;
  return w.wait(f.fd.get(), events);
}

template <typename Call>
u32 transfer(Wasi& w, Caller& caller, u32 fd, u64 right, u32 vectors, u32 count, u32 done_at, short events, Call call) {
  MONOPOD_WASI_MEMORY(caller);
  MONOPOD_WASI_FILE(f, fd, right);
  if (f->kind == Wasi::Kind::kDirectory) return kIsDirectory;
  MONOPOD_WASI_HOLDS(done_at, 4);
  std::vector<iovec> list;
  if (u16 bad = read_vectors(memory, vectors, count, list); bad != kSuccess) return bad;
  if (u16 bad = ready(w, *f, events); bad != kSuccess) return bad;
  ssize_t n = call(f->fd.get(), list.data(), static_cast<int>(list.size()));
  if (n < 0) return last_errno();
  memory.write<u32>(done_at, static_cast<u32>(n));
  return kSuccess;
}

u32 fd_read(Wasi& w, Caller& c, u32 fd, u32 vectors, u32 count, u32 done) { return transfer(w, c, fd, kFdRead, vectors, count, done, POLLIN, ::readv); }
u32 fd_write(Wasi& w, Caller& c, u32 fd, u32 vectors, u32 count, u32 done) { return transfer(w, c, fd, kFdWrite, vectors, count, done, POLLOUT, ::writev); }
u32 fd_pread(Wasi& w, Caller& c, u32 fd, u32 vectors, u32 count, u64 offset, u32 done) {
  return transfer(w, c, fd, kFdRead | kFdSeek, vectors, count, done, POLLIN, [offset](int f, const iovec* v, int n) { return ::preadv(f, v, n, static_cast<off_t>(offset)); });
}
// At the offset, whatever the file was opened for: Linux' own pwrite adds to the end of files that are appended to.
ssize_t write_at(int fd, const iovec* list, int count, off_t at) {
  constexpr int kNoAppend = 0x20;  // RWF_NOAPPEND, Linux 6.9
  ssize_t n = ::pwritev2(fd, list, count, at, kNoAppend);
  if (n >= 0 || errno != EOPNOTSUPP) return n;
  int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || (flags & O_APPEND) == 0) return ::pwritev(fd, list, count, at);
  if (::fcntl(fd, F_SETFL, flags & ~O_APPEND) != 0) return -1;
  n = ::pwritev(fd, list, count, at);
  int error = errno;
  ::fcntl(fd, F_SETFL, flags);
  errno = error;
  return n;
}
u32 fd_pwrite(Wasi& w, Caller& c, u32 fd, u32 vectors, u32 count, u64 offset, u32 done) {
  return transfer(w, c, fd, kFdWrite | kFdSeek, vectors, count, done, POLLOUT, [offset](int f, const iovec* v, int n) { return write_at(f, v, n, static_cast<off_t>(offset)); });
}

u32 fd_close(Wasi& w, Caller&, u32 fd) { return w.files().erase(fd) != 0 ? kSuccess : kBadFile; }

u32 fd_renumber(Wasi& w, Caller&, u32 from, u32 to) {
  auto source = w.files().find(from), target = w.files().find(to);
  if (source == w.files().end() || target == w.files().end()) return kBadFile;
  if (from == to) return kSuccess;
  target->second = std::move(source->second);
  w.files().erase(source);
  return kSuccess;
}

u32 fd_seek(Wasi& w, Caller& caller, u32 fd, u64 offset, u32 whence, u32 at) {
  MONOPOD_WASI_MEMORY(caller);
  MONOPOD_WASI_FILE(any, fd, 0);
  if (any->kind != Wasi::Kind::kFile && any->kind != Wasi::Kind::kDirectory) return kSeekPipe;
  MONOPOD_WASI_FILE(f, fd, offset == 0 && whence == 1 ? u64{kFdTell} : u64{kFdSeek});
  if (f->kind == Wasi::Kind::kDirectory) return kBadFile;
  MONOPOD_WASI_HOLDS(at, 8);
  if (whence > 2) return kInvalid;
  off_t now = ::lseek(f->fd.get(), static_cast<off_t>(offset), whence == 0 ? SEEK_SET : whence == 1 ? SEEK_CUR : SEEK_END);
  if (now < 0) return last_errno();
  memory.write<u64>(at, static_cast<u64>(now));
  return kSuccess;
}
u32 fd_seek_unstable(Wasi& w, Caller& caller, u32 fd, u64 offset, u32 whence, u32 at) {
  return fd_seek(w, caller, fd, offset, whence > 2 ? whence : (whence + 1) % 3, at);  // there: from here, from the end, from the start
}
u32 fd_tell(Wasi& w, Caller& c, u32 fd, u32 at) { return fd_seek(w, c, fd, 0, 1, at); }

u32 synchronise(Wasi& w, u32 fd, u64 right, int (*call)(int)) {
  MONOPOD_WASI_FILE(f, fd, right);
  if (call(host_fd(*f)) == 0 || errno == EINVAL || errno == EBADF) return kSuccess;  // pipes and terminals have nothing to write out
  return last_errno();
}
u32 fd_sync(Wasi& w, Caller&, u32 fd) { return synchronise(w, fd, kFdSync, ::fsync); }
u32 fd_datasync(Wasi& w, Caller&, u32 fd) { return synchronise(w, fd, kFdDatasync, ::fdatasync); }

u32 fd_advise(Wasi& w, Caller&, u32 fd, u64 offset, u64 count, u32 advice) {
  MONOPOD_WASI_FILE(f, fd, kFdAdvise);
  static constexpr int kAdvice[] = {POSIX_FADV_NORMAL, POSIX_FADV_SEQUENTIAL, POSIX_FADV_RANDOM, POSIX_FADV_WILLNEED, POSIX_FADV_DONTNEED, POSIX_FADV_NOREUSE};
  if (advice >= 6) return kInvalid;
  if (f->kind == Wasi::Kind::kDirectory) return kBadFile;
  int error = ::posix_fadvise(f->fd.get(), static_cast<off_t>(offset), static_cast<off_t>(count), kAdvice[advice]);
  return error == 0 ? u32{kSuccess} : errno_of(error);
}
u32 fd_allocate(Wasi& w, Caller&, u32 fd, u64 offset, u64 count) {
  MONOPOD_WASI_FILE(f, fd, kFdAllocate);
  int error = ::posix_fallocate(f->fd.get(), static_cast<off_t>(offset), static_cast<off_t>(count));
  return error == 0 ? u32{kSuccess} : errno_of(error);
}

u32 fd_fdstat_get(Wasi& w, Caller& caller, u32 fd, u32 at) {
  MONOPOD_WASI_MEMORY(caller);
  MONOPOD_WASI_FILE(f, fd, 0);
  MONOPOD_WASI_HOLDS(at, 24);
  memory.write<u32>(at, u32{f->type} | u32{f->flags} << 16);
  memory.write<u32>(at + 4, 0);
  memory.write<u64>(at + 8, f->rights);
  memory.write<u64>(at + 16, f->inheriting);
  return kSuccess;
}
u32 fd_fdstat_set_flags(Wasi& w, Caller&, u32 fd, u32 flags) {
  MONOPOD_WASI_FILE(f, fd, kFdSetFlags);
  if (flags > 31) return kInvalid;
  if (f->kind == Wasi::Kind::kDirectory) return kBadFile;
  auto wanted = static_cast<u16>(flags);
  // Linux changes these two alone after opening.
  if ((wanted & (kDsync | kRsync | kSync)) != (f->flags & (kDsync | kRsync | kSync))) return kNotSupported;
  if (f->kind == Wasi::Kind::kFile) {
    int now = ::fcntl(f->fd.get(), F_GETFL);
    if (now < 0 || ::fcntl(f->fd.get(), F_SETFL, (now & ~(O_APPEND | O_NONBLOCK)) | open_flags(wanted)) != 0) return last_errno();
  }  // others are shared with the host's own use of them: non-blocking is kept here
  f->flags = wanted;
  return kSuccess;
}
u32 fd_fdstat_set_rights(Wasi& w, Caller&, u32 fd, u64 rights, u64 inheriting) {
  MONOPOD_WASI_FILE(f, fd, 0);
  if ((rights & ~f->rights) != 0 || (inheriting & ~f->inheriting) != 0) return kNotCapable;
  f->rights = rights;
  f->inheriting = inheriting;
  return kSuccess;
}

template <Snapshot S>
u32 fd_filestat_get(Wasi& w, Caller& caller, u32 fd, u32 at) {
  MONOPOD_WASI_MEMORY(caller);
  MONOPOD_WASI_FILE(f, fd, kFdStat);
  MONOPOD_WASI_HOLDS(at, stat_bytes(S));
  struct ::stat st {};
  if (::fstat(host_fd(*f), &st) != 0) return last_errno();
  if (f->standard) st.st_size = 0, st.st_atim = st.st_mtim = st.st_ctim = {};
  write_stat(memory, at, st, S);
  return kSuccess;
}
u32 fd_filestat_set_size(Wasi& w, Caller&, u32 fd, u64 size) {
  MONOPOD_WASI_FILE(f, fd, kFdSetSize);
  return ::ftruncate(f->fd.get(), static_cast<off_t>(size)) == 0 ? u32{kSuccess} : last_errno();
}
u32 fd_filestat_set_times(Wasi& w, Caller&, u32 fd, u64 atim, u64 mtim, u32 flags) {
  MONOPOD_WASI_FILE(f, fd, kFdSetTimes);
  timespec times[2];
  if (u16 bad = read_times(atim, mtim, flags, times); bad != kSuccess) return bad;
  return set_times(host_fd(*f), times) == 0 ? u32{kSuccess} : last_errno();
}

u32 fd_prestat_get(Wasi& w, Caller& caller, u32 fd, u32 at) {
  MONOPOD_WASI_MEMORY(caller);
  MONOPOD_WASI_FILE(f, fd, 0);
  if (f->preopened.empty()) return kBadFile;
  MONOPOD_WASI_HOLDS(at, 8);
  memory.write<u32>(at, 0);
  memory.write<u32>(at + 4, static_cast<u32>(f->preopened.size()));
  return kSuccess;
}
u32 fd_prestat_dir_name(Wasi& w, Caller& caller, u32 fd, u32 at, u32 count) {
  MONOPOD_WASI_MEMORY(caller);
  MONOPOD_WASI_FILE(f, fd, 0);
  if (f->preopened.empty()) return kBadFile;
  if (count < f->preopened.size()) return kNameTooLong;
  MONOPOD_WASI_HOLDS(at, f->preopened.size());
  std::memcpy(memory.bytes().data() + at, f->preopened.data(), f->preopened.size());
  return kSuccess;
}

// A cookie is the kernel's own position behind an entry; 0 is the start. The last entry is cut where the buffer ends, which tells the guest to ask again.
u32 fd_readdir(Wasi& w, Caller& caller, u32 fd, u32 buffer, u32 size, u64 cookie, u32 used_at) {
  MONOPOD_WASI_MEMORY(caller);
  MONOPOD_WASI_FILE(f, fd, kFdReaddir);
  if (f->root == nullptr) return kNotDirectory;
  MONOPOD_WASI_HOLDS(buffer, size);
  MONOPOD_WASI_HOLDS(used_at, 4);
  Result<sys::Fd> opened = f->root->open_file(".", O_RDONLY | O_DIRECTORY);
  if (!opened) return errno_of(opened.error());
  if (::lseek(opened->get(), static_cast<off_t>(cookie), SEEK_SET) < 0) return last_errno();
  u32 used = 0;
  auto put = [&memory, &used, buffer, size](const void* from, std::size_t bytes) {
    auto n = static_cast<u32>(std::min<std::size_t>(bytes, size - used));
    if (n != 0) std::memcpy(memory.bytes().data() + buffer + used, from, n);
    used += n;
  };
  alignas(8) char block[16384];
  while (used < size) {
    long n = ::syscall(SYS_getdents64, opened->get(), block, sizeof block);
    if (n < 0) return last_errno();
    if (n == 0) break;
    for (long at = 0; at < n && used < size;) {
      struct Entry {
        u64 inode;
        i64 next;
        u16 bytes;
        u8 type;
      } entry;
      std::memcpy(&entry, block + at, 19);
      const char* name = block + at + 19;
      auto length = static_cast<u32>(std::strlen(name));
      u64 head[3] = {static_cast<u64>(entry.next), entry.inode, u64{length} | u64{type_of_entry(entry.type)} << 32};
      put(head, sizeof head);
      put(name, length);
      at += entry.bytes;
    }
  }
  memory.write<u32>(used_at, used);
  return kSuccess;
}

constexpr HostFunction kFileRows[] = {
    host<fd_read>("fd_read"), host<fd_write>("fd_write"), host<fd_pread>("fd_pread"), host<fd_pwrite>("fd_pwrite"), host<fd_close>("fd_close"), host<fd_renumber>("fd_renumber"),
    host<fd_seek>("fd_seek"), host<fd_tell>("fd_tell"), host<fd_sync>("fd_sync"), host<fd_datasync>("fd_datasync"), host<fd_advise>("fd_advise"), host<fd_allocate>("fd_allocate"),
    host<fd_fdstat_get>("fd_fdstat_get"), host<fd_fdstat_set_flags>("fd_fdstat_set_flags"), host<fd_fdstat_set_rights>("fd_fdstat_set_rights"),
    host<fd_filestat_get<Snapshot::kPreview1>>("fd_filestat_get"), host<fd_filestat_set_size>("fd_filestat_set_size"), host<fd_filestat_set_times>("fd_filestat_set_times"),
    host<fd_prestat_get>("fd_prestat_get"), host<fd_prestat_dir_name>("fd_prestat_dir_name"), host<fd_readdir>("fd_readdir"),
};

constexpr HostFunction kUnstableFileRows[] = {host<fd_seek_unstable>("fd_seek"), host<fd_filestat_get<Snapshot::kUnstable>>("fd_filestat_get")};

}  // namespace

std::span<const HostFunction> wasi_file_rows() { return kFileRows; }
std::span<const HostFunction> wasi_unstable_file_rows() { return kUnstableFileRows; }

}  // namespace monopod::wasm
