// Users, roles and the switch, as plain data; and the records they are kept as. Users and roles are stored as etcd's authpb.User and
// authpb.Role (field numbers are facts of the protocol), since names and keys are bytes.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "async/state_store.h"
#include "etcd/auth/permissions.h"

namespace monopod::etcd {

inline constexpr std::string_view kRootName = "root";  // the user that must exist, and the role that may everything

struct User {
  std::string password_hash{};  // empty: no password verifies
  bool no_password = false;     // comes by certificate only
  std::vector<std::string> roles{};      // sorted
  std::uint64_t password_revision = 0;   // auth revision at which the password was set; tokens from before it are void

  bool has_role(std::string_view role) const;
};

struct Role {
  std::vector<Permission> permissions{};  // sorted by key, then end; one for each range
};

struct AuthState {
  bool enabled = false;
  std::uint64_t revision = 1;  // grows with every change of a user, role or permission, and when authentication is switched off
  std::map<std::string, User, std::less<>> users{};
  std::map<std::string, Role, std::less<>> roles{};

  const User* find_user(std::string_view name) const;
  const Role* find_role(std::string_view name) const;
  Grants grants_of(const User& user) const;
};

// Records of the StateStore: "config", "user/<name>", "role/<name>".
async::StateChange config_record(const AuthState& state);
async::StateChange user_record(const std::string& name, const User* user);  // null: removes it
async::StateChange role_record(const std::string& name, const Role* role);
// kDataLoss for a record that cannot be understood.
Result<AuthState> parse_auth_state(const std::vector<std::pair<std::string, std::string>>& records);

std::string format_permission(const Permission& permission);
Result<Permission> parse_permission(std::string_view message);

}  // namespace monopod::etcd
