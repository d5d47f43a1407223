// A byte stream: socket, TLS session, pipe, pseudo-terminal. One reader and one writer at a time.
#pragma once

#include <cstddef>
#include <span>

#include "async/task.h"

namespace monopod::async {

class Stream {
 public:
  virtual ~Stream() = default;
  // At least one byte; 0 at end of stream. Errors: kCancelled, or what the transport said.
  virtual Task<Result<std::size_t>> read_some(std::span<std::byte> into) = 0;
  // All of it.
  virtual Task<Result<>> write_all(std::span<const std::byte> bytes) = 0;
  // All parts, in one system call where the transport can.
  virtual Task<Result<>> write_parts(std::span<const std::span<const std::byte>> parts);
  // Half-close: the peer reads end of stream, we can still read.
  virtual Task<Result<>> shutdown_write() = 0;
  // Both directions at once; waits in progress end with kCancelled. Idempotent, does not wait.
  virtual void close() = 0;
};

}  // namespace monopod::async
