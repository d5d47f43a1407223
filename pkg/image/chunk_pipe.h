// Bytes from the loop to one blocking reader on a pool thread, with back-pressure: a download feeding an unpack.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>

#include "async/event.h"
#include "base/bytes.h"
#include "codec/byte_stream.h"

namespace monopod::image {

class ChunkPipe : public std::enable_shared_from_this<ChunkPipe> {
 public:
  ChunkPipe(async::Executor executor, std::size_t bytes_max) : executor_(executor), space_(executor), bytes_max_(bytes_max) {}

  // On the loop. Waits while bytes_max are queued. kCancelled once the reader has gone.
  async::Task<Result<>> push(SharedBytes chunk);
  // The end, or why it did not come to it. Idempotent; the first call counts.
  void close(Result<> outcome);

  // On the reader's thread. 0 at the end; the error that close() was given.
  Result<std::size_t> read(std::span<std::byte> into);
  void abandon();

 private:
  void wake_writer();

  async::Executor executor_;
  async::Notify space_;  // touched on the loop only
  const std::size_t bytes_max_;
  std::mutex mutex_;
  std::condition_variable readable_;
  std::deque<SharedBytes> chunks_;
  std::size_t offset_ = 0;  // into the first chunk
  std::size_t bytes_ = 0;
  std::optional<Result<>> outcome_;
  bool abandoned_ = false;
};

// The reader's end; abandons the pipe as it dies.
class ChunkPipeSource final : public codec::ByteSource {
 public:
  explicit ChunkPipeSource(std::shared_ptr<ChunkPipe> pipe) : pipe_(std::move(pipe)) {}
  ~ChunkPipeSource() override { pipe_->abandon(); }
  ChunkPipeSource(const ChunkPipeSource&) = delete;
  ChunkPipeSource& operator=(const ChunkPipeSource&) = delete;
  Result<std::size_t> read(std::span<std::byte> into) override { return pipe_->read(into); }

 private:
  std::shared_ptr<ChunkPipe> pipe_;
};

}  // namespace monopod::image
