// Access logs of a worker: lines collect in memory and leave in one write, after 32 KB or a tenth of a second.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "proxy/observe/log_format.h"
#include "sys/fd.h"

namespace monopod::proxy {

inline constexpr std::size_t kLogBytesBuffered = 32U << 10;
inline constexpr std::uint64_t kLogFlushMs = 100;

class AccessLogFile {
 public:
  // Appends; made with mode 0640 where there is none. "/dev/stdout" and "/dev/stderr" are the process's own.
  static Result<std::unique_ptr<AccessLogFile>> open(const std::string& path);
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
  std::string lines_;
  StartTime start_;
  std::uint64_t dropped_ = 0;
};

}  // namespace monopod::proxy
