// Records: finding, creating, renaming, removing.
#include "docker/containers.h"

#include <algorithm>
#include <csignal>

#include "base/failpoint.h"
#include "base/log.h"
#include "base/strings.h"
#include "docker/call.h"
#include "docker/limits.h"
#include "docker/names.h"
#include "sys/files.h"

namespace monopod::docker {
namespace {

using async::Task;

constexpr const char* kBucket = "docker";
constexpr std::string_view kKeyPrefix = "container/";
constexpr std::size_t kIdDigits = 64;

// After a reboot a container of --rm would be removed at once.
async::Lasts lasts(const Container& c) { return c.auto_remove() ? async::Lasts::kUntilReboot : async::Lasts::kForever; }

}  // namespace

Containers::Containers(Parts parts, Directories directories, Networks& networks, Volumes& volumes, Events& events)
    : parts_(parts), directories_(std::move(directories)), networks_(networks), volumes_(volumes), events_(events), ports_freed_(parts.executor) {}

Task<Result<>> Containers::save(const Container& c) { co_return co_await parts_.state.put(kBucket, cat(kKeyPrefix, c.id), format_container(c), lasts(c)); }

Result<ContainerPtr> Containers::find(std::string_view name) const {
  std::string_view bare = name.starts_with('/') ? name.substr(1) : name;
  ContainerPtr by_prefix;
  int many = 0;
  for (const auto& [id, c] : all_) {
    if (id == bare || c->name == bare) return c;
    if (!bare.empty() && id.starts_with(bare)) {
      by_prefix = c;
      ++many;
    }
  }
  if (many == 1) return by_prefix;
  if (many > 1) return fail(Code::kInvalidArgument, cat("Multiple IDs found with provided prefix: ", bare));
  return fail(Code::kNotFound, cat("No such container: ", name));
}

std::vector<ContainerPtr> Containers::list() const {
  std::vector<ContainerPtr> out;
  for (const auto& [id, c] : all_) out.push_back(c);
  std::ranges::sort(out, [](const ContainerPtr& a, const ContainerPtr& b) { return a->created > b->created; });
  return out;
}

bool Containers::name_taken(std::string_view name) const {
  return names_reserved_.contains(std::string(name)) || std::ranges::any_of(all_, [&](const auto& entry) { return entry.second->name == name; });
}

std::vector<ContainerPtr> Containers::users_of_volume(std::string_view name) const {
  std::vector<ContainerPtr> out;
  for (const auto& [id, c] : all_)
    if (std::ranges::any_of(c->mounts, [&](const MountPoint& m) { return m.type == "volume" && m.name == name; })) out.push_back(c);
  return out;
}

std::vector<ContainerPtr> Containers::users_of_image(std::string_view id) const {
  std::vector<ContainerPtr> out;
  for (const auto& [key, c] : all_)
    if (c->image_id == id) out.push_back(c);
  return out;
}

void Containers::emit(const Container& c, std::string_view action, std::map<std::string, std::string> more) {
  more["name"] = c.name;
  more["image"] = json::get_string(c.config, {"Image"});
  for (auto& [key, value] : string_map_of(c.config, {"Labels"})) more.emplace(key, value);
  events_.emit("container", action, c.id, std::move(more));
}

Task<Result<>> Containers::wait_for_turn(ContainerPtr c) {
  while (c->busy) CO_TRY(co_await c->changed.wait());  // forever: the change before it is bounded
  if (c->removed) co_return fail(Code::kNotFound, cat("No such container: ", c->id));
  co_return Result<>();
}

Task<Result<>> Containers::open() {
  CO_TRY(co_await parts_.pool.run([&]() -> Result<> {
    TRY(sys::remove_tree(directories_.data + "/contexts"));  // of builds that died
    TRY(sys::make_directories(directories_.data + "/containers", 0711));
    return sys::make_directories(directories_.run, 0700);
  }));
  CO_TRY_ASSIGN(auto pairs, co_await parts_.state.list(kBucket));
  for (const auto& [key, text] : pairs) {
    if (!key.starts_with(kKeyPrefix)) continue;
    std::string id = key.substr(kKeyPrefix.size());
    auto parsed = parse_container(parts_.executor, id, text);
    if (parsed) {
      all_[id] = *parsed;
    } else {
      log::warn("a container's record is damaged and is dropped", {{"container", id}, {"error", parsed.error()}});
      CO_TRY(co_await parts_.state.remove(kBucket, key));
    }
  }
  parts_.runtime.on_stopped([this](const container::ContainerState& state) { stopped(state); });
  std::vector<std::pair<ContainerPtr, container::ContainerState>> ended;
  for (const container::ContainerState& state : parts_.runtime.list()) {
    if (state.id.size() != kIdDigits) continue;  // other users of the runtime name theirs otherwise
    auto found = all_.find(state.id);
    if (found == all_.end() || state.status == container::Status::kCreated || state.status == container::Status::kCreating) {
      // Between create and start when the engine died: as if it had not been started.
      if (auto removed = co_await parts_.runtime.remove(state.id); !removed) log::warn("cannot remove a container that was being started", {{"id", state.id}, {"error", removed.error()}});
      continue;
    }
    ContainerPtr c = found->second;
    if (state.status == container::Status::kStopped) {
      ended.emplace_back(c, state);
      continue;
    }
    c->phase = Phase::kRunning;
    c->pid = state.pid;
    c->started = state.started_at;
    c->process_made = true;
    // Should it end meanwhile, its end waits: it takes away what is looked through here.
    CO_TRY(co_await wait_for_turn(c));
    Turn turn(c);
    for (auto& [network_id, endpoint] : c->endpoints)
      if (NetworkInfo* network = networks_.find(network_id))
        if (auto adopted = co_await networks_.adopt(*network, c->id, endpoint); !adopted) log::warn("cannot adopt a container's network", {{"id", c->id}, {"error", adopted.error()}});
    if (!c->ports.empty() && !c->endpoints.empty()) {
      CO_TRY_ASSIGN(std::vector<network::HostPort> ports, proxied_ports(c->ports));
      auto proxy = std::make_unique<network::PortProxy>(parts_.executor, parts_.time);
      if (auto bound = proxy->bind(ports); !bound) log::warn("published ports of a container are taken", {{"id", c->id}, {"error", bound.error()}});
      proxy->start(c->endpoints.begin()->second.ip);
      proxies_[c->id] = std::move(proxy);
    }
  }
  for (const auto& [id, c] : all_)
    if (c->phase == Phase::kRunning && on_started) on_started(c);
  for (auto& [c, state] : ended) co_await finish(c, state);
  // What stands of containers that do not run, and of none.
  std::vector<ContainerPtr> dead;
  for (auto& [id, c] : all_)
    if (c->phase != Phase::kRunning) dead.push_back(c);
  for (const ContainerPtr& c : dead) {
    co_await take_down(c);
    if (c->auto_remove() && !c->removed)
      if (auto removed = co_await remove_now(c, true); !removed) log::warn("cannot remove a container", {{"id", c->id}, {"error", removed.error()}});
  }
  co_await sweep_volumes();
  for (const std::string& id : parts_.images.list_snapshots())
    if (id.size() == kIdDigits && !all_.contains(id))
      if (auto removed = co_await parts_.images.remove_snapshot(id); !removed) log::warn("cannot remove a snapshot that no container has", {{"id", id}, {"error", removed.error()}});
  co_return co_await parts_.pool.run([&]() -> Result<> {
    for (const std::string& directory : {directories_.data + "/containers", directories_.run})
      for (const std::string& id : sys::list_directory(directory))
        if (id.size() == kIdDigits && !all_.contains(id))
          if (auto removed = sys::remove_tree(cat(directory, "/", id)); !removed) log::warn("cannot remove what an earlier run left", {{"path", cat(directory, "/", id)}, {"error", removed.error()}});
    return {};
  });
}

// Names of volumes that had none, their directories, and what they bring from other containers.
Task<Result<>> Containers::prepare_volumes(Container& c) {
  for (const std::string& from : strings_of(c.host_config, {"VolumesFrom"})) {
    auto [name, mode] = split_once(from, ':');
    CO_TRY_ASSIGN(ContainerPtr other, find(name));
    for (MountPoint m : other->mounts) {
      if (m.type == "tmpfs" || std::ranges::any_of(c.mounts, [&](const MountPoint& own) { return own.destination == m.destination && !own.name.empty(); })) continue;
      std::erase_if(c.mounts, [&](const MountPoint& own) { return own.destination == m.destination; });
      if (mode == "ro") m.read_only = true;
      c.mounts.push_back(std::move(m));
    }
  }
  for (MountPoint& m : c.mounts) {
    if (m.type == "bind") {
      bool must = m.options == "must-exist";
      std::string source = m.source;
      CO_TRY(co_await parts_.pool.run([&]() -> Result<> {
        if (sys::path_exists(source)) return {};
        if (must) return fail(Code::kInvalidArgument, cat("invalid mount config for type \"bind\": bind source path does not exist: ", source));
        return sys::make_directories(source);
      }));
    }
    if (m.type != "volume") continue;
    json::Object request{{"Name", m.name}};
    CO_TRY_ASSIGN(const Volume* volume, co_await volumes_.create(std::move(request), c.auto_remove() ? c.id : std::string()));
    m.name = volume->name;
    m.source = volumes_.path(volume->name);
  }
  co_return Result<>();
}

Task<Result<ContainerPtr>> Containers::create(json::Value request, CreateOptions options, std::vector<std::string>& warnings) {
  std::string& name = options.name;
  if (name.starts_with('/')) name.erase(0, 1);
  if (!name.empty()) CO_TRY(check_object_name(name, "container"));
  if (all_.size() >= kContainersMax) co_return fail(Code::kResourceExhausted, cat("more than ", kContainersMax, " containers"));
  std::string wanted(json::get_string(request, {"Image"}));
  if (wanted.empty()) co_return fail(Code::kInvalidArgument, "config cannot be empty in order to create a container");
  parts_.images.mark_used(wanted);
  std::optional<image::Image> image = parts_.images.find(wanted);
  if (!image) co_return fail(Code::kNotFound, cat("No such image: ", wanted.find(':') == std::string::npos && wanted.find('@') == std::string::npos ? cat(wanted, ":latest") : wanted));
  if (options.platform) {
    const image::Platform actual = image->config.platform;
    image = parts_.images.find_for(wanted, *options.platform);
    if (!image) co_return fail(Code::kNotFound, cat("image with reference ", wanted, " was found but its platform (", image::format_platform(actual), ") does not match the specified platform (", image::format_platform(*options.platform), ")"));
  }
  auto c = std::make_shared<Container>(parts_.executor);
  c->id = make_id(parts_.rng);
  while (name.empty()) {
    name = random_name(parts_.rng);
    if (name_taken(name)) name += cat("_", parts_.rng.below(1000));
    if (name_taken(name)) name.clear();
  }
  for (const auto& [id, other] : all_)
    if (other->name == name)
      co_return fail(Code::kAlreadyExists, cat("Conflict. The container name \"/", name, "\" is already in use by container \"", id, "\". You have to remove (or rename) that container to be able to reuse that name."));
  if (names_reserved_.contains(name)) co_return fail(Code::kAlreadyExists, cat("Conflict. The container name \"/", name, "\" is already in use by container \"\". You have to remove (or rename) that container to be able to reuse that name."));
  names_reserved_.insert(name);
  struct Reserved {
    std::set<std::string>& names;
    const std::string& name;
    ~Reserved() { names.erase(name); }
  } reserved{names_reserved_, name};
  c->name = name;
  c->created = parts_.time.wall();
  c->image_id = image->id;
  CO_TRY_ASSIGN(c->host_config, complete_host_config(request));
  CO_TRY_ASSIGN(c->config, merge_config(request, image->config, c->id));
  CO_TRY_ASSIGN(c->mounts, plan_mounts(c->config, c->host_config));
  CO_TRY(plan_ports(c->config, c->host_config));
  if (json::get_int(c->host_config, {"MemorySwap"}) == 0 && json::get_int(c->host_config, {"Memory"}) > 0) c->host_config.get_object()["MemorySwap"] = json::get_int(c->host_config, {"Memory"}) * 2;
  // Networks: what is named, and the one of the mode.
  c->networks = json::Object{};
  if (const json::Object* named = json::get_object(request, {"NetworkingConfig", "EndpointsConfig"}))
    for (const auto& [key, settings] : *named) c->networks.get_object()[key] = settings.is_object() ? settings : json::Value(json::Object{});
  std::string mode = c->network_mode();
  if (c->has_own_network() && !c->networks.get_object().contains(mode)) c->networks.get_object()[mode] = json::Object{};
  if (mode.starts_with("container:")) {
    CO_TRY_ASSIGN(ContainerPtr peer, find(std::string_view(mode).substr(10)));
    if (const json::Object* bindings = json::get_object(c->host_config, {"PortBindings"}); bindings != nullptr && !bindings->empty())
      co_return fail(Code::kInvalidArgument, "conflicting options: port publishing and the container type network mode");
    c->host_config.get_object()["NetworkMode"] = cat("container:", peer->id);
  }
  co_await async::asio::this_coro::throw_if_cancelled(false);  // a client that goes away leaves all or nothing
  if (Result<> prepared = co_await prepare_volumes(*c); !prepared) {
    co_await remove_anonymous_volumes(*c);
    co_await async::asio::this_coro::throw_if_cancelled(true);
    co_return fail(std::move(prepared).error());
  }
  std::string id = c->id;
  auto snapshot = co_await parts_.images.prepare_snapshot(id, image->id);
  Result<> done = snapshot ? failpoint("docker.snapshot_made") : Result<>(fail(std::move(snapshot).error()));
  if (done) done = co_await parts_.pool.run([&]() -> Result<> {
    TRY(sys::make_directories(directories_.container(id), 0710));
    return sys::replace_file(directories_.log(id), "", 0640);
  });
  if (done) done = co_await save(*c);
  if (done) done = failpoint("docker.recorded");
  if (!done) {
    (void)co_await parts_.state.remove(kBucket, cat(kKeyPrefix, id));
    (void)co_await parts_.images.remove_snapshot(id);
    (void)co_await parts_.pool.run([&] { return sys::remove_tree(directories_.container(id)); });
    co_await remove_anonymous_volumes(*c);
  }
  co_await async::asio::this_coro::throw_if_cancelled(true);
  if (!done) co_return fail(std::move(done).error());
  all_[id] = c;
  emit(*c, "create");
  if (json::get_string(c->host_config, {"NetworkMode"}) == "host" && !json::get_object(c->host_config, {"PortBindings"})->empty()) warnings.push_back("Published ports are discarded when using host network mode");
  co_return c;
}

Task<Result<>> Containers::rename(ContainerPtr c, std::string name) {
  if (name.starts_with('/')) name.erase(0, 1);
  if (name.empty()) co_return fail(Code::kInvalidArgument, "Neither old nor new names may be empty");
  CO_TRY(check_object_name(name, "container"));
  if (name == c->name) co_return fail(Code::kInvalidArgument, "Renaming a container with the same name as its current name");
  for (const auto& [id, other] : all_)
    if (other->name == name)
      co_return fail(Code::kAlreadyExists, cat("Conflict. The container name \"/", name, "\" is already in use by container \"", id, "\". You have to remove (or rename) that container to be able to reuse that name."));
  std::string old = std::exchange(c->name, name);
  Result<> saved = co_await save(*c);
  if (!saved) {
    c->name = old;
    co_return saved;
  }
  emit(*c, "rename", {{"oldName", "/" + old}});
  co_return Result<>();
}

Task<Result<>> Containers::remove(ContainerPtr c, RemoveOptions options) {
  if (c->removing) co_return fail(Code::kAlreadyExists, cat("removal of container ", c->id, " is already in progress"));
  if ((c->phase == Phase::kRunning || c->restarting) && !options.force) {
    std::string_view how = c->paused ? "Unpause and then stop the container before attempting removal or force remove" : "Stop the container before attempting removal or force remove";
    co_return fail(Code::kFailedPrecondition, cat("You cannot remove a ", c->status(), " container ", c->id, ". ", how));
  }
  c->stopped_by_user = true;
  co_return co_await async::whole(remove_whole(c, options));
}

Task<Result<>> Containers::remove_whole(ContainerPtr c, RemoveOptions options) {
  for (;;) {
    if (!co_await wait_for_turn(c)) co_return Result<>();  // --rm was quicker
    if (c->phase != Phase::kRunning) break;
    if (!options.force) co_return fail(Code::kFailedPrecondition, cat("You cannot remove a running container ", c->id, ". Stop the container before attempting removal or force remove"));
    CO_TRY(co_await stop_now(c, SIGKILL, Duration::zero()));
  }
  Turn held(c);
  co_return co_await remove_now(c, options.volumes || c->auto_remove());
}

// The caller has the turn.
Task<Result<>> Containers::remove_now(ContainerPtr c, bool volumes) {
  c->removing = true;
  c->restarting = false;
  c->changed.wake_all();
  std::string id = c->id;
  Result<> removed = co_await parts_.state.remove(kBucket, cat(kKeyPrefix, id), lasts(*c));
  if (!removed) {
    c->removing = false;
    co_return removed;
  }
  // From here on it is gone; what cannot be removed now is swept by the next open().
  (void)failpoint("docker.record_removed");
  removed = co_await parts_.images.remove_snapshot(id);
  (void)failpoint("docker.snapshot_removed");
  Result<> cleared = co_await parts_.pool.run([&] { return sys::remove_tree(directories_.container(id)); });
  for (const Result<>* part : {&removed, &cleared})
    if (!*part) log::warn("a removed container leaves something behind", {{"id", id}, {"error", part->error()}});
  all_.erase(id);
  if (volumes) co_await remove_anonymous_volumes(*c);
  c->removed = true;
  emit(*c, "destroy");
  c->changed.wake_all();
  co_return Result<>();
}

// Those that no other container uses.
Task<> Containers::remove_anonymous_volumes(const Container& c) {
  for (const MountPoint& m : c.mounts) {
    const Volume* volume = m.type == "volume" ? volumes_.find(m.name) : nullptr;
    if (volume != nullptr && volume->anonymous && users_of_volume(m.name).empty())
      if (auto gone = co_await volumes_.remove(m.name); !gone) log::warn("cannot remove a volume", {{"name", m.name}, {"error", gone.error()}});
  }
}

// Of containers with --rm that went, or were never recorded, as an engine died.
Task<> Containers::sweep_volumes() {
  std::vector<std::string> names;
  for (const auto& [name, volume] : volumes_.all())
    if (!volume.goes_with.empty() && !all_.contains(volume.goes_with) && users_of_volume(name).empty()) names.push_back(name);
  for (const std::string& name : names)
    if (auto gone = co_await volumes_.remove(name); !gone) log::warn("cannot remove a volume that no container has", {{"name", name}, {"error", gone.error()}});
}

}  // namespace monopod::docker
