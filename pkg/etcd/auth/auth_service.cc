// Auth: users, roles, permissions, the switch, and getting a token. What may be done and what is refused is auth_store's.
#include "etcd/auth/auth_store.h"
#include "etcd/methods.h"

namespace monopod::etcd {
namespace {

using async::Task;

ProtoWriter begin_answer(Context& context) {
  ProtoWriter out;
  out.message(1, format_header(context.backend.current_revision()));
  return out;
}

Result<AuthStore*> auth_of(Context& context) {
  if (!context.auth) return fail(Code::kUnimplemented, "auth: this datastore keeps no users");
  return context.auth;
}

// Most requests are one or two names; what every method here needs is a store.
struct Named {
  std::string first{};   // field 1
  std::string second{};  // field 2
};
Result<Named> parse_named(std::string_view message) {
  Named named;
  TRY_ASSIGN(named.first, parse_text(message, 1));
  TRY_ASSIGN(named.second, parse_text(message, 2));
  return named;
}

// A handler that does one change and answers with a header alone.
template <auto Change>
Answer change(Context& context, std::string_view message) {
  CO_TRY_ASSIGN(AuthStore * auth, auth_of(context));
  CO_TRY_ASSIGN(Named named, parse_named(message));
  CO_TRY(co_await Change(*auth, std::move(named)));
  co_return begin_answer(context).take();
}

Task<Result<>> enable(AuthStore& auth, Named) { return auth.enable(); }
Task<Result<>> disable(AuthStore& auth, Named) { return auth.disable(); }
Task<Result<>> delete_user(AuthStore& auth, Named named) { return auth.delete_user(std::move(named.first)); }
Task<Result<>> grant_role(AuthStore& auth, Named named) { return auth.grant_role(std::move(named.first), std::move(named.second)); }
Task<Result<>> revoke_role(AuthStore& auth, Named named) { return auth.revoke_role(std::move(named.first), std::move(named.second)); }
Task<Result<>> add_role(AuthStore& auth, Named named) { return auth.add_role(std::move(named.first)); }
Task<Result<>> delete_role(AuthStore& auth, Named named) { return auth.delete_role(std::move(named.first)); }

Answer status(Context& context, std::string_view) {
  CO_TRY_ASSIGN(AuthStore * auth, auth_of(context));
  co_return begin_answer(context).boolean(2, auth->enabled()).unsigned_integer(3, auth->state().revision).take();
}

Answer authenticate(Context& context, std::string_view message) {
  CO_TRY_ASSIGN(AuthStore * auth, auth_of(context));
  CO_TRY_ASSIGN(Named named, parse_named(message));
  CO_TRY_ASSIGN(std::string token, co_await auth->authenticate(std::move(named.first), std::move(named.second)));
  co_return begin_answer(context).bytes(2, token).take();
}

Answer user_add(Context& context, std::string_view message) {
  CO_TRY_ASSIGN(AuthStore * auth, auth_of(context));
  CO_TRY_ASSIGN(Named named, parse_named(message));
  CO_TRY_ASSIGN(std::string options, parse_text(message, 3));
  CO_TRY_ASSIGN(std::int64_t no_password, parse_integer(options, 1));
  CO_TRY(co_await auth->add_user({.name = std::move(named.first), .password = std::move(named.second), .no_password = no_password != 0}));
  co_return begin_answer(context).take();
}

Answer user_change_password(Context& context, std::string_view message) {
  CO_TRY_ASSIGN(AuthStore * auth, auth_of(context));
  CO_TRY_ASSIGN(Named named, parse_named(message));
  CO_TRY_ASSIGN(std::string hashed, parse_text(message, 3));
  if (named.second.empty() && !hashed.empty()) co_return fail(Code::kInvalidArgument, "etcdserver: a password is set by itself, not by its hash");
  CO_TRY(co_await auth->change_password(std::move(named.first), std::move(named.second)));
  co_return begin_answer(context).take();
}

Answer user_get(Context& context, std::string_view message) {
  CO_TRY_ASSIGN(AuthStore * auth, auth_of(context));
  CO_TRY_ASSIGN(Named named, parse_named(message));
  const User* user = auth->state().find_user(named.first);
  if (!user) co_return fail(Code::kFailedPrecondition, "etcdserver: user name not found");
  ProtoWriter out = begin_answer(context);
  for (const std::string& role : user->roles) out.message(2, role);
  co_return out.take();
}

Answer user_list(Context& context, std::string_view) {
  CO_TRY_ASSIGN(AuthStore * auth, auth_of(context));
  ProtoWriter out = begin_answer(context);
  for (const auto& [name, user] : auth->state().users) out.message(2, name);
  co_return out.take();
}

Answer role_get(Context& context, std::string_view message) {
  CO_TRY_ASSIGN(AuthStore * auth, auth_of(context));
  CO_TRY_ASSIGN(Named named, parse_named(message));
  const Role* role = auth->state().find_role(named.first);
  if (!role) co_return fail(Code::kFailedPrecondition, "etcdserver: role name not found");
  static const Role kRootRole{.permissions = {{.type = PermissionType::kReadWrite, .range_end = std::string(1, '\0')}}};
  if (named.first == kRootName) role = &kRootRole;
  ProtoWriter out = begin_answer(context);
  for (const Permission& permission : role->permissions) out.message(2, format_permission(permission));
  co_return out.take();
}

Answer role_list(Context& context, std::string_view) {
  CO_TRY_ASSIGN(AuthStore * auth, auth_of(context));
  ProtoWriter out = begin_answer(context);
  for (const auto& [name, role] : auth->state().roles) out.message(2, name);
  co_return out.take();
}

Answer role_grant_permission(Context& context, std::string_view message) {
  CO_TRY_ASSIGN(AuthStore * auth, auth_of(context));
  CO_TRY_ASSIGN(Named named, parse_named(message));
  if (named.second.empty()) co_return fail(Code::kInvalidArgument, "etcdserver: permission not given");
  CO_TRY_ASSIGN(Permission permission, parse_permission(named.second));
  CO_TRY(co_await auth->grant_permission(std::move(named.first), std::move(permission)));
  co_return begin_answer(context).take();
}

Answer role_revoke_permission(Context& context, std::string_view message) {
  CO_TRY_ASSIGN(AuthStore * auth, auth_of(context));
  CO_TRY_ASSIGN(Named named, parse_named(message));
  CO_TRY_ASSIGN(std::string range_end, parse_text(message, 3));
  CO_TRY(co_await auth->revoke_permission(std::move(named.first), {.key = std::move(named.second), .range_end = std::move(range_end)}));
  co_return begin_answer(context).take();
}

}  // namespace

std::span<const Method> auth_methods() {
  static constexpr Method kMethods[] = {
      {"/etcdserverpb.Auth/AuthEnable", needs_root, change<enable>},
      {"/etcdserverpb.Auth/AuthDisable", needs_root, change<disable>},
      {"/etcdserverpb.Auth/AuthStatus", needs_root, status},
      {"/etcdserverpb.Auth/Authenticate", needs_nothing, authenticate},
      {"/etcdserverpb.Auth/UserAdd", needs_root, user_add},
      {"/etcdserverpb.Auth/UserGet", needs_user_get, user_get},
      {"/etcdserverpb.Auth/UserList", needs_root, user_list},
      {"/etcdserverpb.Auth/UserDelete", needs_root, change<delete_user>},
      {"/etcdserverpb.Auth/UserChangePassword", needs_root, user_change_password},
      {"/etcdserverpb.Auth/UserGrantRole", needs_root, change<grant_role>},
      {"/etcdserverpb.Auth/UserRevokeRole", needs_root, change<revoke_role>},
      {"/etcdserverpb.Auth/RoleAdd", needs_root, change<add_role>},
      {"/etcdserverpb.Auth/RoleGet", needs_role_get, role_get},
      {"/etcdserverpb.Auth/RoleList", needs_root, role_list},
      {"/etcdserverpb.Auth/RoleDelete", needs_root, change<delete_role>},
      {"/etcdserverpb.Auth/RoleGrantPermission", needs_root, role_grant_permission},
      {"/etcdserverpb.Auth/RoleRevokePermission", needs_root, role_revoke_permission},
  };
  return kMethods;
}

}  // namespace monopod::etcd
