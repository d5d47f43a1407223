// For tests: an AuthStore over memory, cheap passwords, time that stands still.
#pragma once

#include <gtest/gtest.h>

#include "async/test_support.h"
#include "etcd/auth/auth_store.h"
#include "pki/password.h"

namespace monopod::etcd {

inline constexpr AuthOptions kCheapPasswords{.password_cost = pki::kPasswordCostMin};

inline async::Task<Result<std::unique_ptr<AuthStore>>> open_auth(async::StateStore& records, async::Time& time, TokenOptions tokens = {}) {
  CO_TRY_ASSIGN(auto provider, make_tokens(tokens, time));
  co_return co_await AuthStore::open(records, std::move(provider), kCheapPasswords);
}

// root with its role, "alice" with role "staff"; authentication on.
inline async::Task<Result<>> make_users(AuthStore& auth) {
  CO_TRY(co_await auth.add_user({.name = "root", .password = "pw"}));
  CO_TRY(co_await auth.grant_role("root", "root"));
  CO_TRY(co_await auth.add_user({.name = "alice", .password = "a"}));
  CO_TRY(co_await auth.add_role("staff"));
  CO_TRY(co_await auth.grant_role("alice", "staff"));
  co_return co_await auth.enable();
}

// "code: text", or "ok".
inline std::string outcome(const Result<>& result) { return result ? "ok" : std::string(code_name(result.error().code())) + ": " + result.error().message(); }
template <typename T>
std::string outcome(const Result<T>& result) {
  return outcome(result ? Result<>() : Result<>(fail(result.error())));
}

}  // namespace monopod::etcd
