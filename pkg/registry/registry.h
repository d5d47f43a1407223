// The server of the OCI distribution protocol (distribution-spec 1.1): push, pull, delete, tags, referrers, mounts, resumable uploads.
//
// Layout below <data-dir>/registry: an image::Content, of which it uses blobs/ (layers, configurations and manifests alike), staging/ (uploads;
// emptied at the start) and the lock. What is in which repository stands in the StateStore (catalog.h), after the content is on disk.
//
//   CO_TRY_ASSIGN(auto registry, co_await Registry::open({.data_dir = dir}, pool, time, rng, state));
//   http::Server server(executor, time, *registry, {});
//   scope.spawn(server.serve(std::move(socket)));
//   scope.spawn(registry->maintain());
#pragma once

#include <memory>
#include <string>

#include "async/pool.h"
#include "async/state_store.h"
#include "async/time.h"
#include "base/rng.h"
#include "http/exchange.h"
#include "registry/limits.h"

namespace monopod::registry {

class Access;

struct RegistryOptions {
  std::string data_dir;            // absolute
  const Access* access = nullptr;  // who may come in; null: everybody. Outlives the registry
  Limits limits{};
};

class Registry : public http::Handler {
 public:
  // References outlive it. kFailedPrecondition where another process holds the directory.
  static async::Task<Result<std::unique_ptr<Registry>>> open(RegistryOptions options, async::Pool& pool, async::Time& time, Rng& rng, async::StateStore& state);

  // Drops what nobody goes on with or refers to, every limits.sweep_interval, until cancelled.
  virtual async::Task<Result<>> maintain() = 0;
  // One round of it; bytes that were freed.
  virtual async::Task<Result<std::uint64_t>> sweep() = 0;
};

}  // namespace monopod::registry
