// History: everything clients asked of a store and were told, in the order in which it happened, while faults were injected. check.h
// judges it. It says nothing of the store's insides: the same record is made in process and over the wire.
//
// Put values are unique in a history ("c<call>.<n>"), so that an event names the call that made it.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "store/backend.h"

namespace monopod::testing {

using Tick = std::int64_t;  // position in the history; invocations, answers and deliveries each get one
inline constexpr Tick kNever = INT64_MAX;

struct CompactRequest {
  store::Revision revision{};
};
struct GrantRequest {
  std::chrono::seconds ttl{};
  store::LeaseId id{};
};
struct RevokeRequest {
  store::LeaseId id{};
};
struct KeepAliveRequest {
  store::LeaseId id{};
};
struct LeasesRequest {};  // the ids there are
struct StatusRequest {};  // the newest revision

// One call. Unless an outcome is recorded it may or may not have happened.
struct Call {
  enum class Outcome { kUnknown, kDone, kRefused };
  using Request = std::variant<store::RangeRequest, store::Txn, CompactRequest, GrantRequest, RevokeRequest, KeepAliveRequest, LeasesRequest, StatusRequest>;
  using Answer = std::variant<std::monostate, store::RangeResult, store::TxnResult, store::Lease, store::Revision, std::vector<store::LeaseId>>;
  std::size_t index = 0;
  int client = 0;
  int life = 0;  // of the store: how often it had been started anew
  Tick invoked = 0;
  Tick returned = kNever;
  MonoTime invoked_at{};
  MonoTime returned_at{};
  Request request{};
  Answer answer{};
  Outcome outcome = Outcome::kUnknown;
  std::optional<Error> error{};  // kRefused: did not happen
};

struct WatchRun {
  struct Delivery {
    Tick at = 0;
    store::WatchBatch batch{};
    MonoTime when{};
  };
  std::size_t index = 0;
  store::WatchRequest request{};
  int life = 0;
  bool auditor = false;  // sees everything; its runs follow one another without a gap
  Tick invoked = 0;
  Tick created = kNever;
  std::vector<Delivery> deliveries{};
  std::optional<Error> end{};
  Tick ended = kNever;
  std::int64_t must_reach = 0;  // the store was at this revision, healthy, and the watch was given ample time
};

// The store was started anew and told its revision.
struct Start {
  int life = 0;
  Tick at = 0;
  std::int64_t revision = 0;
  std::int64_t compacted = 0;
};

struct History {
  std::deque<Call> calls{};  // references stay good
  std::deque<WatchRun> watches{};
  std::vector<Start> starts{};
  Tick now = 0;
  int life = 0;
  bool healed = false;  // ended with a healthy store, every lease's time over and nothing in flight

  Tick tick() { return ++now; }
  Call& begin(int client, Call::Request request, MonoTime at);
  void finish(Call& call, Call::Answer answer, MonoTime at);
  // Sorts by code: kUnavailable, kCancelled, kDataLoss, kDeadlineExceeded leave the outcome open (README.md of store).
  void finish(Call& call, const Error& error, MonoTime at);
};

// One line each, for messages.
std::string describe(const Call& call);
std::string describe(const store::KeyValue& kv);
std::string describe(const store::WatchEvent& event);
std::string describe(const std::vector<store::WatchEvent>& events);

}  // namespace monopod::testing
