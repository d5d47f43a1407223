// The networks of the API: bridge, host, none, and those that users make, each with a subnet, a bridge and (but for the default one) names of its
// own. A network costs nothing in the kernel before its first container starts.
//
// Remembered in the StateStore, bucket "docker", "network/<id>"; leases in "docker-net-<id>".
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "async/pool.h"
#include "async/scope.h"
#include "async/state_store.h"
#include "async/time.h"
#include "base/rng.h"
#include "codec/json.h"
#include "network/dns/server.h"
#include "network/network.h"

namespace monopod::docker {

struct Endpoint {
  std::string network_id{};
  std::string ip{};
  std::string gateway{};
  std::string mac{};
  int prefix_bits = 0;
  std::string interface{};
  std::vector<std::string> names{};  // answered by the network's DNS
};

struct NetworkInfo {
  std::string id{};
  std::string name{};
  std::string driver = "bridge";   // bridge, host, null
  WallTime created{};
  network::Cidr subnet{};
  bool internal = false;
  bool builtin = false;
  std::map<std::string, std::string> labels{};
  std::map<std::string, std::string> options{};

  // While something uses it.
  std::unique_ptr<network::Network> engine{};
  std::unique_ptr<network::dns::Server> dns{};
  std::unique_ptr<async::Scope> dns_scope{};
  std::map<std::string, Endpoint> endpoints{};  // by container id
};

struct NetworkParts {
  async::Executor executor;
  async::Time& time;
  async::Pool& pool;
  Rng& rng;
  async::StateStore& state;
};

struct NetworkOptions {
  std::string bridge = "mpdocker0";
  network::Cidr subnet{};                         // of the default bridge
  std::vector<network::IpAddress> upstreams{};    // for names that no container has
};

struct ConnectRequest {
  std::string container_id{};
  std::string netns_path{};
  std::string interface{};
  std::vector<network::HostPort> ports{};
  std::string ip{};             // empty: any
  bool default_route = true;
  std::vector<std::string> names{};
};

class Networks {
 public:
  Networks(NetworkParts parts, NetworkOptions options);

  async::Task<Result<>> open();
  // Before it dies. What is in the kernel stays.
  async::Task<Result<>> close();
  // By name, id, or a unique prefix of an id. Null: none.
  NetworkInfo* find(std::string_view name);
  std::vector<NetworkInfo*> list();  // by name
  // The body of POST /networks/create.
  async::Task<Result<NetworkInfo*>> create(json::Value request);
  // kFailedPrecondition while containers run in it; kPermissionDenied for builtin ones.
  async::Task<Result<>> remove(NetworkInfo& info);

  async::Task<Result<Endpoint>> connect(NetworkInfo& info, ConnectRequest request);
  async::Task<Result<>> disconnect(NetworkInfo& info, std::string container_id);
  // After a restart of the engine: a container that runs on.
  async::Task<Result<>> adopt(NetworkInfo& info, std::string container_id, Endpoint endpoint);

  static json::Value describe(const NetworkInfo& info, const std::map<std::string, std::string>& container_names, bool with_containers);

 private:
  async::Task<Result<>> start(NetworkInfo& info);
  async::Task<Result<>> stop(NetworkInfo& info);
  async::Task<Result<>> end_dns(NetworkInfo& info);
  void update_names(const NetworkInfo& changed);
  async::Task<Result<network::Cidr>> choose_subnet();
  async::Task<Result<>> remember(const NetworkInfo& info);

  NetworkParts parts_;
  NetworkOptions options_;
  std::map<std::string, std::unique_ptr<NetworkInfo>> all_;  // by id
  std::set<std::string> starting_;
  async::Notify started_;
};

std::string make_id(Rng& rng);  // 64 hexadecimal digits

}  // namespace monopod::docker
