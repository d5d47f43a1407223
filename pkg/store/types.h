// The words of the datastore: etcd's data model (etcd.io/docs/v3.6/learning/data_model), as plain structs.
//
// Every write transaction that changes something gets one revision, larger than every earlier one. A key range is [key, end):
// end "" means the one key, end "\0" (one zero byte) means every key >= key; key "\0" with end "\0" is everything.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"

namespace monopod::store {

using Revision = StrongId<struct RevisionTag, std::int64_t>;  // 1 is the empty store; 0 in a request means "latest"
using LeaseId = StrongId<struct LeaseIdTag, std::int64_t>;    // 0: no lease

struct KeyValue {
  std::string key{};
  SharedBytes value{};  // null only where a request asked for keys alone
  Revision create{};    // revision of the put that made the key anew
  Revision mod{};       // revision of the last change
  std::int64_t version = 0;  // puts since create; 1 for a fresh key
  LeaseId lease{};
};

// The end of the range of all keys that start with prefix: ("/a/") -> "/a0"; "\0" where no such key exists ("" or all 0xff).
std::string prefix_end(std::string_view prefix);
// Is key within [begin, end) by the convention above?
bool in_range(std::string_view key, std::string_view begin, std::string_view end);

struct RangeRequest {
  std::string key{};
  std::string range_end{};
  Revision revision{};      // 0: the latest durable state
  std::int64_t limit = 0; // 0: no limit
  bool keys_only = false;
  bool count_only = false;
};
struct RangeResult {
  Revision revision{};          // of the store when the answer was made (header.revision), not RangeRequest::revision
  std::vector<KeyValue> kvs{};  // in key order
  std::int64_t count = 0;     // keys in the whole range, whatever the limit
  bool more = false;          // the limit cut keys off
};

struct PutRequest {
  std::string key{};
  SharedBytes value{};
  LeaseId lease{};
  bool prev_kv = false;
  bool ignore_value = false;  // keep the value, change the lease; the key must exist
  bool ignore_lease = false;  // keep the lease, change the value; the key must exist
};
struct PutResult {
  std::optional<KeyValue> prev{};
};

struct DeleteRequest {
  std::string key{};
  std::string range_end{};
  bool prev_kv = false;
};
struct DeleteResult {
  std::int64_t deleted = 0;
  std::vector<KeyValue> prev{};
};

// One condition of a transaction. Over a range it must hold for every key in it (and holds for an empty range, except that
// comparing the value of a single absent key is false, as in etcd).
struct Compare {
  enum class Target { kVersion, kCreate, kMod, kValue, kLease };
  enum class Op { kEqual, kNotEqual, kGreater, kLess };
  std::string key{};
  std::string range_end{};
  Target target = Target::kMod;
  Op op = Op::kEqual;
  std::int64_t number = 0;  // version, create, mod or lease; an absent key counts as 0
  std::string value{};        // kValue
};

// If every compare holds then success else failure, atomically. All changes share one revision; a key may change once.
struct Txn;
using Op = std::variant<RangeRequest, PutRequest, DeleteRequest, std::shared_ptr<const Txn>>;
struct Txn {
  std::vector<Compare> compare{};
  std::vector<Op> success{};
  std::vector<Op> failure{};
};
struct TxnResult;
using OpResult = std::variant<RangeResult, PutResult, DeleteResult, std::shared_ptr<const TxnResult>>;
struct TxnResult {
  Revision revision{};  // the new one if something changed, else that of the state it saw
  bool succeeded = false;
  std::vector<OpResult> results{};  // one per operation of the branch taken
};

}  // namespace monopod::store
