// Section Container, but for its streams.
#include <algorithm>
#include <csignal>

#include "base/strings.h"
#include "docker/api.h"
#include "docker/limits.h"
#include "docker/names.h"
#include "sys/namespaces.h"
#include "sys/root.h"

namespace monopod::docker {
namespace {

using async::Task;

Result<std::optional<int>> signal_of(const Call& call, std::string_view parameter) {
  std::string_view text = call.text(parameter);
  if (text.empty()) return std::optional<int>();
  auto number = parse_signal(text);
  if (!number) return fail(Code::kInvalidArgument, cat("Invalid signal: ", text));
  return number;
}

Result<std::optional<std::int64_t>> seconds_of(const Call& call) {
  if (call.text("t").empty()) return std::optional<std::int64_t>();
  TRY_ASSIGN(std::int64_t t, call.number("t", 0));
  return std::optional(t);
}

bool same_name(const Container& c, const std::string& wanted) {
  std::string_view bare = wanted.starts_with('/') ? std::string_view(wanted).substr(1) : std::string_view(wanted);
  return c.name.find(bare) != std::string::npos;
}

bool matches(const Container& c, const Filters& filters, const Containers& all, Networks& networks, const image::ImageStore& images) {
  auto any = [&](std::string_view key, auto&& test) {
    auto wanted = filters.get(key);
    return wanted.empty() || std::ranges::any_of(wanted, test);
  };
  if (!any("id", [&](const std::string& w) { return c.id.starts_with(w); }) || !any("name", [&](const std::string& w) { return same_name(c, w); })) return false;
  if (!any("status", [&](const std::string& w) { return c.status() == w; })) return false;
  if (!any("exited", [&](const std::string& w) { return c.phase == Phase::kExited && std::to_string(c.exit_code) == w; })) return false;
  if (!any("health", [&](const std::string& w) { return (c.health ? c.health->status : "none") == w; })) return false;
  if (!any("ancestor", [&](const std::string& w) {
        auto image = images.find(w);
        return (image && image->id == c.image_id) || c.image_id == w;
      }))
    return false;
  if (!any("network", [&](const std::string& w) {
        NetworkInfo* info = networks.find(w);
        return info != nullptr && (c.networks.get_object().contains(info->name) || c.network_mode() == info->name);
      }))
    return false;
  if (!any("volume", [&](const std::string& w) { return std::ranges::any_of(c.mounts, [&](const MountPoint& m) { return m.name == w || m.destination == w; }); })) return false;
  if (!any("publish", [&](const std::string& w) { return std::ranges::any_of(c.ports, [&](const PublishedPort& p) { return std::to_string(p.host_port) == split_once(w, '/').first; }); })) return false;
  for (auto [key, before] : {std::pair("before", true), {"since", false}})
    if (!any(key, [&, wants_before = before](const std::string& w) {
          auto other = all.find(w);
          return other && (wants_before ? c.created < (*other)->created : c.created > (*other)->created);
        }))
      return false;
  return filters.labels_match(json::get_object(c.config, {"Labels"}));
}

}  // namespace

Task<Result<>> Api::list_containers(Call& call) {
  CO_TRY_ASSIGN(Filters filters, Filters::parse(call.text("filters")));
  CO_TRY(filters.only({"id", "name", "status", "exited", "health", "ancestor", "network", "volume", "publish", "expose", "before", "since", "label", "label!", "is-task", "isolation"}));
  CO_TRY_ASSIGN(std::int64_t limit, call.number("limit", 0));
  bool all = call.flag("all") || limit > 0 || filters.has("status") || filters.has("exited") || filters.has("before") || filters.has("since");
  json::Array out;
  for (ContainerPtr c : p_.containers.list()) {
    if (!all && c->phase != Phase::kRunning && !c->restarting) continue;
    if (!matches(*c, filters, p_.containers, p_.networks, p_.parts.images)) continue;
    out.push_back(summarize_container(*c));
    if (call.flag("size")) CO_TRY(co_await add_sizes(*c, out.back()));
    if (limit > 0 && static_cast<std::int64_t>(out.size()) >= limit) break;
  }
  co_return co_await call.answer(200, std::move(out));
}

Task<Result<>> Api::create_container(Call& call) {
  CO_TRY_ASSIGN(json::Value request, co_await call.read_json());
  std::vector<std::string> warnings;
  Containers::CreateOptions options{.name = std::string(call.text("name"))};
  if (std::string_view platform = call.text("platform"); !platform.empty()) {
    CO_TRY_ASSIGN(options.platform, image::parse_platform(platform));
  }
  CO_TRY_ASSIGN(ContainerPtr c, co_await p_.containers.create(std::move(request), std::move(options), warnings));
  // Without control groups, as docker says it.
  auto limited = [&c](std::string_view member) { return json::get_int(c->host_config, {member}) > 0; };
  if (!p_.cgroups.has_memory() && limited("Memory")) warnings.emplace_back("Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.");
  if (!p_.cgroups.has_cpu() && (limited("NanoCpus") || limited("CpuQuota") || limited("CpuShares"))) warnings.emplace_back("Your kernel does not support CPU limits or the cgroup is not mounted. Limitation discarded.");
  if (!p_.cgroups.has_pids() && limited("PidsLimit")) warnings.emplace_back("Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.");
  co_return co_await call.answer(201, json::Object{{"Id", c->id}, {"Warnings", array_of(warnings)}});
}

Task<Result<>> Api::inspect_container(Call& call) {
  CO_TRY_ASSIGN(ContainerPtr c, p_.containers.find(call.name));
  json::Value body = describe_container(*c, false);
  if (call.flag("size")) CO_TRY(co_await add_sizes(*c, body));
  co_return co_await call.answer(200, body);
}

// What it wrote, and that with its image.
Task<Result<>> Api::add_sizes(const Container& c, json::Value& described) {
  auto image = p_.parts.images.find(c.image_id);
  std::uint64_t below = image ? image->size_bytes : 0;
  CO_TRY_ASSIGN(std::uint64_t bytes, co_await p_.parts.images.snapshot_bytes(c.id));
  described.get_object()["SizeRw"] = bytes;
  described.get_object()["SizeRootFs"] = bytes + below;
  co_return Result<>();
}

Task<Result<>> Api::start_container(Call& call) {
  CO_TRY_ASSIGN(ContainerPtr c, p_.containers.find(call.name));
  CO_TRY(co_await p_.containers.start(c));
  co_return co_await call.answer(204);
}

Task<Result<>> Api::stop_container(Call& call) {
  CO_TRY_ASSIGN(ContainerPtr c, p_.containers.find(call.name));
  CO_TRY_ASSIGN(auto signal, signal_of(call, "signal"));
  CO_TRY_ASSIGN(auto seconds, seconds_of(call));
  CO_TRY(co_await p_.containers.stop(c, signal, seconds));
  co_return co_await call.answer(204);
}

Task<Result<>> Api::restart_container(Call& call) {
  CO_TRY_ASSIGN(ContainerPtr c, p_.containers.find(call.name));
  CO_TRY_ASSIGN(auto signal, signal_of(call, "signal"));
  CO_TRY_ASSIGN(auto seconds, seconds_of(call));
  CO_TRY(co_await p_.containers.restart(c, signal, seconds));
  co_return co_await call.answer(204);
}

Task<Result<>> Api::kill_container(Call& call) {
  CO_TRY_ASSIGN(ContainerPtr c, p_.containers.find(call.name));
  CO_TRY_ASSIGN(auto signal, signal_of(call, "signal"));
  CO_TRY(co_await p_.containers.kill(c, signal.value_or(SIGKILL)));
  co_return co_await call.answer(204);
}

Task<Result<>> Api::remove_container(Call& call) {
  CO_TRY_ASSIGN(ContainerPtr c, p_.containers.find(call.name));
  if (call.flag("link")) co_return fail(Code::kUnimplemented, "links are not supported: use networks");
  CO_TRY(co_await p_.containers.remove(c, {.force = call.flag("force"), .volumes = call.flag("v")}));
  co_return co_await call.answer(204);
}

Task<Result<>> Api::rename_container(Call& call) {
  CO_TRY_ASSIGN(ContainerPtr c, p_.containers.find(call.name));
  CO_TRY(co_await p_.containers.rename(c, std::string(call.text("name"))));
  co_return co_await call.answer(204);
}

Task<Result<>> Api::pause_container(Call& call) {
  CO_TRY_ASSIGN(ContainerPtr c, p_.containers.find(call.name));
  CO_TRY(co_await p_.containers.pause(c, true));
  co_return co_await call.answer(204);
}

Task<Result<>> Api::unpause_container(Call& call) {
  CO_TRY_ASSIGN(ContainerPtr c, p_.containers.find(call.name));
  CO_TRY(co_await p_.containers.pause(c, false));
  co_return co_await call.answer(204);
}

Task<Result<>> Api::update_container(Call& call) {
  CO_TRY_ASSIGN(ContainerPtr c, p_.containers.find(call.name));
  CO_TRY_ASSIGN(json::Value request, co_await call.read_json());
  CO_TRY(co_await p_.containers.update(c, std::move(request)));
  co_return co_await call.answer(200, json::Object{{"Warnings", json::Array{}}});
}

Task<Result<>> Api::wait_container(Call& call) {
  CO_TRY_ASSIGN(ContainerPtr c, p_.containers.find(call.name));
  std::string condition(call.text("condition"));
  if (!condition.empty() && condition != "not-running" && condition != "next-exit" && condition != "removed") co_return fail(Code::kInvalidArgument, cat("invalid condition: \"", condition, "\""));
  std::uint64_t exits = c->exits;
  // The head at once: clients start the container only when they have it.
  CO_TRY(co_await call.exchange.start(200, {{"Content-Type", "application/json"}}));
  auto waits = [&] {
    if (c->removed) return false;
    if (condition == "removed") return true;
    if (condition == "next-exit") return c->exits == exits;
    return c->phase == Phase::kRunning || c->restarting;
  };
  while (waits()) CO_TRY(co_await c->changed.wait());  // forever: the container decides
  json::Object body{{"StatusCode", c->exit_code}};
  if (!c->error.empty()) body["Error"] = json::Object{{"Message", c->error}};
  CO_TRY(co_await call.exchange.write(share(json::format(body) + "\n")));
  co_return co_await call.exchange.finish();
}

Task<Result<>> Api::resize_container(Call& call) {
  CO_TRY_ASSIGN(ContainerPtr c, p_.containers.find(call.name));
  CO_TRY_ASSIGN(std::int64_t rows, call.number("h", 0));
  CO_TRY_ASSIGN(std::int64_t columns, call.number("w", 0));
  if (rows < 0 || columns < 0 || rows > 65'535 || columns > 65'535) co_return fail(Code::kInvalidArgument, "h and w: want 0 to 65535");
  if (c->phase != Phase::kRunning) co_return fail(Code::kFailedPrecondition, cat("Container ", c->id, " is not running"));
  CO_TRY(co_await p_.parts.runtime.resize(c->id, static_cast<std::uint16_t>(columns), static_cast<std::uint16_t>(rows)));
  co_return co_await call.answer(200);
}

namespace {

// What ps -ef prints of one process; nullopt: it has ended.
std::optional<json::Array> process_row(int pid) {
  auto stat = sys::read_host_file(cat("/proc/", pid, "/stat"));
  auto status = sys::read_host_file(cat("/proc/", pid, "/status"));
  auto command = sys::read_host_file(cat("/proc/", pid, "/cmdline"));
  if (!stat || !status || !command) return std::nullopt;
  std::size_t open = stat->find('(');
  std::size_t close = stat->rfind(')');
  if (open == std::string::npos || close == std::string::npos) return std::nullopt;
  auto fields = split(std::string_view(*stat).substr(close + 2), ' ');
  if (fields.size() < 20) return std::nullopt;
  std::string uid = "0";
  for (std::string_view line : split(*status, '\n'))
    if (line.starts_with("Uid:")) uid = std::string(split(trim(line.substr(4)), '\t')[0]);
  std::ranges::replace(*command, '\0', ' ');
  std::string text(trim(*command));
  if (text.empty()) text = cat("[", std::string_view(*stat).substr(open + 1, close - open - 1), "]");
  std::int64_t ticks = parse_int<std::int64_t>(fields[11]).value_or(0) + parse_int<std::int64_t>(fields[12]).value_or(0);
  std::int64_t seconds = ticks / 100;
  auto two = [](std::int64_t n) { return n < 10 ? cat("0", n) : cat(n); };
  return json::Array{json::Value(uid), json::Value(cat(pid)), json::Value(std::string(fields[1])), json::Value("0"), json::Value("?"), json::Value("?"),
                     json::Value(cat(two(seconds / 3600), ":", two(seconds / 60 % 60), ":", two(seconds % 60))), json::Value(text)};
}

}  // namespace

Task<Result<>> Api::top(Call& call) {
  CO_TRY_ASSIGN(ContainerPtr c, p_.containers.find(call.name));
  if (c->phase != Phase::kRunning) co_return fail(Code::kFailedPrecondition, cat("Container ", c->id, " is not running"));
  if (auto args = call.text("ps_args"); !args.empty() && args != "-ef") co_return fail(Code::kUnimplemented, cat("ps_args: only -ef is supported, not ", args));
  std::string group = cat("docker/", c->id);
  CO_TRY_ASSIGN(json::Array rows, co_await p_.parts.pool.run([&]() -> Result<json::Array> {
    json::Array out;
    TRY_ASSIGN(std::vector<int> pids, p_.cgroups.mode() == sys::CgroupMode::kNone ? sys::processes_with(c->pid) : p_.cgroups.processes(group));
    std::ranges::sort(pids);
    for (int pid : pids)
      if (auto row = process_row(pid)) out.push_back(std::move(*row));
    return out;
  }));
  json::Array titles{json::Value("UID"), json::Value("PID"), json::Value("PPID"), json::Value("C"), json::Value("STIME"), json::Value("TTY"), json::Value("TIME"), json::Value("CMD")};
  co_return co_await call.answer(200, json::Object{{"Titles", std::move(titles)}, {"Processes", std::move(rows)}});
}

Task<Result<>> Api::prune_containers(Call& call) {
  CO_TRY_ASSIGN(Filters filters, Filters::parse(call.text("filters")));
  CO_TRY(filters.only({"label", "label!", "until"}));
  std::optional<WallTime> until;
  if (filters.has("until")) {
    CO_TRY_ASSIGN(until, parse_moment(filters.get("until").at(0), p_.parts.time.wall()));
  }
  json::Array removed;
  std::uint64_t freed = 0;
  for (const ContainerPtr& c : p_.containers.list()) {
    if (c->phase == Phase::kRunning || c->restarting || c->removing || c->busy) continue;
    if ((until && c->created > *until) || !filters.labels_match(json::get_object(c->config, {"Labels"}))) continue;
    auto bytes = co_await p_.parts.images.snapshot_bytes(c->id);
    if (!co_await p_.containers.remove(c, {})) continue;
    removed.emplace_back(c->id);
    freed += bytes.value_or(0);
  }
  co_return co_await call.answer(200, json::Object{{"ContainersDeleted", removed.empty() ? json::Value(nullptr) : json::Value(std::move(removed))}, {"SpaceReclaimed", freed}});
}

}  // namespace monopod::docker
