#include "cri/engine.h"

namespace monopod::cri {

Engine::Engine(EngineParts parts, EngineOptions options)
    : scope_(parts.executor),
      parts_{parts.executor, scope_, parts.time, parts.pool, parts.rng, parts.state, parts.runtime, parts.images, parts.cgroups},
      network_(parts.executor, parts.pool, parts.state, options.network),
      pods_(parts_, {options.data_dir + "/cri", options.run_dir + "/cri"}, network_),
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
