#include "wasm/wasi/wasi.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

#include "wasm/wasi/abi.h"

namespace monopod::wasm {
namespace wasi {

u16 errno_of(int host) {
  static constexpr struct {
    int host;
    u8 guest;
  } kTable[] = {{E2BIG, 1}, {EACCES, 2}, {EADDRINUSE, 3}, {EADDRNOTAVAIL, 4}, {EAFNOSUPPORT, 5}, {EAGAIN, 6}, {EALREADY, 7}, {EBADF, 8}, {EBADMSG, 9}, {EBUSY, 10}, {ECANCELED, 11},
                {ECHILD, 12}, {ECONNABORTED, 13}, {ECONNREFUSED, 14}, {ECONNRESET, 15}, {EDEADLK, 16}, {EDESTADDRREQ, 17}, {EDOM, 18}, {EDQUOT, 19}, {EEXIST, 20}, {EFAULT, 21},
                {EFBIG, 22}, {EHOSTUNREACH, 23}, {EIDRM, 24}, {EILSEQ, 25}, {EINPROGRESS, 26}, {EINTR, 27}, {EINVAL, 28}, {EIO, 29}, {EISCONN, 30}, {EISDIR, 31}, {ELOOP, 32},
                {EMFILE, 33}, {EMLINK, 34}, {EMSGSIZE, 35}, {EMULTIHOP, 36}, {ENAMETOOLONG, 37}, {ENETDOWN, 38}, {ENETRESET, 39}, {ENETUNREACH, 40}, {ENFILE, 41}, {ENOBUFS, 42},
                {ENODEV, 43}, {ENOENT, 44}, {ENOEXEC, 45}, {ENOLCK, 46}, {ENOLINK, 47}, {ENOMEM, 48}, {ENOMSG, 49}, {ENOPROTOOPT, 50}, {ENOSPC, 51}, {ENOSYS, 52}, {ENOTCONN, 53},
                {ENOTDIR, 54}, {ENOTEMPTY, 55}, {ENOTRECOVERABLE, 56}, {ENOTSOCK, 57}, {ENOTSUP, 58}, {ENOTTY, 59}, {ENXIO, 60}, {EOVERFLOW, 61}, {EOWNERDEAD, 62}, {EPERM, 63},
                {EPIPE, 64}, {EPROTO, 65}, {EPROTONOSUPPORT, 66}, {EPROTOTYPE, 67}, {ERANGE, 68}, {EROFS, 69}, {ESPIPE, 70}, {ESRCH, 71}, {ESTALE, 72}, {ETIMEDOUT, 73}, {ETXTBSY, 74},
                {EXDEV, 75}};
  for (const auto& row : kTable)
    if (row.host == host) return row.guest;
  return kIo;
}
u16 last_errno() { return errno_of(errno); }

u8 type_of(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFBLK: return kBlock;
    case S_IFCHR: return kCharacter;
    case S_IFDIR: return kDirectory;
    case S_IFREG: return kRegular;
    case S_IFLNK: return kSymlink;
    case S_IFSOCK: return kStream;
    default: return kUnknown;
  }
}
u8 type_of_entry(u8 d_type) { return type_of(static_cast<mode_t>(d_type) << 12); }

int open_flags(u16 f) {
  return ((f & kAppend) != 0 ? O_APPEND : 0) | ((f & kDsync) != 0 ? O_DSYNC : 0) | ((f & kNonblock) != 0 ? O_NONBLOCK : 0) | ((f & (kRsync | kSync)) != 0 ? O_SYNC : 0);
}
u16 fdflags_of(int f) {
  return static_cast<u16>(((f & O_APPEND) != 0 ? kAppend : 0) | ((f & O_DSYNC) != 0 ? kDsync : 0) | ((f & O_NONBLOCK) != 0 ? kNonblock : 0) | ((f & O_SYNC) == O_SYNC ? kSync : 0));
}

std::optional<Memory> memory_of(Caller& caller) {
  if (MemoryObject* m = caller.memory(); m != nullptr) return Memory(*m);
  caller.trap("WASI call from a module without memory");
  return std::nullopt;
}

u16 read_vectors(const Memory& memory, u32 at, u32 count, std::vector<iovec>& out) {
  if (count > kWasiVectorsMax) return kInvalid;
  MONOPOD_WASI_HOLDS(at, u64{count} * 8);
  u64 total = 0;
  for (u32 i = 0; i < count; ++i) {
    u32 buffer = memory.read<u32>(at + i * 8), size = memory.read<u32>(at + i * 8 + 4);
    MONOPOD_WASI_HOLDS(buffer, size);
    total += size;
    if (total > 0x7fff'f000) return kInvalid;  // more than one call of the kernel moves; also what overlapping vectors add up to
    out.push_back({memory.bytes().data() + buffer, size});
  }
  return kSuccess;
}

u16 read_path(const Memory& memory, u32 at, u32 bytes, std::string& out) {
  if (bytes >= kWasiPathBytesMax) return kNameTooLong;
  MONOPOD_WASI_HOLDS(at, bytes);
  out.assign(reinterpret_cast<const char*>(memory.bytes().data()) + at, bytes);
  if (out.empty()) return kNoEntry;
  if (out.find('\0') != std::string::npos) return kInvalid;
  if (!is_valid_utf8(out)) return kIllegalBytes;
  if (out.front() == '/') return kNotPermitted;
  int depth = 0;
  for (std::size_t from = 0; from <= out.size();) {
    std::size_t to = std::min(out.find('/', from), out.size());
    std::string_view part = std::string_view(out).substr(from, to - from);
    if (part == "..") --depth;
    else if (!part.empty() && part != ".") ++depth;
    if (depth < 0) return kNotPermitted;
    from = to + 1;
  }
  return kSuccess;
}

void write_stat(const Memory& memory, u32 at, const struct ::stat& st, Snapshot snapshot) {
  auto nanos = [](const timespec& t) { return static_cast<u64>(t.tv_sec) * 1'000'000'000 + static_cast<u64>(t.tv_nsec); };
  memory.write<u64>(at, st.st_dev);
  memory.write<u64>(at + 8, st.st_ino);
  memory.write<u64>(at + 16, type_of(st.st_mode));
  if (snapshot == Snapshot::kUnstable) {
    memory.write<u32>(at + 20, static_cast<u32>(st.st_nlink));
    at -= 8;  // what follows is that much nearer
  } else {
    memory.write<u64>(at + 24, st.st_nlink);
  }
  memory.write<u64>(at + 32, static_cast<u64>(st.st_size));
  memory.write<u64>(at + 40, nanos(st.st_atim));
  memory.write<u64>(at + 48, nanos(st.st_mtim));
  memory.write<u64>(at + 56, nanos(st.st_ctim));
}

u16 read_times(u64 atim, u64 mtim, u32 flags, timespec out[2]) {
  if ((flags & 3) == 3 || (flags & 12) == 12 || flags > 15) return kInvalid;  // a time and now
  auto one = [](u64 nanos, bool given, bool now) {
    if (now) return timespec{0, UTIME_NOW};
    if (!given) return timespec{0, UTIME_OMIT};
    return timespec{static_cast<time_t>(nanos / 1'000'000'000), static_cast<long>(nanos % 1'000'000'000)};
  };
  out[0] = one(atim, flags & 1, flags & 2);
  out[1] = one(mtim, flags & 4, flags & 8);
  return kSuccess;
}

// By descriptor alone where the kernel does that (Linux 5.8): a sandbox has no /proc.
int set_times(int fd, const timespec times[2]) {
  if (::utimensat(fd, "", times, AT_EMPTY_PATH) == 0) return 0;
  return errno == EINVAL ? ::utimensat(AT_FDCWD, sys::fd_path(fd).c_str(), times, 0) : -1;
}

}  // namespace wasi

using namespace wasi;

Wasi::Wasi(WasiOptions options) : options_(std::move(options)), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  for (int i = 0; i < 3; ++i) {
    File file;
    file.fd = sys::Fd(options_.inherit_stdio ? ::fcntl(i, F_DUPFD_CLOEXEC, 3) : ::open("/dev/null", O_RDWR | O_CLOEXEC));
    if (!file.fd) file.fd = sys::Fd(::open("/dev/null", O_RDWR | O_CLOEXEC));
    struct ::stat st {};
    bool known = ::fstat(file.fd.get(), &st) == 0;
    file.type = known ? type_of(st.st_mode) : u8{kUnknown};
    file.kind = known && S_ISREG(st.st_mode) ? Kind::kFile : Kind::kStream;
    file.standard = file.kind == Kind::kStream;
    file.rights = file.kind == Kind::kFile ? kFileRights : kStreamRights;
    // Libraries take a character device that cannot seek for a terminal.
    if (file.type == kCharacter && ::isatty(file.fd.get()) == 0) file.rights |= kFdSeek | kFdTell;
    files_.emplace(i, std::move(file));
  }
  std::uint32_t next = 3;
  for (WasiDirectory& d : options_.directories) {
    File file;
    file.kind = Kind::kDirectory;
    file.type = kDirectory;
    file.read_only = d.read_only;
    file.rights = kDirectoryRights;
    file.inheriting = kDirectoryRights | kFileRights;
    if (d.read_only) file.rights &= ~kWritingRights, file.inheriting &= ~kWritingRights;
    file.preopened = d.guest;
    file.root = std::make_unique<sys::Root>(std::move(d.root));
    files_.emplace(next++, std::move(file));
  }
  for (sys::Fd& listener : options_.listeners) {
    File file;
    file.fd = std::move(listener);
    file.kind = Kind::kListener;
    file.type = wasi::kStream;
    file.rights = kSocketRights;
    file.inheriting = kSocketRights;
    files_.emplace(next++, std::move(file));
  }
}

void Wasi::link(Linker& linker) {
  // What differs comes first: the first row of a name is taken.
  for (std::span<const HostFunction> rows : {wasi_unstable_file_rows(), wasi_unstable_path_rows(), wasi_unstable_poll_rows(), wasi_process_rows(), wasi_file_rows(), wasi_path_rows(), wasi_poll_rows(), wasi_socket_rows()})
    linker.add("wasi_unstable", rows, this);
  for (std::span<const HostFunction> rows : {wasi_process_rows(), wasi_file_rows(), wasi_path_rows(), wasi_poll_rows(), wasi_socket_rows()}) linker.add("wasi_snapshot_preview1", rows, this);
}

void Wasi::interrupt() {
  std::uint64_t one = 1;
  if (::write(wake_.get(), &one, sizeof one) < 0) return;  // it is already awake
}

Wasi::File* Wasi::file(std::uint32_t fd, std::uint64_t right, std::uint16_t& error) {
  auto at = files_.find(fd);
  if (at == files_.end()) return error = kBadFile, nullptr;
  if ((at->second.rights & right) != right) return error = at->second.read_only && (right & kWritingRights) != 0 ? kReadOnly : kNotCapable, nullptr;
  return &at->second;
}

std::uint16_t Wasi::add(File file, std::uint32_t& fd) {
  if (files_.size() >= kWasiFilesMax) return kTooManyFiles;
  fd = 0;
  for (const auto& [number, unused] : files_) {
    if (number != fd) break;
    ++fd;
  }
  files_.emplace(fd, std::move(file));
  return kSuccess;
}

std::uint16_t Wasi::wait(int fd, short events) {
  pollfd set[2] = {{fd, events, 0}, {wake_.get(), POLLIN, 0}};
  while (::poll(set, 2, -1) < 0)
    if (errno != EINTR) return last_errno();
  return set[1].revents != 0 ? u16{kInterrupted} : u16{kSuccess};
}

}  // namespace monopod::wasm
