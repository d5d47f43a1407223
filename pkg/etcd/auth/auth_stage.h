// For tests: the whole service with authentication on, over a real store, called through gRPC as a chosen user.
#pragma once

#include "etcd/auth/auth_test_support.h"
#include "etcd/auth/authorize.h"
#include "http/in_process.h"
#include "store/test_support.h"

namespace monopod::etcd {

class AuthStage {
 public:
  AuthStage(StoreTest& test, AuthStore& users, async::Scope& background)
      : store(test.store), auth(users), time(test.time), executor(test.executor), background_(background),
        service_(test.store, test.time, {.sqlite = &test.store, .auth = &users}) {}

  Backend& store;
  AuthStore& auth;
  async::FakeTime& time;
  async::Executor executor;

  // "" is a client that says nothing of who it is. A user's password is its name.
  async::Task<Result<http::Headers>> as(std::string user) {
    http::Headers headers;
    if (user.empty()) co_return headers;
    CO_TRY_ASSIGN(std::string token, co_await auth.authenticate(user, user));
    headers.set("token", token);
    co_return headers;
  }

  async::Task<Result<std::string>> call(std::string user, std::string path, std::string message) {
    CO_TRY_ASSIGN(http::Headers headers, co_await as(std::move(user)));
    http::InProcessClient client(background_, service_, std::move(headers));
    co_return co_await http::call_grpc(client, std::move(path), std::move(message));
  }
  // "ok", or "code: text".
  async::Task<std::string> say(std::string user, std::string path, std::string message) {
    Result<std::string> answer = co_await call(std::move(user), std::move(path), std::move(message));
    co_return outcome(answer);
  }
  // The first answer of a stream.
  async::Task<Result<std::string>> call_stream(std::string user, std::string path, std::string message) {
    CO_TRY_ASSIGN(auto stream, co_await open(std::move(user), std::move(path)));
    CO_TRY(co_await stream->write(message));
    CO_TRY(co_await stream->finish_writing());
    CO_TRY_ASSIGN(std::optional<std::string> answer, co_await stream->read());
    co_return answer.value_or("");
  }
  async::Task<Result<std::unique_ptr<http::GrpcClientCall>>> open(std::string user, std::string path) {
    CO_TRY_ASSIGN(http::Headers headers, co_await as(std::move(user)));
    http::InProcessClient client(background_, service_, std::move(headers));
    co_return co_await http::open_grpc(client, std::move(path));
  }

  async::Task<Result<>> add_user(std::string name, std::vector<Permission> permissions) {
    CO_TRY(co_await auth.add_user({.name = name, .password = name}));
    CO_TRY(co_await auth.add_role("role-" + name));
    for (Permission& permission : permissions) CO_TRY(co_await auth.grant_permission("role-" + name, std::move(permission)));
    co_return co_await auth.grant_role(name, "role-" + name);
  }

 private:
  async::Scope& background_;
  Service service_;
};

namespace detail {
using StageBody = async::Task<Result<>> (*)(AuthStage&);

inline async::Task<Result<>> set_stage(StoreTest& test, AuthStore& auth, StageBody body, async::Scope& background) {
  AuthStage stage(test, auth, background);
  CO_TRY(co_await stage.add_user("root", {}));
  CO_TRY(co_await auth.grant_role("root", "root"));
  CO_TRY(co_await auth.enable());
  Result<> done = co_await body(stage);
  background.cancel();  // before the service goes
  (void)co_await background.join();
  co_return done;
}

inline async::Task<Result<>> open_stage(StoreTest& test, StageBody body) {
  CO_TRY_ASSIGN(auto auth, co_await open_auth(test.store.state(), test.time));
  async::Scope background(test.executor);
  Result<> done = co_await set_stage(test, *auth, body, background);
  background.cancel();
  (void)co_await background.join();
  co_return done;
}
}  // namespace detail

// Authentication is on; the one user is root.
inline void test_stage(detail::StageBody body) {
  store::test_store({.path = ":memory:"}, [body](StoreTest& test) { return detail::open_stage(test, body); });
}

// Messages, by etcd's field numbers.
inline std::string range_message(std::string_view key, std::string_view end = {}) { return ProtoWriter().bytes(1, key).bytes(2, end).take(); }
struct PutFields {
  std::int64_t lease = 0;
  bool prev_kv = false;
};
inline std::string put_message(std::string_view key, PutFields fields = {}) {
  return ProtoWriter().bytes(1, key).bytes(2, "v").integer(3, fields.lease).boolean(4, fields.prev_kv).take();
}
struct DeleteFields {
  std::string_view end{};
  bool prev_kv = false;
};
inline std::string delete_message(std::string_view key, DeleteFields fields = {}) {
  return ProtoWriter().bytes(1, key).bytes(2, fields.end).boolean(3, fields.prev_kv).take();
}
// One operation of a transaction; number: 1 range, 2 put, 3 delete, 4 transaction.
inline std::string operation(std::uint32_t number, std::string_view message) { return ProtoWriter().message(number, message).take(); }
struct TxnFields {
  std::string compare_key{};
  std::string compare_end{};
  std::vector<std::string> success{};
  std::vector<std::string> failure{};
};
inline std::string txn_message(const TxnFields& fields) {
  ProtoWriter out;
  if (!fields.compare_key.empty()) out.message(1, ProtoWriter().bytes(3, fields.compare_key).bytes(64, fields.compare_end).str());
  for (const std::string& op : fields.success) out.message(2, op);
  for (const std::string& op : fields.failure) out.message(3, op);
  return out.take();
}
inline std::string watch_message(std::string_view key, std::string_view end = {}) {
  return ProtoWriter().message(1, ProtoWriter().bytes(1, key).bytes(2, end).str()).take();
}

}  // namespace monopod::etcd
