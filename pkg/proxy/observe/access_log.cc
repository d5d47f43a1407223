#include "proxy/observe/access_log.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <system_error>

#include "base/strings.h"

namespace monopod::proxy {
namespace {

Result<sys::Fd> open_log(const std::string& path) {
  // An inherited stream may be a pipe or a socket, which cannot be opened by its name.
  if (path == "/dev/stdout" || path == "/dev/stderr") {
    sys::Fd fd(::fcntl(path == "/dev/stdout" ? 1 : 2, F_DUPFD_CLOEXEC, 3));
    if (!fd) return fail_errno(cat("open ", path));
    return fd;
  }
  sys::Fd fd(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640));
  if (!fd) return fail_errno(cat("open access log ", path));
  return fd;
}

void shrink(std::string& text) {
  text.clear();
  if (text.capacity() > 2 * kLogBytesBuffered) text.shrink_to_fit();
}

}  // namespace

Result<std::shared_ptr<LogWriter>> LogWriter::start() {
  std::shared_ptr<LogWriter> out(new LogWriter);
  // Signals are the control thread's.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  Result<> started;
  try {
    out->thread_ = std::thread([writer = out.get()] { writer->run(); });
  } catch (const std::system_error& e) {
    started = fail(Code::kResourceExhausted, cat("start a thread for access logs: ", e.what()));
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (!started) return fail(started.error());
  return out;
}

LogWriter::~LogWriter() {
  if (!thread_.joinable()) return;
  {
    std::scoped_lock lock(mutex_);
    ends_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void LogWriter::write(const std::shared_ptr<File>& file, std::string& lines) {
  std::scoped_lock lock(mutex_);
  if (file->waiting.empty()) {
    file->waiting.swap(lines);
  } else if (file->waiting.size() + lines.size() <= kLogBytesWaiting) {
    file->waiting += lines;
  } else {
    lines_dropped_ += static_cast<std::uint64_t>(std::ranges::count(lines, '\n'));
  }
  shrink(lines);
  queue(file);
}

void LogWriter::reopen(const std::shared_ptr<File>& file) {
  std::scoped_lock lock(mutex_);
  file->reopens = true;
  queue(file);
}

void LogWriter::queue(const std::shared_ptr<File>& file) {
  if (std::exchange(file->queued, true)) return;
  queue_.push_back(file);
  changed_.notify_one();
}

void LogWriter::run() {
  // Its waking up interrupts no worker.
  sched_param none{};
  ::sched_setscheduler(0, SCHED_BATCH, &none);
  std::string lines;
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return ends_ || !queue_.empty(); });
    if (queue_.empty()) return;
    std::shared_ptr<File> file = std::move(queue_.back());
    queue_.pop_back();
    file->queued = false;
    lines.swap(file->waiting);
    bool reopens = std::exchange(file->reopens, false);
    lock.unlock();
    write_out(*file, lines);
    if (reopens && !file->rotating)
      if (Result<sys::Fd> fd = open_log(file->path)) file->fd = std::move(*fd);
    shrink(lines);
    file.reset();
    lock.lock();
  }
}

void LogWriter::write_out(File& file, std::string_view lines) {
  if (file.rotating) {
    if (!lines.empty() && !file.rotating->write(lines, RealClock().wall())) lines_dropped_ += static_cast<std::uint64_t>(std::ranges::count(lines, '\n'));
    return;
  }
  while (!lines.empty()) {
    ssize_t n = ::write(file.fd.get(), lines.data(), lines.size());
    if (n <= 0) {
      lines_dropped_ += static_cast<std::uint64_t>(std::ranges::count(lines, '\n'));
      return;
    }
    lines.remove_prefix(static_cast<std::size_t>(n));
  }
}

Result<std::unique_ptr<AccessLogFile>> AccessLogFile::open(const AccessLogSpec& spec, std::shared_ptr<LogWriter> writer) {
  auto out = std::make_unique<AccessLogFile>();
  out->writer_ = std::move(writer);
  out->file_ = std::make_shared<LogWriter::File>(LogWriter::File{.path = spec.path});
  if (spec.rotate_mb == 0) {
    TRY_ASSIGN(out->file_->fd, open_log(spec.path));
    return out;
  }
  TRY_ASSIGN(out->file_->rotating, sys::RotatingFile::open(spec.path, {.bytes_max = std::uint64_t{spec.rotate_mb} << 20, .old_files_max = static_cast<int>(spec.old_files_max)}));
  return out;
}

bool AccessLogFile::append(const LogFormat& format, const LogRecord& record) {
  bool first = lines_.empty();
  format.append(record, start_, lines_);
  if (lines_.size() < kLogBytesBuffered) return first;
  flush();
  return false;
}

void AccessLogFile::flush() {
  if (!lines_.empty()) writer_->write(file_, lines_);
}

void AccessLogFile::reopen() {
  flush();
  writer_->reopen(file_);
}

}  // namespace monopod::proxy
