#include "docker/api.h"

#include "base/log.h"
#include "base/strings.h"
#include "docker/limits.h"

namespace monopod::docker {

const Api::Route Api::kRoutes[] = {
    {"GET", "/_ping", &Api::ping},
    {"HEAD", "/_ping", &Api::ping},
    {"GET", "/version", &Api::version},
    {"GET", "/info", &Api::info},
    {"GET", "/events", &Api::events},
    {"GET", "/system/df", &Api::disk_usage},
    {"POST", "/auth", &Api::auth},
    {"POST", "/session", &Api::session},
    {"POST", "/grpc", &Api::session},
    {"GET", "/plugins", &Api::list_plugins},
    {"GET", "/containers/json", &Api::list_containers},
    {"POST", "/containers/create", &Api::create_container},
    {"POST", "/containers/prune", &Api::prune_containers},
    {"GET", "/containers/*/json", &Api::inspect_container},
    {"GET", "/containers/*/top", &Api::top},
    {"GET", "/containers/*/logs", &Api::logs},
    {"GET", "/containers/*/stats", &Api::stats},
    {"POST", "/containers/*/start", &Api::start_container},
    {"POST", "/containers/*/stop", &Api::stop_container},
    {"POST", "/containers/*/restart", &Api::restart_container},
    {"POST", "/containers/*/kill", &Api::kill_container},
    {"POST", "/containers/*/pause", &Api::pause_container},
    {"POST", "/containers/*/unpause", &Api::unpause_container},
    {"POST", "/containers/*/rename", &Api::rename_container},
    {"POST", "/containers/*/update", &Api::update_container},
    {"POST", "/containers/*/wait", &Api::wait_container},
    {"POST", "/containers/*/resize", &Api::resize_container},
    {"POST", "/containers/*/attach", &Api::attach},
    {"GET", "/containers/*/attach/ws", &Api::attach_websocket},
    {"POST", "/containers/*/exec", &Api::create_exec},
    {"HEAD", "/containers/*/archive", &Api::stat_path},
    {"GET", "/containers/*/archive", &Api::get_archive},
    {"PUT", "/containers/*/archive", &Api::put_archive},
    {"GET", "/containers/*/export", &Api::export_container},
    {"GET", "/containers/*/changes", &Api::changes},
    {"POST", "/commit", &Api::commit},
    {"POST", "/build", &Api::build},
    {"POST", "/build/prune", &Api::prune_builds},
    {"DELETE", "/containers/*", &Api::remove_container},
    {"POST", "/exec/*/start", &Api::start_exec},
    {"POST", "/exec/*/resize", &Api::resize_exec},
    {"GET", "/exec/*/json", &Api::inspect_exec},
    {"GET", "/images/json", &Api::list_images},
    {"GET", "/images/search", &Api::search_images},
    {"GET", "/images/get", &Api::save_images},
    {"POST", "/images/create", &Api::pull_image},
    {"POST", "/images/load", &Api::load_images},
    {"POST", "/images/prune", &Api::prune_images},
    {"GET", "/images/*/json", &Api::inspect_image},
    {"GET", "/images/*/history", &Api::image_history},
    {"GET", "/images/*/get", &Api::save_image},
    {"POST", "/images/*/tag", &Api::tag_image},
    {"POST", "/images/*/push", &Api::push_image},
    {"DELETE", "/images/*", &Api::remove_image},
    {"GET", "/distribution/*/json", &Api::inspect_distribution},
    {"GET", "/networks", &Api::list_networks},
    {"POST", "/networks/create", &Api::create_network},
    {"POST", "/networks/prune", &Api::prune_networks},
    {"GET", "/networks/*", &Api::inspect_network},
    {"DELETE", "/networks/*", &Api::remove_network},
    {"POST", "/networks/*/connect", &Api::connect_network},
    {"POST", "/networks/*/disconnect", &Api::disconnect_network},
    {"GET", "/volumes", &Api::list_volumes},
    {"POST", "/volumes/create", &Api::create_volume},
    {"POST", "/volumes/prune", &Api::prune_volumes},
    {"GET", "/volumes/*", &Api::inspect_volume},
    {"DELETE", "/volumes/*", &Api::remove_volume},
};

namespace {

// The name that * stands for; nullopt where the path is another.
std::optional<std::string_view> match(std::string_view pattern, std::string_view path) {
  std::size_t star = pattern.find('*');
  if (star == std::string_view::npos) return pattern == path ? std::optional<std::string_view>("") : std::nullopt;
  std::string_view head = pattern.substr(0, star);
  std::string_view tail = pattern.substr(star + 1);
  if (path.size() <= head.size() + tail.size() || !path.starts_with(head) || !path.ends_with(tail)) return std::nullopt;
  std::string_view name = path.substr(head.size(), path.size() - head.size() - tail.size());
  bool slashes = pattern.starts_with("/images/") || pattern.starts_with("/distribution/");
  if (!slashes && name.find('/') != std::string_view::npos) return std::nullopt;
  return name;
}

// Sections of the API that this engine does not have, as a daemon without them answers.
struct Absent {
  std::string_view path;  // and below it
  Code code;
  std::string_view why;
};
constexpr std::string_view kNoSwarm = "This node is not a swarm manager: swarm mode is not supported by this engine";
constexpr Absent kAbsent[] = {
    {"/swarm/init", Code::kUnimplemented, "swarm mode is not supported by this engine"},
    {"/swarm/join", Code::kUnimplemented, "swarm mode is not supported by this engine"},
    {"/swarm", Code::kUnavailable, kNoSwarm},
    {"/nodes", Code::kUnavailable, kNoSwarm},
    {"/services", Code::kUnavailable, kNoSwarm},
    {"/tasks", Code::kUnavailable, kNoSwarm},
    {"/secrets", Code::kUnavailable, kNoSwarm},
    {"/configs", Code::kUnavailable, kNoSwarm},
    {"/plugins", Code::kUnimplemented, "plugins are not supported by this engine"},
};

const Absent* find_absent(std::string_view path) {
  for (const Absent& one : kAbsent)
    if (path == one.path || (path.starts_with(one.path) && path[one.path.size()] == '/')) return &one;
  return nullptr;
}

// Takes "/v1.41" off a path. 0: none there; -1: no version.
int take_version(std::string_view& path) {
  if (!path.starts_with("/v1.") ) return path.starts_with("/v") && path.size() > 2 && path[2] >= '0' && path[2] <= '9' ? -1 : 0;
  std::size_t end = path.find('/', 4);
  if (end == std::string_view::npos) return -1;
  auto minor = parse_int<int>(path.substr(4, end - 4));
  if (!minor || *minor <= 0) return -1;
  path.remove_prefix(end);
  return *minor;
}

}  // namespace

async::Task<Result<>> Api::handle(http::Exchange& exchange) {
  ++requests_.begun;
  requests_.changed.wake_all();
  Call call{.exchange = exchange, .minor = kApiMinorMax};
  std::string_view path = exchange.request().raw_path();
  if (int minor = take_version(path); minor > 0) call.minor = minor;
  if (call.minor < (path.starts_with("/images/") ? kImagesMinorMin : kApiMinorMin))
    co_return co_await call.answer_error(Error(Code::kInvalidArgument, cat("client version 1.", call.minor, " is too old. Minimum supported API version is 1.", kApiMinorMin, ", please upgrade your client to a newer version")));
  if (call.minor > kApiMinorMax)
    co_return co_await call.answer_error(Error(Code::kInvalidArgument, cat("client version 1.", call.minor, " is too new. Maximum supported API version is 1.", kApiMinorMax)));
  call.query = http::parse_query(exchange.request().raw_query());
  for (const Route& route : kRoutes) {
    auto name = match(route.path, path);
    if (!name || exchange.request().method != route.method) continue;
    auto decoded = http::decode_path(*name);
    if (!decoded) co_return co_await call.answer_error(decoded.error());
    call.name = std::move(*decoded);
    Result<> answered = co_await (this->*route.handler)(call);
    if (answered || exchange.started() || answered.error().code() == Code::kCancelled) co_return answered;
    if (int status = status_of(answered.error()); status >= 500 && status != 501) log::warn("a request of the docker API fails", {{"request", cat(exchange.request().method, " ", path)}, {"error", answered.error()}});
    co_return co_await call.answer_error(answered.error());
  }
  if (const Absent* absent = find_absent(path)) co_return co_await call.answer_error(Error(absent->code, std::string(absent->why)));
  co_return co_await call.answer(404, json::Object{{"message", "page not found"}});
}

}  // namespace monopod::docker
