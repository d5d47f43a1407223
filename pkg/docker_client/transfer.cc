#include "docker_client/transfer.h"

#include "docker/tree_tar.h"
#include "image/fd_streams.h"
#include "sys/stream.h"

namespace monopod::docker_client {
namespace {

using async::Task;

struct Transfer {
  EngineClient& client;
  std::string method;  // empty: a download
  std::string target;
  std::function<Result<>(int)> work;  // reads the pipe of a download, writes that of an upload
  std::string answer{};

  Task<Result<>> request(sys::Fd end) {
    if (method.empty()) co_return co_await client.download(target, end.get());
    CO_TRY_ASSIGN(answer, co_await client.upload(method, target, end.get()));
    co_return Result<>();
  }
  Task<Result<>> blocking(sys::Fd end) {
    Result<> done = co_await client.pool().run([this, fd = end.get()] { return work(fd); });
    co_return done;
  }
  Task<Result<>> both(async::Scope& scope) {
    CO_TRY_ASSIGN(sys::Pipe pipe, sys::make_pipe());
    scope.spawn(request(std::move(method.empty() ? pipe.write : pipe.read)));
    scope.spawn(blocking(std::move(method.empty() ? pipe.read : pipe.write)));
    co_return co_await scope.join();
  }
  Task<Result<>> run() {
    co_return co_await async::run_scoped([this](async::Scope& scope) { return both(scope); });
  }
};

}  // namespace

Result<> download_into(EngineClient& client, std::string target, std::function<Result<>(int)> use) {
  Transfer transfer{client, "", std::move(target), std::move(use)};
  return client.run(transfer.run());
}

Result<std::string> upload_from(EngineClient& client, std::string method, std::string target, std::function<Result<>(int to)> make) {
  Transfer transfer{client, std::move(method), std::move(target), std::move(make)};
  TRY(client.run(transfer.run()));
  return std::move(transfer.answer);
}

Result<std::string> upload_tree(EngineClient& client, std::string method, std::string target, const std::string& directory, const std::string& path, const std::string& base) {
  return upload_from(client, std::move(method), std::move(target), [&](int to) -> Result<> {
    TRY_ASSIGN(sys::Root root, sys::Root::open(directory));
    image::FdSink sink(to);
    return docker::write_tree(root, path, base, sink);
  });
}

}  // namespace monopod::docker_client
