// etcd's v3 gRPC API (KV, Watch, Lease, Cluster.MemberList, Maintenance) over a Backend, plus GET /health and /version.
// Codes and texts of errors are etcd's. Auth, Election and Lock are answered with UNIMPLEMENTED.
//
//   Service service(backend, time, {});
//   http::Server server(executor, time, service, {});
#pragma once

#include "async/time.h"
#include "http/exchange.h"
#include "http/grpc.h"
#include "store/backend.h"
#include "store/sqlite_backend.h"

namespace monopod::etcd {

struct ServiceOptions {
  std::string client_url = "http://127.0.0.1:2379";      // as MemberList shows it
  std::chrono::seconds progress_interval{600};           // of watches with progress_notify; etcd's default
  store::SqliteBackend* sqlite = nullptr;                       // for sizes in Status; may be null
};

class Service final : public http::Handler {
 public:
  // References outlive the service.
  Service(store::Backend& backend, async::Time& time, ServiceOptions options) : backend_(backend), time_(time), options_(std::move(options)) {}
  async::Task<Result<>> handle(http::Exchange& exchange) override;

 private:
  using Answer = async::Task<Result<std::string>>;
  struct Method {
    std::string_view path;
    Answer (Service::*call)(std::string_view message);
  };
  static const Method kMethods[];

  async::Task<Result<>> handle_plain(http::Exchange& exchange);
  async::Task<Result<>> answer_one(http::GrpcServerCall& call, const Method& method);
  async::Task<Result<>> watch(http::GrpcServerCall& call);       // etcd_watch.cc
  async::Task<Result<>> keep_alive(http::GrpcServerCall& call);

  Answer range(std::string_view message);
  Answer put(std::string_view message);
  Answer delete_range(std::string_view message);
  Answer txn(std::string_view message);
  Answer compact(std::string_view message);
  Answer lease_grant(std::string_view message);
  Answer lease_revoke(std::string_view message);
  Answer lease_time_to_live(std::string_view message);
  Answer lease_leases(std::string_view message);
  Answer member_list(std::string_view message);
  Answer status(std::string_view message);
  Answer alarm(std::string_view message);
  Answer defragment(std::string_view message);
  Answer hash_kv(std::string_view message);

  store::Backend& backend_;
  async::Time& time_;
  ServiceOptions options_;
};

}  // namespace monopod::etcd
