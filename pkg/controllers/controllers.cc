#include "controllers/controllers.h"

namespace monopod::controllers {

std::vector<std::unique_ptr<Controller>> make_controllers(const ControllerParts& parts) {
  std::vector<std::unique_ptr<Controller>> list;
  list.push_back(make_serviceaccount_controller(parts));  // first: pods need their namespace's default account
  list.push_back(make_root_ca_publisher(parts));
  list.push_back(make_deployment_controller(parts));
  list.push_back(make_replicaset_controller(parts));
  list.push_back(make_replication_controller(parts));
  list.push_back(make_statefulset_controller(parts));
  list.push_back(make_daemonset_controller(parts));
  list.push_back(make_job_controller(parts));
  list.push_back(make_cronjob_controller(parts));
  list.push_back(make_endpointslice_controller(parts));
  list.push_back(make_endpointslice_mirroring_controller(parts));
  list.push_back(make_endpoints_controller(parts));
  list.push_back(make_disruption_controller(parts));
  list.push_back(make_autoscaler(parts));
  list.push_back(make_pod_garbage_collector(parts));
  list.push_back(make_node_lifecycle_controller(parts));
  list.push_back(make_taint_eviction_controller(parts));
  list.push_back(make_claim_protection_controller(parts));
  list.push_back(make_volume_protection_controller(parts));
  list.push_back(make_volume_binder(parts));
  list.push_back(make_ephemeral_volume_controller(parts));
  list.push_back(make_namespace_controller(parts));
  list.push_back(make_garbage_collector(parts));
  list.push_back(make_bootstrap_token_controller(parts));
  list.push_back(make_token_secret_controller(parts));
  if (parts.authority != nullptr) list.push_back(make_certificate_controller(parts));
  if (parts.quotas != nullptr) list.push_back(make_resource_quota_controller(parts));  // uses the collector's informers
  return list;
}

async::Task<Result<>> run_controllers(ControllerParts parts) {
  std::vector<std::unique_ptr<Controller>> controllers = make_controllers(parts);
  async::Scope scope(parts.executor);
  for (auto& controller : controllers) scope.spawn(controller->run());
  co_return co_await scope.join();
}

QueueController::QueueController(const ControllerParts& parts, std::string name, int workers)
    : parts_(parts),
      name_(std::move(name)),
      workers_(workers),
      queue_(parts.executor, parts.time),
      recorder_(parts.executor, parts.api, parts.time, parts.rng, name_, "") {}

void QueueController::watch_keys(client::Informer& informer) {
  informer.add_handler([this](const client::ObjectPtr& old, const client::ObjectPtr& now) { queue_.add((now ? now : old)->key()); });
}

async::Task<Result<>> QueueController::run() {
  CO_TRY(co_await parts_.informers.wait_synced());
  async::Scope scope(parts_.executor);
  scope.spawn(recorder_.run());
  scope.spawn(client::run_controller(queue_, *this, {.name = name_, .workers = workers_}));
  co_return co_await scope.join();
}

}  // namespace monopod::controllers
