#include "tests/robustness/store/history/wire_backend.h"

#include <deque>

#include "base/strings.h"
#include "etcd/messages.h"
#include "codec/proto_wire.h"
#include "http/grpc.h"

namespace monopod::testing {
namespace {

using namespace store;
using async::Task;

constexpr auto kTimeout = std::chrono::seconds(10);

// --- requests

std::string format(const RangeRequest& r) {
  return ProtoWriter().bytes(1, r.key).bytes(2, r.range_end).integer(3, r.limit).integer(4, r.revision.value).boolean(8, r.keys_only).boolean(9, r.count_only).take();
}
std::string format(const PutRequest& p) {
  ProtoWriter out;
  out.bytes(1, p.key);
  if (p.value) out.bytes(2, *p.value);
  return out.integer(3, p.lease.value).boolean(4, p.prev_kv).boolean(5, p.ignore_value).boolean(6, p.ignore_lease).take();
}
std::string format(const DeleteRequest& d) { return ProtoWriter().bytes(1, d.key).bytes(2, d.range_end).boolean(3, d.prev_kv).take(); }

std::string format(const Compare& c) {
  static constexpr int kResults[] = {0, 3, 1, 2};               // equal, not equal, greater, less
  static constexpr std::uint32_t kNumbers[] = {4, 5, 6, 7, 8};  // fields of version, create, mod, value, lease
  auto target = static_cast<std::size_t>(c.target);
  ProtoWriter out;
  out.integer(1, kResults[static_cast<std::size_t>(c.op)]).integer(2, static_cast<std::int64_t>(target)).bytes(3, c.key);
  if (c.target == Compare::Target::kValue) out.bytes(7, c.value);
  else out.integer(kNumbers[target], c.number);
  return out.bytes(64, c.range_end).take();
}

std::string format(const Txn& txn) {
  ProtoWriter out;
  for (const Compare& compare : txn.compare) out.message(1, format(compare));
  std::uint32_t field = 2;
  for (const auto* ops : {&txn.success, &txn.failure}) {
    for (const Op& op : *ops) {
      std::string inner = std::visit([](const auto& o) -> std::string {
        if constexpr (requires { *o; }) return format(*o);
        else return format(o);
      }, op);
      out.message(field, ProtoWriter().message(static_cast<std::uint32_t>(op.index()) + 1, inner).str());
    }
    ++field;
  }
  return out.take();
}

// --- answers

Result<KeyValue> parse_kv(std::string_view message) {
  KeyValue kv{.value = share("")};
  ProtoReader reader(message);
  for (;;) {
    TRY_ASSIGN(bool more, reader.next());
    if (!more) return kv;
    switch (reader.field()) {
      case 1: kv.key = reader.text(); break;
      case 2: kv.create = Revision(reader.integer()); break;
      case 3: kv.mod = Revision(reader.integer()); break;
      case 4: kv.version = reader.integer(); break;
      case 5: kv.value = share(reader.text()); break;
      case 6: kv.lease = LeaseId(reader.integer()); break;
      default: break;
    }
  }
}

// Calls on_field for each.
template <typename F>
Result<> walk(std::string_view message, F on_field) {
  ProtoReader reader(message);
  for (;;) {
    TRY_ASSIGN(bool more, reader.next());
    if (!more) return {};
    TRY(on_field(reader));
  }
}

Result<> take_revision(const ProtoReader& reader, Revision& revision) {
  return walk(reader.bytes(), [&](const ProtoReader& header) -> Result<> {
    if (header.field() == 3) revision = Revision(header.integer());
    return {};
  });
}

Result<RangeResult> parse_range(std::string_view message) {
  RangeResult result;
  TRY(walk(message, [&](const ProtoReader& reader) -> Result<> {
    if (reader.field() == 1) return take_revision(reader, result.revision);
    if (reader.field() == 2) {
      TRY_ASSIGN(KeyValue kv, parse_kv(reader.bytes()));
      result.kvs.push_back(std::move(kv));
    }
    if (reader.field() == 3) result.more = reader.boolean();
    if (reader.field() == 4) result.count = reader.integer();
    return {};
  }));
  return result;
}

Result<PutResult> parse_put(std::string_view message, Revision& revision) {
  PutResult result;
  TRY(walk(message, [&](const ProtoReader& reader) -> Result<> {
    if (reader.field() == 1) return take_revision(reader, revision);
    if (reader.field() == 2) {
      TRY_ASSIGN(result.prev, parse_kv(reader.bytes()));
    }
    return {};
  }));
  return result;
}

Result<DeleteResult> parse_delete(std::string_view message, Revision& revision) {
  DeleteResult result;
  TRY(walk(message, [&](const ProtoReader& reader) -> Result<> {
    if (reader.field() == 1) return take_revision(reader, revision);
    if (reader.field() == 2) result.deleted = reader.integer();
    if (reader.field() == 3) {
      TRY_ASSIGN(KeyValue kv, parse_kv(reader.bytes()));
      result.prev.push_back(std::move(kv));
    }
    return {};
  }));
  return result;
}

Result<TxnResult> parse_txn(std::string_view message);

Result<OpResult> parse_op(std::string_view message) {
  OpResult result;
  Revision ignored;
  TRY(walk(message, [&](const ProtoReader& reader) -> Result<> {
    if (reader.field() == 1) {
      TRY_ASSIGN(result, parse_range(reader.bytes()));
    } else if (reader.field() == 2) {
      TRY_ASSIGN(result, parse_put(reader.bytes(), ignored));
    } else if (reader.field() == 3) {
      TRY_ASSIGN(result, parse_delete(reader.bytes(), ignored));
    } else if (reader.field() == 4) {
      TRY_ASSIGN(TxnResult nested, parse_txn(reader.bytes()));
      result = std::make_shared<const TxnResult>(std::move(nested));
    }
    return {};
  }));
  return result;
}

Result<TxnResult> parse_txn(std::string_view message) {
  TxnResult result;
  TRY(walk(message, [&](const ProtoReader& reader) -> Result<> {
    if (reader.field() == 1) return take_revision(reader, result.revision);
    if (reader.field() == 2) result.succeeded = reader.boolean();
    if (reader.field() == 3) {
      TRY_ASSIGN(OpResult op, parse_op(reader.bytes()));
      result.results.push_back(std::move(op));
    }
    return {};
  }));
  return result;
}

// --- watch

Task<Result<>> write_later(std::shared_ptr<http::GrpcClientCall> call, std::string message) {
  (void)co_await call->write(message);  // a stream that has ended tells its reader
  co_return Result<>();
}

struct WatchAnswer {
  Revision revision{};
  bool created = false, canceled = false;
  std::int64_t compacted = 0;
  std::string reason{};
  std::vector<WatchEvent> events{};
};

Result<WatchEvent> parse_event(std::string_view message) {
  WatchEvent event;
  TRY(walk(message, [&](const ProtoReader& reader) -> Result<> {
    if (reader.field() == 1 && reader.integer() == 1) event.type = WatchEvent::Type::kDelete;
    if (reader.field() == 2) {
      TRY_ASSIGN(event.kv, parse_kv(reader.bytes()));
    }
    if (reader.field() == 3) {
      TRY_ASSIGN(event.prev, parse_kv(reader.bytes()));
    }
    return {};
  }));
  return event;
}

Result<WatchAnswer> parse_watch_answer(std::string_view message) {
  WatchAnswer answer;
  TRY(walk(message, [&](const ProtoReader& reader) -> Result<> {
    switch (reader.field()) {
      case 1: return take_revision(reader, answer.revision);
      case 3: answer.created = reader.boolean(); break;
      case 4: answer.canceled = reader.boolean(); break;
      case 5: answer.compacted = reader.integer(); break;
      case 6: answer.reason = reader.text(); break;
      case 11: {
        TRY_ASSIGN(WatchEvent event, parse_event(reader.bytes()));
        answer.events.push_back(std::move(event));
        break;
      }
      default: break;
    }
    return {};
  }));
  return answer;
}

Error error_of(const WatchAnswer& answer) { return Error(answer.compacted > 0 ? Code::kOutOfRange : Code::kUnavailable, answer.reason); }

class WireWatch final : public Watch {
 public:
  WireWatch(std::shared_ptr<http::GrpcClientCall> call, async::Scope& scope) : call_(std::move(call)), scope_(scope) {}

  Task<Result<WatchBatch>> next() override {
    CO_TRY_ASSIGN(std::optional<std::string> message, co_await call_->read());
    if (!message) co_return fail(Code::kUnavailable, "the watch stream ended");
    CO_TRY_ASSIGN(WatchAnswer answer, parse_watch_answer(*message));
    if (answer.canceled) co_return fail(error_of(answer));
    if (answer.events.empty()) co_return WatchBatch{.revision = answer.revision};
    Revision revision = answer.events.front().kv.mod;
    co_return WatchBatch{.revision = revision, .shared = std::make_shared<WatchEvents>(WatchEvents{.revision = revision, .events = std::move(answer.events)})};
  }
  Task<Result<std::optional<WatchBatch>>> try_next() override { co_return fail(Code::kUnimplemented, "the checker waits"); }
  void set_listener(std::function<void()>) override {}
  void request_progress() override { scope_.spawn(write_later(call_, ProtoWriter().message(3, "").take())); }

 private:
  std::shared_ptr<http::GrpcClientCall> call_;
  async::Scope& scope_;
};

Task<Result<std::string>> call(http::Caller& caller, std::string_view method, std::string message) {
  return http::call_grpc(caller, cat("/etcdserverpb.", method), std::move(message), {.timeout = kTimeout});
}

}  // namespace

Task<Result<RangeResult>> WireBackend::range(RangeRequest request) {
  CO_TRY_ASSIGN(std::string answer, co_await call(caller_, "KV/Range", format(request)));
  co_return parse_range(answer);
}

Task<Result<TxnResult>> WireBackend::txn(Txn txn) {
  TxnResult result{.succeeded = true};
  if (txn.compare.empty() && txn.failure.empty() && txn.success.size() == 1) {
    if (auto* put = std::get_if<PutRequest>(&txn.success[0])) {
      CO_TRY_ASSIGN(std::string answer, co_await call(caller_, "KV/Put", format(*put)));
      CO_TRY_ASSIGN(PutResult done, parse_put(answer, result.revision));
      result.results.emplace_back(std::move(done));
      co_return result;
    }
    if (auto* del = std::get_if<DeleteRequest>(&txn.success[0])) {
      CO_TRY_ASSIGN(std::string answer, co_await call(caller_, "KV/DeleteRange", format(*del)));
      CO_TRY_ASSIGN(DeleteResult done, parse_delete(answer, result.revision));
      result.results.emplace_back(std::move(done));
      co_return result;
    }
  }
  CO_TRY_ASSIGN(std::string answer, co_await call(caller_, "KV/Txn", format(txn)));
  co_return parse_txn(answer);
}

Task<Result<std::unique_ptr<Watch>>> WireBackend::watch(WatchRequest request) {
  CO_TRY_ASSIGN(std::unique_ptr<http::GrpcClientCall> made, co_await http::open_grpc(caller_, "/etcdserverpb.Watch/Watch"));
  std::shared_ptr<http::GrpcClientCall> stream = std::move(made);
  std::string create = ProtoWriter().bytes(1, request.key).bytes(2, request.range_end).integer(3, request.start_revision.value).boolean(6, request.prev_kv).take();
  CO_TRY(co_await stream->write(ProtoWriter().message(1, create).str()));
  CO_TRY_ASSIGN(std::optional<std::string> message, co_await stream->read());
  if (!message) co_return fail(Code::kUnavailable, "the watch stream ended");
  CO_TRY_ASSIGN(WatchAnswer answer, parse_watch_answer(*message));
  if (!answer.created) co_return fail(Code::kInternal, "the first answer of a watch stream creates nothing");
  if (answer.canceled) co_return fail(error_of(answer));
  co_return std::make_unique<WireWatch>(std::move(stream), scope_);
}

Task<Result<>> WireBackend::compact(Revision revision) {
  CO_TRY(co_await call(caller_, "KV/Compact", ProtoWriter().integer(1, revision.value).take()));
  co_return Result<>();
}

Task<Result<Lease>> WireBackend::lease_grant(std::chrono::seconds ttl, LeaseId id) {
  CO_TRY(co_await call(caller_, "Lease/LeaseGrant", ProtoWriter().integer(1, ttl.count()).integer(2, id.value).take()));
  co_return Lease{.id = id, .ttl = ttl};
}

Task<Result<>> WireBackend::lease_revoke(LeaseId id) {
  CO_TRY(co_await call(caller_, "Lease/LeaseRevoke", ProtoWriter().integer(1, id.value).take()));
  co_return Result<>();
}

Task<Result<Lease>> WireBackend::lease_keep_alive(LeaseId id) {
  CO_TRY_ASSIGN(std::string answer, co_await call(caller_, "Lease/LeaseKeepAlive", ProtoWriter().integer(1, id.value).take()));
  Lease lease{.id = id};
  CO_TRY(walk(answer, [&](const ProtoReader& reader) -> Result<> {
    if (reader.field() == 3) lease.ttl = std::chrono::seconds(reader.integer());
    return {};
  }));
  if (lease.ttl.count() <= 0) co_return fail(Code::kNotFound, "etcdserver: requested lease not found");  // as clients read it
  co_return lease;
}

Task<Result<Lease>> WireBackend::lease_time_to_live(LeaseId id) {
  CO_TRY_ASSIGN(std::string answer, co_await call(caller_, "Lease/LeaseTimeToLive", ProtoWriter().integer(1, id.value).take()));
  Lease lease{.id = id};
  CO_TRY(walk(answer, [&](const ProtoReader& reader) -> Result<> {
    if (reader.field() == 3) lease.remaining = std::chrono::seconds(reader.integer());
    if (reader.field() == 4) lease.ttl = std::chrono::seconds(reader.integer());
    return {};
  }));
  co_return lease;
}

Task<Result<std::vector<LeaseId>>> WireBackend::leases() {
  CO_TRY_ASSIGN(std::string answer, co_await call(caller_, "Lease/LeaseLeases", ""));
  std::vector<LeaseId> ids;
  CO_TRY(walk(answer, [&](const ProtoReader& reader) -> Result<> {
    if (reader.field() != 2) return {};
    return walk(reader.bytes(), [&](const ProtoReader& status) -> Result<> {
      if (status.field() == 1) ids.emplace_back(status.integer());
      return {};
    });
  }));
  co_return ids;
}

Task<Result<>> WireBackend::hash() {
  CO_TRY_ASSIGN(std::string answer, co_await call(caller_, "Maintenance/HashKV", ""));
  co_return walk(answer, [&](const ProtoReader& reader) -> Result<> {
    if (reader.field() == 1) return take_revision(reader, revision_);
    if (reader.field() == 3) compacted_ = Revision(reader.integer());
    return {};
  });
}

Task<Result<>> WireBackend::disarm() {
  constexpr std::int64_t kDeactivate = 2, kNoSpace = 1;
  CO_TRY(co_await call(caller_, "Maintenance/Alarm", ProtoWriter().integer(1, kDeactivate).unsigned_integer(2, etcd::kMemberId).integer(3, kNoSpace).take()));
  co_return Result<>();
}

}  // namespace monopod::testing
