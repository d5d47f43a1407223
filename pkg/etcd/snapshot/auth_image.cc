#include "etcd/snapshot/auth_image.h"

#include <algorithm>

#include "base/strings.h"
#include "etcd/snapshot/big_endian.h"
#include "etcd/messages.h"

namespace monopod::etcd {
namespace {

constexpr std::string_view kConfig = "config";
constexpr std::string_view kUserPrefix = "user/";
constexpr std::string_view kRolePrefix = "role/";
constexpr std::string_view kOurHash = "$scrypt$";  // pki/password.h

Result<std::string> password_of(std::string_view user) {
  std::string password;
  ProtoReader reader(user);
  for (;;) {
    TRY_ASSIGN(bool more, reader.next());
    if (!more) return password;
    if (reader.field() == 2) password = reader.text();
  }
}

}  // namespace

Result<> add_auth_buckets(const std::vector<Pair>& records, Buckets& buckets) {
  std::vector<Pair>&auth = buckets["auth"], &users = buckets["authUsers"], &roles = buckets["authRoles"];
  for (const auto& [key, value] : records) {
    if (key == kConfig) {
      TRY_ASSIGN(std::int64_t enabled, parse_integer(value, 1));
      TRY_ASSIGN(std::int64_t revision, parse_integer(value, 2));
      auth = {{"authEnabled", std::string(1, enabled ? '\x01' : '\0')}, {"authRevision", big_endian(revision)}};
    } else if (key.starts_with(kUserPrefix)) {
      users.emplace_back(key.substr(kUserPrefix.size()), value);
    } else if (key.starts_with(kRolePrefix)) {
      roles.emplace_back(key.substr(kRolePrefix.size()), value);
    } else {
      return fail(Code::kDataLoss, cat("auth record ", key, ": unknown"));
    }
  }
  std::ranges::sort(users);
  std::ranges::sort(roles);
  return {};
}

Result<> AuthReader::take(std::string_view bucket, std::string_view key, std::string_view value) {
  if (bucket == "auth" && key == "authEnabled") enabled_ = value == "\x01";
  if (bucket == "auth" && key == "authRevision") {
    if (value.size() != 8) return fail(Code::kDataLoss, "authRevision is no number");
    revision_ = read_big_endian(value);
  }
  if (bucket == "authUsers") {
    TRY_ASSIGN(std::string password, password_of(value));
    if (!password.empty() && !password.starts_with(kOurHash)) has_foreign_password_ = true;
    records_.emplace_back(cat(kUserPrefix, key), value);
  }
  if (bucket == "authRoles") records_.emplace_back(cat(kRolePrefix, key), value);
  return {};
}

std::vector<Pair> AuthReader::records() const {
  std::vector<Pair> records = records_;
  if (records.empty() && !enabled_) return records;
  records.emplace_back(kConfig, ProtoWriter().boolean(1, enabled_).integer(2, revision_).take());
  return records;
}

}  // namespace monopod::etcd
