// What looks at containers: ps, logs, stats, events, inspect.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/duration.h"
#include "base/strings.h"
#include "docker/call.h"
#include "docker_client/session.h"
#include "docker_client/show.h"
#include "docker_client/verbs.h"
#include "http/query.h"
#include "sys/root.h"
#include "sys/terminal.h"

namespace monopod::docker_client {
namespace {

using async::Task;

// "10m" as ten minutes ago; times go as they are.
std::string moment_of(const std::string& text) {
  auto ago = parse_duration(text);
  if (!ago || parse_int<std::int64_t>(text)) return text;
  WallTime at = RealClock().wall() - *ago;
  std::int64_t nanos = at.time_since_epoch().count();
  char out[40];
  std::snprintf(out, sizeof out, "%lld.%09lld", static_cast<long long>(nanos / 1'000'000'000), static_cast<long long>(nanos % 1'000'000'000));
  return out;
}

void add_moments(const Flags& flags, http::Query& query) {
  for (const char* name : {"since", "until"})
    if (flags.has(name)) query.add(name, moment_of(flags.text(name)));
}

json::Value row_of(const json::Value& c, bool whole) {
  std::vector<std::string> names = docker::strings_of(c, {"Names"});
  for (std::string& name : names)
    if (name.starts_with('/')) name.erase(0, 1);
  std::vector<std::string> networks, labels, mounts;
  if (const json::Object* of = json::get_object(c, {"NetworkSettings", "Networks"}))
    for (const auto& [name, v] : *of) networks.emplace_back(name);
  for (const auto& [key, value] : docker::string_map_of(c, {"Labels"})) labels.push_back(cat(key, "=", value));
  if (const json::Array* of = json::get_array(c, {"Mounts"}))
    for (const json::Value& m : *of) mounts.emplace_back(json::get_string(m, {"Name"}, json::get_string(m, {"Source"})));
  std::string id(json::get_string(c, {"Id"})), image(json::get_string(c, {"Image"})), command(json::get_string(c, {"Command"}));
  if (!whole) {
    id = short_id(id);
    if (image.starts_with("sha256:")) image = short_id(image);
    command = cut(command, 20);
  }
  WallTime created(std::chrono::seconds(json::get_int(c, {"Created"})));
  const json::Array* ports = json::get_array(c, {"Ports"});
  return json::Object{{"ID", id}, {"Image", image}, {"Command", cat("\"", command, "\"")}, {"CreatedAt", format_rfc3339(created)}, {"RunningFor", cat(format_age_words(RealClock().wall() - created), " ago")},
                      {"Status", json::get_string(c, {"Status"})}, {"State", json::get_string(c, {"State"})}, {"Ports", ports == nullptr ? "" : format_ports(*ports)}, {"Names", join(names, ",")},
                      {"Networks", join(networks, ",")}, {"Labels", join(labels, ",")}, {"Mounts", join(mounts, ",")}};
}

}  // namespace

Result<int> list_containers(Command& c) {
  http::Query query;
  TRY_ASSIGN(std::string filters, encode_filters(c.flags.list("filter")));
  std::string limit = c.flags.on("latest") ? "1" : c.flags.text("last");
  if (c.flags.on("all") || !limit.empty()) query.add("all", "1");
  if (!limit.empty()) query.add("limit", limit);
  TRY_ASSIGN(json::Value answer, c.client.get(cat("/containers/json?", query.format(), query.empty() ? "" : "&", "filters=", filters)));
  Listing listing{{{"ID", "CONTAINER ID"}, {"Image"}, {"Command"}, {"RunningFor", "CREATED"}, {"Status"}, {"Ports"}, {"Names"}}, "ID"};
  if (answer.is_array())
    for (const json::Value& container : answer.get_array()) listing.rows.push_back(row_of(container, c.flags.on("no-trunc")));
  listing.raw = std::move(answer);
  TRY(print(listing, c.flags));
  return 0;
}

namespace {

Task<Result<>> copy_logs(EngineClient& client, std::string target, bool tty) {
  CO_TRY_ASSIGN(http::Response response, co_await client.send("GET", std::move(target)));
  FrameReader frames;
  for (;;) {  // forever: with --follow the container decides
    CO_TRY_ASSIGN(SharedBytes chunk, co_await response.body->read_chunk());
    if (!chunk) co_return Result<>();
    if (tty) CO_TRY(sys::write_all(1, *chunk));
    else CO_TRY(frames.feed(*chunk, [](int stream, std::string_view bytes) { return sys::write_all(stream == 2 ? 2 : 1, bytes); }));
  }
}

}  // namespace

Result<int> show_logs(Command& c) {
  TRY_ASSIGN(json::Value container, c.client.get(path_of("containers", c.words[0], "/json")));
  http::Query query;
  query.add("stdout", "1");
  query.add("stderr", "1");
  if (c.flags.on("follow")) query.add("follow", "1");
  if (c.flags.on("timestamps")) query.add("timestamps", "1");
  if (c.flags.has("tail")) query.add("tail", c.flags.text("tail"));
  add_moments(c.flags, query);
  TRY(c.client.run(copy_logs(c.client, path_of("containers", c.words[0], "/logs?" + query.format()), json::get_bool(container, {"Config", "Tty"}))));
  return 0;
}

Result<int> show_events(Command& c) {
  http::Query query;
  add_moments(c.flags, query);
  TRY_ASSIGN(std::string filters, encode_filters(c.flags.list("filter")));
  std::string format = c.flags.text("format");
  if (format == "json") format = "{{json .}}";
  TRY(c.client.stream("GET", cat("/events?", query.format(), query.empty() ? "" : "&", "filters=", filters), {}, [&](const json::Value& event) -> Result<bool> {
    std::string line;
    if (!format.empty()) {
      TRY_ASSIGN(line, fill_template(format, event));
    } else {
      std::vector<std::string> attributes;
      for (const auto& [key, value] : docker::string_map_of(event, {"Actor", "Attributes"})) attributes.push_back(cat(key, "=", value));
      WallTime at(std::chrono::nanoseconds(json::get_int(event, {"timeNano"})));
      line = cat(format_rfc3339_nano(at), " ", json::get_string(event, {"Type"}), " ", json::get_string(event, {"Action"}), " ", json::get_string(event, {"Actor", "ID"}), attributes.empty() ? "" : cat(" (", join(attributes, ", "), ")"));
    }
    std::printf("%s\n", sys::printable(line).c_str());
    std::fflush(stdout);
    return true;
  }));
  return 0;
}

Result<int> inspect_objects(Command& c, const char* kind) {
  std::string tail = std::string_view(kind) == "containers" ? cat("/json", c.flags.on("size") ? "?size=1" : "") : "";
  json::Array found;
  int code = 0;
  std::string format = c.flags.text("format");
  for (const std::string& name : c.words) {
    auto answer = c.client.get(path_of(kind, name, tail));
    if (!answer && answer.error().code() == Code::kUnavailable) return fail(answer.error());
    if (!answer) {
      print_error(answer.error());
      code = 1;
      continue;
    }
    if (!format.empty()) {
      TRY_ASSIGN(std::string line, fill_template(format == "json" ? "{{json .}}" : format, *answer));
      std::printf("%s\n", line.c_str());
    }
    found.push_back(*std::move(answer));
  }
  if (format.empty()) std::printf("%s\n", json::format(found).c_str());
  return code;
}

namespace {

double number_at(const json::Value& v, std::initializer_list<std::string_view> path) {
  const json::Value* found = json::find(v, path);
  return found != nullptr && found->is_number() ? found->to_number<double>() : 0;
}

std::string percent(double part) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f%%", part);
  return text;
}

// As docker's client reckons it: of the working set, and of all CPUs 100 % each.
json::Value row_of_stats(const json::Value& s, bool whole) {
  double cpu = number_at(s, {"cpu_stats", "cpu_usage", "total_usage"}) - number_at(s, {"precpu_stats", "cpu_usage", "total_usage"});
  double system = number_at(s, {"cpu_stats", "system_cpu_usage"}) - number_at(s, {"precpu_stats", "system_cpu_usage"});
  bool before = number_at(s, {"precpu_stats", "system_cpu_usage"}) > 0;
  double share = before && system > 0 && cpu > 0 ? cpu / system * number_at(s, {"cpu_stats", "online_cpus"}) * 100 : 0;
  double memory = std::max(0.0, number_at(s, {"memory_stats", "usage"}) - number_at(s, {"memory_stats", "stats", "inactive_file"}));
  double limit = number_at(s, {"memory_stats", "limit"}), in = 0, out = 0;
  if (const json::Object* networks = json::get_object(s, {"networks"}))
    for (const auto& [name, n] : *networks) {
      in += number_at(n, {"rx_bytes"});
      out += number_at(n, {"tx_bytes"});
    }
  std::string name(json::get_string(s, {"name"})), id(json::get_string(s, {"id"}));
  if (name.starts_with('/')) name.erase(0, 1);
  if (!whole) id = short_id(id);
  return json::Object{{"ID", id}, {"Container", id}, {"Name", name}, {"CPUPerc", percent(share)}, {"MemUsage", cat(format_binary_size(memory), " / ", format_binary_size(limit))},
                      {"MemPerc", percent(limit > 0 ? memory / limit * 100 : 0)}, {"NetIO", cat(format_decimal_size(in), " / ", format_decimal_size(out))}, {"PIDs", std::to_string(json::get_int(s, {"pids_stats", "current"}))}};
}

// One look at each container; looks are taken side by side, as each lasts a second.
struct Look {
  EngineClient& client;
  std::vector<std::string> ids;
  std::vector<json::Value> stats{};

  Task<Result<>> one(std::size_t i) {
    auto response = co_await client.send("GET", path_of("containers", ids[i], "/stats?stream=0"));
    if (!response && response.error().code() == Code::kNotFound) co_return Result<>();  // gone meanwhile
    if (!response) co_return fail(response.error());
    CO_TRY_ASSIGN(std::string text, co_await response->body->read_all(1U << 20));
    CO_TRY_ASSIGN(stats[i], json::parse(trim(text)));
    co_return Result<>();
  }
  Task<Result<>> all(async::Scope& scope) {
    for (std::size_t i = 0; i < ids.size(); ++i) scope.spawn(one(i));
    co_return co_await scope.join();
  }
  Task<Result<>> run() {
    stats.assign(ids.size(), json::Value());
    co_return co_await async::run_scoped([this](async::Scope& scope) { return all(scope); });
  }
};

Result<std::vector<std::string>> ids_for_stats(Command& c) {
  if (!c.words.empty()) {
    for (const std::string& name : c.words) TRY(c.client.get(path_of("containers", name, "/json")));
    return c.words;
  }
  std::vector<std::string> out;
  TRY_ASSIGN(json::Value answer, c.client.get(c.flags.on("all") ? "/containers/json?all=1" : "/containers/json"));
  if (answer.is_array())
    for (const json::Value& container : answer.get_array()) out.emplace_back(json::get_string(container, {"Id"}));
  return out;
}

}  // namespace

Result<int> show_stats(Command& c) {
  bool once = c.flags.on("no-stream") || c.flags.text("output") == "json";
  bool screen = !once && ::isatty(1) != 0 && !c.flags.has("format");
  for (;;) {  // forever: until a signal, or once
    TRY_ASSIGN(std::vector<std::string> ids, ids_for_stats(c));
    Look look{c.client, std::move(ids)};
    TRY(c.client.run(look.run()));
    Listing listing{{{"ID", "CONTAINER ID"}, {"Name"}, {"CPUPerc", "CPU %"}, {"MemUsage", "MEM USAGE / LIMIT"}, {"MemPerc", "MEM %"}, {"NetIO", "NET I/O"}, {"PIDs", "PIDS"}}, "ID"};
    json::Array raw;
    for (json::Value& s : look.stats)
      if (s.is_object()) {
        listing.rows.push_back(row_of_stats(s, c.flags.on("no-trunc")));
        raw.push_back(std::move(s));
      }
    listing.raw = std::move(raw);
    if (screen) std::printf("\033[H\033[J");
    TRY(print(listing, c.flags));
    std::fflush(stdout);
    if (once) return 0;
    if (listing.rows.empty()) ::usleep(1'000'000);
  }
}

}  // namespace monopod::docker_client
