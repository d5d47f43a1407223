// etcd's v3 gRPC API (KV, Watch, Lease, Auth, Cluster, Maintenance, Lock, Election) and gRPC health over a Backend, the JSON gateway
// to them (gateway.h), and GET /health, /livez, /readyz, /version, /metrics. Codes and texts of errors are etcd's.
//
//   Service service(backend, time, {});
//   http::Server server(executor, time, service, {});
#pragma once

#include <unordered_map>

#include "async/pool.h"
#include "async/time.h"
#include "etcd/guarded_backend.h"
#include "etcd/operations.h"
#include "http/exchange.h"
#include "http/grpc.h"
#include "store/backend.h"
#include "store/sqlite_backend.h"

namespace monopod::etcd {

class AuthStore;

struct ServiceOptions {
  std::string client_url = "http://127.0.0.1:2379";      // as MemberList shows it
  std::chrono::seconds progress_interval{600};           // of watches with progress_notify; etcd's default
  store::SqliteBackend* sqlite = nullptr;                // for maintenance; null: its calls are UNIMPLEMENTED, and there is no quota
  std::int64_t quota_bytes = kQuotaBytesDefault;         // of the database file; 0: none
  std::string snapshot_dir = "/tmp";                     // where a snapshot is put together, in a file without a name
  AuthStore* auth = nullptr;                             // users and permissions; null: none, and everyone may everything
  bool client_cert_auth = false;                         // a verified client certificate names its user
  const Operations* operations = nullptr;                // GET /v1/stats and /v1/snapshot; null: not there. Outlives the service
  // Only calls that leave keys and leases as they are (service.cc has the list): of a store whose writer is another program.
  bool read_only = false;
};

struct Method;
struct StreamMethod;

class Service final : public http::Handler {
 public:
  // References outlive the service.
  Service(store::Backend& backend, async::Time& time, ServiceOptions options);
  ~Service() override;
  // Reads what must be known before the first call: once, before serving.
  async::Task<Result<>> start();
  async::Task<Result<>> handle(http::Exchange& exchange) override;

 private:
  async::Time& time_;
  ServiceOptions options_;
  Alarms alarms_;
  GuardedBackend backend_;
  async::Pool maintenance_{1};
  std::unordered_map<std::string_view, Method> methods_;
  std::unordered_map<std::string_view, StreamMethod> streams_;
  struct Counts;  // for /metrics
  std::unique_ptr<Counts> counts_;
};

}  // namespace monopod::etcd
