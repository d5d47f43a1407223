// Access logs of a worker: lines collect in memory and leave in one write, after 32 KB or a tenth of a second. A file rotates itself, where that is
// asked for, or somebody else does it and has it opened anew.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "proxy/observe/log_format.h"
#include "sys/fd.h"
#include "sys/rotating_file.h"

namespace monopod::proxy {

inline constexpr std::size_t kLogBytesBuffered = 32U << 10;
inline constexpr std::uint64_t kLogFlushMs = 100;

class AccessLogFile {
 public:
  // Appends; made with mode 0640 where there is none (0600 where it rotates). "/dev/stdout" and "/dev/stderr" are the process's own.
  static Result<std::unique_ptr<AccessLogFile>> open(const AccessLogSpec& spec);
  ~AccessLogFile() { flush(); }

  // True where the line is the first of what waits: flush() within kLogFlushMs.
  bool append(const LogFormat& format, const LogRecord& record);
  // What the file does not take is dropped and counted.
  void flush();
  // Opens the path anew: it was rotated.
  void reopen();
  const std::string& path() const { return path_; }
  std::uint64_t dropped() const { return dropped_; }

 private:
  std::string path_;
  sys::Fd fd_;
  std::optional<sys::RotatingFile> rotating_;  // instead of fd_
  std::string lines_;
  StartTime start_;
  std::uint64_t dropped_ = 0;
};

}  // namespace monopod::proxy
