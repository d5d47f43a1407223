// The network of the sandboxes: a bridge with addresses of its own, made when the first one needs it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "async/event.h"
#include "async/pool.h"
#include "async/state_store.h"
#include "cri/pod.h"
#include "network/network.h"

namespace monopod::cri {

struct PodNetworkOptions {
  std::string bridge = "mpcri0";
  network::Cidr cidr{};                        // of the pods
  std::vector<network::Cidr> isolated_from{};  // other networks of this engine
};

class PodNetwork {
 public:
  PodNetwork(async::Executor executor, async::Pool& pool, async::StateStore& state, PodNetworkOptions options);

  // Reads what UpdateRuntimeConfig said last. Before all else.
  async::Task<Result<>> open();
  // Bridge and rules, if they are not there yet.
  async::Task<Result<>> ready();
  // As UpdateRuntimeConfig asks. kFailedPrecondition while sandboxes have addresses of another range.
  async::Task<Result<>> set_cidr(network::Cidr cidr);
  async::Task<Result<network::PodNetworkStatus>> add(network::PodNetworkRequest request);
  async::Task<Result<>> remove(std::string id);
  // After a restart: who still lives.
  async::Task<Result<>> retain(std::vector<std::string> ids);
  std::optional<network::PodNetworkStatus> find(std::string_view id) const { return engine_ ? engine_->find_pod(id) : std::nullopt; }
  const network::Cidr& cidr() const { return options_.cidr; }

 private:
  async::Pool& pool_;
  async::StateStore& state_;
  PodNetworkOptions options_;
  std::unique_ptr<network::Network> engine_;
  bool opening_ = false;
  async::Notify opened_;
};

}  // namespace monopod::cri
