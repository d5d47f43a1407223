// What CRI knows: pod sandboxes and containers. Each is what was asked for, kept as the tree that it came in (messages.h), and what became of it.
//
//   sandbox    ready ──stop, or lost with the host──► not ready ──► removed
//   container  created ──start──► running ──exit──► exited       removed at any of them
#pragma once

#include <memory>
#include <string>

#include "async/event.h"
#include "base/clock.h"
#include "codec/json.h"

namespace monopod::cri {

inline constexpr const char* kRecords = "cri";  // bucket of the StateStore

inline std::int64_t nanos(WallTime t) { return t.time_since_epoch().count(); }

enum class NamespaceMode { kPod = 0, kContainer = 1, kNode = 2, kTarget = 3 };  // CRI's numbers
enum class Phase { kCreated = 0, kRunning = 1, kExited = 2, kUnknown = 3 };      // CRI's ContainerState

// What one change at a time is made of.
struct Item {
  explicit Item(async::Executor executor) : changed(executor) {}
  std::string id;
  bool busy = false;
  bool making = false;  // nobody was told of it yet
  bool removed = false;
  async::Notify changed;
};

struct Sandbox : Item {
  using Item::Item;
  json::Value config;      // PodSandboxConfig
  std::string handler;     // runtime handler, as asked for
  WallTime created{};
  bool ready = false;
  std::string ip;          // empty: the node's network
  bool stopping = false;   // of this process

  NamespaceMode mode(std::string_view which) const {  // network, pid, ipc
    return static_cast<NamespaceMode>(json::get_int(config, {"linux", "security_context", "namespace_options", which}));
  }
  bool own_network() const { return mode("network") != NamespaceMode::kNode; }
};
using SandboxPtr = std::shared_ptr<Sandbox>;

struct Container : Item {
  using Item::Item;
  std::string sandbox_id;
  json::Value config;      // ContainerConfig; its resources as they were updated
  std::string image_id;    // "sha256:..." as the image store has it
  std::string log_path;    // empty: none
  json::Value user;        // LinuxContainerUser
  int stop_signal = 15;
  WallTime created{}, started{}, finished{};
  Phase phase = Phase::kCreated;  // kRunning is not written: the runtime knows
  int exit_code = 0;
  std::string reason, message;

  bool terminal() const { return json::get_bool(config, {"tty"}); }
};
using ContainerPtr = std::shared_ptr<Container>;

std::string format_sandbox(const Sandbox& sandbox);
Result<SandboxPtr> parse_sandbox(async::Executor executor, std::string id, std::string_view text);
std::string format_container(const Container& container);
Result<ContainerPtr> parse_container(async::Executor executor, std::string id, std::string_view text);

}  // namespace monopod::cri
