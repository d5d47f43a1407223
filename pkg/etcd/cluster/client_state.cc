#include "etcd/cluster/client_state.h"

#include <algorithm>

#include "base/strings.h"
#include "codec/proto_wire.h"

namespace monopod::etcd {
namespace {

using async::Task;

// etcd's texts (api/v3rpc/rpctypes/error.go: facts that clients match on).
constexpr std::string_view kNoLeader = "etcdserver: no leader";
constexpr std::string_view kTooManyRequests = "etcdserver: too many requests";
constexpr std::string_view kLearner = "etcdserver: rpc not supported for learner";
constexpr std::string_view kInvalidToken = "etcdserver: invalid auth token";
constexpr std::string_view kOldAuthRevision = "etcdserver: revision of auth store is old";
constexpr std::string_view kUserEmpty = "etcdserver: user name is empty";
constexpr std::string_view kAuthNotEnabled = "etcdserver: authentication is not enabled";

struct Status {
  std::string version{};
  bool leader = false;
  bool learner = false;
};

Result<Status> parse_status(std::string_view message) {
  Status status;
  ProtoReader reader(message);
  for (;;) {
    TRY_ASSIGN(bool more, reader.next());
    if (!more) return status;
    if (reader.field() == 2) status.version = reader.text();
    if (reader.field() == 4) status.leader = reader.integer() != 0;
    if (reader.field() == 10) status.learner = reader.boolean();
  }
}

Task<Result<std::string>> call_plain(Client::State& state, Member& member, std::string path, std::string message, Duration limit) {
  const std::string what = cat(member.url, ": ", path);
  http::GrpcOptions options{.metadata = state.metadata(), .timeout = limit};
  co_return co_await async::with_timeout<std::string>(state.time, limit, what, http::call_grpc(*member.http, std::move(path), std::move(message), std::move(options)));
}

// Nothing to add: the member may be used. An error: why not.
Task<Result<>> probe(Client::State& state, Member& member) {
  Result<std::string> answer = co_await call_plain(state, member, "/etcdserverpb.Maintenance/Status", "", state.options.probe_timeout);
  if (!answer) {
    if (!transport_failed(answer.error())) co_return Result<>();  // it answers; what it thinks of Status is not our concern
    member.http->abort_connections();
    co_return fail(answer.error());
  }
  Result<Status> status = parse_status(*answer);
  if (!status) co_return fail(Code::kInternal, cat(member.url, ": malformed status"));
  member.version = status->version;
  if (status->learner) co_return fail(Code::kUnavailable, cat(member.url, ": is a learner"));
  if (!status->leader) co_return fail(Code::kUnavailable, cat(member.url, ": ", kNoLeader));
  co_return Result<>();
}

}  // namespace

bool surely_not_done(const Error& error) {
  const std::string& text = error.message();
  return text == kNoLeader || text == kTooManyRequests || text == kLearner || text == "stream refused" || text == "http2: connection is going away";
}

bool token_refused(const Error& error) {
  const std::string& text = error.message();
  return text == kInvalidToken || text == kOldAuthRevision || text == kUserEmpty;
}

bool transport_failed(const Error& error) {
  switch (error.code()) {
    case Code::kUnavailable:
    case Code::kDeadlineExceeded:
    case Code::kCancelled: return true;  // as a status: the server gave up. Our own cancellation unwinds at the next wait.
    case Code::kUnknown:
    case Code::kDataLoss: return !error.message().starts_with("etcdserver:");
    default: return false;
  }
}

Member* Client::State::find_up(const Member* avoid) {
  Member* fallback = nullptr;
  for (std::size_t i = 0; i < members.size(); ++i) {
    Member& member = *members[(next + i) % members.size()];
    if (!member.up) continue;
    if (&member == avoid) {
      fallback = &member;
      continue;
    }
    next = (member.index + 1) % members.size();
    return &member;
  }
  return fallback;
}

Task<Result<Member*>> Client::State::pick(const Member* avoid, MonoTime deadline) {
  for (;;) {
    if (Member* member = find_up(avoid)) co_return member;
    Duration left = deadline - time.mono();
    if (left <= Duration{}) co_return fail(why_down());
    Result<> woken = co_await async::with_timeout<void>(time, left, "etcd", changed.wait());
    if (!woken && woken.error().code() == Code::kCancelled) co_return fail(woken.error());
  }
}

void Client::State::mark_up(Member& member) {
  member.error.reset();
  if (std::exchange(member.up, true)) return;
  changed.wake_all();
}

void Client::State::mark_down(Member& member, Error why) {
  member.up = false;
  member.error = std::move(why);
  member.wanted.wake_all();
  member.failed.wake_all();
}

Error Client::State::why_down() const {
  std::string text = "etcd: no endpoint can be used";
  for (const auto& member : members) text += cat("; ", member->error ? member->error->message() : cat(member->url, ": not reached yet"));
  return Error(Code::kUnavailable, std::move(text));
}

http::Headers Client::State::metadata() const {
  http::Headers headers;
  if (!token.empty()) headers.add("token", token);
  return headers;
}

Task<Result<>> Client::State::authenticate(Member& member, Duration limit) {
  while (authenticating) CO_TRY(co_await authenticated.wait());
  if (options.user.empty() || !token.empty() || auth_disabled) co_return Result<>();
  struct Busy {
    State& state;
    explicit Busy(State& s) : state(s) { state.authenticating = true; }
    ~Busy() {
      state.authenticating = false;
      state.authenticated.wake_all();
    }
  } busy(*this);
  std::string request = ProtoWriter().bytes(1, options.user).bytes(2, options.password).take();
  Result<std::string> answer = co_await call_plain(*this, member, "/etcdserverpb.Auth/Authenticate", std::move(request), limit);
  if (!answer && answer.error().message() == kAuthNotEnabled) {
    auth_disabled = true;
    co_return Result<>();
  }
  if (!answer) co_return fail(answer.error());
  ProtoReader reader(*answer);
  for (;;) {
    CO_TRY_ASSIGN(bool more, reader.next());
    if (!more) break;
    if (reader.field() == 2) token = reader.text();
  }
  if (token.empty()) co_return fail(Code::kUnauthenticated, "etcd: no token in the answer to Authenticate");
  co_return Result<>();
}

Task<Result<>> watch_over(std::shared_ptr<Client::State> state, Member& member) {
  Duration pause = state->options.backoff_min;
  for (;;) {  // forever: until the scope is cancelled or the client is gone
    if (state->closed) co_return Result<>();
    Result<> alive = co_await probe(*state, member);
    if (!alive) {
      state->mark_down(member, alive.error());
      CO_TRY(co_await state->time.sleep_for(pause));
      pause = std::min(pause * 2, state->options.backoff_max);
      continue;
    }
    pause = state->options.backoff_min;
    state->mark_up(member);
    // Looked at again while calls are under way, and at once when one failed.
    while (member.up && !state->closed) {
      if (member.in_flight == 0) {
        CO_TRY(co_await member.wanted.wait());
        continue;
      }
      Result<> failed = co_await async::with_timeout<void>(state->time, state->options.probe_interval, "probe", member.failed.wait());
      if (!failed && failed.error().code() == Code::kCancelled) co_return failed;
      if (member.in_flight > 0) break;
    }
  }
}

}  // namespace monopod::etcd
