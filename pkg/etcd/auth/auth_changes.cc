// What an administrator changes: users, roles, permissions, the switch. Each is one edit of the state and its records.
#include <algorithm>

#include "base/strings.h"
#include "etcd/auth/auth_store.h"

namespace monopod::etcd {
namespace {

using async::StateChange;
using async::Task;
using Records = Result<std::vector<StateChange>>;

std::unexpected<Error> no_user() { return fail(Code::kFailedPrecondition, "etcdserver: user name not found"); }
std::unexpected<Error> no_role() { return fail(Code::kFailedPrecondition, "etcdserver: role name not found"); }
std::unexpected<Error> bad_management() { return fail(Code::kInvalidArgument, "etcdserver: invalid auth management"); }

Result<> check_name(std::string_view name, std::string_view what) {
  if (name.empty()) return fail(Code::kInvalidArgument, cat("etcdserver: ", what, " name is empty"));
  if (name.size() > kAuthNameBytesMax) return fail(Code::kInvalidArgument, cat("etcdserver: ", what, " name is longer than ", kAuthNameBytesMax, " bytes"));
  return {};
}

Records one(StateChange change) {
  std::vector<StateChange> records;
  records.push_back(std::move(change));
  return records;
}

// The place of a range in a role's permissions.
auto find_range(std::vector<Permission>& permissions, const KeyRange& range) {
  return std::lower_bound(permissions.begin(), permissions.end(), range,
                          [](const Permission& p, const KeyRange& r) { return std::tie(p.key, p.range_end) < std::tie(r.key, r.range_end); });
}
bool is_range(const Permission& permission, const KeyRange& range) { return permission.key == range.key && permission.range_end == range.range_end; }

// Takes role out of user's roles; false where it is not among them.
bool drop_role(User& user, std::string_view role) {
  auto at = std::lower_bound(user.roles.begin(), user.roles.end(), role, std::less<>());
  if (at == user.roles.end() || *at != role) return false;
  user.roles.erase(at);
  return true;
}

}  // namespace

Task<Result<>> AuthStore::enable() {
  co_return co_await change([](AuthState& next) -> Records {
    if (next.enabled) return std::vector<StateChange>();
    const User* root = next.find_user(kRootName);
    if (!root) return fail(Code::kFailedPrecondition, "etcdserver: root user does not exist");
    if (!root->has_role(kRootName)) return fail(Code::kFailedPrecondition, "etcdserver: root user does not have root role");
    next.enabled = true;
    return one(config_record(next));
  });
}

Task<Result<>> AuthStore::disable() {
  co_return co_await change([](AuthState& next) -> Records {
    if (!next.enabled) return std::vector<StateChange>();
    next.enabled = false;
    ++next.revision;
    return one(config_record(next));
  });
}

Task<Result<>> AuthStore::add_user(NewUser user) {
  CO_TRY(check_name(user.name, "user"));
  auto exists = [] { return fail(Code::kFailedPrecondition, "etcdserver: user name already exists"); };
  if (state_.find_user(user.name)) co_return exists();  // no hash for it
  User made{.no_password = user.no_password};
  if (!user.no_password) {
    CO_TRY_ASSIGN(made.password_hash, co_await hash(std::move(user.password)));
  }
  co_return co_await change([&](AuthState& next) -> Records {
    if (next.find_user(user.name)) return exists();
    made.password_revision = ++next.revision;
    return one(user_record(user.name, &(next.users[user.name] = made)));
  });
}

Task<Result<>> AuthStore::delete_user(std::string name) {
  co_return co_await change([&](AuthState& next) -> Records {
    if (next.enabled && name == kRootName) return bad_management();
    if (next.users.erase(name) == 0) return no_user();
    ++next.revision;
    return one(user_record(name, nullptr));
  });
}

Task<Result<>> AuthStore::change_password(std::string name, std::string password) {
  const User* user = state_.find_user(name);
  if (!user) co_return no_user();
  std::string hashed;
  if (!user->no_password && !password.empty()) {
    CO_TRY_ASSIGN(hashed, co_await hash(std::move(password)));
  }
  co_return co_await change([&](AuthState& next) -> Records {
    auto at = next.users.find(name);
    if (at == next.users.end()) return no_user();
    at->second.password_hash = at->second.no_password ? "" : hashed;
    at->second.password_revision = ++next.revision;
    return one(user_record(name, &at->second));
  });
}

Task<Result<>> AuthStore::grant_role(std::string user, std::string role) {
  co_return co_await change([&](AuthState& next) -> Records {
    auto at = next.users.find(user);
    if (at == next.users.end()) return no_user();
    if (role != kRootName && !next.find_role(role)) return no_role();
    std::vector<std::string>& roles = at->second.roles;
    if (at->second.has_role(role)) return std::vector<StateChange>();
    roles.insert(std::lower_bound(roles.begin(), roles.end(), role), role);
    ++next.revision;
    return one(user_record(user, &at->second));
  });
}

Task<Result<>> AuthStore::revoke_role(std::string user, std::string role) {
  co_return co_await change([&](AuthState& next) -> Records {
    if (next.enabled && user == kRootName && role == kRootName) return bad_management();
    auto at = next.users.find(user);
    if (at == next.users.end()) return no_user();
    if (!drop_role(at->second, role)) return fail(Code::kFailedPrecondition, "etcdserver: role is not granted to the user");
    ++next.revision;
    return one(user_record(user, &at->second));
  });
}

Task<Result<>> AuthStore::add_role(std::string name) {
  CO_TRY(check_name(name, "role"));
  co_return co_await change([&](AuthState& next) -> Records {
    if (next.find_role(name)) return fail(Code::kFailedPrecondition, "etcdserver: role name already exists");
    ++next.revision;
    return one(role_record(name, &next.roles[name]));
  });
}

Task<Result<>> AuthStore::delete_role(std::string name) {
  co_return co_await change([&](AuthState& next) -> Records {
    if (next.enabled && name == kRootName) return bad_management();
    if (next.roles.erase(name) == 0) return no_role();
    ++next.revision;
    Records records = one(role_record(name, nullptr));
    for (auto& [user_name, user] : next.users)
      if (drop_role(user, name)) records->push_back(user_record(user_name, &user));
    return records;
  });
}

Task<Result<>> AuthStore::grant_permission(std::string role, Permission permission) {
  if (!is_valid_permission(permission)) co_return bad_management();
  co_return co_await change([&](AuthState& next) -> Records {
    auto at = next.roles.find(role);
    if (at == next.roles.end()) return no_role();
    std::vector<Permission>& permissions = at->second.permissions;
    KeyRange range{permission.key, permission.range_end};
    auto place = find_range(permissions, range);
    if (place != permissions.end() && is_range(*place, range)) place->type = permission.type;
    else permissions.insert(place, permission);
    ++next.revision;
    return one(role_record(role, &at->second));
  });
}

Task<Result<>> AuthStore::revoke_permission(std::string role, KeyRange range) {
  co_return co_await change([&](AuthState& next) -> Records {
    auto at = next.roles.find(role);
    if (at == next.roles.end()) return no_role();
    auto place = find_range(at->second.permissions, range);
    if (place == at->second.permissions.end() || !is_range(*place, range))
      return fail(Code::kFailedPrecondition, "etcdserver: permission is not granted to the role");
    at->second.permissions.erase(place);
    ++next.revision;
    return one(role_record(role, &at->second));
  });
}

}  // namespace monopod::etcd
