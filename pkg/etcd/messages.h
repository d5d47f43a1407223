// etcd's v3 messages (etcdserverpb, mvccpb in etcd's api/ folder: field numbers and enum values are facts of the protocol) to and from
// the store's structs. parse_ fails with kInvalidArgument.
#pragma once

#include "codec/proto_wire.h"
#include "store/backend.h"

namespace monopod::etcd {

using namespace store;  // its data model is what the messages carry

inline constexpr std::size_t kRequestBytesMax = 1'572'864;  // etcd's --max-request-bytes, 1.5 MiB
inline constexpr std::size_t kTxnOperationsMax = 128;       // etcd's --max-txn-ops

// What etcd's RangeRequest can ask beyond RangeRequest: applied to the answer.
struct RangeShape {
  enum class Order { kNone, kAscend, kDescend };
  enum class Target { kKey, kVersion, kCreate, kMod, kValue };
  Order order = Order::kNone;
  Target target = Target::kKey;
  std::int64_t limit = 0;
  bool keys_only = false;
  std::int64_t mod_min = 0, mod_max = 0, create_min = 0, create_max = 0;
  bool whole = false;  // sorted or filtered: the backend was asked for all of the range
};
struct Range {
  RangeRequest request{};
  RangeShape shape{};
};
// A Txn and, in parallel, the shapes of its ranges.
struct TxnShape {
  struct Op {
    RangeShape range{};
    std::shared_ptr<const TxnShape> nested{};
  };
  std::vector<Op> success{};
  std::vector<Op> failure{};
};
struct ParsedTxn {
  Txn txn{};
  TxnShape shape{};
};

Result<Range> parse_range(std::string_view message);
Result<PutRequest> parse_put(std::string_view message);
Result<DeleteRequest> parse_delete(std::string_view message);
Result<ParsedTxn> parse_txn(std::string_view message);

struct WatchCreate {
  WatchRequest request{};
  std::int64_t id = 0;  // 0: the server picks
  bool progress_notify = false;
  bool no_put = false;
  bool no_delete = false;
  bool fragment = false;
};
struct WatchMessage {
  std::optional<WatchCreate> create{};
  std::optional<std::int64_t> cancel{};
  bool progress = false;
};
Result<WatchMessage> parse_watch(std::string_view message);

// The integer fields of small requests, by number; absent ones are 0.
Result<std::int64_t> parse_integer(std::string_view message, std::uint32_t field);
// Likewise of a text or bytes field; absent: "".
Result<std::string> parse_text(std::string_view message, std::uint32_t field);

// One encoded message. A large one is made in pieces while it is sent, so that it is never whole in memory.
class Message {
 public:
  Message(std::string whole) : size_(whole.size()), whole_(std::move(whole)) {}  // NOLINT: what every handler returns
  Message(std::size_t size, std::move_only_function<std::string()> next_piece) : size_(size), next_piece_(std::move(next_piece)) {}
  std::size_t size() const { return size_; }
  // Empty at the end.
  std::string next_piece() { return next_piece_ ? next_piece_() : std::exchange(whole_, {}); }
  std::string join() &&;

 private:
  std::size_t size_;
  std::string whole_{};
  std::move_only_function<std::string()> next_piece_{};
};

std::string format_header(Revision revision);
std::string format_key_value(const KeyValue& kv);
std::string format_event(const WatchEvent& event);
Message format_range(Revision header, RangeResult result, const RangeShape& shape);
std::string format_put(Revision header, const PutResult& result);
std::string format_delete(Revision header, const DeleteResult& result);
std::string format_txn(const TxnResult& result, const TxnShape& shape);

inline constexpr std::uint64_t kClusterId = 0x6d6f6e6f706f6431;
inline constexpr std::uint64_t kMemberId = 0x6d6f6e6f706f6432;
inline constexpr std::string_view kMemberName = "monopod";
inline constexpr std::int64_t kRaftTerm = 2;  // one member, elected once

}  // namespace monopod::etcd
