// Section System.
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>

#include "base/strings.h"
#include "docker/api.h"
#include "docker/limits.h"
#include "docker/names.h"
#include "docker/registry_auth.h"
#include "sys/root.h"

namespace monopod::docker {
namespace {

using async::Task;

struct HostFacts {
  std::string kernel, machine, name, os = "Linux", os_version, os_type = "linux";
  std::int64_t cpus = 0, memory = 0;
};

HostFacts read_host_facts() {
  HostFacts out;
  utsname names{};
  ::uname(&names);
  out.kernel = names.release;
  out.machine = names.machine;
  out.name = names.nodename;
  auto release = sys::read_host_file("/etc/os-release");
  auto value = [](std::string_view text) { return std::string(text.size() >= 2 && text.starts_with('"') ? text.substr(1, text.size() - 2) : text); };
  if (release)
    for (std::string_view line : split(*release, '\n')) {
      if (line.starts_with("PRETTY_NAME=")) out.os = value(line.substr(12));
      if (line.starts_with("VERSION_ID=")) out.os_version = value(line.substr(11));
    }
  out.cpus = ::sysconf(_SC_NPROCESSORS_ONLN);
  out.memory = ::sysconf(_SC_PHYS_PAGES) * ::sysconf(_SC_PAGESIZE);
  return out;
}

}  // namespace

Task<Result<>> Api::ping(Call& call) {
  http::Headers headers{{"Api-Version", cat("1.", kApiMinorMax)}, {"Builder-Version", "1"}, {"Docker-Experimental", "false"}, {"Ostype", "linux"}, {"Swarm", "inactive"},
                        {"Cache-Control", "no-cache, no-store, must-revalidate"}, {"Pragma", "no-cache"}, {"Content-Type", "text/plain; charset=utf-8"}, {"Server", cat("Docker/", p_.version, " (linux)")}};
  co_return co_await call.exchange.respond(200, std::move(headers), std::string("OK"));
}

Task<Result<>> Api::version(Call& call) {
  HostFacts host = read_host_facts();
  std::string architecture = image::host_platform().architecture;
  json::Object details{{"ApiVersion", cat("1.", kApiMinorMax)}, {"MinAPIVersion", cat("1.", kApiMinorMin)}, {"Arch", architecture}, {"Os", "linux"}, {"KernelVersion", host.kernel}, {"GitCommit", ""}, {"GoVersion", ""}, {"BuildTime", ""}, {"Experimental", "false"}};
  json::Array components{json::Object{{"Name", "Engine"}, {"Version", p_.version}, {"Details", std::move(details)}}};
  co_return co_await call.answer(200, json::Object{{"Platform", json::Object{{"Name", "monopod"}}}, {"Components", std::move(components)}, {"Version", p_.version}, {"ApiVersion", cat("1.", kApiMinorMax)},
                                                   {"MinAPIVersion", cat("1.", kApiMinorMin)}, {"GitCommit", ""}, {"GoVersion", ""}, {"Os", "linux"}, {"Arch", architecture}, {"KernelVersion", host.kernel}, {"BuildTime", ""}});
}

Task<Result<>> Api::info(Call& call) {
  HostFacts host = read_host_facts();
  int running = 0;
  int paused = 0;
  auto all = p_.containers.list();
  for (const ContainerPtr& c : all) {
    if (c->phase == Phase::kRunning) ++(c->paused ? paused : running);
  }
  auto plugin = [](std::initializer_list<const char*> names) {
    json::Array out;
    for (const char* n : names) out.emplace_back(n);
    return out;
  };
  json::Object runtimes{{"runc", json::Object{{"path", "monopod"}}}};
  bool v2 = p_.cgroups.mode() == sys::CgroupMode::kV2;
  json::Array security{json::Value("name=seccomp,profile=builtin"), json::Value("name=cgroupns")};
  co_return co_await call.answer(
      200, json::Object{{"ID", host.name}, {"Containers", all.size()}, {"ContainersRunning", running}, {"ContainersPaused", paused}, {"ContainersStopped", static_cast<int>(all.size()) - running - paused},
                        {"Images", p_.parts.images.list().size()}, {"Driver", "overlay2"}, {"DriverStatus", json::Array{}},
                        {"SystemStatus", nullptr}, {"Plugins", json::Object{{"Volume", plugin({"local"})}, {"Network", plugin({"bridge", "host", "null"})}, {"Authorization", nullptr}, {"Log", plugin({"json-file"})}}},
                        {"MemoryLimit", p_.cgroups.has_memory()}, {"SwapLimit", p_.cgroups.has_memory()}, {"CpuCfsPeriod", p_.cgroups.has_cpu()}, {"CpuCfsQuota", p_.cgroups.has_cpu()}, {"CPUShares", p_.cgroups.has_cpu()},
                        {"CPUSet", p_.cgroups.has("cpuset")}, {"PidsLimit", p_.cgroups.has_pids()}, {"IPv4Forwarding", true}, {"BridgeNfIptables", false}, {"BridgeNfIp6tables", false}, {"Debug", false},
                        {"NFd", 0}, {"OomKillDisable", false}, {"NGoroutines", 0}, {"SystemTime", format_rfc3339_nano(p_.parts.time.wall())}, {"LoggingDriver", "json-file"}, {"CgroupDriver", "cgroupfs"},
                        {"CgroupVersion", v2 ? "2" : "1"}, {"NEventsListener", 0}, {"KernelVersion", host.kernel}, {"OperatingSystem", host.os}, {"OSVersion", host.os_version}, {"OSType", "linux"},
                        {"Architecture", host.machine}, {"IndexServerAddress", "https://index.docker.io/v1/"},
                        {"RegistryConfig", json::Object{{"InsecureRegistryCIDRs", plugin({"127.0.0.0/8"})}, {"IndexConfigs", json::Object{}}, {"Mirrors", nullptr}}}, {"NCPU", host.cpus}, {"MemTotal", host.memory},
                        {"GenericResources", nullptr}, {"DockerRootDir", p_.data_dir}, {"HttpProxy", ""}, {"HttpsProxy", ""}, {"NoProxy", ""}, {"Name", host.name}, {"Labels", json::Array{}},
                        {"ExperimentalBuild", false}, {"ServerVersion", p_.version}, {"Runtimes", std::move(runtimes)}, {"DefaultRuntime", "runc"},
                        {"Swarm", json::Object{{"NodeID", ""}, {"NodeAddr", ""}, {"LocalNodeState", "inactive"}, {"ControlAvailable", false}, {"Error", ""}, {"RemoteManagers", nullptr}}}, {"LiveRestoreEnabled", true},
                        {"Isolation", ""}, {"InitBinary", "monopod"}, {"ContainerdCommit", json::Object{{"ID", ""}, {"Expected", ""}}}, {"RuncCommit", json::Object{{"ID", ""}, {"Expected", ""}}},
                        {"InitCommit", json::Object{{"ID", ""}, {"Expected", ""}}}, {"SecurityOptions", std::move(security)}, {"Warnings", nullptr}});
}

Task<Result<>> Api::events(Call& call) { co_return co_await p_.events.serve(call); }

// Of all kinds, or of those that type= names.
Task<Result<>> Api::disk_usage(Call& call) {
  static constexpr std::string_view kKinds[] = {"image", "container", "volume", "build-cache"};
  std::vector<std::string_view> types = call.query.get_all("type");
  for (std::string_view type : types)
    if (std::ranges::find(kKinds, type) == std::end(kKinds)) co_return fail(Code::kInvalidArgument, cat("unknown object type: ", type));
  auto wants = [&](std::string_view kind) { return types.empty() || std::ranges::find(types, kind) != types.end(); };
  json::Object out;
  if (wants("image")) CO_TRY(co_await add_image_use(out));
  if (wants("container")) CO_TRY(co_await add_container_use(out));
  if (wants("volume")) CO_TRY(co_await add_volume_use(out));
  if (wants("build-cache")) {
    out["BuildCache"] = json::Array{};
    out["BuilderSize"] = 0;
  }
  co_return co_await call.answer(200, std::move(out));
}

Task<Result<>> Api::add_image_use(json::Object& out) {
  CO_TRY_ASSIGN(image::Usage usage, co_await p_.parts.images.usage());
  json::Array images;
  for (const image::Image& i : p_.parts.images.list()) {
    json::Array tags;
    for (const std::string& r : i.references) tags.emplace_back(familiar_name(r));
    images.push_back(json::Object{{"Id", i.id}, {"ParentId", ""}, {"RepoTags", std::move(tags)}, {"RepoDigests", array_of(i.repo_digests)}, {"Created", std::chrono::duration_cast<std::chrono::seconds>(i.imported.time_since_epoch()).count()},
                                  {"Size", i.size_bytes}, {"SharedSize", 0}, {"VirtualSize", i.size_bytes}, {"Labels", object_of(i.config.labels)}, {"Containers", p_.containers.users_of_image(i.id).size()}});
  }
  out["LayersSize"] = usage.layer_bytes;
  out["Images"] = std::move(images);
  co_return Result<>();
}

Task<Result<>> Api::add_container_use(json::Object& out) {
  json::Array containers;
  for (ContainerPtr c : p_.containers.list()) {
    json::Value item = summarize_container(*c);
    (void)co_await add_sizes(*c, item);  // one that goes meanwhile has none
    containers.push_back(std::move(item));
  }
  out["Containers"] = std::move(containers);
  co_return Result<>();
}

Task<Result<>> Api::add_volume_use(json::Object& out) {
  std::vector<std::string> names;
  for (const auto& [name, volume] : p_.volumes.all()) names.push_back(name);
  json::Array volumes;
  for (const std::string& name : names) {
    std::int64_t bytes = co_await p_.volumes.bytes(name);
    const Volume* volume = p_.volumes.find(name);
    if (volume == nullptr) continue;  // it went meanwhile
    json::Object item = p_.volumes.describe(*volume);
    item["UsageData"] = json::Object{{"Size", bytes}, {"RefCount", p_.containers.users_of_volume(name).size()}};
    volumes.push_back(std::move(item));
  }
  out["Volumes"] = std::move(volumes);
  co_return Result<>();
}

// docker login: the registry says whether the credentials are good when they are used; here only whether they can be.
Task<Result<>> Api::auth(Call& call) {
  CO_TRY_ASSIGN(json::Value request, co_await call.read_json());
  std::string address(json::get_string(request, {"serveraddress"}));
  CO_TRY(co_await check_login(p_.parts, address, {.username = std::string(json::get_string(request, {"username"})), .password = std::string(json::get_string(request, {"password"})), .token = {}}));
  co_return co_await call.answer(200, json::Object{{"Status", "Login Succeeded"}, {"IdentityToken", ""}});
}

Task<Result<>> Api::list_plugins(Call& call) { co_return co_await call.answer(200, json::Array{}); }

Task<Result<>> Api::attach_websocket(Call&) { co_return fail(Code::kUnimplemented, "attaching over WebSocket is not supported: POST /containers/{id}/attach takes the connection over"); }

Task<Result<>> Api::session(Call&) { co_return fail(Code::kNotFound, "BuildKit sessions are not served: build with DOCKER_BUILDKIT=0"); }

}  // namespace monopod::docker
