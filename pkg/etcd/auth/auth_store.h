// Who may do what: etcd's users, roles and permissions, kept in a StateStore (the store's own file) and in memory. Texts of errors are
// etcd's. A change is durable before it counts and before it is acknowledged; changes happen one after the other.
//
//   CO_TRY_ASSIGN(auto auth, co_await AuthStore::open(store->state(), std::move(tokens), {}));
//   CO_TRY_ASSIGN(std::string token, co_await auth->authenticate("root", "secret"));
//
// Passwords are hashed on a thread of the store's own: guessing them costs a guesser time, and nobody else. Errors:
//   kFailedPrecondition  user or role exists or does not, role or permission not granted, not enabled
//   kInvalidArgument     empty name, bad password, no user named, old auth revision, root's own rights
//   kUnauthenticated     token unknown or expired
//   kPermissionDenied    roles do not grant it
//   kResourceExhausted   too many password checks wait
#pragma once

#include <functional>
#include <unordered_map>

#include "async/event.h"
#include "async/pool.h"
#include "async/state_store.h"
#include "etcd/auth/auth_state.h"
#include "etcd/auth/tokens.h"
#include "pki/password.h"

namespace monopod::etcd {

inline constexpr std::size_t kAuthNameBytesMax = 1024;        // of a user or role
inline constexpr std::size_t kPasswordChecksWaitingMax = 64;  // one runs; at 0.1 s each the last waits 6 s

struct AuthOptions {
  int password_cost = pki::kPasswordCostDefault;  // tests lower it
};

struct NewUser {
  std::string name{};
  std::string password{};
  bool no_password = false;
};

class AuthStore {
 public:
  // store outlives it. kDataLoss: records that cannot be read; serving without them would be serving without authentication.
  static async::Task<Result<std::unique_ptr<AuthStore>>> open(async::StateStore& store, std::unique_ptr<TokenProvider> tokens, AuthOptions options);

  const AuthState& state() const { return state_; }
  bool enabled() const { return state_.enabled; }
  // Grows with whatever may change an answer below, the switch too; not kept over a restart.
  std::uint64_t generation() const { return generation_; }

  // --- judging; with authentication off everything passes
  Result<Identity> identify_token(std::string_view token);
  // A user named by a verified certificate.
  Identity identify_certificate(std::string user) const;
  Result<> check_user(const Identity& who) const;
  Result<> check_root(const Identity& who) const;
  Result<> check_keys(const Identity& who, const std::vector<KeyRange>& reads, const std::vector<KeyRange>& writes);
  // For a watch that was allowed once: by the permissions of now, whatever its token was.
  Result<> check_watch(const std::string& user, const KeyRange& range);

  // --- changing
  async::Task<Result<std::string>> authenticate(std::string name, std::string password);  // the token
  async::Task<Result<>> enable();
  async::Task<Result<>> disable();
  async::Task<Result<>> add_user(NewUser user);
  async::Task<Result<>> delete_user(std::string name);
  async::Task<Result<>> change_password(std::string name, std::string password);  // "": none verifies any more
  async::Task<Result<>> grant_role(std::string user, std::string role);
  async::Task<Result<>> revoke_role(std::string user, std::string role);
  async::Task<Result<>> add_role(std::string name);
  async::Task<Result<>> delete_role(std::string name);
  async::Task<Result<>> grant_permission(std::string role, Permission permission);
  async::Task<Result<>> revoke_permission(std::string role, KeyRange range);

 private:
  AuthStore(async::Executor executor, async::StateStore& store, std::unique_ptr<TokenProvider> tokens, AuthOptions options, AuthState state);
  // Makes the new state out of the current one and returns the records that differ; none: nothing happens.
  using Edit = std::function<Result<std::vector<async::StateChange>>(AuthState& next)>;
  async::Task<Result<>> change(Edit edit);
  async::Task<> commit(AuthState next, std::vector<async::StateChange> records, Result<>& done);
  async::Task<Result<std::string>> hash(std::string password);
  const Grants& grants_of(const std::string& name, const User& user);

  async::StateStore& store_;
  std::unique_ptr<TokenProvider> tokens_;
  AuthOptions options_;
  AuthState state_;
  std::uint64_t generation_ = 1;
  std::unordered_map<std::string, Grants> grants_;  // of users that asked since the last change
  bool changing_ = false;
  async::Notify changed_;
  std::size_t hashing_ = 0;
  async::Pool hashers_{1};
};

}  // namespace monopod::etcd
