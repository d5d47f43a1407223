// Paths below the granted directories.
#include <fcntl.h>
#include <unistd.h>

#include "wasm/wasi/beneath.h"

namespace monopod::wasm {
namespace {

using namespace wasi;

// A directory and a path in it, both as the guest gave them.
struct Place {
  Wasi::File* directory = nullptr;
  std::string path;
};
u16 find_place(Wasi& w, const Memory& memory, u32 fd, u64 right, u32 at, u32 bytes, Place& out) {
  u16 error = kSuccess;
  out.directory = w.file(fd, right, error);
  if (out.directory == nullptr) return error;
  if (out.directory->root == nullptr) return kNotDirectory;
  return read_path(memory, at, bytes, out.path);
}
#define PLACE(name, fd, right, at, bytes) \
  Place name;                             \
  if (u16 bad = find_place(w, memory, fd, right, at, bytes, name); bad != kSuccess) return bad

// The parent by descriptor and the last name, which is acted on without being followed. A trailing slash asks for a directory.
struct Name {
  sys::Root::Parent parent;
  bool slash = false;
};
u16 find_name(const Place& place, Name& out) {
  out.slash = place.path.ends_with('/');
  Result<sys::Root::Parent> parent = open_parent_beneath(*place.directory->root, place.path);
  if (!parent) return lookup_errno(parent.error());
  out.parent = std::move(*parent);
  return kSuccess;
}
bool is_directory(const Name& n) {
  struct ::stat st {};
  return ::fstatat(n.parent.directory.get(), n.parent.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}
bool exists(const Name& n) {
  struct ::stat st {};
  return ::fstatat(n.parent.directory.get(), n.parent.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0;
}
u32 done(int result) { return result == 0 ? u32{kSuccess} : last_errno(); }

u32 path_open(Wasi& w, Caller& caller, u32 fd, u32 lookup, u32 at, u32 bytes, u32 oflags, u64 rights, u64 inheriting, u32 fdflags, u32 fd_at) {
  MONOPOD_WASI_MEMORY(caller);
  u64 needed = kPathOpen | ((oflags & kCreate) != 0 ? u64{kPathCreateFile} : 0) | ((oflags & kTruncate) != 0 ? u64{kPathSetSize} : 0);
  PLACE(place, fd, needed, at, bytes);
  MONOPOD_WASI_HOLDS(fd_at, 4);
  if (oflags > 15 || fdflags > 31) return kInvalid;
  if ((oflags & kOpenDirectory) != 0 && (oflags & kCreate) != 0) return kInvalid;
  const Wasi::File& from = *place.directory;
  bool wants_write = (rights & (kFdWrite | kFdAllocate | kFdSetSize)) != 0 && (oflags & kOpenDirectory) == 0;
  if (wants_write && from.read_only) {
    // libc asks for every right it may need; what is refused is a file that exists to be written.
    if ((rights & kFdRead) == 0) return kReadOnly;
    wants_write = false;
  }
  bool wants_read = (rights & (kFdRead | kFdReaddir)) != 0 || !wants_write;
  int flags = (wants_write ? wants_read ? O_RDWR : O_WRONLY : O_RDONLY) | open_flags(static_cast<u16>(fdflags)) | O_NOCTTY | O_NONBLOCK;
  if ((oflags & kCreate) != 0) flags |= O_CREAT;
  if ((oflags & kExclusive) != 0) flags |= O_EXCL;
  if ((oflags & kTruncate) != 0) flags |= O_TRUNC;
  if ((oflags & kOpenDirectory) != 0) flags |= O_DIRECTORY;
  if ((lookup & 1) == 0) flags |= O_NOFOLLOW;
  Result<sys::Fd> opened = open_beneath(*from.root, place.path, flags, (oflags & kCreate) != 0 ? 0666 : 0);
  if (!opened && opened.error().os_errno() == EISDIR && (oflags & (kCreate | kTruncate)) == 0) opened = open_beneath(*from.root, place.path, (flags & ~O_ACCMODE) | O_RDONLY | O_DIRECTORY);
  if (!opened) return opened.error().os_errno() == ELOOP && (lookup & 1) == 0 ? u16{32} : lookup_errno(opened.error());
  struct ::stat st {};
  if (::fstat(opened->get(), &st) != 0) return last_errno();
  Wasi::File file;
  file.type = type_of(st.st_mode);
  file.flags = static_cast<u16>(fdflags);
  file.read_only = from.read_only;
  if (S_ISDIR(st.st_mode)) {
    if ((oflags & kOpenDirectory) != 0 && (rights & kFdWrite) != 0) return kIsDirectory;  // asked for as one, and to be written
    file.kind = Wasi::Kind::kDirectory;
    file.rights = rights & from.inheriting & kDirectoryRights;
    file.inheriting = inheriting & from.inheriting;
    if (rights == 0) file.rights = from.rights & from.inheriting & kDirectoryRights;
    file.root = std::make_unique<sys::Root>(std::move(*opened));
  } else {
    file.kind = S_ISREG(st.st_mode) ? Wasi::Kind::kFile : Wasi::Kind::kStream;
    if (S_ISREG(st.st_mode) && (fdflags & kNonblock) == 0)
      if (int now = ::fcntl(opened->get(), F_GETFL); now >= 0) ::fcntl(opened->get(), F_SETFL, now & ~O_NONBLOCK);
    file.rights = rights & from.inheriting & kFileRights;
    if (!wants_write) file.rights &= ~u64{kFdWrite | kFdAllocate | kFdSetSize};
    file.fd = std::move(*opened);
  }
  u32 number = 0;
  if (u16 bad = w.add(std::move(file), number); bad != kSuccess) return bad;
  memory.write<u32>(fd_at, number);
  return kSuccess;
}

u32 path_create_directory(Wasi& w, Caller& caller, u32 fd, u32 at, u32 bytes) {
  MONOPOD_WASI_MEMORY(caller);
  PLACE(place, fd, kPathCreateDirectory, at, bytes);
  Name name;
  if (u16 bad = find_name(place, name); bad != kSuccess) return place.path == "." ? u16{kExists} : bad;
  return done(::mkdirat(name.parent.directory.get(), name.parent.name.c_str(), 0777));
}

u32 path_remove_directory(Wasi& w, Caller& caller, u32 fd, u32 at, u32 bytes) {
  MONOPOD_WASI_MEMORY(caller);
  PLACE(place, fd, kPathRemoveDirectory, at, bytes);
  Name name;
  if (u16 bad = find_name(place, name); bad != kSuccess) return bad;
  return done(::unlinkat(name.parent.directory.get(), name.parent.name.c_str(), AT_REMOVEDIR));
}

u32 path_unlink_file(Wasi& w, Caller& caller, u32 fd, u32 at, u32 bytes) {
  MONOPOD_WASI_MEMORY(caller);
  PLACE(place, fd, kPathUnlink, at, bytes);
  Name name;
  if (u16 bad = find_name(place, name); bad != kSuccess) return bad;
  if (name.slash) return is_directory(name) ? kIsDirectory : exists(name) ? kNotDirectory : kNoEntry;
  if (::unlinkat(name.parent.directory.get(), name.parent.name.c_str(), 0) == 0) return kSuccess;
  return errno == EPERM && is_directory(name) ? u32{kIsDirectory} : last_errno();
}

u32 path_rename(Wasi& w, Caller& caller, u32 fd, u32 at, u32 bytes, u32 to_fd, u32 to_at, u32 to_bytes) {
  MONOPOD_WASI_MEMORY(caller);
  PLACE(from, fd, kPathRenameSource, at, bytes);
  PLACE(to, to_fd, kPathRenameTarget, to_at, to_bytes);
  Name a, b;
  if (u16 bad = find_name(from, a); bad != kSuccess) return bad;
  if (u16 bad = find_name(to, b); bad != kSuccess) return bad;
  if ((a.slash || b.slash) && exists(a) && !is_directory(a)) return kNotDirectory;
  return done(::renameat(a.parent.directory.get(), a.parent.name.c_str(), b.parent.directory.get(), b.parent.name.c_str()));
}

u32 path_link(Wasi& w, Caller& caller, u32 fd, u32 lookup, u32 at, u32 bytes, u32 to_fd, u32 to_at, u32 to_bytes) {
  MONOPOD_WASI_MEMORY(caller);
  PLACE(from, fd, kPathLinkSource, at, bytes);
  PLACE(to, to_fd, kPathLinkTarget, to_at, to_bytes);
  if ((lookup & 1) != 0) return kInvalid;  // the link is made to the name itself, never to what a symlink says
  Name a, b;
  if (u16 bad = find_name(from, a); bad != kSuccess) return bad;
  if (u16 bad = find_name(to, b); bad != kSuccess) return bad;
  if (a.slash || b.slash) return exists(b) ? kExists : kNoEntry;
  return done(::linkat(a.parent.directory.get(), a.parent.name.c_str(), b.parent.directory.get(), b.parent.name.c_str(), 0));
}

u32 path_symlink(Wasi& w, Caller& caller, u32 target_at, u32 target_bytes, u32 fd, u32 at, u32 bytes) {
  MONOPOD_WASI_MEMORY(caller);
  PLACE(place, fd, kPathSymlink, at, bytes);
  if (target_bytes >= kWasiPathBytesMax) return kNameTooLong;
  MONOPOD_WASI_HOLDS(target_at, target_bytes);
  std::string target(reinterpret_cast<const char*>(memory.bytes().data()) + target_at, target_bytes);
  if (target.empty()) return kNoEntry;
  if (target.find('\0') != std::string::npos) return kInvalid;
  if (!is_valid_utf8(target)) return kIllegalBytes;
  if (target.front() == '/') return kNotPermitted;  // it could only point inside, which is not what it says
  Name name;
  if (u16 bad = find_name(place, name); bad != kSuccess) return bad;
  if (name.slash) return exists(name) ? (is_directory(name) ? kExists : kNotDirectory) : kNoEntry;
  return done(::symlinkat(target.c_str(), name.parent.directory.get(), name.parent.name.c_str()));
}

u32 path_readlink(Wasi& w, Caller& caller, u32 fd, u32 at, u32 bytes, u32 buffer, u32 size, u32 used_at) {
  MONOPOD_WASI_MEMORY(caller);
  PLACE(place, fd, kPathReadlink, at, bytes);
  MONOPOD_WASI_HOLDS(buffer, size);
  MONOPOD_WASI_HOLDS(used_at, 4);
  Name name;
  if (u16 bad = find_name(place, name); bad != kSuccess) return bad;
  char target[kWasiPathBytesMax];
  ssize_t n = ::readlinkat(name.parent.directory.get(), name.parent.name.c_str(), target, sizeof target);
  if (n < 0) return last_errno();
  auto used = static_cast<u32>(std::min<std::size_t>(static_cast<std::size_t>(n), size));
  if (used != 0) std::memcpy(memory.bytes().data() + buffer, target, used);
  memory.write<u32>(used_at, used);
  return kSuccess;
}

template <Snapshot S>
u32 path_filestat_get(Wasi& w, Caller& caller, u32 fd, u32 lookup, u32 at, u32 bytes, u32 to) {
  MONOPOD_WASI_MEMORY(caller);
  PLACE(place, fd, kPathStat, at, bytes);
  MONOPOD_WASI_HOLDS(to, stat_bytes(S));
  Result<sys::Fd> opened = open_beneath(*place.directory->root, place.path, O_PATH | ((lookup & 1) == 0 ? O_NOFOLLOW : 0));
  if (!opened) return lookup_errno(opened.error());
  struct ::stat st {};
  if (::fstat(opened->get(), &st) != 0) return last_errno();
  write_stat(memory, to, st, S);
  return kSuccess;
}

u32 path_filestat_set_times(Wasi& w, Caller& caller, u32 fd, u32 lookup, u32 at, u32 bytes, u64 atim, u64 mtim, u32 flags) {
  MONOPOD_WASI_MEMORY(caller);
  PLACE(place, fd, kPathSetTimes, at, bytes);
  timespec times[2];
  if (u16 bad = read_times(atim, mtim, flags, times); bad != kSuccess) return bad;
  if ((lookup & 1) == 0) {
    Name name;
    if (u16 bad = find_name(place, name); bad != kSuccess) return bad;
    return done(::utimensat(name.parent.directory.get(), name.parent.name.c_str(), times, AT_SYMLINK_NOFOLLOW));
  }
  Result<sys::Fd> opened = open_beneath(*place.directory->root, place.path, O_PATH);
  if (!opened) return lookup_errno(opened.error());
  return done(set_times(opened->get(), times));
}

constexpr HostFunction kPathRows[] = {
    host<path_open>("path_open"), host<path_create_directory>("path_create_directory"), host<path_remove_directory>("path_remove_directory"), host<path_unlink_file>("path_unlink_file"),
    host<path_rename>("path_rename"), host<path_link>("path_link"), host<path_symlink>("path_symlink"), host<path_readlink>("path_readlink"),
    host<path_filestat_get<Snapshot::kPreview1>>("path_filestat_get"), host<path_filestat_set_times>("path_filestat_set_times"),
};

constexpr HostFunction kUnstablePathRows[] = {host<path_filestat_get<Snapshot::kUnstable>>("path_filestat_get")};

}  // namespace

std::span<const HostFunction> wasi_path_rows() { return kPathRows; }
std::span<const HostFunction> wasi_unstable_path_rows() { return kUnstablePathRows; }

}  // namespace monopod::wasm
