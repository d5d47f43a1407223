#include "etcd/cluster/client.h"

#include <algorithm>

#include "base/log.h"
#include "base/strings.h"
#include "etcd/cluster/client_state.h"

namespace monopod::etcd {
namespace {

using async::Task;

constexpr auto kNotCancelled = async::asio::cancellation_type::none;
constexpr int kTokensMax = 4;  // new tokens that one call asks for: a member that lags does not know the newest yet

class ClientStream final : public Stream {
 public:
  ClientStream(std::shared_ptr<Client::State> state, Member& member, std::unique_ptr<http::GrpcClientCall> call)
      : state_(std::move(state)), member_(member), in_flight_(member), call_(std::move(call)) {}
  Task<Result<>> write(std::string_view message) override { return call_->write(std::string(message)); }
  Task<Result<>> finish_writing() override { return call_->finish_writing(); }
  Task<Result<std::optional<std::string>>> read() override {
    Result<std::optional<std::string>> message = co_await call_->read();
    if (!message && message.error().code() == Code::kCancelled && (co_await async::asio::this_coro::cancellation_state).cancelled() != kNotCancelled) co_return message;
    if (!message && token_refused(message.error())) state_->forget_token();
    if (!message && transport_failed(message.error())) state_->mark_down(member_, message.error().with(member_.url));
    co_return message;
  }
  std::size_t endpoint() const override { return member_.index; }

 private:
  std::shared_ptr<Client::State> state_;
  Member& member_;
  InFlight in_flight_;
  std::unique_ptr<http::GrpcClientCall> call_;
};

struct Attempt {
  std::string_view path{};
  std::string_view message{};
  bool sent = false;  // what follows may have been executed
};

// Views in attempt belong to a frame that waits for this.
Task<Result<std::string>> attempt_call(Member& member, Attempt& attempt, http::GrpcOptions options) {
  CO_TRY_ASSIGN(std::unique_ptr<http::GrpcClientCall> call, co_await http::open_grpc(*member.http, std::string(attempt.path), std::move(options)));
  attempt.sent = true;
  co_return co_await http::exchange_message(*call, std::string(attempt.message));
}

http::GrpcOptions grpc_options(const Client::State& state, Duration limit) {
  http::GrpcOptions options{.metadata = state.metadata(), .timeout = limit, .message_bytes_max = kAnswerBytesMax};
  options.metadata.add("hasleader", "true");  // a member cut off from the others says so instead of waiting
  return options;
}

// One call with all its attempts.
class Calling {
 public:
  Calling(std::shared_ptr<Client::State> state, std::string path, std::string message, Repeat repeat, CallOptions options)
      : state_(std::move(state)), path_(std::move(path)), message_(std::move(message)), repeat_(repeat), pinned_(options.endpoint) {
    Duration limit = options.timeout == Duration{} ? state_->options.call_timeout : options.timeout;
    deadline_ = state_->time.mono() + std::chrono::duration_cast<MonoTime::duration>(limit);
  }

  Task<Result<std::string>> run() {
    Duration pause = state_->options.backoff_min;
    for (;;) {
      CO_TRY_ASSIGN(Member* member, co_await choose());
      Attempt attempt{.path = path_, .message = message_};
      Result<std::string> answer = co_await try_on(*member, attempt);
      if (answer) co_return answer;
      Error error = answer.error();
      if ((co_await async::asio::this_coro::cancellation_state).cancelled() != kNotCancelled) co_return fail(std::move(error));
      bool token = token_refused(error) && !state_->options.user.empty() && ++tokens_ <= kTokensMax;
      if (token) state_->forget_token();
      bool transport = transport_failed(error) || surely_not_done(error);
      if (!token && !transport) co_return fail(std::move(error));
      if (transport && error.message() != "etcdserver: too many requests") note_failure(*member, error);
      bool again = token || !attempt.sent || surely_not_done(error) || repeat_ == Repeat::kSafe;
      if (!again) co_return fail(Code::kUnavailable, cat(error.message(), "; ", path_, " may have happened"));
      if (pinned_ || state_->time.mono() + pause >= deadline_) co_return fail(std::move(error));
      avoid_ = member;
      // Another endpoint is asked at once, the same one only after a while.
      if (token || state_->find_up(member) == member) {
        CO_TRY(co_await state_->time.sleep_for(pause));
        pause = std::min(pause * 2, state_->options.backoff_max);
      }
    }
  }

  Task<Result<std::unique_ptr<Stream>>> open() {
    for (;;) {
      CO_TRY_ASSIGN(Member* member, co_await choose());
      CO_TRY(co_await state_->authenticate(*member, left()));
      Result<std::unique_ptr<http::GrpcClientCall>> call = co_await open_on(*member);
      if (call) co_return std::make_unique<ClientStream>(state_, *member, std::move(*call));
      note_failure(*member, call.error());
      avoid_ = member;
      if (pinned_ || left() <= Duration{}) co_return fail(call.error());
    }
  }

 private:
  Duration left() const { return deadline_ - state_->time.mono(); }

  Task<Result<Member*>> choose() {
    if (pinned_ && *pinned_ >= state_->members.size()) co_return fail(Code::kInvalidArgument, "etcd: no such endpoint");
    if (pinned_) co_return state_->members[*pinned_].get();
    co_return co_await state_->pick(avoid_, deadline_);
  }

  Task<Result<std::string>> try_on(Member& member, Attempt& attempt) {
    InFlight counted(member);
    CO_TRY(co_await state_->authenticate(member, std::min<Duration>(left(), state_->options.attempt_timeout)));
    Duration limit = repeat_ == Repeat::kSafe && !pinned_ ? std::min<Duration>(left(), state_->options.attempt_timeout) : left();
    if (limit <= Duration{}) co_return fail(Code::kDeadlineExceeded, cat(member.url, ": ", path_, ": no time left"));
    const std::string what = cat(member.url, ": ", path_);
    http::GrpcOptions options = grpc_options(*state_, limit);
    co_return co_await async::with_timeout<std::string>(state_->time, limit, what, attempt_call(member, attempt, std::move(options)));
  }

  Task<Result<std::unique_ptr<http::GrpcClientCall>>> open_on(Member& member) {
    InFlight counted(member);
    Duration limit = std::max<Duration>(left(), std::chrono::milliseconds(1));
    http::GrpcOptions options = grpc_options(*state_, {});
    const std::string what = cat(member.url, ": ", path_);
    co_return co_await async::with_timeout<std::unique_ptr<http::GrpcClientCall>>(state_->time, limit, what,
                                                                                 http::open_grpc(*member.http, path_, std::move(options)));
  }

  // An answer that took too long says little about its server; the probe will.
  void note_failure(Member& member, const Error& error) {
    if (error.code() == Code::kDeadlineExceeded) member.failed.wake_all();
    else if (!pinned_) state_->mark_down(member, error.message().starts_with(member.url) ? error : error.with(member.url));
  }

  std::shared_ptr<Client::State> state_;
  const std::string path_;
  const std::string message_;
  const Repeat repeat_;
  const std::optional<std::size_t> pinned_;
  MonoTime deadline_{};
  const Member* avoid_ = nullptr;
  int tokens_ = 0;
};

Task<Result<std::string>> run_call(std::unique_ptr<Calling> calling) { co_return co_await calling->run(); }
Task<Result<std::unique_ptr<Stream>>> run_open(std::unique_ptr<Calling> calling) { co_return co_await calling->open(); }

}  // namespace

Result<http::Endpoint> parse_client_endpoint(std::string_view text, bool tls) {
  std::string url(text);
  if (url.starts_with("unix:") && !url.starts_with("unix://")) url = cat("unix://", url.substr(5));
  if (url.find("://") == std::string::npos) url = cat(tls ? "https://" : "http://", url);
  return http::parse_endpoint(url);
}

Result<std::unique_ptr<Client>> Client::make(async::Scope& background, async::Executor executor, async::Time& time, ClientOptions options) {
  if (options.endpoints.empty()) return fail(Code::kInvalidArgument, "etcd: no endpoints");
  if (options.certificate_pem.empty() != options.key_pem.empty()) return fail(Code::kInvalidArgument, "etcd: a client certificate and its key belong together");
  auto state = std::make_shared<State>(executor, time, std::move(options));
  const ClientOptions& o = state->options;
  bool tls = !o.ca_pem.empty() || !o.certificate_pem.empty();
  for (const std::string& text : o.endpoints) {
    TRY_ASSIGN(http::Endpoint endpoint, parse_client_endpoint(text, tls));
    if (endpoint.tls && !state->tls) {
      TRY_ASSIGN(state->tls, http::TlsClient::make({.ca_pem = o.ca_pem, .certificate_pem = o.certificate_pem, .key_pem = o.key_pem,
                                                    .server_name = o.server_name, .insecure_skip_verify = o.insecure_skip_verify}));
    }
    auto member = std::make_unique<Member>(executor, state->members.size());
    member->url = text;
    http::ClientOptions http{.endpoint = std::move(endpoint), .tls = state->tls.get(), .http2_prior_knowledge = true, .resolver = o.resolver,
                             .connect_timeout = o.connect_timeout, .response_timeout = o.call_timeout};
    member->http = std::make_unique<http::Client>(background, executor, time, std::move(http));
    state->members.push_back(std::move(member));
  }
  for (const auto& member : state->members) background.spawn(watch_over(state, *member));
  return std::unique_ptr<Client>(new Client(std::move(state)));
}

Client::~Client() {
  state_->closed = true;
  for (const auto& member : state_->members) {
    member->http->abort_connections();
    member->wanted.wake_all();
    member->failed.wake_all();
  }
}

Task<Result<std::string>> Client::call(std::string path, std::string message, Repeat repeat, CallOptions options) {
  return run_call(std::make_unique<Calling>(state_, std::move(path), std::move(message), repeat, options));
}

Task<Result<std::unique_ptr<Stream>>> Client::open(std::string path, CallOptions options) {
  return run_open(std::make_unique<Calling>(state_, std::move(path), std::string(), Repeat::kSafe, options));
}

std::vector<EndpointStatus> Client::endpoints() const {
  std::vector<EndpointStatus> out;
  for (const auto& member : state_->members) out.push_back({.url = member->url, .up = member->up, .version = member->version, .error = member->error});
  return out;
}

std::optional<Error> Client::failure() const {
  if (std::ranges::any_of(state_->members, [](const auto& member) { return member->up; })) return std::nullopt;
  return state_->why_down();
}

void Client::forget_token() { state_->forget_token(); }

}  // namespace monopod::etcd
