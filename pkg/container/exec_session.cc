#include "container/exec_session.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "sys/stream.h"

namespace monopod::container {
namespace {

class Session final : public ExecSession {
 public:
  Session(async::Executor executor, supervisor::Supervisor& supervisor, std::string id, int pid, std::shared_ptr<ExecExit> exit, ExecStreams streams)
      : supervisor_(supervisor), id_(std::move(id)), pid_(pid), exit_(std::move(exit)), streams_(std::move(streams)) {
    if (!streams_.terminal) return;
    if (Result<sys::Fd> copy = streams_.terminal.duplicate()) terminal_ = std::move(*copy);
    streams_.stdout_stream = sys::make_stream(executor, std::move(streams_.terminal));
  }

  async::Stream* stdin_stream() override { return terminal_ ? streams_.stdout_stream.get() : streams_.stdin_stream.get(); }
  async::Stream* stdout_stream() override { return streams_.stdout_stream.get(); }
  async::Stream* stderr_stream() override { return streams_.stderr_stream.get(); }

  async::Task<Result<>> resize(std::uint16_t columns, std::uint16_t rows) override {
    struct winsize size = {rows, columns, 0, 0};
    if (terminal_ && ::ioctl(terminal_.get(), TIOCSWINSZ, &size) < 0) co_return fail_errno("resize terminal");
    co_return Result<>();
  }
  async::Task<Result<>> signal(int signal) override { co_return co_await supervisor_.signal(id_, signal); }

  async::Task<Result<ExecResult>> wait() override {
    CO_TRY(co_await exit_->done.wait());  // forever: the process decides; it ends with its container
    co_return exit_->result;
  }
  int pid() const override { return pid_; }

 private:
  supervisor::Supervisor& supervisor_;
  std::string id_;
  int pid_;
  std::shared_ptr<ExecExit> exit_;
  ExecStreams streams_;
  sys::Fd terminal_;
};

}  // namespace

Result<std::vector<sys::Fd>> make_exec_pipes(async::Executor executor, bool stdin_open, ExecStreams& ours) {
  std::vector<sys::Fd> theirs;
  if (stdin_open) {
    TRY_ASSIGN(sys::Pipe pipe, sys::make_pipe());
    theirs.push_back(std::move(pipe.read));
    ours.stdin_stream = sys::make_stream(executor, std::move(pipe.write));
  } else {
    sys::Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!null) return fail_errno("open /dev/null");
    theirs.push_back(std::move(null));
  }
  for (auto* stream : {&ours.stdout_stream, &ours.stderr_stream}) {
    TRY_ASSIGN(sys::Pipe pipe, sys::make_pipe());
    theirs.push_back(std::move(pipe.write));
    *stream = sys::make_stream(executor, std::move(pipe.read));
  }
  return theirs;
}

std::unique_ptr<ExecSession> make_exec_session(async::Executor executor, supervisor::Supervisor& supervisor, std::string id, int pid, std::shared_ptr<ExecExit> exit,
                                               ExecStreams streams) {
  return std::make_unique<Session>(executor, supervisor, std::move(id), pid, std::move(exit), std::move(streams));
}

}  // namespace monopod::container
