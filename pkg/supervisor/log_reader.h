// Container logs in CRI form, one line each: "2026-01-02T03:04:05.000000006Z stdout F text". P instead of F marks a part
// of a longer line. Written by the supervisor, which also rotates (0.log, 0.log.<time>[.gz]).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "async/pool.h"
#include "async/time.h"
#include "base/bytes.h"
#include "base/clock.h"

namespace monopod::supervisor {

struct LogLine {
  std::string_view time;
  std::string_view stream;  // stdout, stderr
  bool partial = false;
  std::string_view text;    // without the newline
};
std::optional<LogLine> parse_log_line(std::string_view line);

struct LogOptions {
  bool follow = false;
  bool rotated = false;  // from the oldest file that is left, not from the current one
  bool timestamps = false;
  std::optional<std::int64_t> tail_lines;
  std::optional<std::int64_t> limit_bytes;
  std::optional<WallTime> since;
  std::optional<WallTime> until;  // ends with the first line after it
  std::string stream;   // "", "Stdout", "Stderr"
  bool frames = false;  // each entry in a frame of its own, as Docker multiplexes streams
};
// The head of a frame of Docker's multiplexed streams: stream (0 stdin, 1 stdout, 2 stderr), three zeros, length in four bytes, big end first.
void put_frame_head(std::uint8_t stream, std::size_t bytes, char* into);

// Last lines of a log as plain text; blocking.
std::string read_log_tail(const std::string& path, std::size_t lines_max, std::size_t bytes_max);

// Sends what options ask for to write, across rotations. With follow it goes on, woken by inotify, until ended() says that the container has
// ended and the file is read to its end (looked at when the file is closed and soon after, else every few seconds), or write fails.
struct LogStream {
  async::Time& time;
  async::Pool& pool;
  std::string path;
  LogOptions options;
  std::function<async::Task<Result<>>(SharedBytes)> write;
  std::function<bool()> ended;
};
async::Task<Result<>> stream_log(LogStream stream);

}  // namespace monopod::supervisor
