// A person's terminal and a container's: bytes both ways until the program ends, signals and window sizes passed on.
#pragma once

#include <string>

#include "docker_client/engine_client.h"

namespace monopod::docker_client {

struct SessionOptions {
  bool tty = false;           // the program has a terminal: no frames, ours becomes raw
  bool input = false;         // ours goes to it
  std::string detach_keys{};  // "ctrl-p,ctrl-q"; with a terminal alone
  std::string resize_path{};  // "/containers/ID/resize": where the window's size is told
  std::string kill_path{};    // "/containers/ID/kill": where signals go; empty: SIGINT, SIGTERM and SIGHUP end the session
};

// Where a session stands: at the end of what the program wrote, left by its keys, or ended by a signal.
struct SessionEnd {
  bool detached = false;
  int signal = 0;
};

// Blocks the signals that a session passes on, from here to the process' end: before a program is started that a signal in between would leave
// behind.
void hold_signals();

// In raw mode only while it runs. output_path gone (EPIPE) ends it with an error.
async::Task<Result<SessionEnd>> run_session(EngineClient& client, async::Stream& stream, SessionOptions options);

// "ctrl-p,ctrl-q" as bytes; kInvalidArgument.
Result<std::string> parse_detach_keys(std::string_view text);

// Takes frames apart as they come: the stream's number and its bytes.
class FrameReader {
 public:
  // Calls take(1 or 2, bytes) for each piece. kDataLoss for what is no frame.
  Result<> feed(std::string_view bytes, const std::function<Result<>(int, std::string_view)>& take);

 private:
  std::string head_;
  int stream_ = 0;
  std::size_t left_ = 0;
};

// Finds the keys in what is typed; holds back what may be their beginning.
class DetachKeys {
 public:
  explicit DetachKeys(std::string keys) : keys_(std::move(keys)) {}
  // What goes on to the program; nullopt once all keys were pressed.
  std::optional<std::string> feed(std::string_view typed);

 private:
  std::string keys_;
  std::size_t matched_ = 0;
};

}  // namespace monopod::docker_client
