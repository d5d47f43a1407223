#include "docker/engine.h"

#include <algorithm>

#include "docker/health.h"

namespace monopod::docker {

Engine::Engine(EngineParts parts, EngineOptions options)
    : scope_(parts.executor),
      parts_{parts.executor, scope_, parts.time, parts.pool, parts.rng, parts.state, parts.runtime, parts.images},
      directories_{options.data_dir + "/docker", options.run_dir + "/docker"},
      events_(parts.executor, parts.time),
      networks_({parts.executor, parts.time, parts.pool, parts.rng, parts.state}, options.network),
      volumes_(options.data_dir + "/volumes", parts.time, parts.pool, parts.rng, parts.state),
      containers_(parts_, directories_, networks_, volumes_, events_),
      api_({parts_, parts.cgroups, containers_, networks_, volumes_, events_, options.version, options.data_dir, options.run_bundle, options.tls, options.resolver}),
      collect_(options.collect),
      data_dir_(options.data_dir) {}

async::Task<Result<>> Engine::open() {
  containers_.on_started = [this](ContainerPtr c) { scope_.spawn(watch_health(parts_, containers_, std::move(c))); };
  CO_TRY(co_await networks_.open());
  CO_TRY(co_await volumes_.open());
  CO_TRY(co_await containers_.open());
  CO_TRY(co_await containers_.start_all());
  scope_.spawn(collect_images(collect_, data_dir_, parts_.images, events_, parts_.time, [this] { return api_.builds(); }));
  scope_.spawn(give_back_memory(api_.requests(), parts_.time));
  co_return Result<>{};
}

bool Engine::busy() const {
  return std::ranges::any_of(containers_.list(), [](const ContainerPtr& c) { return c->phase == Phase::kRunning || c->restarting || c->busy; });
}

async::Task<> Engine::stop_containers() { co_await containers_.stop_all(); }

async::Task<> Engine::close() {
  events_.close();
  scope_.cancel();
  (void)co_await scope_.join();
  co_await containers_.close();
  (void)co_await networks_.close();
}

}  // namespace monopod::docker
