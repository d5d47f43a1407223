// CRI v1 (kubernetes cri-api, runtime.v1): RuntimeService and ImageService over gRPC, as an http::Handler for a unix socket. Each service_*.cc is one part
// of them.
#pragma once

#include <map>
#include <string>

#include "cri/events.h"
#include "cri/messages.h"
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
  // What a request means as a tree, what the answer is as one; each of its message type.
  using Answer = async::Task<Result<json::Value>>;
  struct Method {
    std::string_view service;  // RuntimeService
    std::string_view name;     // Version; the messages are VersionRequest and VersionResponse
    Answer (Service::*call)(const json::Value& request);
    // Calls that stream what a List call answers: the list's member in its answer and in each part.
    std::string_view list = {};
    std::string_view part = {};
  };
  static const Method kMethods[];
  async::Task<Result<>> serve(http::GrpcServerCall& call, const Method& method);
  async::Task<Result<>> serve_parts(http::GrpcServerCall& call, const Method& method, json::Value answer);
  async::Task<Result<>> serve_events(http::GrpcServerCall& call);

  // service_runtime.cc
  Answer version(const json::Value& request);
  Answer status(const json::Value& request);
  Answer runtime_config(const json::Value& request);
  Answer update_runtime_config(const json::Value& request);
  Answer checkpoint_container(const json::Value& request);
  // service_sandboxes.cc
  Answer run_sandbox(const json::Value& request);
  Answer stop_sandbox(const json::Value& request);
  Answer remove_sandbox(const json::Value& request);
  Answer sandbox_status(const json::Value& request);
  Answer list_sandboxes(const json::Value& request);
  Answer update_sandbox(const json::Value& request);
  Answer port_forward(const json::Value& request);
  // service_containers.cc
  Answer create_container(const json::Value& request);
  Answer start_container(const json::Value& request);
  Answer stop_container(const json::Value& request);
  Answer remove_container(const json::Value& request);
  Answer list_containers(const json::Value& request);
  Answer container_status(const json::Value& request);
  Answer update_container(const json::Value& request);
  Answer reopen_log(const json::Value& request);
  Answer exec_sync(const json::Value& request);
  Answer exec(const json::Value& request);
  Answer attach(const json::Value& request);
  // service_images.cc
  Answer list_images(const json::Value& request);
  Answer image_status(const json::Value& request);
  Answer pull_image(const json::Value& request);
  Answer remove_image(const json::Value& request);
  Answer image_fs_info(const json::Value& request);
  // service_stats.cc
  Answer container_stats(const json::Value& request);
  Answer list_container_stats(const json::Value& request);
  Answer sandbox_stats(const json::Value& request);
  Answer list_sandbox_stats(const json::Value& request);
  Answer list_metric_descriptors(const json::Value& request);
  Answer list_sandbox_metrics(const json::Value& request);

  json::Array container_statuses(const std::string& sandbox_id) const;
  Result<ContainerPtr> find_running(const json::Value& request) const;
  async::Task<json::Value> stats_of(ContainerPtr c);
  async::Task<json::Value> stats_of(SandboxPtr s);
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
