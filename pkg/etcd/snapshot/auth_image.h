// Users and roles between the store's state, where they are the records of auth_state.h, and etcd's buckets:
//
//   auth       authEnabled: one byte | authRevision: u64 big endian          state: "config" {1: enabled, 2: revision}
//   authUsers  name -> authpb.User                                           state: "user/<name>" -> the same
//   authRoles  name -> authpb.Role                                           state: "role/<name>" -> the same
//
// The records go over as they are. Hashes of passwords differ: what the other side hashed verifies nobody here, and the other way round.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

namespace monopod::etcd {

inline constexpr const char* kAuthBucket = "etcd-auth";  // of the store's state

using Pair = std::pair<std::string, std::string>;
// Names of all buckets -> their pairs in order; "key" is there without pairs.
using Buckets = std::map<std::string, std::vector<Pair>, std::less<>>;

// kDataLoss for records that are none.
Result<> add_auth_buckets(const std::vector<Pair>& records, Buckets& buckets);

// Gathers the records out of the buckets; pairs of other buckets are ignored.
class AuthReader {
 public:
  Result<> take(std::string_view bucket, std::string_view key, std::string_view value);
  bool enabled() const { return enabled_; }
  // A user has a password that can never verify here.
  bool has_foreign_password() const { return has_foreign_password_; }
  // None if there is neither a user nor a role.
  std::vector<Pair> records() const;

 private:
  bool enabled_ = false;
  std::int64_t revision_ = 0;
  bool has_foreign_password_ = false;
  std::vector<Pair> records_;
};

}  // namespace monopod::etcd
