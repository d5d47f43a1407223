// The controllers: loops that make the cluster match what objects say. Each is one file and one line in controllers.cc;
// each sees the API through pkg/client only.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "client/informer.h"
#include "client/reconciler.h"
#include "client/recorder.h"

namespace monopod::api {
class QuotaCounter;
}

namespace monopod::pki {
class CertificateAuthority;
}

namespace monopod::controllers {

// The provisioner of StorageClasses whose volumes this process makes.
inline constexpr std::string_view kLocalProvisioner = "monopod.io/local-path";

// Where those volumes live: directories of this node, by the name of the volume.
class VolumeDirectories {
 public:
  virtual ~VolumeDirectories() = default;
  virtual std::string_view node() const = 0;  // the label kubernetes.io/hostname of the node that has them
  // The absolute path of the volume's directory, writable by every user; made where it is missing. kInvalidArgument for what is no name of a file.
  virtual async::Task<Result<std::string>> make(std::string volume) = 0;
  // Takes the directory and all in it away; absent is no error. Done means that no path leads to it any more; its space follows.
  virtual async::Task<Result<>> remove(std::string volume) = 0;
};

// Everything outlives the controllers.
struct ControllerParts {
  async::Executor executor;
  client::Api& api;
  client::InformerFactory& informers;
  async::Time& time;
  Rng& rng;
  // Every resource that can be listed and deleted, for namespace deletion and garbage collection.
  std::function<std::vector<client::Resource>()> deletable_resources;
  // Custom kinds, for garbage collection and quotas: the listener is told of each at once, and whenever one is served or no longer served,
  // as long as the answer is kept. Empty where there are none.
  std::function<std::shared_ptr<void>(std::function<void(const client::Resource& resource, bool served)> listener)> on_custom_kind = {};
  std::string root_ca_pem;  // published as ConfigMap kube-root-ca.crt in every namespace
  const pki::CertificateAuthority* authority = nullptr;  // signs approved requests; without it they are left alone
  // The TZif file of a time zone ("Europe/Berlin"; a name that leads nowhere else). Without it there is UTC alone.
  std::function<Result<std::string>(std::string_view name)> read_time_zone = {};
  api::QuotaCounter* quotas = nullptr;  // of the API server in this process; without it ResourceQuotas are left alone
  VolumeDirectories* volumes = nullptr;  // without it no volume is made or removed here
};

class Controller {
 public:
  virtual ~Controller() = default;
  virtual std::string_view name() const = 0;
  // Runs until cancelled. Informers are running and synced before the first key is worked on.
  virtual async::Task<Result<>> run() = 0;
};

// All of them, in the order in which they start.
std::vector<std::unique_ptr<Controller>> make_controllers(const ControllerParts& parts);

// Runs all of make_controllers until cancelled.
async::Task<Result<>> run_controllers(ControllerParts parts);

// What most controllers are: one queue, one reconciler, one recorder.
class QueueController : public Controller, protected client::Reconciler {
 public:
  QueueController(const ControllerParts& parts, std::string name, int workers = 2);
  std::string_view name() const override { return name_; }
  async::Task<Result<>> run() override;

 protected:
  // Puts the key of every changed object into the queue.
  void watch_keys(client::Informer& informer);

  ControllerParts parts_;
  std::string name_;
  int workers_;
  client::WorkQueue queue_;
  client::EventRecorder recorder_;
};

std::unique_ptr<Controller> make_deployment_controller(const ControllerParts& parts);
std::unique_ptr<Controller> make_replicaset_controller(const ControllerParts& parts);
std::unique_ptr<Controller> make_replication_controller(const ControllerParts& parts);
std::unique_ptr<Controller> make_statefulset_controller(const ControllerParts& parts);
std::unique_ptr<Controller> make_daemonset_controller(const ControllerParts& parts);
std::unique_ptr<Controller> make_job_controller(const ControllerParts& parts);
std::unique_ptr<Controller> make_cronjob_controller(const ControllerParts& parts);
std::unique_ptr<Controller> make_endpointslice_controller(const ControllerParts& parts);
std::unique_ptr<Controller> make_endpoints_controller(const ControllerParts& parts);
std::unique_ptr<Controller> make_endpointslice_mirroring_controller(const ControllerParts& parts);
std::unique_ptr<Controller> make_token_secret_controller(const ControllerParts& parts);
std::unique_ptr<Controller> make_disruption_controller(const ControllerParts& parts);
std::unique_ptr<Controller> make_autoscaler(const ControllerParts& parts);
std::unique_ptr<Controller> make_pod_garbage_collector(const ControllerParts& parts);
std::unique_ptr<Controller> make_namespace_controller(const ControllerParts& parts);
std::unique_ptr<Controller> make_garbage_collector(const ControllerParts& parts);
std::unique_ptr<Controller> make_serviceaccount_controller(const ControllerParts& parts);
std::unique_ptr<Controller> make_root_ca_publisher(const ControllerParts& parts);
std::unique_ptr<Controller> make_resource_quota_controller(const ControllerParts& parts);  // parts.quotas is set
std::unique_ptr<Controller> make_bootstrap_token_controller(const ControllerParts& parts);
std::unique_ptr<Controller> make_certificate_controller(const ControllerParts& parts);     // parts.authority is set
std::unique_ptr<Controller> make_claim_protection_controller(const ControllerParts& parts);
std::unique_ptr<Controller> make_volume_protection_controller(const ControllerParts& parts);
std::unique_ptr<Controller> make_volume_binder(const ControllerParts& parts);
std::unique_ptr<Controller> make_ephemeral_volume_controller(const ControllerParts& parts);
std::unique_ptr<Controller> make_taint_eviction_controller(const ControllerParts& parts);
std::unique_ptr<Controller> make_node_lifecycle_controller(const ControllerParts& parts);

}  // namespace monopod::controllers
