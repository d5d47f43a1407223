#include "etcd/cluster/answers.h"

#include "store/limits.h"

namespace monopod::etcd {

using namespace store;

namespace {

Result<std::string> format_txn_at(const Txn& txn, std::size_t depth);

std::string format_put_request(const PutRequest& put) {
  ProtoWriter out;
  out.bytes(1, put.key);
  if (put.value) out.bytes(2, *put.value);
  return out.integer(3, put.lease.value).boolean(4, put.prev_kv).boolean(5, put.ignore_value).boolean(6, put.ignore_lease).take();
}

std::string format_delete_request(const DeleteRequest& del) { return ProtoWriter().bytes(1, del.key).bytes(2, del.range_end).boolean(3, del.prev_kv).take(); }

std::string format_compare(const Compare& compare) {
  static constexpr std::int64_t kOps[] = {0, 3, 1, 2};               // kEqual, kNotEqual, kGreater, kLess
  static constexpr std::int64_t kTargets[] = {0, 1, 2, 3, 4};        // kVersion, kCreate, kMod, kValue, kLease
  static constexpr std::uint32_t kFields[] = {4, 5, 6, 7, 8};
  auto target = static_cast<std::size_t>(compare.target);
  ProtoWriter out;
  out.integer(1, kOps[static_cast<std::size_t>(compare.op)]).integer(2, kTargets[target]).bytes(3, compare.key);
  if (compare.target == Compare::Target::kValue) out.message(kFields[target], compare.value);
  else out.integer(kFields[target], compare.number);
  return out.bytes(64, compare.range_end).take();
}

Result<std::string> format_operation(const Op& op, std::size_t depth) {
  ProtoWriter out;
  if (auto* range = std::get_if<RangeRequest>(&op)) out.message(1, format_range_request(*range));
  else if (auto* put = std::get_if<PutRequest>(&op)) out.message(2, format_put_request(*put));
  else if (auto* del = std::get_if<DeleteRequest>(&op)) out.message(3, format_delete_request(*del));
  else {
    TRY_ASSIGN(std::string nested, format_txn_at(*std::get<std::shared_ptr<const Txn>>(op), depth + 1));
    out.message(4, nested);
  }
  return out.take();
}

Result<std::string> format_txn_at(const Txn& txn, std::size_t depth) {
  if (depth > kTxnDepthMax) return fail(Code::kInvalidArgument, "etcdserver: too many operations in txn request");
  ProtoWriter out;
  for (const Compare& compare : txn.compare) out.message(1, format_compare(compare));
  for (const Op& op : txn.success) {
    TRY_ASSIGN(std::string encoded, format_operation(op, depth));
    out.message(2, encoded);
  }
  for (const Op& op : txn.failure) {
    TRY_ASSIGN(std::string encoded, format_operation(op, depth));
    out.message(3, encoded);
  }
  return out.take();
}

std::unexpected<Error> malformed() { return fail(Code::kInternal, "etcd: malformed answer"); }

Result<bool> next_field(ProtoReader& reader) {
  Result<bool> more = reader.next();
  if (!more) return malformed();
  return *more;
}

Result<PutResult> parse_put_answer(std::string_view message) {
  PutResult result;
  ProtoReader reader(message);
  for (;;) {
    TRY_ASSIGN(bool more, next_field(reader));
    if (!more) return result;
    if (reader.field() == 2) {
      TRY_ASSIGN(result.prev, parse_key_value(reader.bytes()));
    }
  }
}

Result<DeleteResult> parse_delete_answer(std::string_view message) {
  DeleteResult result;
  ProtoReader reader(message);
  for (;;) {
    TRY_ASSIGN(bool more, next_field(reader));
    if (!more) return result;
    if (reader.field() == 2) result.deleted = reader.integer();
    if (reader.field() == 3) {
      TRY_ASSIGN(KeyValue kv, parse_key_value(reader.bytes()));
      result.prev.push_back(std::move(kv));
    }
  }
}

Result<TxnResult> parse_txn_at(std::string_view message, const Txn& txn, Revision revision);

Result<OpResult> parse_operation(std::string_view message, const Op& op, Revision revision) {
  ProtoReader reader(message);
  TRY_ASSIGN(bool more, next_field(reader));
  if (!more || reader.field() != op.index() + 1) return malformed();
  if (auto* range = std::get_if<RangeRequest>(&op)) {
    TRY_ASSIGN(RangeResult result, parse_range_answer(reader.bytes(), range->keys_only));
    result.revision = revision;
    return result;
  }
  if (std::holds_alternative<PutRequest>(op)) return parse_put_answer(reader.bytes());
  if (std::holds_alternative<DeleteRequest>(op)) return parse_delete_answer(reader.bytes());
  TRY_ASSIGN(TxnResult nested, parse_txn_at(reader.bytes(), *std::get<std::shared_ptr<const Txn>>(op), revision));
  return std::make_shared<const TxnResult>(std::move(nested));
}

Result<TxnResult> parse_txn_at(std::string_view message, const Txn& txn, Revision revision) {
  TxnResult result{.revision = revision};
  std::vector<std::string_view> operations;
  ProtoReader reader(message);
  for (;;) {
    TRY_ASSIGN(bool more, next_field(reader));
    if (!more) break;
    if (reader.field() == 2) result.succeeded = reader.boolean();
    if (reader.field() == 3) operations.push_back(reader.bytes());
  }
  const std::vector<Op>& asked = result.succeeded ? txn.success : txn.failure;
  if (operations.size() != asked.size()) return malformed();
  for (std::size_t i = 0; i < asked.size(); ++i) {
    TRY_ASSIGN(OpResult one, parse_operation(operations[i], asked[i], revision));
    result.results.push_back(std::move(one));
  }
  return result;
}

Result<WatchEvent> parse_event(std::string_view message) {
  WatchEvent event;
  ProtoReader reader(message);
  for (;;) {
    TRY_ASSIGN(bool more, next_field(reader));
    if (!more) return event;
    if (reader.field() == 1) event.type = reader.integer() == 1 ? WatchEvent::Type::kDelete : WatchEvent::Type::kPut;
    if (reader.field() == 2) {
      TRY_ASSIGN(event.kv, parse_key_value(reader.bytes()));
    }
    if (reader.field() == 3) {
      TRY_ASSIGN(event.prev, parse_key_value(reader.bytes()));
    }
  }
}

}  // namespace

std::string format_range_request(const RangeRequest& request) {
  return ProtoWriter().bytes(1, request.key).bytes(2, request.range_end).integer(3, request.limit).integer(4, request.revision.value)
      .boolean(8, request.keys_only).boolean(9, request.count_only).take();
}

Result<std::string> format_txn_request(const Txn& txn) { return format_txn_at(txn, 0); }

Result<Revision> parse_answer_revision(std::string_view message) {
  ProtoReader reader(message);
  for (;;) {
    TRY_ASSIGN(bool more, next_field(reader));
    if (!more) return Revision();
    if (reader.field() != 1 || !reader.is_bytes()) continue;
    ProtoReader header(reader.bytes());
    std::int64_t revision = 0;
    for (;;) {
      TRY_ASSIGN(bool inner, next_field(header));
      if (!inner) return Revision(revision);
      if (header.field() == 3) revision = header.integer();
    }
  }
}

Result<KeyValue> parse_key_value(std::string_view message) {
  KeyValue kv;
  std::string_view value;
  ProtoReader reader(message);
  for (;;) {
    TRY_ASSIGN(bool more, next_field(reader));
    if (!more) break;
    switch (reader.field()) {
      case 1: kv.key = reader.text(); break;
      case 2: kv.create = Revision(reader.integer()); break;
      case 3: kv.mod = Revision(reader.integer()); break;
      case 4: kv.version = reader.integer(); break;
      case 5: value = reader.bytes(); break;
      case 6: kv.lease = LeaseId(reader.integer()); break;
      default: break;
    }
  }
  kv.value = share(std::string(value));
  return kv;
}

Result<RangeResult> parse_range_answer(std::string_view message, bool keys_only) {
  RangeResult result;
  TRY_ASSIGN(result.revision, parse_answer_revision(message));
  ProtoReader reader(message);
  for (;;) {
    TRY_ASSIGN(bool more, next_field(reader));
    if (!more) return result;
    if (reader.field() == 2) {
      TRY_ASSIGN(KeyValue kv, parse_key_value(reader.bytes()));
      if (keys_only) kv.value.reset();
      result.kvs.push_back(std::move(kv));
    }
    if (reader.field() == 3) result.more = reader.boolean();
    if (reader.field() == 4) result.count = reader.integer();
  }
}

Result<TxnResult> parse_txn_answer(std::string_view message, const Txn& txn) {
  TRY_ASSIGN(Revision revision, parse_answer_revision(message));
  return parse_txn_at(message, txn, revision);
}

std::string format_watch_create(const WatchCreateRequest& request) {
  std::string create = ProtoWriter().bytes(1, request.key).bytes(2, request.range_end).integer(3, request.start.value).boolean(6, request.prev_kv)
                           .integer(7, request.id).boolean(8, true).take();
  return ProtoWriter().message(1, create).take();
}

std::string format_watch_cancel(std::int64_t id) { return ProtoWriter().message(2, ProtoWriter().integer(1, id).str()).take(); }

Result<WatchAnswer> parse_watch_answer(std::string_view message) {
  WatchAnswer answer;
  TRY_ASSIGN(answer.revision, parse_answer_revision(message));
  ProtoReader reader(message);
  for (;;) {
    TRY_ASSIGN(bool more, next_field(reader));
    if (!more) return answer;
    switch (reader.field()) {
      case 2: answer.id = reader.integer(); break;
      case 3: answer.created = reader.boolean(); break;
      case 4: answer.canceled = reader.boolean(); break;
      case 5: answer.compact_revision = Revision(reader.integer()); break;
      case 6: answer.cancel_reason = reader.text(); break;
      case 7: answer.fragment = reader.boolean(); break;
      case 11: {
        TRY_ASSIGN(WatchEvent event, parse_event(reader.bytes()));
        answer.events.push_back(std::move(event));
        break;
      }
      default: break;
    }
  }
}

}  // namespace monopod::etcd
