// A watch as an answer: frames from the watcher's queue, coalesced while the client takes its time.
#include "api/limits.h"
#include "api/serve/works.h"
#include "api/slice.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

// Holds the watcher in the lists that the minute's bookmarks and the ends of watches go by, and counts it among what is long-running.
class Registered {
 public:
  Registered(ServerWorks& works, Watcher* watcher, bool bookmarks, Duration time) : works_(works), watcher_(watcher) {
    if (bookmarks) works_.bookmarked.insert(watcher_);
    MonoTime when = works_.parts.time.mono() + std::chrono::duration_cast<MonoTime::duration>(time);
    end_ = works_.watch_ends.emplace(when, watcher_);
    if (end_ == works_.watch_ends.begin()) works_.watch_ends_changed.wake_all();
    ++works_.metrics.long_running;
  }
  ~Registered() {
    works_.bookmarked.erase(watcher_);
    works_.watch_ends.erase(end_);
    --works_.metrics.long_running;
  }
  Registered(const Registered&) = delete;
  Registered& operator=(const Registered&) = delete;

 private:
  ServerWorks& works_;
  Watcher* watcher_;
  std::multimap<MonoTime, Watcher*>::iterator end_;
};

// A watch that has begun: all that a watcher costs while nothing happens.
class WatchAnswer final : public LongAnswer, private FrameSink {
 public:
  WatchAnswer(HttpCall& call, const Call& api_call, const Rendering& how, std::unique_ptr<Watcher> watcher, bool bookmarks, Duration time)
      : works_(call.works), exchange_(call.exchange), seat_(std::move(call.seat)), kind_(api_call.kind), cache_(api_call.cache), how_(how), watcher_(std::move(watcher)), registered_(works_, watcher_.get(), bookmarks, time),
        events_(works_.metrics.watch_events(how.resource->group(), how.resource->kind())), first_table_(how.media.view == View::kTable) {
    // The head has been answered.
    http::Request& request = exchange_.request();
    request.headers = {};
    request.target = {};
    request.peer = {};
  }

  async::Task<Result<>> run() override {
    while (true) {
      while (watcher_->empty() && !watcher_->closed()) {
        seat_.release();  // what there was at first has gone out
        CO_TRY(co_await watcher_->wait(*this));
      }
      Result<std::vector<Watcher::Item>> taken = watcher_->take();
      // Its time is up, or its kind is gone or changed: an orderly end.
      if (!taken && (taken.error().code() == Code::kDeadlineExceeded || taken.error().code() == Code::kUnavailable)) co_return co_await exchange_.finish();
      if (!taken && taken.error().code() != Code::kOutOfRange) co_return fail(taken.error());
      if (!taken) {
        CO_TRY(co_await exchange_.write(encode_error_frame(how_.media, expired(taken.error().message()))));
        co_return co_await exchange_.finish();
      }
      events_ += taken->size();
      bool plain = taken->size() == 1 && !first_table_ && taken->front().frame;
      if (plain) CO_TRY(co_await exchange_.write(std::move(taken->front().frame)));
      else CO_TRY(co_await send(*std::move(taken)));
    }
  }

 private:
  bool take_frame(const SharedBytes& frame) override {
    if (first_table_ || !exchange_.try_write(frame)) return false;
    ++events_;
    return true;
  }

  SharedBytes frame_of(const Watcher::Item& item) {
    if (first_table_ && item.event.object) {  // column definitions travel in the first frame only
      first_table_ = false;
      return encode_first_table_frame(how_, item.event.type, *item.event.object, works_.parts.time.wall());
    }
    return item.frame ? item.frame : watcher_->form()->encode(item.event.type, *item.event.object);
  }

  async::Task<Result<>> send(std::vector<Watcher::Item> items) {
    std::string together;
    Slice slice;
    for (const Watcher::Item& item : items) {
      together += *frame_of(item);
      if (slice.spent()) CO_TRY(co_await slice.yield());
      if (together.size() < kListChunkBytes) continue;
      std::string out;
      out.swap(together);
      CO_TRY(co_await exchange_.write(share(std::move(out))));
    }
    if (!together.empty()) CO_TRY(co_await exchange_.write(share(std::move(together))));
    co_return Result<>();
  }

  ServerWorks& works_;
  http::Exchange& exchange_;
  flow::Seat seat_;
  std::shared_ptr<const crd::CustomKind> kind_;  // how_ points into it; null for kinds of the tables
  std::shared_ptr<WatchCache> cache_;            // of such a kind
  Rendering how_;
  std::unique_ptr<Watcher> watcher_;
  Registered registered_;
  std::uint64_t& events_;
  bool first_table_;
};

Outcome<Duration> watch_time(const QueryParams& query, Rng& rng) {
  std::string text = query.get("timeoutSeconds");
  if (text.empty()) return kWatchMinimum + std::chrono::seconds(rng.below(static_cast<std::uint64_t>(kWatchMinimum.count())));
  auto seconds = parse_int<std::int64_t>(text);
  if (!seconds) return refuse(bad_request(cat("strconv.ParseInt: parsing \"", text, "\": invalid syntax")));
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
  add_flow_headers(call, headers);
  call.code = 200;
  CO_OUT(co_await call.exchange.start(200, std::move(headers)));
  call.rest = std::make_unique<WatchAnswer>(call, api_call, how, std::move(watcher), bookmarks, time);
  co_return Outcome<>();
}

async::Task<Result<>> end_watches(ServerWorks& works) {
  while (true) {
    MonoTime now = works.parts.time.mono();
    while (!works.watch_ends.empty() && works.watch_ends.begin()->first <= now) {
      Watcher* watcher = works.watch_ends.begin()->second;
      auto node = works.watch_ends.extract(works.watch_ends.begin());
      node.key() = MonoTime::max();  // until its reader has gone
      works.watch_ends.insert(std::move(node));
      watcher->close(Error(Code::kDeadlineExceeded, "watch: timed out"));
    }
    bool waits = !works.watch_ends.empty() && works.watch_ends.begin()->first != MonoTime::max();
    Duration left = waits ? works.watch_ends.begin()->first - now : Duration(kWatchMinimum);
    Result<> changed = co_await async::with_timeout<void>(works.parts.time, left, "watches", works.watch_ends_changed.wait());
    if (!changed && changed.error().code() != Code::kDeadlineExceeded) co_return changed;
  }
}

}  // namespace monopod::api
