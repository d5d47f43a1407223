#include "store/mvcc.h"

#include <algorithm>

#include "base/strings.h"

namespace monopod::store {
namespace {

Result<std::size_t> count_operations(const Txn& txn, std::size_t depth);

Result<> check_put(const PutRequest& put) {
  if (put.key.empty()) return fail(Code::kInvalidArgument, "etcdserver: key is not provided");
  if (put.key.size() > kKeyBytesMax || (put.value && put.value->size() > kValueBytesMax))
    return fail(Code::kInvalidArgument, "etcdserver: request is too large");
  if (put.ignore_value && put.value && !put.value->empty()) return fail(Code::kInvalidArgument, "etcdserver: value is provided");
  if (put.ignore_lease && put.lease.value != 0) return fail(Code::kInvalidArgument, "etcdserver: lease is provided");
  return {};
}

Result<std::size_t> check_operation(const Op& op, std::size_t depth) {
  if (auto* nested = std::get_if<std::shared_ptr<const Txn>>(&op)) {
    if (!*nested) return fail(Code::kInvalidArgument, "nested transaction is null");
    return count_operations(**nested, depth + 1);
  }
  if (auto* put = std::get_if<PutRequest>(&op)) {
    TRY(check_put(*put));
  } else {
    auto* range = std::get_if<RangeRequest>(&op);
    if ((range ? range->key : std::get<DeleteRequest>(op).key).empty()) return fail(Code::kInvalidArgument, "etcdserver: key is not provided");
  }
  return 1;
}

Result<std::size_t> count_operations(const Txn& txn, std::size_t depth) {
  if (depth > kTxnDepthMax) return fail(Code::kInvalidArgument, "etcdserver: too many operations in txn request");
  std::size_t count = txn.compare.size();
  for (const Compare& compare : txn.compare)
    if (compare.key.empty()) return fail(Code::kInvalidArgument, "etcdserver: key is not provided");
  for (const auto* ops : {&txn.success, &txn.failure})
    for (const Op& op : *ops) {
      TRY_ASSIGN(std::size_t inner, check_operation(op, depth));
      count += inner;
    }
  return count;
}

// Keys a branch may put and ranges it may delete. etcd refuses a key that is touched twice, whether or not the branch is taken; the two
// branches of a nested transaction exclude each other and may touch the same.
struct Touched {
  std::set<std::string> puts{};
  std::vector<std::pair<std::string, std::string>> deletes{};

  bool deletes_key(std::string_view key) const {
    return std::any_of(deletes.begin(), deletes.end(), [key](const auto& d) { return in_range(key, d.first, d.second); });
  }
};

Error revisions_exhausted() { return Error(Code::kOutOfRange, "revisions are exhausted: export the keys into a new store"); }

Error duplicate_key() { return Error(Code::kInvalidArgument, "etcdserver: duplicate key given in txn request"); }

Result<Touched> check_branch(const std::vector<Op>& ops) {
  Touched touched;
  for (const Op& op : ops)
    if (auto* del = std::get_if<DeleteRequest>(&op)) touched.deletes.emplace_back(del->key, del->range_end);
  for (const Op& op : ops) {
    auto* nested = std::get_if<std::shared_ptr<const Txn>>(&op);
    if (!nested) continue;
    TRY_ASSIGN(Touched either, check_branch((*nested)->success));
    TRY_ASSIGN(Touched other, check_branch((*nested)->failure));
    either.puts.merge(other.puts);
    either.deletes.insert(either.deletes.end(), other.deletes.begin(), other.deletes.end());
    for (const std::string& key : either.puts)
      if (touched.deletes_key(key) || !touched.puts.insert(key).second) return fail(duplicate_key());
    touched.deletes.insert(touched.deletes.end(), either.deletes.begin(), either.deletes.end());
  }
  for (const Op& op : ops) {
    auto* put = std::get_if<PutRequest>(&op);
    if (put && (touched.deletes_key(put->key) || !touched.puts.insert(put->key).second)) return fail(duplicate_key());
  }
  return touched;
}

template <typename T>
bool holds(Compare::Op op, const T& a, const T& b) {
  switch (op) {
    case Compare::Op::kEqual: return a == b;
    case Compare::Op::kNotEqual: return a != b;
    case Compare::Op::kGreater: return a > b;
    case Compare::Op::kLess: return a < b;
  }
  return false;
}

std::int64_t number_of(Compare::Target target, const Version* version) {
  if (!version) return 0;
  switch (target) {
    case Compare::Target::kVersion: return version->version;
    case Compare::Target::kCreate: return version->create;
    case Compare::Target::kMod: return version->revision();
    case Compare::Target::kLease: return version->lease;
    case Compare::Target::kValue: break;
  }
  return 0;
}

const Version* latest_alive(const KeyIndex::Entry& entry) { return entry.latest.tombstone() ? nullptr : &entry.latest; }

}  // namespace

KeyValue make_key_value(std::string_view key, const Version& version, SharedBytes value) {
  return {.key = std::string(key),
          .value = std::move(value),
          .create = Revision(version.create),
          .mod = Revision(version.revision()),
          .version = version.version,
          .lease = LeaseId(version.lease)};
}

// One run of evaluate(): the transaction applied so far, and what is missing.
class Evaluator {
 public:
  Evaluator(Mvcc& mvcc, const FetchedValues& fetched) : mvcc_(mvcc), fetched_(fetched), revision_(mvcc.head + 1) {}

  Result<TxnResult> run(const Txn& txn) {
    decide(txn);
    if (!missing.empty()) return TxnResult();
    return perform(txn);
  }

  std::vector<Change> changes;
  std::vector<RowId> missing;

 private:
  // As etcd, every branch is chosen before anything is written, those of nested transactions too: in the order in which they are performed.
  void decide(const Txn& txn) {
    bool succeeded = std::all_of(txn.compare.begin(), txn.compare.end(), [this](const Compare& compare) { return check(compare); });
    branches_.push_back(succeeded);
    for (const Op& op : succeeded ? txn.success : txn.failure)
      if (auto* nested = std::get_if<std::shared_ptr<const Txn>>(&op)) decide(**nested);
  }

  Result<TxnResult> perform(const Txn& txn) {
    TxnResult result;
    result.succeeded = branches_[performed_++];
    for (const Op& op : result.succeeded ? txn.success : txn.failure) {
      TRY_ASSIGN(OpResult done, std::visit([this](const auto& o) { return perform(o); }, op));
      result.results.push_back(std::move(done));
    }
    result.revision = Revision(changes.empty() ? mvcc_.head : revision_);
    return result;
  }

  SharedBytes value_of(const Version& version) {
    if (SharedBytes value = mvcc_.values.find(version.row)) return value;
    if (auto at = fetched_.find(version.row); at != fetched_.end()) return at->second;
    missing.push_back(version.row);
    return nullptr;
  }

  bool check_one(const Compare& compare, const Version* version) {
    if (compare.target != Compare::Target::kValue) return holds(compare.op, number_of(compare.target, version), compare.number);
    if (!version) return false;
    SharedBytes value = value_of(*version);
    return value && holds<std::string_view>(compare.op, *value, compare.value);
  }

  bool check(const Compare& compare) {
    if (compare.range_end.empty()) {
      const KeyIndex::Entry* entry = mvcc_.index.find(compare.key);
      return check_one(compare, entry ? latest_alive(*entry) : nullptr);
    }
    bool all = true, any = false;
    mvcc_.index.walk(compare.key, compare.range_end, [&](const KeyIndex::Entry& entry) {
      if (entry.latest.tombstone()) return true;
      any = true;
      if (!check_one(compare, &entry.latest)) all = false;
      return all || !missing.empty();
    });
    // etcd compares a range without keys as one absent key, but a value of nothing is never compared.
    return any ? all : compare.target != Compare::Target::kValue && check_one(compare, nullptr);
  }

  Result<OpResult> perform(const RangeRequest& request) {
    std::int64_t revision = request.revision.value;
    TRY(mvcc_.check_revision(revision, changes.empty() ? mvcc_.head : revision_, request.key, request.range_end));
    std::int64_t at = revision > 0 ? revision : revision_;
    RangeResult result;
    mvcc_.index.walk(request.key, request.range_end, [&](const KeyIndex::Entry& entry) {
      const Version* version = entry.visible_at(at);
      if (!version) return true;
      ++result.count;
      if (request.count_only) return true;
      if (request.limit > 0 && result.count > request.limit) return result.more = true;
      result.kvs.push_back(make_key_value(entry.key, *version, request.keys_only ? nullptr : value_of(*version)));
      return true;
    });
    result.revision = Revision(changes.empty() ? mvcc_.head : revision_);
    return result;
  }

  Result<OpResult> perform(const PutRequest& put) {
    const KeyIndex::Entry* entry = mvcc_.index.find(put.key);
    Version prev = entry ? entry->latest : Version{};
    if (prev.revision() == revision_) return fail(Code::kInvalidArgument, "etcdserver: duplicate key given in txn request");
    bool exists = !prev.tombstone();
    if ((put.ignore_value || put.ignore_lease) && !exists) return fail(Code::kInvalidArgument, "etcdserver: key not found");
    std::int64_t lease = put.ignore_lease ? prev.lease : put.lease.value;
    if (lease != 0) {
      const LeaseEntry* entry_of = mvcc_.leases.find(lease);
      if (!entry_of) return fail(Code::kNotFound, "etcdserver: requested lease not found");
      if (entry_of->keys.size() >= kLeaseKeysMax && !entry_of->keys.contains(put.key)) return fail(Code::kResourceExhausted, cat("lease ", lease, ": too many keys"));
    }
    PutResult result;
    SharedBytes prev_value = exists && (put.prev_kv || put.ignore_value) ? value_of(prev) : nullptr;
    if (put.prev_kv && exists) result.prev = make_key_value(put.key, prev, prev_value);
    TRY_ASSIGN(RowId row, next_row());
    Change change{.key = put.key, .value = put.ignore_value ? prev_value : put.value, .prev = prev, .prev_value = prev_value};
    if (!change.value) change.value = share("");
    change.now = {.row = row, .create = exists ? prev.create : revision_, .version = exists ? prev.version + 1 : 1, .lease = lease};
    mvcc_.apply(std::move(change), changes);
    return result;
  }

  Result<OpResult> perform(const DeleteRequest& request) {
    DeleteResult result;
    std::vector<std::pair<std::string, Version>> found;
    mvcc_.index.walk(request.key, request.range_end, [&](const KeyIndex::Entry& entry) {
      if (!entry.latest.tombstone()) found.emplace_back(entry.key, entry.latest);
      return true;
    });
    result.deleted = static_cast<std::int64_t>(found.size());
    for (auto& [key, prev] : found) {
      if (prev.revision() == revision_) return fail(Code::kInvalidArgument, "etcdserver: duplicate key given in txn request");
      SharedBytes prev_value = request.prev_kv ? value_of(prev) : mvcc_.values.find(prev.row);
      if (request.prev_kv) result.prev.push_back(make_key_value(key, prev, prev_value));
      TRY_ASSIGN(RowId row, next_row());
      mvcc_.apply({.key = std::move(key), .now = {.row = row}, .prev = prev, .prev_value = prev_value}, changes);
    }
    return result;
  }

  Result<OpResult> perform(const std::shared_ptr<const Txn>& nested) {
    TRY_ASSIGN(TxnResult result, perform(*nested));
    return std::make_shared<const TxnResult>(std::move(result));
  }

  Result<RowId> next_row() {
    if (revision_ > kRevisionMax) return fail(revisions_exhausted());
    if (static_cast<std::int64_t>(changes.size()) > kSubMax) return fail(Code::kInvalidArgument, "etcdserver: too many operations in txn request");
    return row_id(revision_, static_cast<std::int64_t>(changes.size()));
  }

  Mvcc& mvcc_;
  const FetchedValues& fetched_;
  std::int64_t revision_;
  std::vector<bool> branches_;  // chosen
  std::size_t performed_ = 0;   // of branches_
};

Result<> Mvcc::validate(const Txn& txn) {
  TRY_ASSIGN(std::size_t count, count_operations(txn, 0));
  if (count > kTxnOperationsMax) return fail(Code::kInvalidArgument, "etcdserver: too many operations in txn request");
  for (const auto* ops : {&txn.success, &txn.failure})
    if (ops->size() > 1 || (ops->size() == 1 && std::holds_alternative<std::shared_ptr<const Txn>>(ops->front()))) TRY(check_branch(*ops));
  return {};
}

Result<Evaluation> Mvcc::evaluate(const Txn& txn, const FetchedValues& fetched) {
  Evaluator run(*this, fetched);
  Result<TxnResult> result = run.run(txn);
  Evaluation evaluation{.missing = std::move(run.missing)};
  if (!result || !evaluation.missing.empty()) {
    undo(run.changes);
    if (!result && evaluation.missing.empty()) return fail(std::move(result).error());
    return evaluation;
  }
  evaluation.result = *std::move(result);
  evaluation.changes = std::move(run.changes);
  if (!evaluation.changes.empty()) ++head;
  return evaluation;
}

Result<std::vector<Change>> Mvcc::delete_keys(const std::set<std::string, std::less<>>& keys) {
  if (head >= kRevisionMax && !keys.empty()) return fail(revisions_exhausted());
  std::vector<Change> changes;
  for (const std::string& key : keys) {
    const KeyIndex::Entry* entry = index.find(key);
    if (!entry || entry->latest.tombstone()) continue;
    Version prev = entry->latest;
    Version now{.row = row_id(head + 1, static_cast<std::int64_t>(changes.size()))};
    apply({.key = key, .now = now, .prev = prev, .prev_value = values.find(prev.row)}, changes);
  }
  if (!changes.empty()) ++head;
  return changes;
}

void Mvcc::apply(Change change, std::vector<Change>& changes) {
  change.is_volatile = is_volatile(change.key);
  index.push(change.key, change.now);
  if (change.value) values.pin(change.now.row, change.value);
  leases.detach(change.prev.lease, change.key);
  leases.attach(change.now.lease, change.key);
  changes.push_back(std::move(change));
}

void Mvcc::undo(const std::vector<Change>& changes) {
  for (auto change = changes.rbegin(); change != changes.rend(); ++change) {
    index.pop(change->key);
    values.unpin(change->now.row, false);
    leases.detach(change->now.lease, change->key);
    leases.attach(change->prev.lease, change->key);
  }
}

void Mvcc::commit(std::int64_t revision, const std::vector<Change>& changes) {
  committed = std::max(committed, revision);
  for (const Change& change : changes)
    if (!change.is_volatile) values.unpin(change.now.row, true);
}

Result<> Mvcc::check_revision(std::int64_t revision, std::int64_t newest, std::string_view begin, std::string_view end) const {
  if (revision > newest) return fail(Code::kOutOfRange, "etcdserver: mvcc: required revision is a future revision");
  if (revision <= 0) return {};
  if (revision < compacted || (revision < volatile_floor && touches_volatile(begin, end)))
    return fail(Code::kOutOfRange, "etcdserver: mvcc: required revision has been compacted");
  return {};
}

bool Mvcc::is_volatile(std::string_view key) const {
  return std::any_of(volatile_prefixes_.begin(), volatile_prefixes_.end(), [key](const std::string& p) { return key.starts_with(p); });
}

bool Mvcc::touches_volatile(std::string_view begin, std::string_view end) const {
  if (end.empty()) return is_volatile(begin);
  return std::any_of(volatile_prefixes_.begin(), volatile_prefixes_.end(), [&](const std::string& prefix) {
    std::string prefix_stop = prefix_end(prefix);
    bool begins_before_stop = prefix_stop == std::string_view("\0", 1) || begin < prefix_stop;
    bool ends_after_start = end == std::string_view("\0", 1) || end > prefix;
    return begins_before_stop && ends_after_start;
  });
}

}  // namespace monopod::store
