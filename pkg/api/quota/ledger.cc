#include "api/quota/ledger.h"

#include "api/limits.h"
#include "api/registry/registry.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

async::Task<Outcome<json::Value>> ready(Outcome<json::Value> value) { co_return value; }

Call status_call(std::string ns, std::string name) {
  Call call;
  call.user = system_user("system:apiserver");
  call.verb = "update";
  call.resource = find_resource("", "v1", "resourcequotas");
  call.ns = std::move(ns);
  call.name = std::move(name);
  call.subresource = "status";
  call.options.field_manager = "monopod";
  return call;
}

}  // namespace

QuotaTurn::QuotaTurn(async::Executor executor, Lines& lines, const std::string& ns) : lines_(lines), line_(lines.try_emplace(ns).first), reached_(executor) {
  line_->second.push_back(this);
  if (line_->second.front() == this) reached_.set();
}

QuotaTurn::~QuotaTurn() {
  std::list<QuotaTurn*>& line = line_->second;
  bool mine = line.front() == this;
  line.remove(this);
  if (line.empty()) lines_.erase(line_);
  else if (mine) line.front()->reached_.set();
}

async::Task<Result<>> QuotaTurn::wait(async::Time& time) {
  if (reached_.is_set()) co_return Result<>();
  co_return co_await async::with_timeout<void>(time, kQuotaTurnMax, "wait for the namespace's quotas", reached_.wait());
}

QuotaLedger::QuotaLedger(async::Executor executor, store::Backend& store, CacheSet& caches, Registry& registry, async::Time& time)
    : executor_(executor), store_(store), caches_(caches), registry_(registry), time_(time) {}

bool QuotaLedger::has_quota(std::string_view ns) const {
  WatchCache* quotas = caches_.find("", "resourcequotas");
  if (quotas == nullptr || quotas->objects().empty()) return false;
  auto first = quotas->first_of(ns);
  return first != quotas->objects().end() && (*first)->ns() == ns;
}

std::vector<ObjectPtr> QuotaLedger::quotas_of(std::string_view ns) const {
  std::vector<ObjectPtr> out;
  WatchCache* quotas = caches_.find("", "resourcequotas");
  for (auto it = quotas->first_of(ns); it != quotas->objects().end() && (*it)->ns() == ns; ++it) out.push_back(*it);
  return out;
}

// Most kinds are in no quota: their writes wait for nobody.
bool QuotaLedger::is_limited(const AdmissionRequest& request) const {
  for (const ObjectPtr& quota : quotas_of(request.ns)) {
    json::Value tree = quota->tree();
    for (const auto& [name, amount] : read_amounts(json::get_object(tree, {"status", "hard"})))
      if (is_counted_by(request.resource, name)) return true;
  }
  return false;
}

Outcome<std::vector<QuotaLedger::Share>> QuotaLedger::weigh(const AdmissionRequest& request) const {
  QuotaDemand demand{request.resource, *request.object, request.old, time_.wall()};
  std::vector<QuotaView> views;
  std::vector<Share> shares;
  for (const ObjectPtr& quota : quotas_of(request.ns)) {
    QuotaView view = view_quota(quota->tree());
    auto amounts = demand_on(view, demand);
    if (!amounts) return refuse(forbidden(request.ref(), request.name, amounts.error()));
    if (amounts->empty()) continue;
    shares.push_back({view.name, std::move(*amounts)});
    views.push_back(std::move(view));
  }
  for (std::size_t i = 0; i < views.size(); ++i)
    if (std::string excess = find_excess(views[i], shares[i].amounts); !excess.empty()) return refuse(forbidden(request.ref(), request.name, excess));
  return shares;
}

async::Task<Outcome<>> QuotaLedger::charge(AdmissionRequest& request) {
  if (!is_limited(request)) co_return Outcome<>();
  QuotaTurn turn(executor_, lines_, request.ns);
  Result<> reached = co_await turn.wait(time_);
  if (!reached && reached.error().code() == Code::kDeadlineExceeded) co_return refuse(internal("resource quota evaluation timed out"));
  CO_OUT(reached);
  CO_OUT(co_await caches_.fresh());
  Outcome<std::vector<Share>> shares = weigh(request);
  if (!shares && !request.dry_run) {
    // What a failed write left charged is no reason to refuse.
    bool counted_anew = false;
    for (const ObjectPtr& quota : quotas_of(request.ns)) {
      if (!stale_.contains(quota->key())) continue;
      CO_OUT(co_await recount_in_turn(request.ns, std::string(quota->name())));
      counted_anew = true;
    }
    if (counted_anew) {
      CO_OUT(co_await caches_.fresh());
      shares = weigh(request);
    }
  }
  CO_OUT(shares);
  if (shares->empty() || request.dry_run) co_return Outcome<>();
  hold(request, *shares);
  for (const Share& share : *shares) CO_OUT(co_await write(request, share));
  co_return Outcome<>();
}

void QuotaLedger::hold(AdmissionRequest& request, const std::vector<Share>& shares) {
  auto pending = std::make_shared<Pending>();
  pending->resource = &request.resource;
  pending->keep = request.keep;
  pending->ns = request.ns;
  pending->key = cat(request.ns, '/', request.name);
  pending->object = *request.object;
  if (request.old != nullptr) {
    pending->old = *request.old;
    pending->revision = parse_int<std::int64_t>(json::get_string(*request.old, {"metadata", "resourceVersion"})).value_or(0);
  }
  for (const Share& share : shares) pending->quotas.push_back(cat(request.ns, '/', share.quota));
  pending_.insert(pending);
  request.on_done.push_back([this, held = PendingPtr(pending)](bool committed) { let_go(held, committed); });
}

void QuotaLedger::let_go(const PendingPtr& pending, bool committed) {
  pending_.erase(pending);
  if (committed) return;
  for (const std::string& quota : pending->quotas) {
    stale_.insert(quota);
    if (on_stale_) on_stale_(quota);
  }
}

async::Task<Outcome<>> QuotaLedger::write(AdmissionRequest& request, const Share& share) {
  Call call = status_call(request.ns, share.quota);
  Mutation raise = [&request, &share](const json::Value& old) -> async::Task<Outcome<json::Value>> {
    QuotaView view = view_quota(old);  // another writer of the status may have been faster
    if (std::string excess = find_excess(view, share.amounts); !excess.empty()) return ready(refuse(forbidden(request.ref(), request.name, excess)));
    json::Value raised = old;
    json::at_path(raised, {"status", "used"}) = write_amounts(add(std::move(view.used), share.amounts));
    return ready(std::move(raised));
  };
  Outcome<ObjectPtr> written = co_await registry_.modify(call, raise);
  if (!written && written.error().code == 404 && written.error().reason == "NotFound") co_return Outcome<>();  // the quota was deleted: it limits no more
  CO_OUT(written);
  co_return Outcome<>();
}

async::Task<Result<>> QuotaLedger::recount(std::string ns, std::string name) {
  QuotaTurn turn(executor_, lines_, ns);
  CO_TRY(co_await turn.wait(time_));
  Outcome<> done = co_await recount_in_turn(std::move(ns), std::move(name));
  if (!done) co_return fail(done.error().error());
  co_return Result<>();
}

// A write whose caller was cancelled may still be on its way into the store. One that changes nothing stands in line behind it;
// after its answer the store has acknowledged the other or never will, so the registry's look at the caches covers it.
async::Task<Result<>> QuotaLedger::settle() {
  Result<store::Revision> behind = co_await store_.remove("/monopod/never-there", store::Revision(1));
  if (!behind && behind.error().code() != Code::kNotFound && behind.error().code() != Code::kAborted) co_return fail(behind.error());
  co_return Result<>();
}

async::Task<Outcome<>> QuotaLedger::recount_in_turn(std::string ns, std::string name) {
  std::string key = cat(ns, '/', name);
  bool was_stale = stale_.erase(key) > 0;
  if (was_stale) {
    Result<> settled = co_await settle();
    if (!settled) stale_.insert(key);
    CO_OUT(settled);
  }
  Call call = status_call(std::move(ns), std::move(name));
  Mutation count = [this](const json::Value& quota) { return counted(quota); };
  Outcome<ObjectPtr> written = co_await registry_.modify(call, count);
  if (!written && written.error().code == 404) co_return Outcome<>();
  if (!written && was_stale) stale_.insert(key);
  CO_OUT(written);
  co_return Outcome<>();
}

}  // namespace monopod::api
