#include "etcd/messages.h"

#include <algorithm>
#include <limits>

#include "store/limits.h"

namespace monopod::etcd {
namespace {

Result<ParsedTxn> parse_txn_at(std::string_view message, std::size_t depth);

Result<Compare> parse_compare(std::string_view message) {
  Compare compare{.target = Compare::Target::kVersion};
  ProtoReader reader(message);
  for (;;) {
    TRY_ASSIGN(bool more, reader.next());
    if (!more) return compare;
    switch (reader.field()) {
      case 1: {
        static constexpr Compare::Op kOps[] = {Compare::Op::kEqual, Compare::Op::kGreater, Compare::Op::kLess, Compare::Op::kNotEqual};
        auto n = static_cast<std::uint64_t>(reader.integer());
        if (n >= std::size(kOps)) return fail(Code::kInvalidArgument, "unknown compare result");
        compare.op = kOps[n];
        break;
      }
      case 2: {
        static constexpr Compare::Target kTargets[] = {Compare::Target::kVersion, Compare::Target::kCreate, Compare::Target::kMod, Compare::Target::kValue,
                                                       Compare::Target::kLease};
        auto n = static_cast<std::uint64_t>(reader.integer());
        if (n >= std::size(kTargets)) return fail(Code::kInvalidArgument, "unknown compare target");
        compare.target = kTargets[n];
        break;
      }
      case 3: compare.key = reader.text(); break;
      case 4:
      case 5:
      case 6:
      case 8: compare.number = reader.integer(); break;
      case 7: compare.value = reader.text(); break;
      case 64: compare.range_end = reader.text(); break;
      default: break;
    }
  }
}

Result<> parse_operation(std::string_view message, std::size_t depth, std::vector<Op>& ops, std::vector<TxnShape::Op>& shapes) {
  ProtoReader reader(message);
  TRY_ASSIGN(bool more, reader.next());
  if (!more) return fail(Code::kInvalidArgument, "etcdserver: key not found");  // what etcd says of an empty operation
  TxnShape::Op shape;
  switch (reader.field()) {
    case 1: {
      TRY_ASSIGN(Range range, parse_range(reader.bytes()));
      ops.emplace_back(std::move(range.request));
      shape.range = range.shape;
      break;
    }
    case 2: {
      TRY_ASSIGN(PutRequest put, parse_put(reader.bytes()));
      ops.emplace_back(std::move(put));
      break;
    }
    case 3: {
      TRY_ASSIGN(DeleteRequest del, parse_delete(reader.bytes()));
      ops.emplace_back(std::move(del));
      break;
    }
    case 4: {
      TRY_ASSIGN(ParsedTxn nested, parse_txn_at(reader.bytes(), depth + 1));
      ops.emplace_back(std::make_shared<const Txn>(std::move(nested.txn)));
      shape.nested = std::make_shared<const TxnShape>(std::move(nested.shape));
      break;
    }
    default: return fail(Code::kInvalidArgument, "unknown operation in transaction");
  }
  shapes.push_back(std::move(shape));
  return {};
}

Result<ParsedTxn> parse_txn_at(std::string_view message, std::size_t depth) {
  if (depth > kTxnDepthMax) return fail(Code::kInvalidArgument, "etcdserver: too many operations in txn request");
  ParsedTxn parsed;
  ProtoReader reader(message);
  for (;;) {
    TRY_ASSIGN(bool more, reader.next());
    if (!more) break;
    if (reader.field() == 1) {
      TRY_ASSIGN(Compare compare, parse_compare(reader.bytes()));
      parsed.txn.compare.push_back(std::move(compare));
    }
    if (reader.field() == 2) TRY(parse_operation(reader.bytes(), depth, parsed.txn.success, parsed.shape.success));
    if (reader.field() == 3) TRY(parse_operation(reader.bytes(), depth, parsed.txn.failure, parsed.shape.failure));
  }
  if (std::max({parsed.txn.compare.size(), parsed.txn.success.size(), parsed.txn.failure.size()}) > kTxnOperationsMax)
    return fail(Code::kInvalidArgument, "etcdserver: too many operations in txn request");
  return parsed;
}

template <typename Key>
void sort_by(std::vector<KeyValue>& kvs, RangeShape::Order order, Key key) {
  std::stable_sort(kvs.begin(), kvs.end(), [&](const KeyValue& a, const KeyValue& b) {
    return order == RangeShape::Order::kDescend ? key(b) < key(a) : key(a) < key(b);
  });
}

void shape_range(RangeResult& result, const RangeShape& shape) {
  if (!shape.whole) return;
  std::erase_if(result.kvs, [&](const KeyValue& kv) {
    return (shape.mod_min > 0 && kv.mod.value < shape.mod_min) || (shape.mod_max > 0 && kv.mod.value > shape.mod_max) ||
           (shape.create_min > 0 && kv.create.value < shape.create_min) || (shape.create_max > 0 && kv.create.value > shape.create_max);
  });
  switch (shape.target) {
    case RangeShape::Target::kKey:
      if (shape.order == RangeShape::Order::kDescend) std::reverse(result.kvs.begin(), result.kvs.end());
      break;
    case RangeShape::Target::kVersion: sort_by(result.kvs, shape.order, [](const KeyValue& kv) { return kv.version; }); break;
    case RangeShape::Target::kCreate: sort_by(result.kvs, shape.order, [](const KeyValue& kv) { return kv.create.value; }); break;
    case RangeShape::Target::kMod: sort_by(result.kvs, shape.order, [](const KeyValue& kv) { return kv.mod.value; }); break;
    case RangeShape::Target::kValue: sort_by(result.kvs, shape.order, [](const KeyValue& kv) { return std::string_view(*kv.value); }); break;
  }
  if (shape.limit > 0 && result.kvs.size() > static_cast<std::size_t>(shape.limit)) {
    result.kvs.resize(static_cast<std::size_t>(shape.limit));
    result.more = true;
  }
}

std::string format_result(Revision header, const OpResult& result, const TxnShape::Op& shape) {
  ProtoWriter out;
  if (auto* range = std::get_if<RangeResult>(&result)) out.message(1, format_range(header, *range, shape.range).join());
  else if (auto* put = std::get_if<PutResult>(&result)) out.message(2, format_put(header, *put));
  else if (auto* del = std::get_if<DeleteResult>(&result)) out.message(3, format_delete(header, *del));
  else out.message(4, format_txn(*std::get<std::shared_ptr<const TxnResult>>(result), *shape.nested));
  return out.take();
}

}  // namespace

Result<Range> parse_range(std::string_view message) {
  Range range;
  RangeShape& shape = range.shape;
  ProtoReader reader(message);
  for (;;) {
    TRY_ASSIGN(bool more, reader.next());
    if (!more) break;
    std::int64_t n = reader.integer();
    switch (reader.field()) {
      case 1: range.request.key = reader.text(); break;
      case 2: range.request.range_end = reader.text(); break;
      case 3: shape.limit = n; break;
      case 4: range.request.revision = Revision(std::max<std::int64_t>(n, 0)); break;
      case 5:
        if (n < 0 || n > 2) return fail(Code::kInvalidArgument, "etcdserver: invalid sort option");
        shape.order = static_cast<RangeShape::Order>(n);
        break;
      case 6:
        if (n < 0 || n > 4) return fail(Code::kInvalidArgument, "etcdserver: invalid sort option");
        shape.target = static_cast<RangeShape::Target>(n);
        break;
      case 8: shape.keys_only = reader.boolean(); break;
      case 9: range.request.count_only = reader.boolean(); break;
      case 10: shape.mod_min = n; break;
      case 11: shape.mod_max = n; break;
      case 12: shape.create_min = n; break;
      case 13: shape.create_max = n; break;
      default: break;
    }
  }
  if (shape.order == RangeShape::Order::kNone && shape.target != RangeShape::Target::kKey) shape.order = RangeShape::Order::kAscend;
  bool filtered = shape.mod_min > 0 || shape.mod_max > 0 || shape.create_min > 0 || shape.create_max > 0;
  bool sorted = shape.target != RangeShape::Target::kKey || shape.order == RangeShape::Order::kDescend;
  shape.whole = (filtered || sorted) && !range.request.count_only;
  if (!shape.whole) range.request.limit = std::max<std::int64_t>(shape.limit, 0);
  range.request.keys_only = shape.keys_only && shape.target != RangeShape::Target::kValue;
  return range;
}

Result<PutRequest> parse_put(std::string_view message) {
  PutRequest put;
  std::string value;
  ProtoReader reader(message);
  for (;;) {
    TRY_ASSIGN(bool more, reader.next());
    if (!more) break;
    switch (reader.field()) {
      case 1: put.key = reader.text(); break;
      case 2: value = reader.text(); break;
      case 3: put.lease = LeaseId(reader.integer()); break;
      case 4: put.prev_kv = reader.boolean(); break;
      case 5: put.ignore_value = reader.boolean(); break;
      case 6: put.ignore_lease = reader.boolean(); break;
      default: break;
    }
  }
  put.value = share(std::move(value));
  return put;
}

Result<DeleteRequest> parse_delete(std::string_view message) {
  DeleteRequest del;
  ProtoReader reader(message);
  for (;;) {
    TRY_ASSIGN(bool more, reader.next());
    if (!more) return del;
    switch (reader.field()) {
      case 1: del.key = reader.text(); break;
      case 2: del.range_end = reader.text(); break;
      case 3: del.prev_kv = reader.boolean(); break;
      default: break;
    }
  }
}

Result<ParsedTxn> parse_txn(std::string_view message) { return parse_txn_at(message, 0); }

Result<WatchMessage> parse_watch(std::string_view message) {
  WatchMessage parsed;
  ProtoReader reader(message);
  for (;;) {
    TRY_ASSIGN(bool more, reader.next());
    if (!more) return parsed;
    if (reader.field() == 2) {
      TRY_ASSIGN(parsed.cancel, parse_integer(reader.bytes(), 1));
    }
    if (reader.field() == 3) parsed.progress = true;
    if (reader.field() != 1) continue;
    WatchCreate& create = parsed.create.emplace();
    ProtoReader inner(reader.bytes());
    auto add_filter = [&create](std::int64_t n) { (n == 0 ? create.no_put : create.no_delete) = true; };
    for (;;) {
      TRY_ASSIGN(bool inner_more, inner.next());
      if (!inner_more) break;
      switch (inner.field()) {
        case 1: create.request.key = inner.text(); break;
        case 2: create.request.range_end = inner.text(); break;
        case 3: create.request.start_revision = Revision(std::max<std::int64_t>(inner.integer(), 0)); break;
        case 4: create.progress_notify = inner.boolean(); break;
        case 5:
          if (!inner.is_bytes()) add_filter(inner.integer());
          for (char packed : inner.bytes()) add_filter(packed);
          break;
        case 6: create.request.prev_kv = inner.boolean(); break;
        case 7: create.id = inner.integer(); break;
        case 8: create.fragment = inner.boolean(); break;
        default: break;
      }
    }
    if (create.request.key.empty()) create.request.key = std::string(1, '\0');
  }
}

Result<std::int64_t> parse_integer(std::string_view message, std::uint32_t field) {
  std::int64_t value = 0;
  ProtoReader reader(message);
  for (;;) {
    TRY_ASSIGN(bool more, reader.next());
    if (!more) return value;
    if (reader.field() == field) value = reader.integer();
  }
}

Result<std::string> parse_text(std::string_view message, std::uint32_t field) {
  std::string value;
  ProtoReader reader(message);
  for (;;) {
    TRY_ASSIGN(bool more, reader.next());
    if (!more) return value;
    if (reader.field() == field) value = reader.text();
  }
}

std::string format_header(Revision revision) {
  return ProtoWriter().unsigned_integer(1, kClusterId).unsigned_integer(2, kMemberId).integer(3, revision.value).integer(4, kRaftTerm).take();
}

namespace {

std::size_t size_of(const KeyValue& kv) {
  return ProtoWriter::size_of_bytes(1, kv.key.size()) + ProtoWriter::size_of_integer(2, kv.create.value) + ProtoWriter::size_of_integer(3, kv.mod.value) +
         ProtoWriter::size_of_integer(4, kv.version) + (kv.value ? ProtoWriter::size_of_bytes(5, kv.value->size()) : 0) +
         ProtoWriter::size_of_integer(6, kv.lease.value);
}

void append(ProtoWriter& out, const KeyValue& kv) {
  out.bytes(1, kv.key).integer(2, kv.create.value).integer(3, kv.mod.value).integer(4, kv.version);
  if (kv.value) out.bytes(5, *kv.value);
  out.integer(6, kv.lease.value);
}

void append(ProtoWriter& out, std::uint32_t field, const KeyValue& kv) { append(out.begin_message(field, size_of(kv)), kv); }

}  // namespace

std::string format_key_value(const KeyValue& kv) {
  ProtoWriter out;
  append(out, kv);
  return out.take();
}

std::string format_event(const WatchEvent& event) {
  ProtoWriter out;
  out.integer(1, event.type == WatchEvent::Type::kDelete ? 1 : 0);
  append(out, 2, event.kv);
  if (event.prev) append(out, 3, *event.prev);
  return out.take();
}

std::string Message::join() && {
  if (!next_piece_) return std::move(whole_);
  std::string all;
  all.reserve(size_);
  for (std::string piece = next_piece(); !piece.empty(); piece = next_piece()) all += piece;
  return all;
}

namespace {

// Values go as they are sent.
class RangePieces {
 public:
  RangePieces(Revision header, RangeResult result) : header_(format_header(header)), result_(std::move(result)) {
    size_ = ProtoWriter::size_of_message(1, header_.size()) + ProtoWriter::size_of_integer(3, result_.more ? 1 : 0) + ProtoWriter::size_of_integer(4, result_.count);
    for (const KeyValue& kv : result_.kvs) size_ += ProtoWriter::size_of_message(2, size_of(kv));
  }
  std::size_t size() const { return size_; }

  std::string next(std::size_t bytes_max) {
    if (ended_) return {};
    ProtoWriter out;
    out.reserve(std::min(bytes_max, size_));
    if (!std::exchange(begun_, true)) out.message(1, header_);
    for (; next_ < result_.kvs.size(); ++next_) {
      KeyValue& kv = result_.kvs[next_];
      if (!out.str().empty() && out.str().size() + kEntryBytes + kv.key.size() + (kv.value ? kv.value->size() : 0) > bytes_max) return out.take();
      append(out, 2, kv);
      kv.value.reset();
    }
    ended_ = true;
    return out.boolean(3, result_.more).integer(4, result_.count).take();
  }

 private:
  static constexpr std::size_t kEntryBytes = 64;  // more than the numbers of a key take

  std::string header_;
  RangeResult result_;
  std::size_t size_ = 0;
  std::size_t next_ = 0;
  bool begun_ = false;
  bool ended_ = false;
};

}  // namespace

Message format_range(Revision header, RangeResult result, const RangeShape& shape) {
  constexpr std::size_t kPieceBytes = 64U << 10;
  shape_range(result, shape);
  if (shape.keys_only)
    for (KeyValue& kv : result.kvs) kv.value.reset();
  RangePieces pieces(header, std::move(result));
  std::size_t size = pieces.size();
  if (size <= kPieceBytes) return pieces.next(std::numeric_limits<std::size_t>::max());
  return {size, [pieces = std::move(pieces)]() mutable { return pieces.next(kPieceBytes); }};
}

std::string format_put(Revision header, const PutResult& result) {
  ProtoWriter out;
  out.message(1, format_header(header));
  if (result.prev) out.message(2, format_key_value(*result.prev));
  return out.take();
}

std::string format_delete(Revision header, const DeleteResult& result) {
  ProtoWriter out;
  out.message(1, format_header(header)).integer(2, result.deleted);
  for (const KeyValue& kv : result.prev) out.message(3, format_key_value(kv));
  return out.take();
}

std::string format_txn(const TxnResult& result, const TxnShape& shape) {
  ProtoWriter out;
  out.message(1, format_header(result.revision)).boolean(2, result.succeeded);
  const auto& shapes = result.succeeded ? shape.success : shape.failure;
  for (std::size_t i = 0; i < result.results.size(); ++i) out.message(3, format_result(result.revision, result.results[i], shapes[i]));
  return out.take();
}

}  // namespace monopod::etcd
