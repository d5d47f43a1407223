// The client's side of etcd's v3 messages: the store's structs as requests, answers as the store's structs (field numbers: facts of
// etcd's api/ folder). parse_ fails with kInternal for bytes that are no such message.
#pragma once

#include "codec/proto_wire.h"
#include "store/backend.h"

namespace monopod::etcd {

std::string format_range_request(const store::RangeRequest& request);
// kInvalidArgument: nested deeper than kTxnDepthMax.
Result<std::string> format_txn_request(const store::Txn& txn);

Result<store::RangeResult> parse_range_answer(std::string_view message, bool keys_only);
// txn: what was asked, for ranges without values.
Result<store::TxnResult> parse_txn_answer(std::string_view message, const store::Txn& txn);
// The revision in the header that every answer begins with; 0 where there is none.
Result<store::Revision> parse_answer_revision(std::string_view message);
Result<store::KeyValue> parse_key_value(std::string_view message);

struct WatchCreateRequest {
  std::int64_t id = 0;
  std::string key{};
  std::string range_end{};
  store::Revision start{};
  bool prev_kv = false;
};
std::string format_watch_create(const WatchCreateRequest& request);  // fragments allowed
std::string format_watch_cancel(std::int64_t id);

struct WatchAnswer {
  store::Revision revision{};  // of the header
  std::int64_t id = 0;
  bool created = false;
  bool canceled = false;
  bool fragment = false;  // more of the same follows
  store::Revision compact_revision{};
  std::string cancel_reason{};
  std::vector<store::WatchEvent> events{};
};
Result<WatchAnswer> parse_watch_answer(std::string_view message);

}  // namespace monopod::etcd
