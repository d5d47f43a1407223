// A connection that a client took over: raw bytes both ways, output in frames unless the process has a terminal.
#pragma once

#include <memory>

#include "async/event.h"
#include "async/scope.h"
#include "async/stream.h"
#include "async/time.h"
#include "docker/call.h"

namespace monopod::docker {

class Hijacked {
 public:
  Hijacked(async::Executor executor, async::Time& time, std::unique_ptr<async::Stream> stream, bool frames) : executor_(executor), time_(time), stream_(std::move(stream)), frames_(frames), free_(executor) {}

  // 101 where the client asked for an upgrade, else 200, as before Docker 1.9.
  static async::Task<Result<std::unique_ptr<Hijacked>>> accept(Call& call, async::Executor executor, async::Time& time, bool frames);

  async::Stream& stream() { return *stream_; }
  bool frames() const { return frames_; }
  // Of stream 1 (stdout) or 2 (stderr). Frames of two writers do not mix.
  async::Task<Result<>> write(std::uint8_t stream, std::span<const std::byte> bytes);

  struct Pumps {
    async::Stream* in = nullptr;   // of the process; any may be null
    async::Stream* out = nullptr;
    async::Stream* err = nullptr;
  };
  // Until both outputs have ended, or the client went away. The process's input ends where the client's does.
  async::Task<Result<>> pump(Pumps pumps);

 private:
  async::Task<Result<>> pump_output(async::Stream* from, std::uint8_t stream);
  async::Task<Result<>> pump_input(async::Stream* to);
  async::Task<Result<>> pump_outputs(async::Scope& scope, Pumps pumps);
  async::Task<Result<>> run(async::Scope& scope, Pumps pumps);

  async::Executor executor_;
  async::Time& time_;
  std::unique_ptr<async::Stream> stream_;
  bool frames_;
  bool writing_ = false;
  async::Notify free_;
};

}  // namespace monopod::docker
