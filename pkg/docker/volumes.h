// Named and anonymous volumes: directories <data-dir>/volumes/<name>/_data. Remembered in the StateStore, bucket "docker", "volume/<name>".
#pragma once

#include <map>
#include <string>
#include <vector>

#include "async/pool.h"
#include "async/state_store.h"
#include "async/time.h"
#include "base/rng.h"
#include "codec/json.h"

namespace monopod::docker {

struct Volume {
  std::string name{};
  WallTime created{};
  std::map<std::string, std::string> labels{};
  std::map<std::string, std::string> options{};
  bool anonymous = false;
  std::string goes_with{};  // the id of a container with --rm that it was made for: without that it is nobody's
};

class Volumes {
 public:
  Volumes(std::string directory, async::Time& time, async::Pool& pool, Rng& rng, async::StateStore& state)
      : directory_(std::move(directory)), time_(time), pool_(pool), rng_(rng), state_(state) {}

  async::Task<Result<>> open();
  const Volume* find(std::string_view name) const;
  const std::map<std::string, Volume, std::less<>>& all() const { return all_; }
  // The body of POST /volumes/create; the one that is there where it is. An empty name: anonymous, and goes with a container where one is named.
  async::Task<Result<const Volume*>> create(json::Value request, std::string goes_with = {});
  async::Task<Result<>> remove(std::string name);  // of what no container uses
  // That it takes on disk; -1 where that cannot be read.
  async::Task<std::int64_t> bytes(std::string name);
  std::string path(std::string_view name) const;
  json::Object describe(const Volume& volume) const;

 private:
  std::string directory_;
  async::Time& time_;
  async::Pool& pool_;
  Rng& rng_;
  async::StateStore& state_;
  std::map<std::string, Volume, std::less<>> all_;
};

}  // namespace monopod::docker
