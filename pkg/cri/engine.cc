#include "cri/engine.h"

#include "base/strings.h"
#include "image/digest.h"

namespace monopod::cri {
namespace {

constexpr std::size_t kGroupDigits = 12;

// "cri-3f2a…": of this data directory, which no other engine has.
std::string group_of(std::string_view data_dir) {
  std::string digest = image::digest_of(data_dir);
  return cat("cri-", std::string_view(digest).substr(digest.find(':') + 1, kGroupDigits));
}

}  // namespace

Engine::Engine(EngineParts parts, EngineOptions options)
    : scope_(parts.executor),
      parts_{parts.executor, scope_, parts.time, parts.pool, parts.rng, parts.state, parts.runtime, parts.images, parts.cgroups},
      network_(parts.executor, parts.pool, parts.state, options.network),
      pods_(parts_, {options.data_dir + "/cri", options.run_dir + "/cri", group_of(options.data_dir)}, network_),
      events_(parts.executor),
      streaming_(parts.executor, parts.time, parts.pool, parts.runtime),
      service_({parts_, pods_, network_, events_, streaming_, options.version, options.data_dir}) {}

async::Task<Result<>> Engine::open() {
  pods_.on_event = [this](EventKind kind, const std::string& id, const std::string& sandbox_id) { service_.tell(kind, id, sandbox_id); };
  CO_TRY(co_await network_.open());
  co_return co_await pods_.open();
}

Result<> Engine::listen() {
  TRY(streaming_.listen());
  scope_.spawn(streaming_.serve());
  return {};
}

async::Task<> Engine::close() {
  events_.close();
  scope_.cancel();
  (void)co_await scope_.join();
  co_await pods_.close();
}

}  // namespace monopod::cri
