// A watch as an answer: frames from the watcher's queue, coalesced while the client takes its time.
#include "api/limits.h"
#include "api/serve/works.h"
#include "api/slice.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

// Holds the watcher in the list that the minute's bookmarks go to.
class Bookmarked {
 public:
  Bookmarked(ServerWorks& works, Watcher* watcher, bool wanted) : works_(works), watcher_(watcher) {
    if (wanted) works_.bookmarked.insert(watcher_);
  }
  ~Bookmarked() { works_.bookmarked.erase(watcher_); }
  Bookmarked(const Bookmarked&) = delete;
  Bookmarked& operator=(const Bookmarked&) = delete;

 private:
  ServerWorks& works_;
  Watcher* watcher_;
};

async::Task<Result<>> pump(HttpCall& call, const Rendering& how, Watcher& watcher) {
  bool first_table = how.media.view == View::kTable;
  while (true) {
    Result<std::deque<Watcher::Item>> taken = co_await watcher.take();
    if (!taken) {
      if (taken.error().code() == Code::kUnavailable) co_return Result<>();  // the cache is gone or its kind changed: an orderly end
      if (taken.error().code() != Code::kOutOfRange) co_return fail(taken.error());
      co_return co_await call.exchange.write(encode_error_frame(how.media, expired(taken.error().message())));
    }
    call.works.metrics.on_watch_events(how.resource->group(), how.resource->kind(), taken->size());
    std::string together;
    Slice slice;
    for (const Watcher::Item& item : *taken) {
      SharedBytes frame = item.frame ? item.frame : watcher.form()->encode(item.event.type, *item.event.object);
      if (slice.spent()) CO_TRY(co_await slice.yield());
      if (first_table && item.event.object) {  // column definitions travel in the first frame only
        frame = encode_first_table_frame(how, item.event.type, *item.event.object, call.works.parts.time.wall());
        first_table = false;
      }
      if (taken->size() == 1) {
        CO_TRY(co_await call.exchange.write(std::move(frame)));
        break;
      }
      together += *frame;
      if (together.size() < kListChunkBytes) continue;
      std::string out;
      out.swap(together);
      CO_TRY(co_await call.exchange.write(share(std::move(out))));
    }
    if (!together.empty()) CO_TRY(co_await call.exchange.write(share(std::move(together))));
  }
}

Outcome<Duration> watch_time(const QueryParams& query, Rng& rng) {
  std::string text = query.get("timeoutSeconds");
  if (text.empty()) return kWatchMinimum + std::chrono::seconds(rng.below(static_cast<std::uint64_t>(kWatchMinimum.count())));
  auto seconds = parse_int<std::int64_t>(text);
  if (!seconds) return refuse(bad_request(cat("timeoutSeconds: invalid value \"", text, "\"")));
  if (*seconds <= 0) return kWatchMinimum;
  return std::chrono::seconds(std::min<std::int64_t>(*seconds, 24 * 3600));
}

Outcome<WatchOptions> watch_options(const QueryParams& query) {
  WatchOptions out{.label_selector = query.get("labelSelector"),
                   .field_selector = query.get("fieldSelector"),
                   .resource_version = query.get("resourceVersion"),
                   .bookmarks = query.flag("allowWatchBookmarks"),
                   .send_initial_events = query.flag("sendInitialEvents")};
  std::string match = query.get("resourceVersionMatch");
  if (query.has("sendInitialEvents") && match != "NotOlderThan")
    return refuse(Status(422, "Invalid",
                         "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires setting "
                         "resourceVersionMatch to NotOlderThan"));
  if (!match.empty() && !query.has("sendInitialEvents"))
    return refuse(Status(422, "Invalid",
                         "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch "
                         "unless sendInitialEvents is provided"));
  return out;
}

}  // namespace

async::Task<Outcome<>> serve_watch(HttpCall& call, Call& api_call) {
  const QueryParams& query = call.info.query;
  CO_OUT_ASSIGN(Media media, negotiate(accept_of(call.exchange.request()), {.views = true, .protobuf = !api_call.resource->is_custom}));
  auto include = parse_include_object(query.get("includeObject"));
  if (!include) co_return refuse(bad_request(include.error().message()));
  CO_OUT_ASSIGN(Duration time, watch_time(query, call.works.parts.rng));
  CO_OUT_ASSIGN(WatchOptions options, watch_options(query));
  if (api_call.ns.empty() && !api_call.name.empty() && options.field_selector.empty())
    options.field_selector = cat("metadata.name=", api_call.name);
  Rendering how{api_call.resource, media, *include};
  bool bookmarks = options.bookmarks;
  CO_OUT_ASSIGN(std::unique_ptr<Watcher> watcher,
                co_await call.works.registry.watch(api_call, std::move(options), make_frame_form(how, call.works.parts.time)));

  std::string type(content_type_of(media.encoding));
  if (media.encoding == Encoding::kProtobuf) type += ";stream=watch";
  http::Headers headers{{"content-type", type}, {"cache-control", "no-cache, private"}};
  add_warnings(headers, api_call.warnings);
  call.code = 200;
  CO_OUT(co_await call.exchange.start(200, std::move(headers)));
  Bookmarked registered(call.works, watcher.get(), bookmarks);
  Result<> ended = co_await async::with_timeout<void>(call.works.parts.time, time, "watch", pump(call, how, *watcher));
  if (!ended && ended.error().code() != Code::kDeadlineExceeded) co_return refuse(ended.error());
  CO_OUT(co_await call.exchange.finish());
  co_return Outcome<>();
}

}  // namespace monopod::api
