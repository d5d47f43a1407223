// Private: the registry's one implementation of Registry. Its methods stand in registry.cc (start, routing, sweep), blobs.cc, uploads.cc,
// manifests.cc and listings.cc.
#pragma once

#include <map>

#include "async/event.h"
#include "http/query.h"
#include "image/content.h"
#include "registry/catalog.h"
#include "registry/problem.h"
#include "registry/registry.h"
#include "registry/route.h"
#include "registry/upload.h"

namespace monopod::registry {

class Service final : public Registry {
 public:
  Service(RegistryOptions options, async::Executor executor, async::Pool& pool, async::Time& time, Rng& rng, async::StateStore& state, std::unique_ptr<image::Content> content)
      : options_(std::move(options)), pool_(pool), time_(time), rng_(rng), state_(state), content_(std::move(content)), unlocked_(executor), started_(time.mono()) {}

  async::Task<Result<>> load();
  async::Task<Result<>> handle(http::Exchange& exchange) override;
  async::Task<Result<>> maintain() override;
  async::Task<Result<std::uint64_t>> sweep() override;

 private:
  using Task = async::Task<Result<>>;
  // What changes the catalog or removes content is one at a time, and is not cut short when its client goes away.
  class Lock {
   public:
    explicit Lock(Service& service) : service_(service) { service_.locked_ = true; }
    ~Lock() {
      service_.locked_ = false;
      service_.unlocked_.wake_all();
    }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

   private:
    Service& service_;
  };
  struct Call {
    http::Exchange& exchange;
    const Route& route;
    http::Query query;
    std::string_view method() const { return exchange.request().method; }
    bool reads() const { return method() == "GET" || method() == "HEAD"; }
  };

  Task route(Call& call);
  Task unlocked();

  // blobs.cc
  Task blob(Call& call);
  Task send_blob(Call& call, std::uint64_t size);
  Task delete_blob(std::string repository, std::string digest, bool& found);
  // uploads.cc
  Task begin_upload(Call& call);
  Task upload(Call& call);
  Task append(Call& call, std::shared_ptr<Upload> upload);
  Task receive(Call& call, Upload& upload, std::uint64_t bytes_max, bool& too_large);
  Task finish_upload(Call& call, std::shared_ptr<Upload> upload, std::string digest);
  Task commit_upload(Upload& upload, std::string digest);
  void drop_idle_uploads();
  // manifests.cc
  Task manifest(Call& call);
  Task send_manifest(Call& call, std::string digest, const ManifestEntry& entry);
  Task put_manifest(Call& call);
  Task store_manifest(std::string repository, std::string digest, std::string text, ManifestEntry entry, std::vector<std::string> tags);
  Task delete_manifest(Call& call);
  // listings.cc
  Task catalog(Call& call);
  Task tags(Call& call);
  Task referrers(Call& call);

  // With the lock held: the change is durable, or undone in memory.
  Task apply(Changes changes);
  // With the lock held: removes those of the digests from the disk that no repository holds.
  Task remove_unheld(std::vector<std::string> digests);
  Task sweep_locked(std::uint64_t& freed);
  void touch(const std::string& repository, const std::string& digest);

  RegistryOptions options_;
  async::Pool& pool_;
  async::Time& time_;
  Rng& rng_;
  async::StateStore& state_;
  std::unique_ptr<image::Content> content_;
  Catalog catalog_;
  std::map<std::string, std::shared_ptr<Upload>, std::less<>> uploads_;
  std::map<std::pair<std::string, std::string>, MonoTime> touched_;  // repository and digest: when a client last asked for or sent it
  async::Notify unlocked_;
  bool locked_ = false;
  MonoTime started_;
};

std::string blob_location(std::string_view repository, std::string_view digest);
// An error of the disk or the database: told to the client, logged.
async::Task<Result<>> respond_failure(http::Exchange& exchange, Error error);
// A step that goes on to its end when the client has gone.
async::Task<Result<>> to_the_end(async::Task<Result<>> step);

}  // namespace monopod::registry
