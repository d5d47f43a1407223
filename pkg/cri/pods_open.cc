// What an earlier process left: matched with the records, or removed.
#include <set>

#include "base/log.h"
#include "base/strings.h"
#include "cri/messages.h"
#include "cri/pods.h"
#include "image/snapshot.h"
#include "sys/files.h"

namespace monopod::cri {
namespace {

using async::Task;

constexpr std::string_view kPrefix = "cri-";
constexpr Duration kStopGrace = std::chrono::seconds(10);

}  // namespace

Task<Result<>> Pods::open() {
  CO_TRY(co_await on_pool([&]() -> Result<> {
    TRY(sys::make_directories(directories_.data, 0711));
    user_namespaces_ = image::check_mapped_snapshots(directories_.data);
    return sys::make_directories(directories_.run, 0700);
  }));
  CO_TRY(co_await load());
  parts_.runtime.on_stopped([this](const container::ContainerState& state) { stopped(state); });
  CO_TRY(co_await match_containers());
  CO_TRY(co_await match_sandboxes());
  co_await sweep();
  co_return Result<>();
}

Task<Result<>> Pods::load() {
  CO_TRY_ASSIGN(auto pairs, co_await parts_.state.list(kRecords));
  for (const auto& [key, text] : pairs) {
    auto [kind, id] = split_once(key, '/');
    if (kind != "sandbox" && kind != "container") continue;
    Result<> read;
    if (kind == "sandbox") {
      auto s = parse_sandbox(parts_.executor, std::string(*id), text);
      if (s) sandboxes_[std::string(*id)] = *s;
      else read = fail(std::move(s).error());
    } else {
      auto c = parse_container(parts_.executor, std::string(*id), text);
      if (c) containers_[std::string(*id)] = *c;
      else read = fail(std::move(c).error());
    }
    if (read) continue;
    log::warn("a record is damaged and is dropped", {{"key", key}, {"error", read.error()}});
    CO_TRY(co_await parts_.state.remove(kRecords, key));
  }
  std::erase_if(containers_, [&](const auto& entry) { return !sandboxes_.contains(entry.second->sandbox_id); });  // with its snapshot, by sweep()
  co_return Result<>();
}

Task<Result<>> Pods::match_containers() {
  for (const ContainerPtr& c : containers()) {
    const std::string& id = c->id;
    auto state = parts_.runtime.state(runtime_id(id));
    if (c->phase == Phase::kExited) {  // between the record of its end and the rest of it
      co_await discard(id, {}, false);
    } else if (!state) {
      container::ContainerState lost;
      lost.exit_code = -1;
      CO_TRY(co_await take_exit(c, std::move(lost)));
    } else if (state->status == container::Status::kStopped) {
      if (state->started_at != WallTime{}) c->phase = Phase::kRunning;
      CO_TRY(co_await take_exit(c, *state));
    } else if (state->status == container::Status::kRunning) {
      c->phase = Phase::kRunning;
      c->started = state->started_at;
    }
  }
  co_return Result<>();
}

Task<Result<>> Pods::match_sandboxes() {
  std::vector<std::string> connected;
  for (const auto& [id, s] : sandboxes_)
    if (s->ready && s->own_network()) connected.push_back(id);
  CO_TRY(co_await network_.retain(std::move(connected)));
  for (const SandboxPtr& s : sandboxes()) {
    const std::string& id = s->id;
    if (!s->ready) continue;
    container::SandboxNamespaces there = container::find_sandbox_namespaces(directories_.namespaces(id));
    bool whole = !s->own_network() || (!there.network_path.empty() && !there.uts_path.empty() && network_.find(id));
    if (!user_maps(s->config).empty()) whole = whole && !there.user_path.empty();
    if (s->mode("ipc") != NamespaceMode::kNode) whole = whole && !there.ipc_path.empty();
    if (s->mode("pid") == NamespaceMode::kPod) {
      auto pause = parts_.runtime.state(runtime_id(id));
      whole = whole && pause && pause->status == container::Status::kRunning;
    }
    if (whole && s->own_network()) warn("host ports of a sandbox are taken", id, publish(*s));
    if (whole) continue;
    log::info("a sandbox was lost with the host or its processes", {{"sandbox", id}});
    warn("cannot take down a sandbox", id, co_await stop_sandbox_now(s));
    s->stopping = false;
  }
  co_return Result<>();
}

Task<> Pods::sweep() {
  auto known = [&](std::string_view id) { return sandboxes_.contains(std::string(id)) || containers_.contains(std::string(id)); };
  for (const container::ContainerState& state : parts_.runtime.list())
    if (state.id.starts_with(kPrefix) && !known(state.id.substr(kPrefix.size()))) warn("cannot remove a process that no record has", state.id, co_await parts_.runtime.remove(state.id));
  std::vector<std::string> left;
  for (const std::string& directory : {directories_.run, directories_.data})
    for (const std::string& id : sys::list_directory(directory))
      if (!known(id)) left.push_back(id);
  for (const std::string& id : left) {
    co_await unmount(id);
    co_await sweep_sandbox(id);
  }
  for (const std::string& id : parts_.images.list_snapshots())
    if (id.starts_with(kPrefix) && !known(split_once(std::string_view(id).substr(kPrefix.size()), '.').first)) warn("cannot remove a snapshot that no record has", id, co_await parts_.images.remove_snapshot(id));
  (void)co_await on_pool([&]() -> Result<> {
    TRY_ASSIGN(std::vector<std::string> groups, parts_.cgroups.children(directories_.groups));
    for (const std::string& id : groups)
      if (!known(id)) warn("cannot remove a control group that no record has", id, parts_.cgroups.remove(cat(directories_.groups, "/", id)));
    return {};
  });
}

Task<> Pods::stop_all() {
  async::Scope all(parts_.executor);
  for (const auto& [id, c] : containers_)
    if (c->phase == Phase::kRunning) all.spawn(stop_now(c, kStopGrace));
  warn("a container does not stop", "", co_await all.join());
  for (const SandboxPtr& s : sandboxes()) warn("a sandbox does not stop", s->id, co_await stop_sandbox_now(s));
}

Task<> Pods::close() {
  for (auto& [id, proxy] : proxies_) co_await proxy->stop();
  proxies_.clear();
  if (!sandboxes_.empty()) co_return;
  (void)co_await on_pool([&]() -> Result<> { return parts_.cgroups.remove(directories_.groups); });
}

}  // namespace monopod::cri
