// All sandboxes and containers of CRI, and their lives. The container engine below (pkg/container) has those that run; what it has when this process
// comes back after its death is matched with the records, and what belongs to no record is removed.
//
//   run sandbox    directories, namespaces, link, files, pause (shared process namespace only), record
//   stop sandbox   containers, pause, link, namespaces, record
//   create         snapshot, root mount, process that waits, record
//   exit           record, then process, root mount
//   remove         record, then snapshot and the rest
// So a kill anywhere leaves what is swept by open(), never a record without what it names.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "async/pool.h"
#include "async/scope.h"
#include "async/state_store.h"
#include "async/time.h"
#include "base/rng.h"
#include "container/runtime.h"
#include "cri/plan.h"
#include "cri/pod_network.h"
#include "image/store.h"
#include "network/port_proxy.h"
#include "sys/cgroup.h"

namespace monopod::cri {

struct Parts {
  async::Executor executor;
  async::Scope& scope;  // of tasks that follow exits
  async::Time& time;
  async::Pool& pool;
  Rng& rng;
  async::StateStore& state;
  container::Runtime& runtime;
  image::ImageStore& images;
  sys::Cgroups& cgroups;
};

struct Directories {
  std::string data;  // <data-dir>/cri
  std::string run;   // <run-dir>/cri
  std::string groups;  // control groups of pods: each engine's own, told apart by its data directory, since each sweeps what it does not know
  std::string files(std::string_view sandbox) const { return data + "/" + std::string(sandbox); }
  std::string runtime(std::string_view id) const { return run + "/" + std::string(id); }  // of a sandbox or a container
  std::string rootfs(std::string_view id) const { return runtime(id) + "/root"; }
  std::string namespaces(std::string_view id) const { return runtime(id) + "/ns"; }
  std::string shm(std::string_view id) const { return runtime(id) + "/shm"; }
  std::string volume(std::string_view id, std::size_t mount) const { return runtime(id) + "/volume" + std::to_string(mount); }  // an image that is one
};

// What the runtime and the image store call a container, and a sandbox's pause: docker's have no prefix.
std::string runtime_id(std::string_view id);

enum class EventKind { kCreated = 0, kStarted = 1, kStopped = 2, kDeleted = 3 };  // CRI's ContainerEventType

class Pods {
 public:
  Pods(Parts parts, Directories directories, PodNetwork& network) : parts_(parts), directories_(std::move(directories)), network_(network) {}

  // Finds what an earlier process left, removes what nobody owns.
  async::Task<Result<>> open();
  // Ends what runs, as the engine stops for good.
  async::Task<> stop_all();
  // Before it dies.
  async::Task<> close();

  // By id or a unique prefix of it; kNotFound.
  Result<SandboxPtr> find_sandbox(std::string_view id) const;
  Result<ContainerPtr> find_container(std::string_view id) const;
  std::vector<SandboxPtr> sandboxes() const;    // newest first
  std::vector<ContainerPtr> containers() const;
  // Whether pods may have some; the error says what they lack here.
  const Result<>& user_namespaces() const { return user_namespaces_; }
  std::vector<ContainerPtr> containers_of(std::string_view sandbox) const;

  // A client that goes away leaves none of these half done.
  // run_sandbox and create give the new one's id.
  async::Task<Result<std::string>> run_sandbox(json::Value config, std::string handler);
  async::Task<Result<>> stop_sandbox(SandboxPtr s);
  async::Task<Result<>> remove_sandbox(SandboxPtr s);
  async::Task<Result<std::string>> create(SandboxPtr s, json::Value config);
  async::Task<Result<>> start(ContainerPtr c);
  async::Task<Result<>> stop(ContainerPtr c, Duration grace);
  async::Task<Result<>> remove(ContainerPtr c);
  async::Task<Result<>> update(ContainerPtr c, json::Value resources);

  std::string network_path(const Sandbox& s) const;  // of the pinned namespace; empty: the node's own
  std::string group(const Sandbox& s) const;         // above those of its containers
  bool owns_group(const Sandbox& s) const;           // else it is the client's, who sets its limits and removes it
  const Directories& directories() const { return directories_; }

  // Of a container, or of a sandbox itself: then both ids are the same. May be empty.
  std::function<void(EventKind kind, const std::string& id, const std::string& sandbox_id)> on_event;

 private:
  class Turn {
   public:
    explicit Turn(std::shared_ptr<Item> item) : item_(std::move(item)) { item_->busy = true; }
    ~Turn() {
      item_->busy = false;
      item_->changed.wake_all();
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    std::shared_ptr<Item> item_;
  };
  async::Task<Result<>> wait_for_turn(std::shared_ptr<Item> item);
  async::Task<Result<>> on_pool(std::function<Result<>()> work) { return parts_.pool.run(std::move(work)); }
  Result<> check_new_sandbox(const json::Value& config, std::string_view handler) const;
  Result<> check_new_container(const Sandbox& s, const json::Value& config) const;
  static void warn(std::string_view what, std::string_view id, const Result<>& result);  // where it failed
  std::string new_id();
  async::Task<Result<>> save(const Sandbox& s);
  async::Task<Result<>> save(const Container& c);
  void emit(EventKind kind, const std::string& id, const std::string& sandbox_id) const;

  // pods_sandbox.cc
  async::Task<Result<>> run_now(SandboxPtr s);
  async::Task<Result<>> make_sandbox(SandboxPtr s);
  async::Task<Result<>> start_pause(const Sandbox& s);
  Result<> publish(const Sandbox& s);
  async::Task<> unpublish(std::string id);
  async::Task<Result<>> stop_sandbox_now(SandboxPtr s);
  async::Task<Result<>> take_down(const Sandbox& s);
  async::Task<Result<>> remove_sandbox_now(SandboxPtr s);
  async::Task<> sweep_sandbox(std::string id);

  // pods_container.cc
  async::Task<Result<>> create_now(SandboxPtr s, ContainerPtr c);
  async::Task<Result<>> make_container(SandboxPtr s, ContainerPtr c);
  Result<> fill_place(const Sandbox& s, Container& c, const image::ImageConfig& image, Place& place) const;
  Result<> prepare_group(const Container& c, const std::string& group) const;
  async::Task<Result<>> start_now(ContainerPtr c);
  async::Task<Result<>> stop_now(ContainerPtr c, Duration grace);
  async::Task<Result<>> remove_now(ContainerPtr c);
  async::Task<> discard(std::string id, std::string group, bool snapshot);
  void stopped(const container::ContainerState& state);
  async::Task<> finish(ContainerPtr c, container::ContainerState state);
  async::Task<Result<>> take_exit(ContainerPtr c, container::ContainerState state);

  // pods_volumes.cc
  async::Task<Result<>> mount_volumes(ContainerPtr c, const sys::IdMaps& maps);
  async::Task<Result<>> mount_image(std::string snapshot, std::string image_id, std::string target, const sys::IdMaps& maps);
  async::Task<Result<std::string>> mount_declared(std::string id, std::string image_id, std::vector<std::string> volumes, const sys::IdMaps& maps);
  async::Task<> unmount(std::string id);
  async::Task<> remove_snapshots(std::string id);

  // pods_open.cc
  async::Task<Result<>> load();
  async::Task<Result<>> match_containers();
  async::Task<Result<>> match_sandboxes();
  async::Task<> sweep();

  Parts parts_;
  Directories directories_;
  PodNetwork& network_;
  std::map<std::string, SandboxPtr> sandboxes_;    // by id
  std::map<std::string, ContainerPtr> containers_;
  Result<> user_namespaces_;
  std::map<std::string, std::unique_ptr<network::PortProxy>> proxies_;  // of host ports, by sandbox
};

}  // namespace monopod::cri
