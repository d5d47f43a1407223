// Mvcc: the store's state in memory and the meaning of a transaction, without any I/O and without waiting.
//
//   head      newest revision any evaluated transaction made
//   committed newest durable one; readers and watchers see up to here
//   compacted states before it are gone
//
// evaluate() applies a transaction at head. If it needs values that are in the log only, nothing is applied and their rows are
// returned: fetch them and evaluate again. What is applied becomes visible by commit() or is taken back by undo(),
// newest first.
#pragma once

#include <unordered_map>

#include "store/key_index.h"
#include "store/lease_book.h"
#include "store/value_cache.h"

namespace monopod::store {

using FetchedValues = std::unordered_map<RowId, SharedBytes>;

struct Evaluation {
  TxnResult result{};
  std::vector<Change> changes{};
  std::vector<RowId> missing{};  // not empty: nothing was applied
};

class Mvcc {
 public:
  Mvcc(std::vector<std::string> volatile_prefixes, std::size_t value_cache_bytes) : values(value_cache_bytes), volatile_prefixes_(std::move(volatile_prefixes)) {}

  // Static checks: sizes, counts, depth, empty keys.
  static Result<> validate(const Txn& txn);

  Result<Evaluation> evaluate(const Txn& txn, const FetchedValues& fetched);
  // Deletes the keys of a lease that was taken out of the book; like evaluate().
  Result<std::vector<Change>> delete_keys(const std::set<std::string, std::less<>>& keys);
  void undo(const std::vector<Change>& changes);
  // The changes are durable: their values may leave memory.
  void commit(std::int64_t revision, const std::vector<Change>& changes);

  // Error if revision cannot be read for this range (0 always can): compacted or in the future of limit.
  Result<> check_revision(std::int64_t revision, std::int64_t newest, std::string_view begin, std::string_view end) const;

  bool is_volatile(std::string_view key) const;
  bool touches_volatile(std::string_view begin, std::string_view end) const;

  KeyIndex index;
  ValueCache values;
  LeaseBook leases;
  std::int64_t head = 1;
  std::int64_t committed = 1;
  std::int64_t compacted = 0;
  std::int64_t volatile_floor = 0;  // volatile keys have no state before it

 private:
  friend class Evaluator;
  void apply(Change change, std::vector<Change>& changes);

  std::vector<std::string> volatile_prefixes_;
};

KeyValue make_key_value(std::string_view key, const Version& version, SharedBytes value);

}  // namespace monopod::store
