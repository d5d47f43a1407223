#include "proxy/io/pipe.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "proxy/limits.h"

namespace monopod::proxy {

std::unique_ptr<Pipe> PipePool::take() {
  if (!free_.empty()) {
    std::unique_ptr<Pipe> pipe = std::move(free_.back());
    free_.pop_back();
    return pipe;
  }
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0) return nullptr;
  auto pipe = std::make_unique<Pipe>();
  pipe->read = sys::Fd(fds[0]);
  pipe->write = sys::Fd(fds[1]);
  ::fcntl(fds[1], F_SETPIPE_SZ, kPipeBytes);  // an unprivileged process may have no more of them: the usual 64 KB do
  return pipe;
}

void PipePool::give(std::unique_ptr<Pipe> pipe) {
  if (pipe && pipe->held == 0 && free_.size() < kPipesKeptMax) free_.push_back(std::move(pipe));
}

Moved splice_in(Socket& from, Pipe& pipe, std::uint64_t max) {
  std::size_t want = static_cast<std::size_t>(std::min<std::uint64_t>(max, kPipeBytes));
  ssize_t n = ::splice(from.fd(), nullptr, pipe.write.get(), nullptr, want, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  if (n > 0) {
    pipe.held += static_cast<std::size_t>(n);
    return {Moved::kBytes, static_cast<std::size_t>(n)};
  }
  if (n == 0) return {Moved::kEnd};
  if (errno == EAGAIN || errno == EINTR) {
    if (pipe.held == 0) from.mark_read_drained();
    return {Moved::kBlocked};
  }
  return {Moved::kFailed};
}

Moved splice_out(Pipe& pipe, Socket& to, bool more) {
  std::size_t moved = 0;
  while (pipe.held > 0) {
    ssize_t n = ::splice(pipe.read.get(), nullptr, to.fd(), nullptr, pipe.held, SPLICE_F_MOVE | SPLICE_F_NONBLOCK | (more ? SPLICE_F_MORE : 0U));
    if (n > 0) {
      pipe.held -= static_cast<std::size_t>(n);
      moved += static_cast<std::size_t>(n);
      continue;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
      to.mark_write_blocked();
      return {Moved::kBlocked, moved};
    }
    return {Moved::kFailed};
  }
  return {Moved::kBytes, moved};
}

}  // namespace monopod::proxy
