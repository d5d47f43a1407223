// Informers: a local, always current copy of one resource, and news about it.
//
//   Api --list+watch--> Reflector --> DeltaFifo --> Informer --> Indexer
//                       (back-off)                     └──────> handlers
//
// One InformerFactory per identity; everybody who wants the same resource (and selectors) shares one informer. Handlers run
// on the loop between two awaits: they put a key in a WorkQueue and return.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "async/scope.h"
#include "async/time.h"
#include "base/rng.h"
#include "client/delta_fifo.h"

namespace monopod::client {

// old is null when the object is new, now is null when it is gone; both and equal on a resync.
using ChangeHandler = std::function<void(const ObjectPtr& old, const ObjectPtr& now)>;

struct InformerOptions {
  std::string ns;
  std::string label_selector;
  std::string field_selector;
  Duration resync = Duration::zero();  // zero: never; a missed event cannot happen, so most need none
  bool operator==(const InformerOptions&) const = default;
};

class Informer {
 public:
  Informer(async::Executor executor, Api& api, async::Time& time, Rng& rng, Resource resource, InformerOptions options);

  const Resource& resource() const { return resource_; }
  const InformerOptions& options() const { return options_; }
  Indexer& indexer() { return indexer_; }
  const Indexer& indexer() const { return indexer_; }

  // A handler added late is told of every object that is already there.
  void add_handler(ChangeHandler handler);

  // True once the first full list went through the handlers.
  bool has_synced() const { return synced_.is_set(); }
  async::Task<Result<>> wait_synced() { return synced_.wait(); }

  // Ends run(). Handlers are told that all is gone; a later run() begins anew. For kinds that are no longer served.
  void stop();
  // After stop(): true where run() must be called again, false where the one that is ending begins anew.
  bool resume();

  // Runs until cancelled; never fails otherwise: it backs off (0.8 s doubling to 30 s, jittered) and lists again.
  async::Task<Result<>> run();

 private:
  async::Task<Result<>> reflect();                                       // list and watch, for ever
  async::Task<Result<>> list_and_watch(bool& made_progress);             // one connection's worth
  async::Task<Result<std::string>> list_all();                           // returns the resource version
  async::Task<Result<>> consume();                                       // fifo -> indexer -> handlers
  async::Task<Result<>> resync();
  void apply(const Delta& delta);

  Api& api_;
  async::Time& time_;
  Rng& rng_;
  Resource resource_;
  InformerOptions options_;
  Indexer indexer_;
  DeltaFifo fifo_;
  async::Event synced_;
  std::string last_version_;
  std::vector<ChangeHandler> handlers_;
  async::Executor executor_;
  async::Scope* running_ = nullptr;  // within run()
  bool stopped_ = false, again_ = false;
};

class InformerFactory {
 public:
  InformerFactory(async::Executor executor, Api& api, async::Time& time, Rng& rng);
  ~InformerFactory();

  // The shared informer of the resource; started by run(), or at once if that already runs. Owned by the factory.
  Informer& informer(const Resource& resource, InformerOptions options = {});

  // Stops the informer of a kind that is no longer served. It stays where it is: informer() starts it again.
  void drop(const Resource& resource);

  // Runs every informer until cancelled.
  async::Task<Result<>> run();
  async::Task<Result<>> wait_synced();

 private:
  async::Executor executor_;
  Api& api_;
  async::Time& time_;
  Rng& rng_;
  std::vector<std::unique_ptr<Informer>> informers_;
  async::Scope scope_;
  bool running_ = false;
};

}  // namespace monopod::client
