#include "etcd/http_paths.h"

#include <algorithm>

#include "base/metrics_text.h"
#include "base/strings.h"
#include "codec/json.h"
#include "etcd/gateway/schema.h"
#include "http/query.h"

namespace monopod::etcd {
namespace {

using async::Task;

bool holds(const auto& list, std::string_view one) { return std::ranges::find(list, one) != list.end(); }

// Why the store cannot be read or written; empty: it can.
Task<std::string> read_problem(Context& context) {
  if (context.options.sqlite != nullptr)
    if (auto failed = context.options.sqlite->failure()) co_return failed->message();
  RangeRequest any{.key = std::string(1, '\0'), .range_end = std::string(1, '\0'), .limit = 1, .keys_only = true};
  Result<RangeResult> read = co_await context.backend.range(std::move(any));
  co_return read ? std::string() : read.error().message();
}

// The names of the alarms that are raised, as Maintenance/Alarm tells them.
Task<Result<std::vector<std::string>>> alarms(Context& context) {
  std::vector<std::string> names;
  for (const Method& method : maintenance_methods()) {
    if (method.path != "/etcdserverpb.Maintenance/Alarm") continue;
    CO_TRY_ASSIGN(Message message, co_await method.call(context, ""));
    std::string answer = std::move(message).join();
    ProtoReader reader(answer);
    for (;;) {
      CO_TRY_ASSIGN(bool more, reader.next());
      if (!more) break;
      if (reader.field() != 2) continue;
      CO_TRY_ASSIGN(std::int64_t number, parse_integer(reader.bytes(), 2));
      auto known = std::ranges::find(schema::find_enum("etcdserverpb.AlarmType")->values, number, &schema::EnumValue::number);
      names.emplace_back(known == schema::find_enum("etcdserverpb.AlarmType")->values.end() ? "UNKNOWN" : known->name);
    }
  }
  co_return names;
}

// /health?exclude=NOSPACE: the reason why not; empty: healthy.
Task<std::string> health_problem(Context& context, const http::Query& query) {
  Result<std::vector<std::string>> raised = co_await alarms(context);
  if (!raised) co_return cat("ALARM ERROR:", raised.error().message());
  for (const std::string& alarm : *raised)
    if (!holds(query.get_all("exclude"), alarm)) co_return cat("ALARM ", alarm);
  std::string problem = co_await read_problem(context);
  co_return problem.empty() ? problem : cat("RANGE ERROR:", problem);
}

Task<Result<>> answer_health(http::Exchange& exchange, Context& context, HealthCounts& counts) {
  std::string problem = co_await health_problem(context, http::parse_query(exchange.request().raw_query()));
  ++(problem.empty() ? counts.success : counts.failures);
  json::Object body{{"health", problem.empty() ? "true" : "false"}, {"reason", problem}};
  co_return co_await exchange.respond(problem.empty() ? 200 : 503, {{"content-type", "application/json"}}, json::format(body));
}

Task<std::string> corruption_problem(Context& context) {
  Result<std::vector<std::string>> raised = co_await alarms(context);
  if (!raised) co_return raised.error().message();
  co_return holds(*raised, "CORRUPT") ? "alarm activated: CORRUPT" : "";
}

struct Check {
  std::string_view name;
  bool live;  // of /livez too
  Task<std::string> (*problem)(Context& context);
};
// One member: its own state is the cluster's, so a serializable read and a linearizable one are the same.
constexpr Check kChecks[] = {
    {"data_corruption", false, corruption_problem},
    {"serializable_read", true, read_problem},
    {"linearizable_read", false, read_problem},
};

// path: "livez", "readyz/serializable_read". nullopt: there is no such check.
std::optional<std::vector<Check>> checks_of(std::string_view path) {
  auto [probe, one] = split_once(path, '/');
  if (probe != "livez" && probe != "readyz") return std::nullopt;
  std::vector<Check> checks;
  for (const Check& check : kChecks)
    if ((probe == "readyz" || check.live) && (!one || *one == check.name)) checks.push_back(check);
  if (checks.empty()) return std::nullopt;
  return checks;
}

Task<Result<>> answer_checks(http::Exchange& exchange, Context& context, std::vector<Check> checks, bool may_exclude) {
  http::Query query = http::parse_query(exchange.request().raw_query());
  std::string lines;
  bool healthy = true;
  for (const Check& check : checks) {
    if (may_exclude && holds(query.get_all("exclude"), check.name)) {
      lines += cat("[+]", check.name, " excluded: ok\n");
      continue;
    }
    std::string problem = co_await check.problem(context);
    healthy = healthy && problem.empty();
    lines += problem.empty() ? cat("[+]", check.name, " ok\n") : cat("[-]", check.name, " failed: ", problem, '\n');
  }
  if (healthy && !query.get("verbose")) lines.clear();
  lines += healthy ? "ok\n" : "\n";
  http::Headers headers{{"content-type", "text/plain; charset=utf-8"}, {"x-content-type-options", "nosniff"}};
  co_return co_await exchange.respond(healthy ? 200 : 503, std::move(headers), std::move(lines));
}

}  // namespace

Task<Result<>> answer_plain(http::Exchange& exchange, Context& context, const Handled& handled, HealthCounts& health) {
  std::string_view path = exchange.request().raw_path();
  std::optional<std::vector<Check>> checks = checks_of(path.substr(std::min<std::size_t>(path.size(), 1)));
  bool known = checks || path == "/health" || path == "/version" || path == "/metrics";
  if (!known) co_return co_await exchange.respond(404, {{"content-type", "text/plain; charset=utf-8"}}, std::string("404 page not found\n"));
  if (exchange.request().method != "GET" && exchange.request().method != "HEAD")
    co_return co_await exchange.respond(405, {{"content-type", "text/plain; charset=utf-8"}, {"allow", "GET"}}, std::string("Method Not Allowed\n"));
  if (checks) co_return co_await answer_checks(exchange, context, std::move(*checks), std::ranges::count(path, '/') == 1);
  if (path == "/health") co_return co_await answer_health(exchange, context, health);
  if (path == "/metrics") {
    CO_TRY_ASSIGN(std::string text, co_await format_metrics(context, handled, health));
    co_return co_await exchange.respond(200, {{"content-type", metrics::kContentType}}, std::move(text));
  }
  co_return co_await exchange.respond(200, {{"content-type", "application/json"}}, cat(R"({"etcdserver":")", kEtcdVersion, R"(","etcdcluster":"3.5.0"})"));
}

}  // namespace monopod::etcd
