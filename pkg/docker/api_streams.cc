// What containers write: attach, logs; and stats.
#include <unistd.h>

#include "base/strings.h"
#include "docker/api.h"
#include "docker/hijack.h"
#include "docker/limits.h"
#include "supervisor/log_reader.h"
#include "sys/files.h"

namespace monopod::docker {
namespace {

using async::Task;

constexpr Duration kStatsInterval = std::chrono::seconds(1);

// A client that asked to attach: the start waits until it is, so that it misses nothing.
class Attaching {
 public:
  explicit Attaching(ContainerPtr c) : c_(std::move(c)), exits_(c_->exits) { ++c_->attaching; }
  ~Attaching() { end(); }
  Attaching(const Attaching&) = delete;
  Attaching& operator=(const Attaching&) = delete;

  // Waits until there is a process to attach to; null where there will be none for this client.
  Task<Result<std::optional<container::AttachedStreams>>> attach(container::Runtime& runtime, bool in, bool out, bool err) {
    while (!c_->process_made && !c_->removed && c_->exits == exits_) CO_TRY(co_await c_->changed.wait());  // forever: the client decides
    if (!c_->process_made) co_return std::optional<container::AttachedStreams>();
    CO_TRY_ASSIGN(container::AttachedStreams streams, co_await runtime.attach(c_->id, in, out, err));
    end();
    co_return std::optional(std::move(streams));
  }

 private:
  void end() {
    if (!c_) return;
    --c_->attaching;
    c_->changed.wake_all();
    c_.reset();
  }
  ContainerPtr c_;
  std::uint64_t exits_;
};

}  // namespace

Task<Result<>> Api::attach(Call& call) {
  CO_TRY_ASSIGN(ContainerPtr c, p_.containers.find(call.name));
  if (c->paused) co_return fail(Code::kFailedPrecondition, cat("container ", c->id, " is paused, unpause the container before attach"));
  if (c->restarting) co_return fail(Code::kFailedPrecondition, cat("container ", c->id, " is restarting, wait until the container is running"));
  bool in = call.flag("stdin");
  bool out = call.flag("stdout");
  bool err = call.flag("stderr");
  bool stream = call.flag("stream");
  bool logs = call.flag("logs");
  std::optional<Attaching> attaching;
  if (stream) attaching.emplace(c);  // before the client hears that it may start the container
  CO_TRY_ASSIGN(std::unique_ptr<Hijacked> client, co_await Hijacked::accept(call, p_.parts.executor, p_.parts.time, !c->tty()));
  p_.containers.emit(*c, "attach");
  if (logs) {
    struct Send {
      static Task<Result<>> to(async::Stream* stream, SharedBytes bytes) { co_return co_await stream->write_all(as_bytes(*bytes)); }
    };
    supervisor::LogOptions options;
    options.rotated = true;
    options.frames = !c->tty();
    options.stream = out && err ? "" : out ? "Stdout" : "Stderr";
    async::Stream* to = &client->stream();
    CO_TRY(co_await supervisor::stream_log({.time = p_.parts.time, .pool = p_.parts.pool, .path = p_.containers.directories().log(c->id), .options = options,
                                            .write = [to](SharedBytes bytes) { return Send::to(to, std::move(bytes)); }, .ended = [] { return true; }}));
  }
  if (attaching) {
    auto streams = co_await attaching->attach(p_.parts.runtime, in, out, err);
    if (streams && *streams) {
      container::AttachedStreams& s = **streams;
      (void)co_await client->pump({.in = s.stdin_stream.get(), .out = s.stdout_stream.get(), .err = s.stderr_stream.get()});
    }
  }
  (void)co_await client->stream().shutdown_write();
  co_return Result<>();
}

Task<Result<>> Api::logs(Call& call) {
  CO_TRY_ASSIGN(ContainerPtr c, p_.containers.find(call.name));
  bool out = call.flag("stdout");
  bool err = call.flag("stderr");
  if (!out && !err) co_return fail(Code::kInvalidArgument, "Bad parameters: you must choose at least one stream");
  if (json::get_string(c->host_config, {"LogConfig", "Type"}) == "none") co_return fail(Code::kUnimplemented, "configured logging driver does not support reading");
  supervisor::LogOptions options;
  options.follow = call.flag("follow");
  options.rotated = true;
  options.timestamps = call.flag("timestamps");
  options.frames = !c->tty();
  options.stream = out && err ? "" : out ? "Stdout" : "Stderr";
  if (std::string_view tail = call.text("tail"); !tail.empty() && tail != "all") {
    auto lines = parse_int<std::int64_t>(tail);
    if (lines && *lines >= 0) options.tail_lines = *lines;  // anything else is all, as Docker has it
  }
  WallTime now = p_.parts.time.wall();
  for (auto [name, to] : {std::pair("since", &options.since), {"until", &options.until}})
    if (std::string_view text = call.text(name); !text.empty() && text != "0") {
      CO_TRY_ASSIGN(*to, parse_moment(text, now));
    }
  http::Headers headers{{"Content-Type", options.frames && call.minor >= 42 ? "application/vnd.docker.multiplexed-stream" : "application/vnd.docker.raw-stream"}};
  CO_TRY(co_await call.exchange.start(200, std::move(headers)));
  http::Exchange* exchange = &call.exchange;
  CO_TRY(co_await supervisor::stream_log({.time = p_.parts.time, .pool = p_.parts.pool, .path = p_.containers.directories().log(c->id), .options = options,
                                          .write = [exchange](SharedBytes bytes) { return exchange->write(std::move(bytes)); },
                                          .ended = [c] { return c->removed || (c->phase != Phase::kRunning && !c->restarting && !c->busy); }}));
  co_return co_await call.exchange.finish();
}

namespace {

json::Object cpu_stats(const sys::CgroupStats& s, std::uint64_t system_ns) {
  return json::Object{{"cpu_usage", json::Object{{"total_usage", s.cpu_usage_ns}, {"usage_in_kernelmode", 0}, {"usage_in_usermode", 0}}}, {"system_cpu_usage", system_ns}, {"online_cpus", ::sysconf(_SC_NPROCESSORS_ONLN)},
                      {"throttling_data", json::Object{{"periods", 0}, {"throttled_periods", s.cpu_throttled_periods}, {"throttled_time", s.cpu_throttled_ns}}}};
}

// Of the whole host, from /proc/stat.
std::uint64_t system_cpu_ns() {
  auto text = sys::read_host_file("/proc/stat", 1U << 20);
  std::uint64_t ticks = 0;
  if (text) {
    auto words = split(split(*text, '\n')[0], ' ');
    int seen = 0;
    for (std::size_t i = 1; i < words.size() && seen < 8; ++i)
      if (auto n = parse_int<std::uint64_t>(words[i])) {
        ticks += *n;
        ++seen;
      }
  }
  return ticks * 10'000'000;
}

struct Traffic {
  std::string name;
  std::uint64_t numbers[16] = {};
};
std::vector<Traffic> read_traffic(int pid) {
  std::vector<Traffic> out;
  auto text = sys::read_host_file(cat("/proc/", pid, "/net/dev"));
  if (!text) return out;
  for (std::string_view line : split(*text, '\n')) {
    auto [name, rest] = split_once(line, ':');
    if (!rest || trim(name) == "lo") continue;
    Traffic t{.name = std::string(trim(name))};
    std::size_t i = 0;
    for (std::string_view word : split(*rest, ' '))
      if (auto n = parse_int<std::uint64_t>(word); n && i < 16) t.numbers[i++] = *n;
    out.push_back(std::move(t));
  }
  return out;
}

}  // namespace

Task<Result<json::Value>> Api::read_stats(ContainerPtr c, const json::Value& before) {
  json::Object out{{"read", "0001-01-01T00:00:00Z"}, {"preread", "0001-01-01T00:00:00Z"}, {"pids_stats", json::Object{}}, {"blkio_stats", json::Object{}}, {"num_procs", 0}, {"storage_stats", json::Object{}},
                   {"cpu_stats", json::Object{}}, {"precpu_stats", json::Object{}}, {"memory_stats", json::Object{}}, {"name", "/" + c->name}, {"id", c->id}};
  if (c->phase != Phase::kRunning) co_return json::Value(std::move(out));
  CO_TRY_ASSIGN(container::ContainerStats stats, co_await p_.parts.runtime.stats(c->id));
  struct Host {
    std::uint64_t cpu = 0, memory = 0;
    std::vector<Traffic> traffic;
  };
  Host host = co_await p_.parts.pool.run([pid = c->pid] {
    return Host{system_cpu_ns(), static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)), read_traffic(pid)};
  });
  const sys::CgroupStats& s = stats.cgroup;
  out["read"] = format_rfc3339_nano(stats.at);
  out["cpu_stats"] = cpu_stats(s, host.cpu);
  if (const json::Value* last = json::find(before, {"cpu_stats"})) {
    out["precpu_stats"] = *last;
    out["preread"] = json::get_string(before, {"read"});
  }
  out["pids_stats"] = json::Object{{"current", s.pids_current}};
  if (s.pids_limit > 0) out["pids_stats"].get_object()["limit"] = s.pids_limit;
  std::uint64_t inactive = s.memory_usage_bytes - std::min(s.memory_usage_bytes, s.memory_working_set_bytes);
  out["memory_stats"] = json::Object{{"usage", s.memory_usage_bytes}, {"limit", s.memory_limit_bytes > 0 ? std::min(s.memory_limit_bytes, host.memory) : host.memory},
                                     {"stats", json::Object{{"inactive_file", inactive}, {"total_inactive_file", inactive}, {"pgfault", s.memory_page_faults}, {"pgmajfault", s.memory_major_page_faults}}}};
  json::Object networks;
  if (c->has_own_network())
    for (const Traffic& t : host.traffic) {
      const std::uint64_t* n = t.numbers;
      networks[t.name] = json::Object{{"rx_bytes", n[0]}, {"rx_packets", n[1]}, {"rx_errors", n[2]}, {"rx_dropped", n[3]}, {"tx_bytes", n[8]}, {"tx_packets", n[9]}, {"tx_errors", n[10]}, {"tx_dropped", n[11]}};
    }
  out["networks"] = std::move(networks);
  co_return json::Value(std::move(out));
}

Task<Result<>> Api::stats(Call& call) {
  CO_TRY_ASSIGN(ContainerPtr c, p_.containers.find(call.name));
  bool stream = call.flag("stream", true);
  CO_TRY_ASSIGN(json::Value last, co_await read_stats(c, nullptr));
  if (!stream) {
    if (!call.flag("one-shot") && c->phase == Phase::kRunning) {
      CO_TRY(co_await p_.parts.time.sleep_for(kStatsInterval));  // for the share of the CPU, two looks are needed
      CO_TRY_ASSIGN(last, co_await read_stats(c, last));
    }
    co_return co_await call.answer(200, last);
  }
  JsonLines lines(call.exchange);
  CO_TRY(co_await lines.start());
  for (;;) {  // forever: until the client goes away, or the container
    CO_TRY(co_await lines.write(last));
    CO_TRY(co_await p_.parts.time.sleep_for(kStatsInterval));
    if (c->removed) break;
    auto next = co_await read_stats(c, last);
    if (next) last = std::move(*next);
  }
  co_return co_await lines.finish({});
}

}  // namespace monopod::docker
