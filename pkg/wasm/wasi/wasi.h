// WASI preview 1 (wasi_snapshot_preview1): what a guest may see of the host, each piece granted explicitly. Without grants a guest has arguments it was
// given, clocks, random numbers and nothing else.
//
// Paths: every directory is a sys::Root; a guest's path is relative to one, and neither "..", nor an absolute path, nor a symlink leads out of it, also while
// somebody swaps components: a lookup that would is an error (beneath.h). Source: WebAssembly/WASI, legacy/preview1/docs.md.
#pragma once

#include <time.h>

#include <atomic>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/rng.h"
#include "sys/fd.h"
#include "sys/root.h"
#include "wasm/engine.h"

namespace monopod::wasm {

inline constexpr std::uint32_t kWasiFilesMax = 4096;          // open at once
inline constexpr std::uint32_t kWasiVectorsMax = 1024;        // of one read or write, as Linux has it
inline constexpr std::uint32_t kWasiSubscriptionsMax = 4096;  // of one poll
inline constexpr std::uint32_t kWasiPathBytesMax = 4096;
inline constexpr std::uint64_t kWasiVirtualEpochNs = 1'577'836'800'000'000'000;  // 2020-01-01T00:00:00Z, of CLOCK_REALTIME; the others begin at 0

struct WasiDirectory {
  std::string guest;  // the name the guest sees: "/data", "."
  sys::Root root;
  bool read_only = false;
};
struct WasiEndpoint {  // numeric address, as inet_pton reads it
  std::string address;
  std::uint16_t port = 0;
};
struct WasiOptions {
  std::vector<std::string> arguments;    // the first is the program's name
  std::vector<std::string> environment;  // NAME=value
  std::vector<WasiDirectory> directories;
  std::vector<sys::Fd> listeners;        // sockets to accept on
  std::vector<WasiEndpoint> connect;     // where sock_connect may go; empty: nowhere
  bool inherit_stdio = true;             // else the three are empty and swallow
  // The same at every run: random numbers from a fixed seed; clocks that begin at kWasiVirtualEpochNs, go on by a microsecond when they are read, and
  // by what a guest sleeps, at once. What files and sockets say is the world's all the same.
  bool deterministic = false;
};

class Wasi {
 public:
  explicit Wasi(WasiOptions options);
  // Under wasi_snapshot_preview1 and its predecessor wasi_unstable. The linker borrows this object.
  void link(Linker& linker);
  // Ends waits of the guest now and from now on. Any thread. Use beside Store::interrupt().
  void interrupt();

  // ---- for the groups of calls (one file each)
  enum class Kind : std::uint8_t { kFile, kDirectory, kSocket, kListener, kStream };
  struct File {
    sys::Fd fd;
    Kind kind = Kind::kFile;
    std::uint8_t type = 0;       // WASI filetype
    std::uint16_t flags = 0;     // WASI fdflags
    bool standard = false;       // one of the first three that is no file: its size and times are the host's affair
    bool read_only = false;      // of directories: nothing below may be changed
    std::uint64_t rights = 0, inheriting = 0;
    std::string preopened;       // guest's name; of the first ones
    std::unique_ptr<sys::Root> root;  // of directories
  };
  // Null with an errno in error: no such file, or without this right.
  File* file(std::uint32_t fd, std::uint64_t right, std::uint16_t& error);
  std::uint16_t add(File file, std::uint32_t& fd);  // lowest free number
  // Until the file is ready for these poll(2) events; EINTR's number where interrupted.
  std::uint16_t wait(int fd, short events);
  const WasiOptions& options() const { return options_; }
  std::map<std::uint32_t, File>& files() { return files_; }
  int wake_fd() const { return wake_.get(); }
  std::uint64_t now_ns(clockid_t clock);
  void sleep_virtually(std::uint64_t ns) { virtual_ns_ += ns; }  // where deterministic
  bool fill_random(std::span<std::uint8_t> bytes);               // false: errno says why

 private:
  WasiOptions options_;
  std::map<std::uint32_t, File> files_;
  sys::Fd wake_;
  std::uint64_t virtual_ns_ = 0;
  std::unique_ptr<SeededRng> random_;
};

// The groups' tables.
std::span<const HostFunction> wasi_process_rows();
std::span<const HostFunction> wasi_file_rows();
std::span<const HostFunction> wasi_path_rows();
std::span<const HostFunction> wasi_poll_rows();
std::span<const HostFunction> wasi_socket_rows();
// Of wasi_unstable: those that differ.
std::span<const HostFunction> wasi_unstable_file_rows();
std::span<const HostFunction> wasi_unstable_path_rows();
std::span<const HostFunction> wasi_unstable_poll_rows();

}  // namespace monopod::wasm
