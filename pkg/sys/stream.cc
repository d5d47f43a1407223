#include "sys/stream.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>

#include "async/as_result.h"

namespace monopod::sys {
namespace {

namespace asio = async::asio;
using Descriptor = asio::posix::basic_stream_descriptor<async::Executor>;

class DescriptorStream final : public async::Stream {
 public:
  DescriptorStream(async::Executor executor, Fd fd) : descriptor_(executor, fd.release()) {
    boost::system::error_code ignored;
    descriptor_.non_blocking(true, ignored);
    struct ::stat info = {};
    if (::fstat(descriptor_.native_handle(), &info) == 0) {
      socket_ = S_ISSOCK(info.st_mode);
      pipe_ = S_ISFIFO(info.st_mode);
    }
  }

  async::Task<Result<std::size_t>> read_some(std::span<std::byte> into) override {
    if (!descriptor_.is_open()) co_return fail(Code::kCancelled, "stream is closed");
    auto [ec, n] = co_await descriptor_.async_read_some(asio::buffer(into.data(), into.size()), async::as_tuple);
    if (ec == asio::error::eof || ec.value() == EIO) co_return std::size_t{0};
    if (ec) co_return fail(async::error_from(ec, "read"));
    co_return n;
  }

  async::Task<Result<>> write_all(std::span<const std::byte> bytes) override {
    while (!bytes.empty()) {
      if (!descriptor_.is_open()) co_return fail(Code::kCancelled, "stream is closed");
      auto [ec, n] = co_await descriptor_.async_write_some(asio::buffer(bytes.data(), bytes.size()), async::as_tuple);
      if (ec) co_return fail(async::error_from(ec, "write"));
      bytes = bytes.subspan(n);
    }
    co_return Result<>();
  }

  async::Task<Result<>> shutdown_write() override {
    if (socket_) {
      if (::shutdown(descriptor_.native_handle(), SHUT_WR) < 0) co_return fail_errno("shut down");
    } else if (pipe_) {
      close();
    }
    co_return Result<>();
  }

  void close() override {
    boost::system::error_code ignored;
    descriptor_.close(ignored);
  }

 private:
  Descriptor descriptor_;
  bool socket_ = false;
  bool pipe_ = false;
};

}  // namespace

std::unique_ptr<async::Stream> make_stream(async::Executor executor, Fd fd) {
  return std::make_unique<DescriptorStream>(executor, std::move(fd));
}

Result<Pipe> make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) < 0) return fail_errno("make pipe");
  return Pipe{Fd(fds[0]), Fd(fds[1])};
}

async::Task<Result<>> wait_readable(int fd) {
  // A copy: Asio would otherwise close or hold what is not ours.
  int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (copy < 0) co_return fail_errno("duplicate file descriptor");
  Descriptor descriptor(co_await async::this_executor(), copy);
  boost::system::error_code ec = co_await descriptor.async_wait(asio::posix::descriptor_base::wait_read, async::as_code);
  if (ec) co_return fail(async::error_from(ec, "wait"));
  co_return Result<>();
}

}  // namespace monopod::sys
