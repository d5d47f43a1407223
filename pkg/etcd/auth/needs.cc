// The requirements of etcd's methods, as etcd 3.5.30 checks them: after CVE-2023-32082 (keys of a lease), CVE-2026-33413 (Lease, Alarm,
// MemberList, Compact), CVE-2026-33343 (nested transactions), CVE-2026-44283 (prev_kv and lease of a put in a transaction) and
// CVE-2026-73499 (open-ended watches; the covering itself is in permissions.cc).
#include "etcd/auth/needs.h"

#include "etcd/messages.h"

namespace monopod::etcd {
namespace {

constexpr std::int64_t kAlarmGet = 0;

// etcd checks the shape of a request before who sent it.
Result<> check_key(std::string_view key) {
  if (key.empty()) return fail(Code::kInvalidArgument, "etcdserver: key is not provided");
  return {};
}

Access of_keys() { return {.caller = Access::Caller::kUser}; }

Result<> add(Access& access, const RangeRequest& range) {
  TRY(check_key(range.key));
  access.reads.push_back({range.key, range.range_end});
  return {};
}

// A lease is revoked by who may write all its keys, so putting a key under it needs the same.
Result<> add(Access& access, const PutRequest& put) {
  TRY(check_key(put.key));
  access.writes.push_back({put.key, {}});
  if (put.prev_kv) access.reads.push_back({put.key, {}});
  if (put.lease.value != 0) access.lease_writes.push_back(put.lease);
  return {};
}

Result<> add(Access& access, const DeleteRequest& del) {
  TRY(check_key(del.key));
  access.writes.push_back({del.key, del.range_end});
  if (del.prev_kv) access.reads.push_back({del.key, del.range_end});
  return {};
}

Result<> add(Access& access, const Txn& txn);
Result<> add(Access& access, const std::shared_ptr<const Txn>& txn) { return add(access, *txn); }

// Both branches count, whichever is taken. Depth and size are bounded by parse_txn.
Result<> add(Access& access, const Txn& txn) {
  for (const Compare& compare : txn.compare) {
    TRY(check_key(compare.key));
    access.reads.push_back({compare.key, compare.range_end});
  }
  for (const auto* branch : {&txn.success, &txn.failure})
    for (const Op& op : *branch) TRY(std::visit([&access](const auto& one) { return add(access, one); }, op));
  return {};
}

}  // namespace

Result<Access> needs_nothing(std::string_view) { return Access{.caller = Access::Caller::kAnyone}; }
Result<Access> needs_user(std::string_view) { return Access{.caller = Access::Caller::kUser}; }
Result<Access> needs_root(std::string_view) { return Access{.caller = Access::Caller::kRoot}; }

Result<Access> needs_range(std::string_view message) {
  TRY_ASSIGN(Range range, parse_range(message));
  Access access = of_keys();
  TRY(add(access, range.request));
  return access;
}

Result<Access> needs_put(std::string_view message) {
  TRY_ASSIGN(PutRequest put, parse_put(message));
  Access access = of_keys();
  TRY(add(access, put));
  return access;
}

Result<Access> needs_delete(std::string_view message) {
  TRY_ASSIGN(DeleteRequest del, parse_delete(message));
  Access access = of_keys();
  TRY(add(access, del));
  return access;
}

Result<Access> needs_txn(std::string_view message) {
  TRY_ASSIGN(ParsedTxn parsed, parse_txn(message));
  Access access = of_keys();
  TRY(add(access, parsed.txn));
  return access;
}

Result<Access> needs_watch(std::string_view message) {
  TRY_ASSIGN(WatchMessage watch, parse_watch(message));
  if (!watch.create) return needs_nothing(message);  // a cancel or a progress request names watches that were allowed
  Access access = of_keys();
  access.reads.push_back({watch.create->request.key, watch.create->request.range_end});
  return access;
}

Result<Access> needs_lease_revoke(std::string_view message) {
  TRY_ASSIGN(std::int64_t id, parse_integer(message, 1));
  return Access{.caller = Access::Caller::kUser, .lease_writes = {LeaseId(id)}};
}

Result<Access> needs_lease_keep_alive(std::string_view message) { return needs_lease_revoke(message); }

Result<Access> needs_lease_time_to_live(std::string_view message) {
  TRY_ASSIGN(std::int64_t id, parse_integer(message, 1));
  TRY_ASSIGN(std::int64_t with_keys, parse_integer(message, 2));
  Access access{.caller = Access::Caller::kUser};
  if (with_keys != 0) access.lease_reads.emplace_back(id);
  return access;
}

Result<Access> needs_lease_list(std::string_view) { return Access{.caller = Access::Caller::kUser, .reads_every_lease = true}; }

Result<Access> needs_alarm(std::string_view message) {
  TRY_ASSIGN(std::int64_t action, parse_integer(message, 1));
  return Access{.caller = action == kAlarmGet ? Access::Caller::kUser : Access::Caller::kRoot};
}

Result<Access> needs_user_get(std::string_view message) {
  TRY_ASSIGN(std::string name, parse_text(message, 1));
  return Access{.or_user = std::move(name)};
}

Result<Access> needs_role_get(std::string_view message) {
  TRY_ASSIGN(std::string name, parse_text(message, 1));
  return Access{.or_role = std::move(name)};
}

// LockRequest and CampaignRequest: name = 1, lease = 2. The key is under the name, and the waiting looks at all of them.
Result<Access> needs_lock(std::string_view message) {
  TRY_ASSIGN(Access access, needs_leader(message));
  access.writes = access.reads;
  TRY_ASSIGN(std::int64_t lease, parse_integer(message, 2));
  if (lease != 0) access.lease_writes.emplace_back(lease);
  return access;
}

// UnlockRequest: key = 1.
Result<Access> needs_unlock(std::string_view message) {
  TRY_ASSIGN(std::string key, parse_text(message, 1));
  TRY(check_key(key));
  return Access{.caller = Access::Caller::kUser, .writes = {{std::move(key), {}}}};
}

// ProclaimRequest and ResignRequest: leader = 1, a LeaderKey: key = 2, lease = 4. A transaction that compares the key and writes it, under
// that lease.
Result<Access> needs_leadership(std::string_view message) {
  TRY_ASSIGN(std::string leader, parse_text(message, 1));
  TRY_ASSIGN(std::string key, parse_text(leader, 2));
  TRY(check_key(key));
  Access access{.caller = Access::Caller::kUser, .reads = {{key, {}}}, .writes = {{key, {}}}};
  TRY_ASSIGN(std::int64_t lease, parse_integer(leader, 4));
  if (lease != 0) access.lease_writes.emplace_back(lease);
  return access;
}

// LeaderRequest: name = 1.
Result<Access> needs_leader(std::string_view message) {
  TRY_ASSIGN(std::string name, parse_text(message, 1));
  name += '/';
  return Access{.caller = Access::Caller::kUser, .reads = {{name, prefix_end(name)}}};
}

}  // namespace monopod::etcd
