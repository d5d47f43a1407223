// The Watch stream: many watches over one gRPC call. One coroutine per watch turns batches into messages, one writes them all in
// order, one reads requests.
#include <algorithm>
#include <map>

#include "async/channel.h"
#include "async/scope.h"
#include "etcd/methods.h"

namespace monopod::etcd {
namespace {

using async::Task;

constexpr std::size_t kOutgoingMax = 32;          // messages waiting for the socket; then watches wait, and lag without cost
constexpr std::size_t kWatchesMax = 100'000;      // on one stream
constexpr std::int64_t kInvalidId = -1;

struct Response {
  Revision revision{};
  std::int64_t id = 0;
  bool created = false;
  bool canceled = false;
  std::int64_t compact_revision = 0;
  std::string_view cancel_reason{};
};

ProtoWriter begin_response(const Response& response) {
  ProtoWriter out;
  out.message(1, format_header(response.revision)).integer(2, response.id).boolean(3, response.created).boolean(4, response.canceled);
  out.integer(5, response.compact_revision).bytes(6, response.cancel_reason);
  return out;
}

class WatchStream {
 public:
  WatchStream(async::Executor executor, http::GrpcServerCall& call, Backend& backend, async::Time& time, std::chrono::seconds progress_interval)
      : executor_(executor), call_(call), backend_(backend), time_(time), progress_interval_(progress_interval), outgoing_(executor, kOutgoingMax) {}

  Task<Result<>> run(async::Scope& scope) {
    scope.spawn(write_all());
    scope.spawn(tick());
    // The slots must be joined however reading ends, by cancellation (an exception) too.
    Result<> result;
    std::exception_ptr thrown;
    try {
      result = co_await read_all();
    } catch (...) {
      thrown = std::current_exception();
    }
    for (auto& [id, slot] : slots_) slot->scope.cancel();
    for (auto& [id, slot] : slots_) (void)co_await slot->scope.join();
    slots_.clear();
    outgoing_.close();
    if (thrown) std::rethrow_exception(thrown);
    CO_TRY(co_await written_.wait());
    co_return result;
  }

 private:
  struct Slot {
    Slot(async::Executor executor, std::unique_ptr<Watch> w, const WatchCreate& c, std::int64_t i) : scope(executor), watch(std::move(w)), create(c), id(i) {}
    async::Scope scope;
    std::unique_ptr<Watch> watch;
    WatchCreate create;
    std::int64_t id;
    bool tick_wanted = false;      // periodic progress
    bool progress_wanted = false;  // the client asked, for the whole stream
    bool over = false;
  };

  Task<Result<>> read_all() {
    for (;;) {
      CO_TRY_ASSIGN(std::optional<std::string> message, co_await call_.read());
      if (!message) co_return Result<>();
      CO_TRY_ASSIGN(WatchMessage request, parse_watch(*message));
      if (request.create) CO_TRY(co_await create(std::move(*request.create)));
      if (request.cancel) CO_TRY(co_await cancel(*request.cancel));
      if (request.progress) CO_TRY(co_await ask_progress());
      CO_TRY(co_await drop_finished());
    }
  }

  Task<Result<>> write_all() {
    struct Done {
      async::Event& event;
      ~Done() { event.set(); }
    } done{written_};
    for (;;) {
      Result<std::string> message = co_await outgoing_.pop();
      if (!message) co_return Result<>();  // closed and drained
      CO_TRY(co_await call_.write(std::move(*message)));
    }
  }

  Task<Result<>> tick() {
    for (;;) {
      CO_TRY(co_await time_.sleep_for(progress_interval_));
      for (auto& [id, slot] : slots_) {
        if (!slot->create.progress_notify || slot->over) continue;
        slot->tick_wanted = true;
        slot->watch->request_progress();
      }
    }
  }

  Task<Result<>> refuse(std::int64_t id, std::string_view reason) {
    Response response{.revision = backend_.current_revision(), .id = id, .created = true, .canceled = true, .cancel_reason = reason};
    co_return co_await outgoing_.push(begin_response(response).take());
  }

  Task<Result<>> create(WatchCreate request) {
    std::int64_t id = request.id;
    if (id < 0 || slots_.contains(id)) {
      if (id != 0) co_return co_await refuse(kInvalidId, "mvcc: duplicate watch ID provided on the WatchStream");
    }
    if (id == 0) {
      while (slots_.contains(next_id_)) ++next_id_;
      id = next_id_++;
    }
    if (slots_.size() >= kWatchesMax) co_return co_await refuse(kInvalidId, "etcdserver: too many watches on one stream");
    Result<std::unique_ptr<Watch>> watch = co_await backend_.watch(request.request);
    if (!watch) co_return co_await refuse(kInvalidId, watch.error().message());
    auto slot = std::make_unique<Slot>(executor_, std::move(*watch), request, id);
    Slot& made = *slot;
    slots_.emplace(id, std::move(slot));
    CO_TRY(co_await outgoing_.push(begin_response({.revision = backend_.current_revision(), .id = id, .created = true}).take()));
    made.scope.spawn(pump(made));
    co_return Result<>();
  }

  Task<Result<>> cancel(std::int64_t id) {
    auto at = slots_.find(id);
    if (at == slots_.end() || at->second->over) co_return Result<>();
    co_await end(*at->second);
    slots_.erase(at);
    co_return co_await outgoing_.push(begin_response({.revision = backend_.current_revision(), .id = id, .canceled = true}).take());
  }

  Task<> end(Slot& slot) {
    slot.scope.cancel();
    (void)co_await slot.scope.join();
    if (std::exchange(slot.progress_wanted, false)) --progress_pending_;
  }

  Task<Result<>> drop_finished() {
    for (auto at = slots_.begin(); finished_ > 0 && at != slots_.end();) {
      if (!at->second->over) {
        ++at;
        continue;
      }
      co_await end(*at->second);
      at = slots_.erase(at);
      --finished_;
    }
    co_return Result<>();
  }

  // Answered once every watch of the stream has delivered what there is now.
  Task<Result<>> ask_progress() {
    progress_revision_ = backend_.current_revision();
    for (auto& [id, slot] : slots_) {
      if (slot->over || slot->progress_wanted) continue;
      slot->progress_wanted = true;
      ++progress_pending_;
      slot->watch->request_progress();
    }
    if (progress_pending_ > 0) co_return Result<>();
    co_return co_await outgoing_.push(begin_response({.revision = progress_revision_, .id = kInvalidId}).take());
  }

  Task<Result<>> pump(Slot& slot) {
    for (;;) {
      Result<WatchBatch> batch = co_await slot.watch->next();
      if (!batch) {
        if (batch.error().code() == Code::kCancelled) co_return fail(batch.error());
        slot.over = true;
        ++finished_;
        bool compacted = batch.error().code() == Code::kOutOfRange;
        Response response{.revision = backend_.current_revision(), .id = slot.id, .canceled = true};
        if (compacted) response.compact_revision = backend_.compact_revision().value;
        response.cancel_reason = batch.error().message();
        co_return co_await outgoing_.push(begin_response(response).take());
      }
      if (batch->shared) CO_TRY(co_await send(slot, *batch->shared));
      else CO_TRY(co_await send_progress(slot, batch->revision));
    }
  }

  Task<Result<>> send(const Slot& slot, const WatchEvents& events) {
    ProtoWriter out = begin_response({.revision = events.revision, .id = slot.id});
    std::size_t count = 0;
    for (const WatchEvent& event : events.events) {
      if (event.type == WatchEvent::Type::kPut ? slot.create.no_put : slot.create.no_delete) continue;
      std::string encoded = format_event(event);
      if (slot.create.fragment && count > 0 && out.str().size() + encoded.size() > kRequestBytesMax) {
        out.boolean(7, true);
        CO_TRY(co_await outgoing_.push(out.take()));
        out = begin_response({.revision = events.revision, .id = slot.id});
        count = 0;
      }
      out.message(11, encoded);
      ++count;
    }
    if (count == 0) co_return Result<>();
    co_return co_await outgoing_.push(out.take());
  }

  Task<Result<>> send_progress(Slot& slot, Revision revision) {
    if (std::exchange(slot.tick_wanted, false)) CO_TRY(co_await outgoing_.push(begin_response({.revision = revision, .id = slot.id}).take()));
    if (!std::exchange(slot.progress_wanted, false)) co_return Result<>();
    if (--progress_pending_ > 0) co_return Result<>();
    co_return co_await outgoing_.push(begin_response({.revision = progress_revision_, .id = kInvalidId}).take());
  }

  async::Executor executor_;
  http::GrpcServerCall& call_;
  Backend& backend_;
  async::Time& time_;
  std::chrono::seconds progress_interval_;
  async::Channel<std::string> outgoing_;
  async::Event written_{executor_};
  std::map<std::int64_t, std::unique_ptr<Slot>> slots_;
  std::int64_t next_id_ = 0;
  std::size_t finished_ = 0;
  std::size_t progress_pending_ = 0;
  Revision progress_revision_{};
};

Task<Result<>> run_stream(WatchStream& stream, async::Scope& scope) { return stream.run(scope); }

Task<Result<>> watch(Context& context, http::GrpcServerCall& call) {
  async::Executor executor = co_await async::this_executor();
  WatchStream stream(executor, call, context.backend, context.time, context.options.progress_interval);
  Result<> result = co_await async::run_scoped([&stream](async::Scope& scope) { return run_stream(stream, scope); });
  co_return co_await call.finish(std::move(result));
}

}  // namespace

std::span<const StreamMethod> watch_streams() {
  static constexpr StreamMethod kStreams[] = {{"/etcdserverpb.Watch/Watch", needs_watch, watch}};
  return kStreams;
}

}  // namespace monopod::etcd
