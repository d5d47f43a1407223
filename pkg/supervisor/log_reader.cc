#include "supervisor/log_reader.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <deque>

#include "base/strings.h"
#include "sys/fd.h"
#include "sys/stream.h"

namespace monopod::supervisor {

namespace {

constexpr std::size_t kBlockBytes = 64U << 10;
constexpr Duration kLookAgain = std::chrono::seconds(2);
constexpr Duration kLookSoon = std::chrono::milliseconds(5);  // then twice as long each time
constexpr int kRotatedMax = 1000;

struct LogFile {
  sys::Fd fd;
  ino_t inode = 0;
};

Result<LogFile> open_log(const std::string& path) {
  LogFile out;
  out.fd = sys::Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!out.fd) return fail_errno(cat("open log ", path));
  struct stat st{};
  if (::fstat(out.fd.get(), &st) != 0) return fail_errno("stat log");
  out.inode = st.st_ino;
  return out;
}

// Files of a log, oldest first. One that is rotated between two looks is seen under its new name, too.
Result<std::deque<LogFile>> open_all(const std::string& path) {
  std::deque<LogFile> out;
  TRY_ASSIGN(LogFile current, open_log(path));
  out.push_front(std::move(current));
  for (int i = 1; i < kRotatedMax; ++i) {
    auto older = open_log(cat(path, ".", i));
    if (!older) break;
    if (older->inode != out.front().inode) out.push_front(*std::move(older));
  }
  return out;
}

// Those that were begun after one; all where that is gone.
Result<std::deque<LogFile>> open_newer(const std::string& path, ino_t than) {
  TRY_ASSIGN(auto all, open_all(path));
  auto known = std::ranges::find(all, than, &LogFile::inode);
  if (known != all.end()) all.erase(all.begin(), std::next(known));
  return all;
}

// Offset of the last `lines` entries (of a line that comes in parts each is one, as for a kubelet); lines becomes how many are missing.
Result<off_t> find_tail(int fd, std::int64_t& lines) {
  struct stat st{};
  if (::fstat(fd, &st) != 0) return fail_errno("stat log");
  if (lines <= 0) return st.st_size;
  off_t at = st.st_size;
  std::string block;
  if (at > 0) --lines;  // the first, which no newline stands before
  while (at > 0) {
    std::size_t size = static_cast<std::size_t>(std::min<off_t>(at, static_cast<off_t>(kBlockBytes)));
    at -= static_cast<off_t>(size);
    block.resize(size);
    ssize_t n = ::pread(fd, block.data(), size, at);
    if (n < 0) return fail_errno("read log");
    block.resize(static_cast<std::size_t>(n));
    for (std::size_t i = block.size(); i-- > 0;) {
      off_t here = at + static_cast<off_t>(i);
      if (block[i] != '\n' || here + 1 >= st.st_size) continue;
      if (lines-- == 0) {
        lines = 0;
        return here + 1;
      }
    }
  }
  return 0;
}

}  // namespace

std::optional<LogLine> parse_log_line(std::string_view line) {
  if (line.ends_with('\n')) line.remove_suffix(1);
  LogLine out;
  std::size_t a = line.find(' ');
  if (a == std::string_view::npos) return std::nullopt;
  std::size_t b = line.find(' ', a + 1);
  if (b == std::string_view::npos) return std::nullopt;
  out.time = line.substr(0, a);
  out.stream = line.substr(a + 1, b - a - 1);
  if (out.stream != "stdout" && out.stream != "stderr") return std::nullopt;
  std::size_t c = line.find(' ', b + 1);
  std::string_view tags = line.substr(b + 1, c == std::string_view::npos ? std::string_view::npos : c - b - 1);
  if (tags.empty()) return std::nullopt;
  out.partial = split_once(tags, ':').first == "P";
  out.text = c == std::string_view::npos ? std::string_view() : line.substr(c + 1);
  return out;
}

void put_frame_head(std::uint8_t stream, std::size_t bytes, char* into) {
  into[0] = static_cast<char>(stream);
  into[1] = into[2] = into[3] = 0;
  for (int i = 0; i < 4; ++i) into[4 + i] = static_cast<char>(bytes >> (24 - 8 * i) & 0xFF);
}

std::string read_log_tail(const std::string& path, std::size_t lines_max, std::size_t bytes_max) {
  auto file = open_log(path);
  if (!file) return {};
  auto lines = static_cast<std::int64_t>(lines_max);
  auto from = find_tail(file->fd.get(), lines);
  if (!from) return {};
  std::string raw(1U << 20, '\0');
  ssize_t n = ::pread(file->fd.get(), raw.data(), raw.size(), *from);
  raw.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  std::string text;
  for (std::string_view line : split(raw, '\n')) {
    auto parsed = parse_log_line(line);
    if (!parsed) continue;
    text += parsed->text;
    if (!parsed->partial) text += '\n';
  }
  if (text.size() > bytes_max) text.erase(0, text.size() - bytes_max);
  return text;
}

namespace {

// Turns log bytes into what the client sees.
class LogFormatter {
 public:
  explicit LogFormatter(const LogOptions& options) : options_(options), left_(options.limit_bytes) {}

  std::string format(std::string_view bytes) {
    std::string out;
    pending_ += bytes;
    std::size_t at = 0;
    for (std::size_t end; (end = pending_.find('\n', at)) != std::string::npos; at = end + 1) {
      auto line = parse_log_line(std::string_view(pending_).substr(at, end - at));
      if (line) add(*line, out);
    }
    pending_.erase(0, at);
    if (left_) {
      if (static_cast<std::int64_t>(out.size()) > *left_) out.resize(static_cast<std::size_t>(*left_));
      *left_ -= static_cast<std::int64_t>(out.size());
    }
    return out;
  }
  bool full() const { return past_until_ || (left_ && *left_ <= 0); }

 private:
  void add(const LogLine& line, std::string& out) {
    if (options_.since || options_.until) {
      auto at = parse_rfc3339(line.time);
      if (at && options_.since && *at < *options_.since) return;
      if (at && options_.until && *at > *options_.until) {
        past_until_ = true;
        return;
      }
    }
    bool error = line.stream == "stderr";
    if (options_.stream == "Stdout" && error) return;
    if (options_.stream == "Stderr" && !error) return;
    bool& inside = inside_[options_.frames && error ? 1 : 0];
    std::size_t begin = out.size();
    if (options_.frames) out.append(8, '\0');
    if (options_.timestamps && !inside) {
      out += line.time;
      out += ' ';
    }
    out += line.text;
    inside = line.partial;
    if (!line.partial) out += '\n';
    if (options_.frames) put_frame_head(error ? 2 : 1, out.size() - begin - 8, out.data() + begin);
  }

  const LogOptions& options_;
  std::optional<std::int64_t> left_;
  std::string pending_;
  bool past_until_ = false;
  bool inside_[2] = {false, false};  // of a line that comes in parts; with frames by stream
};

// The files to read, and where to begin in the first.
Result<std::deque<LogFile>> open_start(const std::string& path, const LogOptions& options, off_t& offset) {
  std::deque<LogFile> files;
  if (options.rotated) {
    TRY_ASSIGN(files, open_all(path));
  } else {
    TRY_ASSIGN(LogFile current, open_log(path));
    files.push_back(std::move(current));
  }
  if (!options.tail_lines) return files;
  std::int64_t missing = *options.tail_lines;
  for (std::size_t i = files.size(); i-- > 0;) {
    TRY_ASSIGN(offset, find_tail(files[i].fd.get(), missing));
    if (missing > 0 && i > 0) continue;
    files.erase(files.begin(), files.begin() + static_cast<std::ptrdiff_t>(i));
    break;
  }
  return files;
}

Result<std::string> read_block(int fd, off_t offset) {
  std::string block(kBlockBytes, '\0');
  ssize_t n = ::pread(fd, block.data(), block.size(), offset);
  if (n < 0) return fail_errno("read log");
  block.resize(static_cast<std::size_t>(n));
  return block;
}

Result<sys::Fd> watch_log(const std::string& path) {
  sys::Fd fd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!fd) return fail_errno("inotify");
  std::string directory = path.substr(0, path.rfind('/'));
  if (::inotify_add_watch(fd.get(), directory.c_str(), IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE) < 0) return fail_errno(cat("watch ", directory));
  return fd;
}

// Whether a file was closed, as a log is when its container has ended.
bool drain(int inotify) {
  alignas(struct inotify_event) char events[4096];
  bool closed = false;
  for (ssize_t n; (n = ::read(inotify, events, sizeof events)) > 0;) {
    struct inotify_event event = {};
    for (ssize_t at = 0; at + static_cast<ssize_t>(sizeof event) <= n; at += static_cast<ssize_t>(sizeof event + event.len)) {
      std::memcpy(&event, events + at, sizeof event);
      closed = closed || (event.mask & IN_CLOSE_WRITE) != 0;
    }
  }
  return closed;
}

}  // namespace

async::Task<Result<>> stream_log(LogStream s) {
  off_t offset = 0;
  CO_TRY_ASSIGN(std::deque<LogFile> files, co_await s.pool.run([&] { return open_start(s.path, s.options, offset); }));
  sys::Fd inotify;
  if (s.options.follow) {
    CO_TRY_ASSIGN(inotify, watch_log(s.path));
  }
  LogFormatter formatter(s.options);
  Duration wait = kLookAgain;
  while (!formatter.full()) {
    bool ended = !s.options.follow || s.ended();
    CO_TRY_ASSIGN(std::string block, co_await s.pool.run([&] { return read_block(files.front().fd.get(), offset); }));
    if (!block.empty()) {
      offset += static_cast<off_t>(block.size());
      std::string text = formatter.format(block);
      if (!text.empty()) CO_TRY(co_await s.write(share(std::move(text))));
      continue;
    }
    // At the end of this file: rotated away, over, or more to come.
    if (files.size() > 1) {
      files.pop_front();
      offset = 0;
      continue;
    }
    if (s.options.follow) {
      auto newer = co_await s.pool.run([&] { return open_newer(s.path, files.front().inode); });
      if (newer && !newer->empty()) {  // something may have come between the last look and the rotation: once more, then on to those
        for (LogFile& file : *newer) files.push_back(std::move(file));
        continue;
      }
    }
    if (ended) break;
    auto woken = co_await async::with_timeout<void>(s.time, wait, "log", sys::wait_readable(inotify.get()));
    if (!woken && woken.error().code() != Code::kDeadlineExceeded) co_return woken;
    // The log is closed a moment before anybody is told that the container has ended.
    wait = drain(inotify.get()) ? kLookSoon : std::min(wait * 2, Duration(kLookAgain));
  }
  co_return Result<>();
}

}  // namespace monopod::supervisor
