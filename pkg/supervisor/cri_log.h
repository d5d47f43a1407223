// Container logs in CRI format (kubernetes/design-proposals-archive kubelet-cri-logging):
//   2026-01-02T03:04:05.000000006Z stdout F a whole line
//   2026-01-02T03:04:05.000000006Z stderr P the first 16 KiB of a longer one
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "sys/fd.h"

namespace monopod::supervisor {

inline constexpr std::size_t kLogLineBytesMax = 16 << 10;

// Cuts a byte stream into entries and remembers the unfinished line.
class LineCutter {
 public:
  explicit LineCutter(std::string_view stream) : stream_(stream) {}
  // Appends finished entries to out, stamped with now.
  void feed(std::string_view bytes, WallTime now, std::string& out);
  // What is left at the end of the stream is a whole line.
  void finish(WallTime now, std::string& out);
  // The unfinished line, for a cutter that goes on after this one.
  const std::string& rest() const { return rest_; }
  void resume(std::string rest) { rest_ = std::move(rest); }

 private:
  void entry(std::string_view stamp, char tag, std::string_view bytes, std::string& out) const;
  std::string stream_;
  std::string rest_;
};

// A log file with rotation: path is current, path.1 the newest old one. Opened through its directory's descriptor and never through a symlink
// (the directory may be a place that others write to).
class LogFile {
 public:
  LogFile() = default;
  static Result<LogFile> open(const std::string& path, std::uint64_t bytes_max, int files_max);

  explicit operator bool() const { return static_cast<bool>(file_); }
  // Whole entries. Rotates before writing where the limit would be passed. A full disk loses entries, never blocks for long or fails the container.
  Result<> write(std::string_view entries);

 private:
  Result<> open_current();
  Result<> rotate();

  sys::Fd directory_;
  sys::Fd file_;
  std::string name_;
  std::uint64_t bytes_max_ = 0;
  std::uint64_t bytes_ = 0;
  int files_max_ = 0;
};

}  // namespace monopod::supervisor
