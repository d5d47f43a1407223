#include "client/leader_election.h"

#include "async/scope.h"
#include "base/log.h"
#include "base/strings.h"

namespace monopod::client {

void LeaderElector::observe(Record record, MonoTime now) {
  if (record == observed_) return;
  observed_ = std::move(record);
  observed_at_ = now;
  if (options_.on_new_leader && !observed_.holder.empty() && observed_.holder != told_) options_.on_new_leader(told_ = observed_.holder);
}

Result<> LeaderElector::check() const {
  if (options_.identity.empty()) return fail(Code::kInvalidArgument, "leader election: no identity");
  if (options_.lease_duration <= options_.renew_deadline) return fail(Code::kInvalidArgument, "leaseDuration must be greater than renewDeadline");
  if (options_.renew_deadline * 10 <= options_.retry_period * 12) return fail(Code::kInvalidArgument, "renewDeadline must be greater than retryPeriod*JitterFactor");
  if (options_.retry_period < Duration(1)) return fail(Code::kInvalidArgument, "retryPeriod must be greater than zero");
  return {};
}

async::Task<Result<bool>> LeaderElector::try_acquire_or_renew() {
  std::string now = format_rfc3339_micro(time_.wall());
  std::int64_t seconds = std::chrono::duration_cast<std::chrono::seconds>(options_.lease_duration).count();
  Record mine{.holder = options_.identity, .transitions = 0, .acquired = now, .renewed = now, .version = {}};
  auto written = [](const Record& r, std::int64_t duration) {
    return json::Object{{"holderIdentity", r.holder}, {"leaseDurationSeconds", duration}, {"acquireTime", r.acquired}, {"renewTime", r.renewed}, {"leaseTransitions", r.transitions}};
  };
  auto found = co_await api_.get(resources::kLeases, options_.ns, options_.name);
  if (!found && found.error().code() == Code::kNotFound) {
    json::Value made = json::Object{{"apiVersion", "coordination.k8s.io/v1"}, {"kind", "Lease"}, {"metadata", json::Object{{"name", options_.name}, {"namespace", options_.ns}}}, {"spec", written(mine, seconds)}};
    auto created = co_await api_.create(resources::kLeases, options_.ns, std::move(made), {});
    if (!created) co_return fail(std::move(created).error());
        mine.version = created->resource_version;
    observe(std::move(mine), time_.mono());
    co_return true;
  }
  if (!found) co_return fail(std::move(found).error());
  json::Value lease = found->tree();
  Record seen{.holder = std::string(json::get_string(lease, {"spec", "holderIdentity"})), .transitions = json::get_int(lease, {"spec", "leaseTransitions"}),
              .acquired = std::string(json::get_string(lease, {"spec", "acquireTime"})), .renewed = std::string(json::get_string(lease, {"spec", "renewTime"})), .version = found->resource_version};
  observe(std::move(seen), time_.mono());
  // The duration is the holder's: it promised to be back within it.
  Duration held = std::chrono::seconds(json::get_int(lease, {"spec", "leaseDurationSeconds"}));
  bool ours = observed_.holder == options_.identity;
  if (!observed_.holder.empty() && !ours && observed_at_ + held > time_.mono()) co_return false;
  if (ours) {
    mine.acquired = observed_.acquired;
    mine.transitions = observed_.transitions;
  } else {
    mine.transitions = observed_.transitions + 1;
  }
  json::at_path(lease, {"spec"}) = written(mine, seconds);
  auto updated = co_await api_.update(resources::kLeases, options_.ns, options_.name, std::move(lease), {});  // only over what was read
  if (!updated) co_return fail(std::move(updated).error());
  mine.version = updated->resource_version;
  observe(std::move(mine), time_.mono());
  co_return true;
}

async::Task<Result<>> LeaderElector::acquire() {
  for (;;) {  // forever: until we lead
    Result<bool> mine = co_await try_acquire_or_renew();
    if (mine && *mine) co_return Result<>();
    if (!mine && mine.error().code() == Code::kCancelled) co_return fail(std::move(mine).error());
    if (!mine) log::debug("lease not acquired", {{"lease", options_.name}, {"why", mine.error()}});
    CO_TRY(co_await time_.sleep_for(jittered()));
  }
}

async::Task<Result<>> LeaderElector::renew() {
  MonoTime good = time_.mono();
  for (;;) {  // forever: until it is lost
    CO_TRY(co_await time_.sleep_for(options_.retry_period));
    Duration left = good + options_.renew_deadline - time_.mono();
    if (left <= Duration()) co_return fail(Code::kUnavailable, cat("leader election lost: lease ", options_.ns, '/', options_.name, " could not be renewed"));
    Result<bool> mine = co_await async::with_timeout<bool>(time_, left, "renewal of the lease", try_acquire_or_renew());
    if (mine && *mine) good = time_.mono();
    if (mine && !*mine) co_return fail(Code::kUnavailable, cat("leader election lost to ", observed_.holder));
    if (!mine && mine.error().code() == Code::kCancelled) co_return fail(std::move(mine).error());
  }
}

// Read anew: a renewal that was cancelled may have been written.
async::Task<Result<>> LeaderElector::give_back() {
  CO_TRY_ASSIGN(Object found, co_await api_.get(resources::kLeases, options_.ns, options_.name));
  json::Value lease = found.tree();
  if (json::get_string(lease, {"spec", "holderIdentity"}) != options_.identity) co_return Result<>();
  std::string now = format_rfc3339_micro(time_.wall());
  json::at_path(lease, {"spec"}) = json::Object{{"holderIdentity", ""}, {"leaseDurationSeconds", 1}, {"acquireTime", now}, {"renewTime", now}, {"leaseTransitions", json::get_int(lease, {"spec", "leaseTransitions"})}};
  auto updated = co_await api_.update(resources::kLeases, options_.ns, options_.name, std::move(lease), {});
  if (!updated) co_return fail(std::move(updated).error());
  co_return Result<>();
}

async::Task<> LeaderElector::release() {
  Result<> released = co_await async::with_timeout<void>(time_, options_.renew_deadline, "release of the lease", give_back());
  if (!released) log::debug("lease not released", {{"lease", options_.name}, {"why", released.error()}});
}

namespace {

// A leader that ends ends the renewal with it.
async::Task<Result<>> lead_then_end(std::function<async::Task<Result<>>()> lead, async::Scope& scope, bool& ended) {
  Result<> out = co_await lead();
  if (out || out.error().code() != Code::kCancelled) {
    ended = true;
    scope.cancel();
  }
  co_return out;
}

}  // namespace

async::Task<Result<>> LeaderElector::lead_and_renew(std::function<async::Task<Result<>>()> lead) {
  async::Scope scope(co_await async::this_executor());
  bool ended = false;
  scope.spawn(lead_then_end(std::move(lead), scope, ended));
  scope.spawn(renew());
  Result<> out = co_await scope.join();
  co_return out;
}

async::Task<Result<>> LeaderElector::run(std::function<async::Task<Result<>>()> lead) {
  CO_TRY(check());
  CO_TRY(co_await acquire());
  leading_ = true;
  co_await async::asio::this_coro::throw_if_cancelled(false);  // who is cancelled from here on still gives the lease back
  struct End {
    bool& leading;
    ~End() { leading = false; }
  } end{leading_};
  Result<> out = co_await lead_and_renew(std::move(lead));
  leading_ = false;
  if (options_.release_on_cancel) co_await async::shielded(release());
  co_return out;
}

}  // namespace monopod::client
