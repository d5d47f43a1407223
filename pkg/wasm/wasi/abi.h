// Numbers and layouts of preview 1, and the guest's memory as its calls see it. Internal to the package.
#pragma once

#include <sys/stat.h>
#include <sys/uio.h>

#include <optional>

#include "wasm/wasi/wasi.h"

namespace monopod::wasm::wasi {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i64 = std::int64_t;

enum Errno : u16 {
  kSuccess = 0, kTooBig = 1, kAccess = 2, kBadFile = 8, kExists = 20, kFault = 21, kIllegalBytes = 25, kInterrupted = 27, kInvalid = 28, kIo = 29, kIsDirectory = 31, kTooManyFiles = 33,
  kNameTooLong = 37, kNoEntry = 44, kNoMemory = 48, kNoSystemCall = 52, kNotDirectory = 54, kNotEmpty = 55, kNotSocket = 57, kNotSupported = 58, kNotPermitted = 63, kReadOnly = 69,
  kSeekPipe = 70, kNotCapable = 76,
};
u16 errno_of(int host);  // errno of Linux -> number of WASI
inline u16 errno_of(const Error& error) { return error.os_errno() != 0 ? errno_of(error.os_errno()) : error.code() == Code::kInvalidArgument ? u16{kInvalid} : u16{kIo}; }
u16 last_errno();

enum FileType : u8 { kUnknown = 0, kBlock = 1, kCharacter = 2, kDirectory = 3, kRegular = 4, kDatagram = 5, kStream = 6, kSymlink = 7 };
u8 type_of(mode_t mode);
u8 type_of_entry(u8 d_type);

enum Right : u64 {
  kFdDatasync = 1 << 0, kFdRead = 1 << 1, kFdSeek = 1 << 2, kFdSetFlags = 1 << 3, kFdSync = 1 << 4, kFdTell = 1 << 5, kFdWrite = 1 << 6, kFdAdvise = 1 << 7, kFdAllocate = 1 << 8,
  kPathCreateDirectory = 1 << 9, kPathCreateFile = 1 << 10, kPathLinkSource = 1 << 11, kPathLinkTarget = 1 << 12, kPathOpen = 1 << 13, kFdReaddir = 1 << 14, kPathReadlink = 1 << 15,
  kPathRenameSource = 1 << 16, kPathRenameTarget = 1 << 17, kPathStat = 1 << 18, kPathSetSize = 1 << 19, kPathSetTimes = 1 << 20, kFdStat = 1 << 21, kFdSetSize = 1 << 22,
  kFdSetTimes = 1 << 23, kPathSymlink = 1 << 24, kPathRemoveDirectory = 1 << 25, kPathUnlink = 1 << 26, kPollFd = 1 << 27, kSockShutdown = 1 << 28, kSockAccept = 1 << 29,
};
inline constexpr u64 kAllRights = (1 << 30) - 1;
inline constexpr u64 kDirectoryRights = kPathCreateDirectory | kPathCreateFile | kPathLinkSource | kPathLinkTarget | kPathOpen | kFdReaddir | kPathReadlink | kPathRenameSource | kPathRenameTarget |
                                        kPathStat | kPathSetSize | kPathSetTimes | kFdStat | kFdSetTimes | kPathSymlink | kPathRemoveDirectory | kPathUnlink | kFdSync | kFdDatasync | kFdSetFlags | kFdAdvise;
inline constexpr u64 kFileRights = kFdDatasync | kFdRead | kFdSeek | kFdSetFlags | kFdSync | kFdTell | kFdWrite | kFdAdvise | kFdAllocate | kFdStat | kFdSetSize | kFdSetTimes | kPollFd;
inline constexpr u64 kStreamRights = kFdRead | kFdWrite | kFdSetFlags | kFdStat | kPollFd | kFdSync | kFdDatasync;
inline constexpr u64 kSocketRights = kStreamRights | kSockShutdown | kSockAccept;
// What changes something: not to be had below a read-only directory.
inline constexpr u64 kWritingRights = kFdWrite | kFdAllocate | kFdSetSize | kFdSetTimes | kPathCreateDirectory | kPathCreateFile | kPathLinkSource | kPathLinkTarget | kPathRenameSource |
                                      kPathRenameTarget | kPathSetSize | kPathSetTimes | kPathSymlink | kPathRemoveDirectory | kPathUnlink;

enum FdFlag : u16 { kAppend = 1, kDsync = 2, kNonblock = 4, kRsync = 8, kSync = 16 };
int open_flags(u16 fdflags);
u16 fdflags_of(int open_flags);
enum OpenFlag : u16 { kCreate = 1, kOpenDirectory = 2, kExclusive = 4, kTruncate = 8 };

// The caller's first memory; null (and a trap) where it has none.
std::optional<Memory> memory_of(Caller& caller);
#define MONOPOD_WASI_MEMORY(caller)                        \
  std::optional<Memory> memory_ = memory_of(caller);       \
  if (!memory_) return kFault;                             \
  const Memory memory = *memory_
#define MONOPOD_WASI_HOLDS(offset, count) \
  if (!memory.holds(u64{offset}, u64{count})) return kFault
#define MONOPOD_WASI_FILE(name, fd, right)           \
  u16 name##_error = kSuccess;                       \
  Wasi::File* name = w.file(fd, right, name##_error); \
  if (name == nullptr) return name##_error

// The guest's buffers as the kernel takes them: the host reads and writes linear memory in place.
u16 read_vectors(const Memory& memory, u32 at, u32 count, std::vector<iovec>& out);
// A path of the guest: UTF-8, no NUL, not absolute, not leading above its start.
u16 read_path(const Memory& memory, u32 at, u32 bytes, std::string& out);
// wasi_unstable (snapshot 0), which programs of 2019 import: the same calls, but for the order of fd_seek's origins and these layouts.
enum class Snapshot : u8 { kUnstable, kPreview1 };
constexpr u32 stat_bytes(Snapshot s) { return s == Snapshot::kUnstable ? 56 : 64; }
void write_stat(const Memory& memory, u32 at, const struct ::stat& st, Snapshot snapshot);
// fst_flags to what utimensat takes.
u16 read_times(u64 atim, u64 mtim, u32 flags, timespec out[2]);
int set_times(int fd, const timespec times[2]);  // as utimensat, also of what was opened O_PATH

}  // namespace monopod::wasm::wasi
