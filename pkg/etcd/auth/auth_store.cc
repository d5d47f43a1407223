// Judging requests, passwords, and how a change comes about; the changes themselves are in auth_changes.cc.
#include "etcd/auth/auth_store.h"

#include "async/scope.h"
#include "base/log.h"
#include "base/strings.h"

namespace monopod::etcd {
namespace {

using async::Task;

constexpr const char* kBucket = "etcd-auth";
constexpr int kAuthenticateAttemptsMax = 10;
constexpr std::size_t kLoggedNameBytesMax = 64;  // anyone may send any

std::unexpected<Error> user_empty() { return fail(Code::kInvalidArgument, "etcdserver: user name is empty"); }
std::unexpected<Error> denied() { return fail(Code::kPermissionDenied, "etcdserver: permission denied"); }
std::unexpected<Error> wrong_password() { return fail(Code::kInvalidArgument, "etcdserver: authentication failed, invalid user ID or password"); }

// Verifies nothing, and takes as long as a hash that might: an unknown user is not told apart by time.
std::string hopeless_hash(int cost) { return cat("$scrypt$ln=", cost, ",r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAA"); }

struct Counted {
  explicit Counted(std::size_t& c) : count(c) { ++count; }
  ~Counted() { --count; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  std::size_t& count;
};

}  // namespace

AuthStore::AuthStore(async::Executor executor, async::StateStore& store, std::unique_ptr<TokenProvider> tokens, AuthOptions options, AuthState state)
    : store_(store), tokens_(std::move(tokens)), options_(options), state_(std::move(state)), changed_(executor) {}

Task<Result<std::unique_ptr<AuthStore>>> AuthStore::open(async::StateStore& store, std::unique_ptr<TokenProvider> tokens, AuthOptions options) {
  CO_TRY_ASSIGN(auto records, co_await store.list(kBucket));
  CO_TRY_ASSIGN(AuthState state, parse_auth_state(records));
  async::Executor executor = co_await async::this_executor();
  co_return std::unique_ptr<AuthStore>(new AuthStore(executor, store, std::move(tokens), options, std::move(state)));
}

// --- judging

Result<Identity> AuthStore::identify_token(std::string_view token) {
  if (!enabled()) return Identity{};
  std::optional<Identity> found = tokens_->find(token, state_.revision);
  // A signed token outlives the password it was got with; it is void from the next one on.
  const User* user = found ? state_.find_user(found->user) : nullptr;
  if (!found || (user && found->revision < user->password_revision)) return fail(Code::kUnauthenticated, "etcdserver: invalid auth token");
  return std::move(*found);
}

Identity AuthStore::identify_certificate(std::string user) const {
  if (user.empty()) return {};
  return {.user = std::move(user), .revision = state_.revision};
}

Result<> AuthStore::check_user(const Identity& who) const {
  if (!enabled()) return {};
  if (who.revision == 0) return user_empty();
  if (!state_.find_user(who.user)) return denied();
  return {};
}

Result<> AuthStore::check_root(const Identity& who) const {
  if (!enabled()) return {};
  if (who.revision == 0) return user_empty();
  const User* user = state_.find_user(who.user);
  if (!user) return fail(Code::kFailedPrecondition, "etcdserver: user name not found");
  if (!user->has_role(kRootName)) return denied();
  return {};
}

Result<> AuthStore::check_keys(const Identity& who, const std::vector<KeyRange>& reads, const std::vector<KeyRange>& writes) {
  if (!enabled() || (reads.empty() && writes.empty())) return {};
  if (who.revision == 0) return user_empty();
  if (who.revision < state_.revision) return fail(Code::kInvalidArgument, "etcdserver: revision of auth store is old");
  const User* user = state_.find_user(who.user);
  if (!user) return denied();
  if (user->has_role(kRootName)) return {};
  const Grants& grants = grants_of(who.user, *user);
  for (const KeyRange& range : writes)
    if (!grants.write.covers(range)) return denied();
  for (const KeyRange& range : reads)
    if (!grants.read.covers(range)) return denied();
  return {};
}

Result<> AuthStore::check_watch(const std::string& user, const KeyRange& range) { return check_keys(identify_certificate(user), {range}, {}); }

const Grants& AuthStore::grants_of(const std::string& name, const User& user) {
  auto at = grants_.find(name);
  if (at == grants_.end()) at = grants_.emplace(name, state_.grants_of(user)).first;
  return at->second;
}

// --- passwords

Task<Result<std::string>> AuthStore::hash(std::string password) {
  if (hashing_ >= kPasswordChecksWaitingMax) co_return fail(Code::kResourceExhausted, "etcdserver: too many requests");
  Counted counted(hashing_);
  Result<std::string> hash = co_await hashers_.run([&] { return pki::hash_password(password, options_.password_cost); });
  if (!hash) co_return fail(std::move(hash).error().with("etcdserver"));
  co_return hash;
}

Task<Result<std::string>> AuthStore::authenticate(std::string name, std::string password) {
  for (int attempt = 0; attempt < kAuthenticateAttemptsMax; ++attempt) {
    if (!enabled()) co_return fail(Code::kFailedPrecondition, "etcdserver: authentication is not enabled");
    const User* user = state_.find_user(name);
    if (user && user->no_password) co_return fail(Code::kUnknown, "auth: authentication failed, password was given for no password user");
    if (hashing_ >= kPasswordChecksWaitingMax) co_return fail(Code::kResourceExhausted, "etcdserver: too many requests");
    std::uint64_t revision = state_.revision;
    std::string hash = user && !user->password_hash.empty() ? user->password_hash : hopeless_hash(options_.password_cost);
    Counted counted(hashing_);
    bool right = co_await hashers_.run([&] { return pki::verify_password(password, hash); });
    if (!right) {
      log::warn("password check failed", {{"user", std::string_view(name).substr(0, kLoggedNameBytesMax)}});
      co_return wrong_password();
    }
    // What the password was checked against must still hold.
    if (enabled() && revision == state_.revision) co_return tokens_->assign(name, revision);
  }
  co_return fail(Code::kUnavailable, "etcdserver: request timed out");  // users change without end
}

// --- changing

Task<Result<>> AuthStore::change(Edit edit) {
  while (changing_) CO_TRY(co_await changed_.wait());  // bounded by one commit at a time
  AuthState next = state_;
  CO_TRY_ASSIGN(std::vector<async::StateChange> records, edit(next));
  if (records.empty()) co_return Result<>();
  changing_ = true;
  Result<> done;
  // A client that goes away must not leave memory behind the file.
  co_await async::asio::this_coro::throw_if_cancelled(false);
  co_await async::shielded(commit(std::move(next), std::move(records), done));
  co_await async::asio::this_coro::throw_if_cancelled(true);
  co_return done;
}

Task<> AuthStore::commit(AuthState next, std::vector<async::StateChange> records, Result<>& done) {
  records.push_back(config_record(next));
  done = co_await store_.apply(kBucket, std::move(records), async::Lasts::kForever);
  if (done) {
    for (const auto& [name, user] : state_.users)
      if (const User* now = next.find_user(name); !now || now->password_revision != user.password_revision) tokens_->forget_user(name);
    if (!next.enabled) tokens_->forget_all();
    state_ = std::move(next);
    grants_.clear();
    ++generation_;
  }
  changing_ = false;
  changed_.wake_all();
}

}  // namespace monopod::etcd
