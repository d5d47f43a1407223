// The Watch stream: many watches over one gRPC call. One coroutine reads requests, one delivers what the watches have.
#include <algorithm>
#include <deque>
#include <map>

#include "async/event.h"
#include "async/scope.h"
#include "base/strings.h"
#include "etcd/auth/authorize.h"

namespace monopod::etcd {
namespace {

using async::Task;

constexpr std::size_t kOutputBytesMax = 64U << 10;  // waiting for the socket, and one message more; then watches wait, and lag without cost
constexpr std::size_t kWatchesMax = 100'000;        // on one stream
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

// Delivers ready watches in turn: a watch that has nothing costs nothing, one change for many watches is encoded once, and what is there for all
// of them leaves in one write.
class WatchStream {
 public:
  WatchStream(async::Executor executor, http::GrpcServerCall& call, Context& context) : call_(call), context_(context), work_(executor), room_(executor), forever_(executor) {}

  Task<Result<>> run(async::Executor executor) {
    async::Scope scope(executor);
    scope.spawn(read_all());
    scope.spawn(deliver_all());
    scope.spawn(tick());
    co_return co_await scope.join();
  }

 private:
  struct Slot {
    std::int64_t id = 0;
    WatchCreate create{};
    std::unique_ptr<Watch> watch{};
    bool queued = false;           // in ready_
    bool tick_wanted = false;      // periodic progress
    bool progress_wanted = false;  // the client asked, for the whole stream
    std::string user{};            // who was allowed to make it
    std::uint64_t generation = 0;  // of the permissions that allowed it last
  };
  using Slots = std::map<std::int64_t, std::unique_ptr<Slot>>;

  // --- requests

  Task<Result<>> read_all() {
    for (;;) {
      CO_TRY_ASSIGN(std::optional<std::string> message, co_await call_.read());
      // As etcd: a client that has no more to ask still gets its events, until it goes away.
      if (!message) co_return co_await forever_.wait();
      CO_TRY_ASSIGN(WatchMessage request, parse_watch(*message));
      if (request.create) CO_TRY(co_await create(std::move(*request.create)));
      if (request.cancel) cancel(*request.cancel);
      if (request.progress) ask_progress();
      while (output_.size() > kOutputBytesMax) CO_TRY(co_await room_.wait());
    }
  }

  void refuse(std::string_view reason) {
    put({.revision = context_.backend.current_revision(), .id = kInvalidId, .created = true, .canceled = true, .cancel_reason = reason});
  }

  Task<Result<>> create(WatchCreate request) {
    std::int64_t id = request.id;
    if (id < 0 || (id != 0 && slots_.contains(id))) {
      refuse("mvcc: duplicate watch ID provided on the WatchStream");
      co_return Result<>();
    }
    if (id == 0) {
      while (slots_.contains(next_id_)) ++next_id_;
      id = next_id_++;
    }
    if (slots_.size() >= kWatchesMax) {
      refuse("etcdserver: too many watches on one stream");
      co_return Result<>();
    }
    std::uint64_t generation = this->generation();
    Result<Identity> who = co_await authorize(context_, {.caller = Access::Caller::kUser, .reads = {{request.request.key, request.request.range_end}}});
    if (!who) {
      refuse(format_status(who.error()));
      co_return Result<>();
    }
    Result<std::unique_ptr<Watch>> watch = co_await context_.backend.watch(request.request);
    if (!watch) {
      refuse(watch.error().message());
      co_return Result<>();
    }
    auto slot = std::make_unique<Slot>(Slot{.id = id, .create = std::move(request), .watch = std::move(*watch), .user = std::move(who->user), .generation = generation});
    slot->watch->set_listener([this, ready = slot.get()] { enqueue(*ready); });
    put({.revision = context_.backend.current_revision(), .id = id, .created = true});
    enqueue(*slot);
    slots_.emplace(id, std::move(slot));
    co_return Result<>();
  }

  void cancel(std::int64_t id) {
    auto at = slots_.find(id);
    if (at == slots_.end()) return;
    put({.revision = context_.backend.current_revision(), .id = id, .canceled = true});
    remove(at);
  }

  // Answered once every watch of the stream has delivered what there is now.
  void ask_progress() {
    progress_revision_ = context_.backend.current_revision();
    for (auto& [id, slot] : slots_) {
      if (slot->progress_wanted) continue;
      slot->progress_wanted = true;
      ++progress_pending_;
      slot->watch->request_progress();
    }
    answer_progress();
  }

  void answer_progress() {
    if (progress_pending_ == 0) put({.revision = progress_revision_, .id = kInvalidId});
  }

  Task<Result<>> tick() {
    for (;;) {
      CO_TRY(co_await context_.time.sleep_for(context_.options.progress_interval));
      for (auto& [id, slot] : slots_) {
        if (!slot->create.progress_notify) continue;
        slot->tick_wanted = true;
        slot->watch->request_progress();
      }
    }
  }

  // --- deliveries

  void enqueue(Slot& slot) {
    if (std::exchange(slot.queued, true)) return;
    ready_.push_back(&slot);
    work_.wake_all();
  }

  // The slot that is being served stays until that ends.
  void remove(Slots::iterator at) {
    Slot& slot = *at->second;
    if (slot.queued) std::erase(ready_, &slot);
    if (&slot == served_) removed_ = std::move(at->second);
    slots_.erase(at);
    if (slot.progress_wanted && --progress_pending_ == 0) answer_progress();
  }

  Task<Result<>> deliver_all() {
    for (;;) {
      while (!ready_.empty() && output_.size() < kOutputBytesMax) {
        Slot& slot = *ready_.front();
        ready_.pop_front();
        slot.queued = false;
        CO_TRY(co_await serve(slot));
      }
      encoded_ = {};
      if (output_.empty()) {
        CO_TRY(co_await work_.wait());
      } else {
        CO_TRY(co_await call_.write_framed(std::exchange(output_, {})));
        room_.wake_all();
      }
    }
  }

  Task<Result<>> serve(Slot& slot) {
    struct Served {
      WatchStream& stream;
      ~Served() {
        stream.served_ = nullptr;
        stream.removed_.reset();
      }
    } served{*this};
    served_ = &slot;
    for (;;) {
      Result<std::optional<WatchBatch>> batch = co_await slot.watch->try_next();
      if (removed_ || (batch && !*batch)) co_return Result<>();
      if (batch && (*batch)->shared)
        if (Result<> allowed = still_allowed(slot); !allowed) batch = fail(allowed.error());
      if (!batch) {
        if (batch.error().code() == Code::kCancelled) co_return fail(batch.error());
        end(slot, batch.error());
        co_return Result<>();
      }
      if ((*batch)->shared) put_events(slot, (*batch)->shared);
      else put_progress(slot, (*batch)->revision);
      if (output_.size() < kOutputBytesMax) continue;
      enqueue(slot);
      co_return Result<>();
    }
  }

  void end(Slot& slot, const Error& error) {
    Response response{.revision = context_.backend.current_revision(), .id = slot.id, .canceled = true, .cancel_reason = error.message()};
    if (error.code() == Code::kOutOfRange) response.compact_revision = context_.backend.compact_revision().value;
    put(response);
    remove(slots_.find(slot.id));
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

  // --- output

  void put(const Response& response) {
    http::append_grpc_message(output_, {begin_response(response).str()});
    work_.wake_all();
  }

  void put_progress(Slot& slot, Revision revision) {
    if (std::exchange(slot.tick_wanted, false)) put({.revision = revision, .id = slot.id});
    if (!std::exchange(slot.progress_wanted, false)) return;
    --progress_pending_;
    answer_progress();
  }

  void put_events(const Slot& slot, const std::shared_ptr<const WatchEvents>& events) {
    if (slot.create.fragment) return put_fragments(slot, *events);
    if (encoded_.source != events || encoded_.no_put != slot.create.no_put || encoded_.no_delete != slot.create.no_delete) encode(slot, events);
    if (encoded_.events.empty()) return;
    ProtoWriter id;
    id.integer(2, slot.id);
    http::append_grpc_message(output_, {encoded_.header, id.str(), encoded_.events});
  }

  // A batch comes for many watches in a row.
  struct Encoded {
    std::shared_ptr<const WatchEvents> source{};
    bool no_put = false;
    bool no_delete = false;
    std::string header{};
    std::string events{};
  };

  static bool wants(const Slot& slot, const WatchEvent& event) { return event.type == WatchEvent::Type::kPut ? !slot.create.no_put : !slot.create.no_delete; }

  void encode(const Slot& slot, const std::shared_ptr<const WatchEvents>& events) {
    ProtoWriter out;
    for (const WatchEvent& event : events->events)
      if (wants(slot, event)) out.message(11, format_event(event));
    encoded_ = {.source = events, .no_put = slot.create.no_put, .no_delete = slot.create.no_delete, .header = begin_response({.revision = events->revision}).take(), .events = out.take()};
  }

  void put_fragments(const Slot& slot, const WatchEvents& events) {
    ProtoWriter out = begin_response({.revision = events.revision, .id = slot.id});
    std::size_t count = 0;
    for (const WatchEvent& event : events.events) {
      if (!wants(slot, event)) continue;
      std::string encoded = format_event(event);
      if (count > 0 && out.str().size() + encoded.size() > kRequestBytesMax) {
        http::append_grpc_message(output_, {out.boolean(7, true).str()});
        out = begin_response({.revision = events.revision, .id = slot.id});
        count = 0;
      }
      out.message(11, encoded);
      ++count;
    }
    if (count > 0) http::append_grpc_message(output_, {out.str()});
  }

  http::GrpcServerCall& call_;
  Context& context_;
  async::Notify work_;  // something is ready, or in output_
  async::Notify room_;  // output_ was written
  async::Event forever_;
  Slots slots_;
  std::deque<Slot*> ready_;
  Slot* served_ = nullptr;
  std::unique_ptr<Slot> removed_;  // while it is served
  std::string output_;             // messages with their prefixes
  Encoded encoded_;
  std::int64_t next_id_ = 0;
  std::size_t progress_pending_ = 0;
  Revision progress_revision_{};
};

Task<Result<>> watch(Context& context, http::GrpcServerCall& call) {
  async::Executor executor = co_await async::this_executor();
  WatchStream stream(executor, call, context);
  Result<> result = co_await stream.run(executor);
  co_return co_await call.finish(std::move(result));
}

}  // namespace

std::span<const StreamMethod> watch_streams() {
  static constexpr StreamMethod kStreams[] = {{"/etcdserverpb.Watch/Watch", needs_watch, watch, StreamMethod::Refusal::kByHandler}};
  return kStreams;
}

}  // namespace monopod::etcd
