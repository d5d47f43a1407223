// A container of the API: what was asked for, kept as the JSON that it came in, and what became of it.
//
//   created ──start──► running ──exit──► exited ──start──► …     removed at any of them
// Only a running container has a process, mounts, namespaces and links (pkg/container, pkg/network): start makes them, the exit takes them back.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "async/event.h"
#include "base/clock.h"
#include "codec/json.h"
#include "docker/networks.h"

namespace monopod::docker {

enum class Phase { kCreated, kRunning, kExited };

struct MountPoint {
  std::string type{};         // bind, volume, tmpfs
  std::string name{};         // of a volume
  std::string source{};       // host path
  std::string destination{};
  bool read_only = false;
  bool copy_up = true;        // an empty volume gets what the image has there
  std::string propagation{};
  std::string options{};      // of a tmpfs: "size=64m,mode=1770"
};

struct PublishedPort {
  std::string container{};    // "80/tcp"
  std::string host_ip{};      // as asked; empty: all
  std::uint16_t host_port = 0;
};

struct Health {
  std::string status = "starting";  // starting, healthy, unhealthy
  int failing_streak = 0;
  struct Entry {
    WallTime start{}, end{};
    int exit_code = 0;
    std::string output{};
  };
  std::vector<Entry> log{};  // the last five
};

struct Container {
  explicit Container(async::Executor executor) : changed(executor) {}

  // Durable.
  std::string id;
  std::string name;
  WallTime created{};
  std::string image_id;
  json::Value config;        // Config with the image's defaults
  json::Value host_config;   // HostConfig, complete
  json::Value networks;      // name -> EndpointSettings as asked for
  std::vector<MountPoint> mounts;
  Phase phase = Phase::kCreated;   // kRunning is not written: the engine below knows
  int exit_code = 0;
  bool oom_killed = false;
  std::string error;
  WallTime started{};
  WallTime finished{};
  int restart_count = 0;
  bool stopped_by_user = false;    // no restart policy but "always" starts it at boot

  // Of this process.
  int pid = 0;
  bool paused = false;
  bool restarting = false;         // a restart policy waits
  bool removing = false;
  bool removed = false;
  bool busy = false;               // one change at a time
  bool process_made = false;       // it can be attached to
  int attaching = 0;               // clients that asked to attach before the start
  std::uint64_t exits = 0;
  Duration restart_delay{};
  std::map<std::string, Endpoint> endpoints;  // by network id
  std::vector<PublishedPort> ports;           // as they are while it runs
  std::optional<Health> health;
  async::Notify changed;

  std::string_view status() const;  // created, running, paused, restarting, exited, removing
  bool tty() const { return json::get_bool(config, {"Tty"}); }
  bool auto_remove() const { return json::get_bool(host_config, {"AutoRemove"}); }
  std::string network_mode() const;           // "bridge" for default
  bool has_own_network() const;               // neither host nor container:ID
};
using ContainerPtr = std::shared_ptr<Container>;

std::string format_container(const Container& container);
Result<ContainerPtr> parse_container(async::Executor executor, std::string id, std::string_view text);

}  // namespace monopod::docker
