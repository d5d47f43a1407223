// Access logs of a worker: lines collect in memory and go to a thread that writes them, after 32 KB or a quarter of a second, so that a slow or full disk
// delays lines and no requests. A file rotates itself, where that is asked for, or somebody else does it and has it opened anew.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "proxy/observe/log_format.h"
#include "sys/fd.h"
#include "sys/rotating_file.h"

namespace monopod::proxy {

inline constexpr std::size_t kLogBytesBuffered = 32U << 10;
inline constexpr std::size_t kLogBytesWaiting = 4U << 20;  // for a disk that does not keep up; of one file
inline constexpr std::uint64_t kLogFlushMs = 250;

// The thread behind the logs of a worker. What waits is written before it ends.
class LogWriter {
 public:
  struct File {
    std::string path;
    sys::Fd fd;
    std::optional<sys::RotatingFile> rotating{};  // instead of fd
    // Under the writer's mutex.
    std::string waiting{};
    bool queued = false, reopens = false;
  };

  // kResourceExhausted where there is no thread to be had.
  static Result<std::shared_ptr<LogWriter>> start();
  ~LogWriter();

  // Takes whole lines and leaves an empty text, with room.
  void write(const std::shared_ptr<File>& file, std::string& lines);
  // After the lines of before.
  void reopen(const std::shared_ptr<File>& file);
  // Lines that a file or the room for those that wait did not take.
  std::uint64_t lines_dropped() const { return lines_dropped_; }

 private:
  LogWriter() = default;
  void run();
  void queue(const std::shared_ptr<File>& file);
  void write_out(File& file, std::string_view lines);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::shared_ptr<File>> queue_;
  bool ends_ = false;
  std::atomic<std::uint64_t> lines_dropped_{0};
  std::thread thread_;
};

class AccessLogFile {
 public:
  // Appends; made with mode 0640 where there is none (0600 where it rotates). "/dev/stdout" and "/dev/stderr" are the process's own.
  static Result<std::unique_ptr<AccessLogFile>> open(const AccessLogSpec& spec, std::shared_ptr<LogWriter> writer);
  ~AccessLogFile() { flush(); }

  // True where the line is the first of what waits: flush() within kLogFlushMs.
  bool append(const LogFormat& format, const LogRecord& record);
  // Hands the lines to the writer.
  void flush();
  // Opens the path anew: it was rotated.
  void reopen();
  const std::string& path() const { return file_->path; }

 private:
  std::shared_ptr<LogWriter> writer_;
  std::shared_ptr<LogWriter::File> file_;
  std::string lines_;
  StartTime start_;
};

}  // namespace monopod::proxy
