#include "etcd/auth/auth_state.h"

#include <algorithm>

#include "base/strings.h"
#include "codec/proto_wire.h"

namespace monopod::etcd {
namespace {

constexpr std::string_view kConfig = "config";
constexpr std::string_view kUserPrefix = "user/";
constexpr std::string_view kRolePrefix = "role/";
constexpr std::uint32_t kPasswordRevision = 15;  // ours, beyond authpb.User's fields

std::string format_user(const std::string& name, const User& user) {
  ProtoWriter out;
  out.bytes(1, name).bytes(2, user.password_hash);
  for (const std::string& role : user.roles) out.message(3, role);
  if (user.no_password) out.message(4, ProtoWriter().boolean(1, true).str());
  return out.unsigned_integer(kPasswordRevision, user.password_revision).take();
}

Result<User> parse_user(std::string_view record) {
  User user;
  ProtoReader reader(record);
  for (;;) {
    TRY_ASSIGN(bool more, reader.next());
    if (!more) break;
    if (reader.field() == 2) user.password_hash = reader.text();
    if (reader.field() == 3) user.roles.push_back(reader.text());
    if (reader.field() == 4) {
      ProtoReader options(reader.bytes());
      TRY_ASSIGN(bool any, options.next());
      user.no_password = any && options.field() == 1 && options.boolean();
    }
    if (reader.field() == kPasswordRevision) user.password_revision = static_cast<std::uint64_t>(reader.integer());
  }
  std::sort(user.roles.begin(), user.roles.end());  // whoever wrote the record
  return user;
}

std::string format_role(const std::string& name, const Role& role) {
  ProtoWriter out;
  out.bytes(1, name);
  for (const Permission& permission : role.permissions) out.message(2, format_permission(permission));
  return out.take();
}

Result<Role> parse_role(std::string_view record) {
  Role role;
  ProtoReader reader(record);
  for (;;) {
    TRY_ASSIGN(bool more, reader.next());
    if (!more) break;
    if (reader.field() != 2) continue;
    TRY_ASSIGN(Permission permission, parse_permission(reader.bytes()));
    role.permissions.push_back(std::move(permission));
  }
  std::sort(role.permissions.begin(), role.permissions.end(),
            [](const Permission& a, const Permission& b) { return std::tie(a.key, a.range_end) < std::tie(b.key, b.range_end); });
  return role;
}

Result<> parse_record(const std::string& key, const std::string& value, AuthState& into) {
  if (key == kConfig) {
    ProtoReader reader(value);
    for (;;) {
      TRY_ASSIGN(bool more, reader.next());
      if (!more) return {};
      if (reader.field() == 1) into.enabled = reader.boolean();
      if (reader.field() == 2) into.revision = static_cast<std::uint64_t>(reader.integer());
    }
  }
  if (key.starts_with(kUserPrefix)) {
    TRY_ASSIGN(into.users[key.substr(kUserPrefix.size())], parse_user(value));
  } else if (key.starts_with(kRolePrefix)) {
    TRY_ASSIGN(into.roles[key.substr(kRolePrefix.size())], parse_role(value));
  } else {
    return fail(Code::kDataLoss, "unknown record");  // something newer may depend on it: better closed than open
  }
  return {};
}

}  // namespace

bool User::has_role(std::string_view role) const { return std::binary_search(roles.begin(), roles.end(), role, std::less<>()); }

const User* AuthState::find_user(std::string_view name) const {
  auto at = users.find(name);
  return at == users.end() ? nullptr : &at->second;
}

const Role* AuthState::find_role(std::string_view name) const {
  auto at = roles.find(name);
  return at == roles.end() ? nullptr : &at->second;
}

Grants AuthState::grants_of(const User& user) const {
  Grants grants;
  for (const std::string& name : user.roles)
    if (const Role* role = find_role(name))
      for (const Permission& permission : role->permissions) grants.add(permission);
  return grants;
}

async::StateChange config_record(const AuthState& state) {
  return {.key = std::string(kConfig), .value = ProtoWriter().boolean(1, state.enabled).unsigned_integer(2, state.revision).take()};
}

async::StateChange user_record(const std::string& name, const User* user) {
  async::StateChange change{.key = cat(kUserPrefix, name)};
  if (user) change.value = format_user(name, *user);
  return change;
}

async::StateChange role_record(const std::string& name, const Role* role) {
  async::StateChange change{.key = cat(kRolePrefix, name)};
  if (role) change.value = format_role(name, *role);
  return change;
}

Result<AuthState> parse_auth_state(const std::vector<std::pair<std::string, std::string>>& records) {
  AuthState state;
  for (const auto& [key, value] : records)
    if (Result<> parsed = parse_record(key, value, state); !parsed) return fail(Code::kDataLoss, cat("auth record ", key, ": ", parsed.error().message()));
  return state;
}

std::string format_permission(const Permission& permission) {
  return ProtoWriter().integer(1, static_cast<std::int64_t>(permission.type)).bytes(2, permission.key).bytes(3, permission.range_end).take();
}

Result<Permission> parse_permission(std::string_view message) {
  Permission permission;
  ProtoReader reader(message);
  for (;;) {
    TRY_ASSIGN(bool more, reader.next());
    if (!more) return permission;
    if (reader.field() == 1) {
      if (reader.integer() < 0 || reader.integer() > 2) return fail(Code::kInvalidArgument, "unknown permission type");
      permission.type = static_cast<PermissionType>(reader.integer());
    }
    if (reader.field() == 2) permission.key = reader.text();
    if (reader.field() == 3) permission.range_end = reader.text();
  }
}

}  // namespace monopod::etcd
