// The Watch stream: many watches over one gRPC call. One coroutine per watch turns batches into messages, one writes them all in
// order, one reads requests.
#include <algorithm>
#include <map>

#include "async/channel.h"
#include "async/scope.h"
#include "base/strings.h"
#include "etcd/auth/authorize.h"

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

// As Go's gRPC prints a status: what etcd gives as the reason of a refused watch, and clients match on.
std::string format_status(const Error& error) {
  std::string_view code = error.code() == Code::kPermissionDenied ? "PermissionDenied" : error.code() == Code::kUnauthenticated ? "Unauthenticated" : "InvalidArgument";
  return cat("rpc error: code = ", code, " desc = ", error.message());
}

class WatchStream {
 public:
  WatchStream(async::Executor executor, http::GrpcServerCall& call, Context& context)
      : executor_(executor), call_(call), context_(context), outgoing_(executor, kOutgoingMax) {}

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
    std::string user{};             // who was allowed to make it
    std::uint64_t generation = 0;   // of the permissions that allowed it last
  };

  Task<Result<>> read_all() {
    for (;;) {
      CO_TRY_ASSIGN(std::optional<std::string> message, co_await call_.read());
      // As etcd: a client that has no more to ask still gets its events, until it goes away.
      if (!message) co_return co_await async::Event(executor_).wait();
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
      CO_TRY(co_await context_.time.sleep_for(context_.options.progress_interval));
      for (auto& [id, slot] : slots_) {
        if (!slot->create.progress_notify || slot->over) continue;
        slot->tick_wanted = true;
        slot->watch->request_progress();
      }
    }
  }

  Task<Result<>> refuse(std::int64_t id, std::string_view reason) {
    Response response{.revision = context_.backend.current_revision(), .id = id, .created = true, .canceled = true, .cancel_reason = reason};
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
    std::uint64_t generation = this->generation();
    Result<Identity> who = co_await authorize(context_, {.caller = Access::Caller::kUser, .reads = {{request.request.key, request.request.range_end}}});
    if (!who) co_return co_await refuse(kInvalidId, format_status(who.error()));
    Result<std::unique_ptr<Watch>> watch = co_await context_.backend.watch(request.request);
    if (!watch) co_return co_await refuse(kInvalidId, watch.error().message());
    auto slot = std::make_unique<Slot>(executor_, std::move(*watch), request, id);
    Slot& made = *slot;
    made.user = std::move(who->user);
    made.generation = generation;
    slots_.emplace(id, std::move(slot));
    CO_TRY(co_await outgoing_.push(begin_response({.revision = context_.backend.current_revision(), .id = id, .created = true}).take()));
    made.scope.spawn(pump(made));
    co_return Result<>();
  }

  Task<Result<>> cancel(std::int64_t id) {
    auto at = slots_.find(id);
    if (at == slots_.end() || at->second->over) co_return Result<>();
    co_await end(*at->second);
    slots_.erase(at);
    co_return co_await outgoing_.push(begin_response({.revision = context_.backend.current_revision(), .id = id, .canceled = true}).take());
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
    progress_revision_ = context_.backend.current_revision();
    for (auto& [id, slot] : slots_) {
      if (slot->over || slot->progress_wanted) continue;
      slot->progress_wanted = true;
      ++progress_pending_;
      slot->watch->request_progress();
    }
    if (progress_pending_ > 0) co_return Result<>();
    co_return co_await outgoing_.push(begin_response({.revision = progress_revision_, .id = kInvalidId}).take());
  }

  std::uint64_t generation() const { return context_.auth ? context_.auth->generation() : 0; }

  // What was granted may be so no longer: asked again before the first event after a change of users or roles.
  Result<> still_allowed(Slot& slot) {
    if (slot.generation == generation()) return {};
    if (Result<> checked = context_.auth->check_watch(slot.user, {slot.create.request.key, slot.create.request.range_end}); !checked)
      return fail(checked.error().code(), format_status(checked.error()));
    slot.generation = generation();
    return {};
  }

  Task<Result<>> pump(Slot& slot) {
    for (;;) {
      Result<WatchBatch> batch = co_await slot.watch->next();
      if (batch && batch->shared)
        if (Result<> allowed = still_allowed(slot); !allowed) batch = fail(allowed.error());
      if (!batch) {
        if (batch.error().code() == Code::kCancelled) co_return fail(batch.error());
        slot.over = true;
        ++finished_;
        bool compacted = batch.error().code() == Code::kOutOfRange;
        Response response{.revision = context_.backend.current_revision(), .id = slot.id, .canceled = true};
        if (compacted) response.compact_revision = context_.backend.compact_revision().value;
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
  Context& context_;
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
  WatchStream stream(executor, call, context);
  Result<> result = co_await async::run_scoped([&stream](async::Scope& scope) { return run_stream(stream, scope); });
  co_return co_await call.finish(std::move(result));
}

}  // namespace

std::span<const StreamMethod> watch_streams() {
  static constexpr StreamMethod kStreams[] = {{"/etcdserverpb.Watch/Watch", needs_watch, watch, StreamMethod::Refusal::kByHandler}};
  return kStreams;
}

}  // namespace monopod::etcd
