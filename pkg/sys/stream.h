// Descriptors on the event loop.
#pragma once

#include <memory>

#include "async/stream.h"
#include "sys/fd.h"

namespace monopod::sys {

// A pipe, pseudo-terminal or socket as a Stream; made non-blocking. End of a pseudo-terminal (EIO) reads as end of stream.
// shutdown_write closes the descriptor of a pipe, half-closes a socket, and does nothing on a terminal.
std::unique_ptr<async::Stream> make_stream(async::Executor executor, Fd fd);

struct Pipe {
  Fd read;
  Fd write;
};
Result<Pipe> make_pipe();  // blocking, O_CLOEXEC

// Resumes when fd is readable (or at its end: pidfd, eventfd, signalfd). fd stays the caller's. forever: the descriptor decides.
async::Task<Result<>> wait_readable(int fd);

}  // namespace monopod::sys
