// What a request needs before its handler may run. Every row of the method tables names a function of this header (or one of the same
// kind); authorize() judges what it returns. A row without one is refused, and a test over all rows fails.
//
//   {"/etcdserverpb.KV/Range", needs_range, range},
//
// With authentication off nothing is asked.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "store/types.h"

namespace monopod::etcd {

struct KeyRange {
  std::string key{};
  std::string range_end{};  // by the convention of store/types.h
};

struct Access {
  enum class Caller {
    kAnyone,  // also one who has not said who he is
    kUser,    // any user
    kRoot,    // a user with the role root
  };
  Caller caller = Caller::kRoot;
  // Each must lie within what the caller's roles grant together. Users with the role root pass.
  std::vector<KeyRange> reads{};
  std::vector<KeyRange> writes{};
  // Every key attached to these leases must be readable, or writable.
  std::vector<store::LeaseId> lease_reads{};
  std::vector<store::LeaseId> lease_writes{};
  bool reads_every_lease = false;  // lease_reads of all there are
  // Instead of the role root: being this user, or having this role.
  std::optional<std::string> or_user{};
  std::optional<std::string> or_role{};

  bool read_only() const { return !reads.empty() && writes.empty() && lease_writes.empty(); }
};

// message: the request as received. kInvalidArgument where it cannot be understood.
using Needs = Result<Access> (*)(std::string_view message);

Result<Access> needs_nothing(std::string_view);
Result<Access> needs_user(std::string_view);
Result<Access> needs_root(std::string_view);

Result<Access> needs_range(std::string_view message);
Result<Access> needs_put(std::string_view message);
Result<Access> needs_delete(std::string_view message);
Result<Access> needs_txn(std::string_view message);
Result<Access> needs_watch(std::string_view message);

Result<Access> needs_lease_revoke(std::string_view message);
Result<Access> needs_lease_keep_alive(std::string_view message);
Result<Access> needs_lease_time_to_live(std::string_view message);
Result<Access> needs_lease_list(std::string_view message);

Result<Access> needs_alarm(std::string_view message);     // looking: any user; raising and clearing: root
Result<Access> needs_user_get(std::string_view message);  // root, or oneself
Result<Access> needs_role_get(std::string_view message);  // root, or who has the role

// Lock and Election keep their keys under "<name>/".
Result<Access> needs_lock(std::string_view message);        // Lock, Campaign
Result<Access> needs_unlock(std::string_view message);
Result<Access> needs_leadership(std::string_view message);  // Proclaim, Resign
Result<Access> needs_leader(std::string_view message);      // Leader, Observe

}  // namespace monopod::etcd
