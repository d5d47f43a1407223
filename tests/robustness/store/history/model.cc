#include "tests/robustness/store/history/model.h"

#include "store/types.h"

namespace monopod::testing {
namespace {

using namespace store;

std::int64_t number_of(const Compare& compare, const KeyValue* kv) {
  if (!kv) return 0;
  switch (compare.target) {
    case Compare::Target::kVersion: return kv->version;
    case Compare::Target::kCreate: return kv->create.value;
    case Compare::Target::kMod: return kv->mod.value;
    case Compare::Target::kLease: return kv->lease.value;
    case Compare::Target::kValue: return 0;
  }
  return 0;
}

bool holds(const Compare& compare, const KeyValue* kv) {
  int order = 0;
  if (compare.target == Compare::Target::kValue) {
    if (!kv) return false;
    order = kv->value->compare(compare.value);
  } else {
    std::int64_t number = number_of(compare, kv);
    order = number < compare.number ? -1 : number > compare.number;
  }
  switch (compare.op) {
    case Compare::Op::kEqual: return order == 0;
    case Compare::Op::kNotEqual: return order != 0;
    case Compare::Op::kGreater: return order > 0;
    case Compare::Op::kLess: return order < 0;
  }
  return false;
}

bool holds_in(const Compare& compare, const State& state) {
  bool any = false, all = true;
  for (const auto& [key, kv] : state) {
    if (!in_range(key, compare.key, compare.range_end)) continue;
    any = true;
    all = all && holds(compare, &kv);
  }
  return any ? all : holds(compare, nullptr);
}

// Every branch is chosen by the state before the transaction, those of nested ones too.
bool decide(const Txn& txn, const State& state) {
  for (const Compare& compare : txn.compare)
    if (!holds_in(compare, state)) return false;
  return true;
}

class Application {
 public:
  Application(const States& states, std::int64_t before) : states_(states), before_(before), start_(states.at(before)) { applied.state = start_; }

  TxnResult run(const Txn& txn) {
    TxnResult result;
    result.succeeded = decide(txn, start_);
    for (const Op& op : result.succeeded ? txn.success : txn.failure) {
      if (applied.refused) break;
      result.results.push_back(std::visit([this](const auto& o) { return perform(o); }, op));
    }
    result.revision = Revision(applied.events.empty() ? before_ : before_ + 1);
    return result;
  }

  Applied applied;

 private:
  void refuse(Code code, const char* text) {
    if (!applied.refused) applied.refused = Error(code, text);
  }

  OpResult perform(const RangeRequest& request) {
    if (request.revision.value <= 0) return apply_range(applied.state, request);
    auto at = states_.find(request.revision.value);
    if (at == states_.end() || at->first > before_) {
      refuse(Code::kOutOfRange, "future");
      return RangeResult();
    }
    return apply_range(at->second, request);
  }

  OpResult perform(const PutRequest& put) {
    PutResult result;
    auto found = applied.state.find(put.key);
    std::optional<KeyValue> before;
    if (found != applied.state.end()) before = found->second;
    if ((put.ignore_value || put.ignore_lease) && !before) {
      refuse(Code::kInvalidArgument, "key not found");
      return result;
    }
    KeyValue kv{.key = put.key, .value = put.value ? put.value : share(""), .create = Revision(before_ + 1), .mod = Revision(before_ + 1), .version = 1, .lease = put.lease};
    if (before) {
      kv.create = before->create;
      kv.version = before->version + 1;
      if (put.ignore_value) kv.value = before->value;
      if (put.ignore_lease) kv.lease = before->lease;
    }
    if (put.prev_kv) result.prev = before;
    applied.events.push_back({.type = WatchEvent::Type::kPut, .kv = kv, .prev = before});
    applied.state[put.key] = std::move(kv);
    return result;
  }

  OpResult perform(const DeleteRequest& request) {
    DeleteResult result;
    for (auto at = applied.state.begin(); at != applied.state.end();) {
      if (!in_range(at->first, request.key, request.range_end)) {
        ++at;
        continue;
      }
      ++result.deleted;
      if (request.prev_kv) result.prev.push_back(at->second);
      applied.events.push_back({.type = WatchEvent::Type::kDelete, .kv = {.key = at->first, .value = share(""), .mod = Revision(before_ + 1)}, .prev = at->second});
      at = applied.state.erase(at);
    }
    return result;
  }

  OpResult perform(const std::shared_ptr<const Txn>& nested) { return std::make_shared<const TxnResult>(run(*nested)); }

  const States& states_;
  std::int64_t before_;
  const State& start_;
};

}  // namespace

Applied apply_txn(const States& states, std::int64_t before, const Txn& txn) {
  Application application(states, before);
  TxnResult result = application.run(txn);
  application.applied.result = std::move(result);
  return std::move(application.applied);
}

Applied apply_lease_end(const State& state, std::int64_t before, LeaseId lease) {
  Applied applied{.state = state};
  for (auto at = applied.state.begin(); at != applied.state.end();) {
    if (at->second.lease != lease) {
      ++at;
      continue;
    }
    applied.events.push_back({.type = WatchEvent::Type::kDelete, .kv = {.key = at->first, .value = share(""), .mod = Revision(before + 1)}, .prev = at->second});
    at = applied.state.erase(at);
  }
  return applied;
}

RangeResult apply_range(const State& state, const RangeRequest& request) {
  RangeResult result;
  for (const auto& [key, kv] : state) {
    if (!in_range(key, request.key, request.range_end)) continue;
    ++result.count;
    if (request.count_only) continue;
    if (request.limit > 0 && result.count > request.limit) {
      result.more = true;
      continue;
    }
    result.kvs.push_back(kv);
    if (request.keys_only) result.kvs.back().value = nullptr;
  }
  return result;
}

}  // namespace monopod::testing
