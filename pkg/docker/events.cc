#include "docker/events.h"

#include <algorithm>

#include "base/duration.h"
#include "base/strings.h"
#include "docker/limits.h"

namespace monopod::docker {

void Events::emit(std::string_view type, std::string_view action, std::string_view id, std::map<std::string, std::string> attributes) {
  WallTime at = time_.wall();
  std::int64_t nanos = at.time_since_epoch().count();
  json::Object body;
  if (type == "container" || type == "image") {  // the old form, which clients still read
    body["status"] = action;
    body["id"] = id;
    if (auto image = attributes.find("image"); image != attributes.end()) body["from"] = image->second;
  }
  body["Type"] = type;
  body["Action"] = action;
  body["Actor"] = json::Object{{"ID", id}, {"Attributes", object_of(attributes)}};
  body["scope"] = "local";
  body["time"] = nanos / 1'000'000'000;
  body["timeNano"] = nanos;
  kept_.push_back({at, std::move(body)});
  if (kept_.size() > kEventsKept) kept_.pop_front();
  for (Queue* queue : listeners_)
    if (!queue->try_push(kept_.back())) queue->close();
}

void Events::close() {
  for (Queue* queue : listeners_) queue->close();
}

bool Events::wanted(const Filters& filters, const json::Value& event) {
  std::string_view type = json::get_string(event, {"Type"});
  std::string_view id = json::get_string(event, {"Actor", "ID"});
  std::string_view name = json::get_string(event, {"Actor", "Attributes", "name"});
  if (!filters.is("type", type)) return false;
  if (filters.has("event")) {
    std::string_view action = json::get_string(event, {"Action"});
    auto same = [&](const std::string& w) { return action == w || action.starts_with(w + ":"); };
    if (std::ranges::none_of(filters.get("event"), same)) return false;
  }
  for (std::string_view kind : {"container", "network", "volume", "image"}) {
    if (!filters.has(kind)) continue;
    auto same = [&](const std::string& w) { return !w.empty() && (name == w || id.starts_with(w) || (kind == "image" && json::get_string(event, {"Actor", "Attributes", "image"}) == w)); };
    if ((type != kind && kind != "image") || std::ranges::none_of(filters.get(kind), same)) return false;
  }
  return filters.labels_match(json::get_object(event, {"Actor", "Attributes"}));
}

Result<WallTime> parse_moment(std::string_view text, WallTime now) {
  auto [seconds, fraction] = split_once(text, '.');
  if (auto whole = parse_int<std::int64_t>(seconds); whole && *whole < 9'000'000'000) {
    std::string digits(fraction.value_or(""));
    if (digits.size() > 9) digits.resize(9);
    digits.append(9 - digits.size(), '0');
    auto nanos = parse_int<std::int64_t>(digits);
    if (nanos && *nanos >= 0) return WallTime(std::chrono::seconds(*whole) + std::chrono::nanoseconds(*nanos));
  }
  if (auto at = parse_rfc3339(text)) return *at;
  if (auto before = parse_duration(text)) return now - *before;
  return fail(Code::kInvalidArgument, cat("failed to parse value as time or duration: \"", text.substr(0, 64), "\""));
}

async::Task<Result<>> Events::serve(Call& call) {
  CO_TRY_ASSIGN(Filters filters, Filters::parse(call.text("filters")));
  CO_TRY(filters.only({"type", "event", "container", "image", "network", "volume", "label", "label!", "scope", "daemon", "plugin", "node", "service", "secret", "config"}));
  std::optional<WallTime> since;
  std::optional<WallTime> until;
  WallTime now = time_.wall();
  if (!call.text("since").empty()) {
    CO_TRY_ASSIGN(since, parse_moment(call.text("since"), now));
  }
  if (!call.text("until").empty()) {
    CO_TRY_ASSIGN(until, parse_moment(call.text("until"), now));
  }
  if (since && until && *until < *since) co_return fail(Code::kInvalidArgument, cat("`since` time (", call.text("since"), ") cannot be after `until` time (", call.text("until"), ")"));
  Queue queue(executor_, kEventQueueMax);
  struct Listening {
    std::list<Queue*>& list;
    std::list<Queue*>::iterator at;
    ~Listening() { list.erase(at); }
  } listening{listeners_, listeners_.insert(listeners_.end(), &queue)};
  JsonLines lines(call.exchange);
  std::deque<Event> past;
  if (since) past = kept_;
  CO_TRY(co_await lines.start());
  for (const Event& event : past)
    if (event.at >= *since && (!until || event.at <= *until) && wanted(filters, event.body)) CO_TRY(co_await lines.write(event.body));
  for (;;) {
    Duration left = until ? *until - time_.wall() : Duration::max();
    if (left <= Duration::zero()) break;
    // forever without until: the client decides
    Result<Event> event = until ? co_await async::with_timeout<Event>(time_, left, "events", queue.pop()) : co_await queue.pop();
    if (!event) break;
    if (wanted(filters, event->body)) CO_TRY(co_await lines.write(event->body));
  }
  co_return co_await lines.finish({});
}

}  // namespace monopod::docker
