// The Docker Engine API: routes, and what answers them. moby's api/swagger.yaml has the fields; each api_*.cc is one of its sections.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>

#include "docker/call.h"
#include "docker/containers.h"
#include "docker/events.h"
#include "docker/housekeeping.h"
#include "docker/networks.h"
#include "docker/volumes.h"
#include "sys/cgroup.h"

namespace monopod::docker {

// What a RUN of a build needs from above (build::RunBundle).
using RunBundle = std::function<async::Task<Result<int>>(std::string bundle, std::string id, int output)>;

struct ApiParts {
  Parts parts;
  sys::Cgroups& cgroups;
  Containers& containers;
  Networks& networks;
  Volumes& volumes;
  Events& events;
  std::string version;       // of the program
  std::string data_dir;
  RunBundle run_bundle;
  http::TlsClient* tls;      // for ADD of addresses; both may be null
  http::Resolver* resolver;
};

class Api final : public http::Handler {
 public:
  explicit Api(ApiParts parts) : p_(std::move(parts)), built_(p_.parts.executor) {}
  async::Task<Result<>> handle(http::Exchange& exchange) override;
  bool builds() const { return building_; }
  Requests& requests() { return requests_; }

 private:
  using Answer = async::Task<Result<>>;
  struct Route {
    const char* method;
    const char* path;  // * stands for a name, which of images may hold slashes
    Answer (Api::*handler)(Call&);
  };
  static const Route kRoutes[];

  // api_system.cc
  Answer ping(Call& call);
  Answer version(Call& call);
  Answer info(Call& call);
  Answer events(Call& call);
  Answer disk_usage(Call& call);
  Answer auth(Call& call);
  Answer session(Call& call);
  Answer list_plugins(Call& call);
  Answer attach_websocket(Call& call);
  Answer add_image_use(json::Object& out);
  Answer add_container_use(json::Object& out);
  Answer add_volume_use(json::Object& out);
  // api_containers.cc
  Answer list_containers(Call& call);
  Answer create_container(Call& call);
  Answer inspect_container(Call& call);
  Answer add_sizes(const Container& c, json::Value& described);
  Answer start_container(Call& call);
  Answer stop_container(Call& call);
  Answer restart_container(Call& call);
  Answer kill_container(Call& call);
  Answer remove_container(Call& call);
  Answer rename_container(Call& call);
  Answer pause_container(Call& call);
  Answer unpause_container(Call& call);
  Answer update_container(Call& call);
  Answer wait_container(Call& call);
  Answer resize_container(Call& call);
  Answer top(Call& call);
  Answer prune_containers(Call& call);
  // api_streams.cc
  Answer attach(Call& call);
  Answer logs(Call& call);
  Answer stats(Call& call);
  // api_archive.cc
  Answer stat_path(Call& call);
  Answer get_archive(Call& call);
  Answer put_archive(Call& call);
  Answer export_container(Call& call);
  Answer changes(Call& call);
  Answer commit(Call& call);
  // api_build.cc
  Answer build(Call& call);
  Answer prune_builds(Call& call);
  // api_exec.cc
  Answer create_exec(Call& call);
  Answer start_exec(Call& call);
  Answer inspect_exec(Call& call);
  Answer resize_exec(Call& call);
  // api_images.cc
  Answer list_images(Call& call);
  Answer inspect_image(Call& call);
  Answer image_history(Call& call);
  Answer tag_image(Call& call);
  Answer remove_image(Call& call);
  Answer prune_images(Call& call);
  Answer search_images(Call& call);
  // api_transfer.cc
  Answer pull_image(Call& call);
  Answer import_image(Call& call);
  Answer push_image(Call& call);
  Answer load_images(Call& call);
  Answer save_image(Call& call);
  Answer save_images(Call& call);
  Answer inspect_distribution(Call& call);
  // api_networks.cc
  Answer list_networks(Call& call);
  Answer create_network(Call& call);
  Answer inspect_network(Call& call);
  Answer remove_network(Call& call);
  Answer connect_network(Call& call);
  Answer disconnect_network(Call& call);
  Answer prune_networks(Call& call);
  Answer list_volumes(Call& call);
  Answer create_volume(Call& call);
  Answer inspect_volume(Call& call);
  Answer remove_volume(Call& call);
  Answer prune_volumes(Call& call);

  // A process beside a container's program, remembered after its end for those who ask for its exit code.
  struct Exec {
    explicit Exec(async::Executor executor) : changed(executor) {}
    std::string id;
    ContainerPtr container;
    json::Value config;
    bool started = false;
    bool running = false;
    int exit_code = 0;
    bool ended = false;
    std::unique_ptr<container::ExecSession> session;
    async::Notify changed;
  };
  using ExecPtr = std::shared_ptr<Exec>;
  Result<ExecPtr> find_exec(const std::string& id) const;
  Result<> forget_old_execs();
  async::Task<> run_detached(ExecPtr exec);
  async::Task<Result<>> open_exec(ExecPtr exec);

  json::Value describe_container(const Container& c, bool with_size) const;
  json::Value summarize_container(const Container& c) const;
  json::Object describe_endpoints(const Container& c) const;
  json::Value describe_image(const image::Image& image, const std::string& raw_config) const;
  async::Task<Result<json::Value>> read_stats(ContainerPtr c, const json::Value& before);
  async::Task<Result<>> send_saved(Call& call, std::vector<std::string> names);
  std::map<std::string, std::string> container_names() const;

  struct Building;
  ApiParts p_;
  bool building_ = false;  // one at a time: the builder takes what it finds unfinished for left by a dead one
  async::Notify built_;
  Requests requests_{0, async::Notify(p_.parts.executor)};
  std::map<std::string, ExecPtr> execs_;
  std::deque<std::string> exec_order_;
};

}  // namespace monopod::docker
