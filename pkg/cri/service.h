// CRI v1 (kubernetes cri-api, runtime.v1): RuntimeService and ImageService over gRPC, as an http::Handler for a unix socket. Each service_*.cc is one part
// of them.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cri/events.h"
#include "cri/messages.h"
#include "cri/metrics.h"
#include "cri/pods.h"
#include "cri/streaming.h"
#include "http/exchange.h"

namespace monopod::http {
class GrpcServerCall;
}

namespace monopod::cri {

inline constexpr std::string_view kRuntimeName = "monopod";

struct ServiceParts {
  Parts parts;
  Pods& pods;
  PodNetwork& network;
  Events& events;
  Streaming& streaming;
  std::string version;   // of the program
  std::string data_dir;  // where images are
};

class Service final : public http::Handler {
 public:
  explicit Service(ServiceParts parts) : p_(std::move(parts)) {}
  async::Task<Result<>> handle(http::Exchange& exchange) override;
  // Tells those who listen to GetContainerEvents.
  void tell(EventKind kind, const std::string& id, const std::string& sandbox_id);

  // "/runtime.v1.RuntimeService/Version", for tests.
  static std::vector<std::string> method_paths();

 private:
  // A request is a tree and so is its answer, each of its message type. Three kinds of methods: what is known is told at once; what is waited for is told
  // later; an act has an empty answer.
  using Now = Result<json::Value>;
  using Later = async::Task<Result<json::Value>>;
  using Act = async::Task<Result<>>;
  struct Method {
    std::string_view service;  // RuntimeService
    std::string_view name;     // Version; the messages are VersionRequest and VersionResponse
    Now (Service::*now)(const json::Value& request) = nullptr;  // one of the three
    Later (Service::*later)(const json::Value& request) = nullptr;
    Act (Service::*act)(const json::Value& request) = nullptr;
    // Calls that stream what a List call answers: the list's member in its answer and in each part.
    std::string_view list = {};
    std::string_view part = {};
  };
  static const Method kMethods[];
  static Act done(Result<> result) { co_return result; }
  async::Task<Result<json::Value>> answer(const Method& method, const std::string& message);
  async::Task<Result<>> serve_parts(http::GrpcServerCall& call, const Method& method, json::Value answer);
  async::Task<Result<>> serve_events(http::GrpcServerCall& call);

  // service_runtime.cc
  Now version(const json::Value& request);
  Later status(const json::Value& request);
  Now runtime_config(const json::Value& request);
  Act update_runtime_config(const json::Value& request);
  Now checkpoint_container(const json::Value& request);
  // service_sandboxes.cc
  Later run_sandbox(const json::Value& request);
  Act stop_sandbox(const json::Value& request);
  Act remove_sandbox(const json::Value& request);
  Now sandbox_status(const json::Value& request);
  Now list_sandboxes(const json::Value& request);
  Act update_sandbox(const json::Value& request);
  Now port_forward(const json::Value& request);
  // service_containers.cc
  Later create_container(const json::Value& request);
  Act start_container(const json::Value& request);
  Act stop_container(const json::Value& request);
  Act remove_container(const json::Value& request);
  Now list_containers(const json::Value& request);
  Now container_status(const json::Value& request);
  Act update_container(const json::Value& request);
  Act reopen_log(const json::Value& request);
  Later exec_sync(const json::Value& request);
  Now exec(const json::Value& request);
  Now attach(const json::Value& request);
  // service_images.cc
  Now list_images(const json::Value& request);
  Later image_status(const json::Value& request);
  Later pull_image(const json::Value& request);
  Later remove_image(const json::Value& request);
  Later image_fs_info(const json::Value& request);
  // service_stats.cc
  Later container_stats(const json::Value& request);
  Later list_container_stats(const json::Value& request);
  Later sandbox_stats(const json::Value& request);
  Later list_sandbox_stats(const json::Value& request);
  Now list_metric_descriptors(const json::Value& request);
  Later list_sandbox_metrics(const json::Value& request);

  json::Array container_statuses(const std::string& sandbox_id) const;
  Result<ContainerPtr> find_running(const json::Value& request) const;
  // What is measured of one container; of one that does not run, only its files.
  struct Usage {
    ContainerPtr container;
    std::optional<container::ContainerStats> stats;
    std::uint64_t written_bytes = 0;  // of its files
  };
  using Usages = std::vector<Usage>;
  async::Task<Result<json::Value>> measure(std::vector<ContainerPtr> which, std::function<json::Value(const Usages&)> tell);
  json::Value stats_of(const Usage& usage);
  json::Value stats_of(const Sandbox& s, const Usages& usages);
  std::vector<ContainerPtr> running(const json::Value& filter) const;
  struct PodMetrics {
    std::string id, link;  // link: empty where the pod has the node's network
    json::Array labels;
    struct One {
      std::string id;
      MetricSubject subject;
      std::string group;
      json::Array labels;
    };
    std::vector<One> containers;
  };
  std::vector<PodMetrics> metric_subjects(const Usages& usages) const;
  json::Value cpu_usage(const std::string& id, const container::ContainerStats& stats);
  json::Value network_usage(const Sandbox& s, WallTime at) const;

  // The last reading of each, for usage_nano_cores.
  struct Sample {
    std::uint64_t usage_ns = 0;
    WallTime at{};
    std::uint64_t nano_cores = 0;
  };
  std::map<std::string, Sample> samples_;
  ServiceParts p_;
};

}  // namespace monopod::cri
