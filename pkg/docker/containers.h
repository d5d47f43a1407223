// All containers of the API and their lives. The container engine below (pkg/container) has those that run; what it has when this process comes
// back after its death is matched with the records, and what belongs to no record is removed.
//
//   create   snapshot, record                                (a death in between: a snapshot without a record, swept)
//   start    root mount, namespaces, links, files, process   (all taken back by the exit, or by open())
//   exit     record, then process, links, namespaces, mount
//   remove   record, then snapshot, files
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "async/scope.h"
#include "async/whole.h"
#include "container/runtime.h"
#include "docker/container.h"
#include "docker/events.h"
#include "docker/plan.h"
#include "docker/volumes.h"
#include "image/store.h"
#include "network/port_proxy.h"
#include "sys/root.h"

namespace monopod::docker {

struct Parts {
  async::Executor executor;
  async::Scope& scope;  // of tasks that follow exits
  async::Time& time;
  async::Pool& pool;
  Rng& rng;
  async::StateStore& state;
  container::Runtime& runtime;
  image::ImageStore& images;
};

struct Directories {
  std::string data;  // <data-dir>/docker
  std::string run;   // <run-dir>/docker
  std::string container(std::string_view id) const { return data + "/containers/" + std::string(id); }
  std::string log(std::string_view id) const { return container(id) + "/log"; }
  std::string runtime(std::string_view id) const { return run + "/" + std::string(id); }
  std::string rootfs(std::string_view id) const { return runtime(id) + "/root"; }
  std::string namespaces(std::string_view id) const { return runtime(id) + "/ns"; }
};

class Containers {
 public:
  Containers(Parts parts, Directories directories, Networks& networks, Volumes& volumes, Events& events);

  async::Task<Result<>> open();
  // What restart policies say of containers that were left stopped by a reboot, or by close().
  async::Task<Result<>> start_all();
  // Ends what runs, as the engine stops; restart policies start it again at the next start_all().
  async::Task<> stop_all();
  // Before it dies.
  async::Task<> close();

  // By id, name (with or without "/") or a unique prefix of an id. kNotFound "No such container: x".
  Result<ContainerPtr> find(std::string_view name) const;
  std::vector<ContainerPtr> list() const;  // newest first

  // The body of POST /containers/create. warnings come back.
  // platform: of the image, where its name is of several platforms', or has to be of this one.
  struct CreateOptions {
    std::string name;
    std::optional<image::Platform> platform = {};
  };
  async::Task<Result<ContainerPtr>> create(json::Value request, CreateOptions options, std::vector<std::string>& warnings);
  async::Task<Result<>> start(ContainerPtr c);  // not_modified() where it runs
  async::Task<Result<>> stop(ContainerPtr c, std::optional<int> signal, std::optional<std::int64_t> seconds);
  async::Task<Result<>> kill(ContainerPtr c, int signal);
  async::Task<Result<>> restart(ContainerPtr c, std::optional<int> signal, std::optional<std::int64_t> seconds);
  struct RemoveOptions {
    bool force = false;
    bool volumes = false;  // anonymous ones too
  };
  async::Task<Result<>> remove(ContainerPtr c, RemoveOptions options);
  async::Task<Result<>> rename(ContainerPtr c, std::string name);
  async::Task<Result<>> pause(ContainerPtr c, bool paused);
  async::Task<Result<>> update(ContainerPtr c, json::Value request);
  async::Task<Result<>> connect(ContainerPtr c, NetworkInfo& network, json::Value settings);
  async::Task<Result<>> disconnect(ContainerPtr c, NetworkInfo& network, bool force);

  async::Task<Result<>> save(const Container& c);
  // The directory that a path of a container is in, and its name there: of its root, mounted while use runs (on the pool), or of a volume.
  using UsePath = std::function<Result<>(const sys::Root& root, const std::string& path)>;
  async::Task<Result<>> with_path(ContainerPtr c, std::string path, bool writes, UsePath use);
  void emit(const Container& c, std::string_view action, std::map<std::string, std::string> more = {});
  // Users of a volume, of an image.
  std::vector<ContainerPtr> users_of_volume(std::string_view name) const;
  std::vector<ContainerPtr> users_of_image(std::string_view id) const;

  const Directories& directories() const { return directories_; }
  // Called as a container begins to run, and in open() for those that do.
  std::function<void(ContainerPtr)> on_started;

 private:
  // One change of a container at a time.
  class Turn {
   public:
    explicit Turn(ContainerPtr c) : c_(std::move(c)) { c_->busy = true; }
    ~Turn() {
      c_->busy = false;
      c_->changed.wake_all();
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    ContainerPtr c_;
  };
  async::Task<Result<>> wait_for_turn(ContainerPtr c);
  async::Task<Result<>> prepare_volumes(Container& c);
  async::Task<Result<>> start_now(ContainerPtr c);
  async::Task<Result<>> stop_now(ContainerPtr c, int signal, Duration grace);
  async::Task<Result<>> fail_start(ContainerPtr c, Error error);
  async::Task<Result<>> make(ContainerPtr c);
  Result<> fill_files(const Container& c, Place& place) const;
  async::Task<Result<>> connect_all(ContainerPtr c, std::string netns_path);
  async::Task<Result<>> connect_one(ContainerPtr c, std::string network, std::string netns_path, bool first);
  Result<ContainerPtr> find_peer(std::string_view mode) const;  // of "container:ID"; null for other modes
  async::Task<Result<Place>> find_place(ContainerPtr c, std::string network_path);
  std::string make_hosts(const Container& c) const;
  // Of links, those that run and share a network with it: "10.0.0.2\tdb 4f0c… server". Their addresses are of this start: a name of a network follows its container.
  std::string make_linked_hosts(const Container& c) const;
  std::string make_resolv_conf(const Container& c) const;
  async::Task<> take_down(ContainerPtr c);
  using Endpoints = std::map<std::string, Endpoint>;
  // held: published ports that are free only when all of it is gone; null where there are none.
  async::Task<> take_down_links(std::string id, Endpoints endpoints, std::shared_ptr<void> held);
  // As long as somebody has it, starts that publish ports wait.
  std::shared_ptr<void> hold_ports();
  void stopped(const container::ContainerState& state);
  async::Task<> finish(ContainerPtr c, container::ContainerState state);
  async::Task<> follow_policy(ContainerPtr c);
  async::Task<Result<>> remove_whole(ContainerPtr c, RemoveOptions options);
  async::Task<Result<>> remove_now(ContainerPtr c, bool volumes);
  async::Task<> remove_anonymous_volumes(const Container& c);
  async::Task<> sweep_volumes();
  async::Task<> stop_one(ContainerPtr c);
  bool name_taken(std::string_view name) const;

  Parts parts_;
  Directories directories_;
  Networks& networks_;
  Volumes& volumes_;
  Events& events_;
  std::map<std::string, ContainerPtr> all_;  // by id
  std::map<std::string, std::unique_ptr<network::PortProxy>> proxies_;
  int ports_held_ = 0;
  async::Notify ports_freed_;
  std::set<std::string> names_reserved_;
  bool stopping_ = false;
};

// A command line's exit code where its program could not be started: 127 not there, 126 not executable, else 128.
int start_error_code(const Error& error);

}  // namespace monopod::docker
