// `monopod store status`: one look at every endpoint.
#include <cmath>
#include <cstdio>

#include "base/clock.h"
#include "base/strings.h"
#include "cmd/store/commands.h"
#include "cmd/store/output.h"
#include "cmd/store/remote.h"
#include "codec/proto_wire.h"
#include "sys/terminal.h"

namespace monopod::cmd {
namespace {

using async::Task;

constexpr double kCardBytes = 30e12;  // what a common 32 GB card is rated to take: some 1000 times its size
constexpr double kDaySeconds = 86'400;
constexpr std::int64_t kSettledSeconds = 600;  // before that a start's own writes say nothing about a day

struct Status {
  std::string endpoint, version;
  std::int64_t revision = 0, file_bytes = 0, file_bytes_in_use = 0;
  std::vector<std::string> errors;
  std::vector<std::string> alarms;
  json::Value more;  // etcd/operations.h; null: no monopod
};

Result<> read_status(std::string_view message, Status& status) {
  for (ProtoReader reader(message);;) {
    TRY_ASSIGN(bool more, reader.next());
    if (!more) return {};
    if (reader.field() == 1)
      for (ProtoReader header(reader.bytes());;) {
        TRY_ASSIGN(bool field, header.next());
        if (!field) break;
        if (header.field() == 3) status.revision = header.integer();
      }
    if (reader.field() == 2) status.version = reader.text();
    if (reader.field() == 3) status.file_bytes = reader.integer();
    if (reader.field() == 8) status.errors.push_back(reader.text());
    if (reader.field() == 9) status.file_bytes_in_use = reader.integer();
  }
}

Result<> read_alarms(std::string_view message, Status& status) {
  for (ProtoReader reader(message);;) {
    TRY_ASSIGN(bool more, reader.next());
    if (!more) return {};
    if (reader.field() != 2) continue;
    std::int64_t kind = 0;
    for (ProtoReader alarm(reader.bytes());;) {
      TRY_ASSIGN(bool field, alarm.next());
      if (!field) break;
      if (alarm.field() == 2) kind = alarm.integer();
    }
    if (kind != 0) status.alarms.push_back(kind == 1 ? "NOSPACE" : kind == 2 ? "CORRUPT" : std::to_string(kind));
  }
}

Task<Result<json::Value>> fetch_stats(Remote& remote, std::size_t endpoint) {
  CO_TRY_ASSIGN(std::string answer, co_await remote.client->call("/monopod.Store/Stats", "", etcd::Repeat::kSafe, {.endpoint = endpoint}));
  ProtoReader reader(answer);
  CO_TRY_ASSIGN(bool more, reader.next());
  co_return json::parse(more ? reader.bytes() : std::string_view());
}

Task<Result<Status>> fetch(Remote& remote, std::size_t endpoint, std::string url) {
  Status status{.endpoint = std::move(url)};
  CO_TRY_ASSIGN(std::string answer, co_await remote.client->call("/etcdserverpb.Maintenance/Status", "", etcd::Repeat::kSafe, {.endpoint = endpoint}));
  CO_TRY(read_status(answer, status));
  // Which not everybody may ask: what is missing is not shown.
  Result<std::string> alarms = co_await remote.client->call("/etcdserverpb.Maintenance/Alarm", "", etcd::Repeat::kSafe, {.endpoint = endpoint});
  if (alarms) CO_TRY(read_alarms(*alarms, status));
  Result<json::Value> stats = co_await fetch_stats(remote, endpoint);
  if (stats) status.more = std::move(*stats);
  co_return status;
}

// What the disk took for what clients were promised.
struct Wear {
  double per_kib = 0;  // bytes written for each KiB of keys and values acknowledged
  double per_day = 0;  // bytes, at the rate since the start
  double card_years = 0;
};
std::optional<Wear> judge_wear(const json::Value& more) {
  double payload = static_cast<double>(json::get_int(more, {"store", "payload_bytes"}));
  double written = static_cast<double>(json::get_int(more, {"store", "wal_bytes_written"}) + json::get_int(more, {"store", "file_bytes_written"}));
  double seconds = static_cast<double>(json::get_int(more, {"store", "open_s"}));
  if (payload <= 0 || seconds <= 0) return std::nullopt;
  Wear wear{.per_kib = written / payload * 1024, .per_day = written / seconds * kDaySeconds};
  wear.card_years = wear.per_day > 0 ? kCardBytes / wear.per_day / 365 : 0;
  return wear;
}

json::Value describe(const Status& s) {
  json::Array errors(s.errors.begin(), s.errors.end()), alarms(s.alarms.begin(), s.alarms.end());
  json::Object out{{"endpoint", s.endpoint}, {"version", s.version}, {"revision", s.revision}, {"file_bytes", s.file_bytes}, {"file_bytes_in_use", s.file_bytes_in_use},
                   {"errors", std::move(errors)}, {"alarms", std::move(alarms)}};
  if (s.more.is_object())
    for (const char* name : {"compact_revision", "failure", "store", "backup"})
      if (const json::Value* value = json::find(s.more, {name})) out[name] = *value;
  if (std::optional<Wear> wear = judge_wear(s.more))
    out["wear"] = json::Object{{"written_bytes_per_kib", std::llround(wear->per_kib)}, {"written_bytes_per_day", std::llround(wear->per_day)}, {"card_years", std::llround(wear->card_years)}};
  return out;
}

std::string format_ratio(double part, double whole, const char* unit) {
  char text[48];
  std::snprintf(text, sizeof text, "%.0f%s", whole > 0 ? part / whole * 100 : 0, unit);
  return text;
}

std::string format_wear(const Wear& wear, const json::Value& more) {
  if (json::get_int(more, {"store", "open_s"}) < kSettledSeconds) return "too early to say: the store was opened a moment ago";
  char text[200];
  std::snprintf(text, sizeof text, "%s a day at the rate of the last %s: %.0f years of a card rated for 30 TB", sys::format_size(static_cast<std::int64_t>(wear.per_day)).c_str(),
                format_age(std::chrono::seconds(json::get_int(more, {"store", "open_s"}))).c_str(), wear.card_years);
  return text;
}

std::string describe_backup(const json::Value& more) {
  const json::Value* backup = json::find(more, {"backup"});
  if (backup == nullptr || !backup->is_object()) return "not scheduled";
  std::string_view newest = json::get_string(*backup, {"newest_file"});
  std::string text = newest.empty() ? "none yet" : cat("newest ", newest, " of ", json::get_string(*backup, {"newest_created"}));
  text += cat(", next ", json::get_string(*backup, {"next"}), ", in ", json::get_string(*backup, {"folder"}));
  return text;
}

void print(const Status& s) {
  sys::Table table({"ENDPOINT", s.endpoint});
  auto number = [&s](const char* name) { return std::to_string(json::get_int(s.more, {"store", name})); };
  bool ours = s.more.is_object();
  table.add({"version", s.version + (ours ? " (monopod)" : "")});
  table.add({"revision", cat(s.revision, ours ? cat(", compacted to ", std::max<std::int64_t>(0, json::get_int(s.more, {"compact_revision"}))) : std::string())});
  if (ours) table.add({"keys", cat(number("keys"), ", ", number("versions"), " versions, ", number("leases"), " leases, ", number("watchers"), " watchers")});
  std::int64_t free = s.file_bytes - s.file_bytes_in_use;
  table.add({"size", cat(sys::format_size(s.file_bytes), ", ", sys::format_size(s.file_bytes_in_use), " in use, ", format_ratio(static_cast<double>(free), static_cast<double>(s.file_bytes), "% free"))});
  table.add({"alarms", s.alarms.empty() ? "none" : join(s.alarms, ", ")});
  for (const std::string& error : s.errors) table.add({"error", error});
  if (std::optional<Wear> wear = judge_wear(s.more)) {
    table.add({"writes", cat(static_cast<std::int64_t>(wear->per_kib), " bytes to disk for each acknowledged KiB")});
    table.add({"wear", format_wear(*wear, s.more)});
  }
  if (ours) table.add({"backups", describe_backup(s.more)});
  if (std::string_view error = json::get_string(s.more, {"backup", "last_error"}); !error.empty()) table.add({"backup failed", std::string(error)});
  table.print();
}

Task<Result<>> status(Remote& remote, const RemoteOptions& options) {
  json::Array all;
  std::optional<Error> first_error;
  std::vector<etcd::EndpointStatus> endpoints = remote.client->endpoints();
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    Result<Status> one = co_await fetch(remote, i, endpoints[i].url);
    if (!one) {
      if (!first_error) first_error = one.error().with(endpoints[i].url);
      all.push_back(json::Object{{"endpoint", endpoints[i].url}, {"error", one.error().message()}});
      continue;
    }
    if (options.output == "json") all.push_back(describe(*one));
    else {
      if (i > 0) std::printf("\n");
      print(*one);
    }
  }
  if (options.output == "json") print_json(all);
  if (first_error) co_return fail(*first_error);
  co_return Result<>();
}

}  // namespace

void add_store_status(CLI::App& store, Invocation& invocation) {
  CLI::App* app = add_command(store, "status", "Show size, revision, alarms, backups, and what the store costs its disk",
                              "  monopod store status\n"
                              "  sudo monopod store status --data-dir /var/lib/monopod\n"
                              "  monopod store status --endpoints 10.0.0.1:2379,10.0.0.2:2379 -o json");
  auto options = std::make_shared<RemoteOptions>();
  add_remote_options(*app, *options);
  app->callback([options, &invocation] {
    invocation.run = [options] { return run_remote("status", *options, [&](Remote& remote) { return status(remote, *options); }); };
  });
}

}  // namespace monopod::cmd
