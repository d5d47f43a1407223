// etcd's requests as bytes: the first byte picks the message. What is understood keeps the store's limits, and a transaction applied to an
// empty store and taken back leaves nothing behind.
#include "etcd/messages.h"
#include "store/limits.h"
#include "store/mvcc.h"
#include "tests/fuzz/fuzz.h"

using namespace monopod;

namespace {

void apply(const store::Txn& txn) {
  if (!store::Mvcc::validate(txn)) return;
  store::Mvcc mvcc({}, store::kValueCacheBytes);
  mvcc.leases.insert(7, {.ttl = std::chrono::seconds(1)});
  Result<store::Evaluation> evaluated = mvcc.evaluate(txn, {});
  if (!evaluated) {
    fuzz::check(mvcc.index.keys() == 0 && mvcc.head == 1, "a refused transaction leaves nothing");
    return;
  }
  fuzz::check(evaluated->missing.empty(), "nothing is in a file");
  fuzz::check(mvcc.head == (evaluated->changes.empty() ? 1 : 2), "one revision for all changes");
  mvcc.undo(evaluated->changes);
  fuzz::check(mvcc.index.keys() == 0 && mvcc.leases.find(7)->keys.empty(), "what is taken back is gone");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::string_view message = fuzz::text_of(data + 1, size - 1);
  switch (data[0] % 6) {
    case 0: {
      if (auto range = etcd::parse_range(message)) apply({.success = {range->request}});
      break;
    }
    case 1: {
      if (auto put = etcd::parse_put(message)) apply({.success = {*put}});
      break;
    }
    case 2: {
      if (auto del = etcd::parse_delete(message)) apply({.success = {*del}});
      break;
    }
    case 3:
    case 4: {
      auto txn = etcd::parse_txn(message);
      if (!txn) break;
      fuzz::check(std::max({txn->txn.compare.size(), txn->txn.success.size(), txn->txn.failure.size()}) <= etcd::kTxnOperationsMax, "no more operations than allowed");
      fuzz::check(txn->shape.success.size() == txn->txn.success.size() && txn->shape.failure.size() == txn->txn.failure.size(), "one shape an operation");
      apply(txn->txn);
      break;
    }
    default: {
      auto watch = etcd::parse_watch(message);
      if (watch && watch->create) fuzz::check(!watch->create->request.key.empty() && watch->create->request.start_revision.value >= 0, "a watch of something from some time");
    }
  }
  return 0;
}
