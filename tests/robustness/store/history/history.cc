#include "tests/robustness/store/history/history.h"

#include "base/strings.h"

namespace monopod::testing {

using namespace store;

Call& History::begin(int client, Call::Request request, MonoTime at) {
  Call& call = calls.emplace_back();
  call.index = calls.size() - 1;
  call.client = client;
  call.life = life;
  call.request = std::move(request);
  call.invoked = tick();
  call.invoked_at = at;
  return call;
}

void History::finish(Call& call, Call::Answer answer, MonoTime at) {
  call.answer = std::move(answer);
  call.outcome = Call::Outcome::kDone;
  call.returned = tick();
  call.returned_at = at;
}

void History::finish(Call& call, const Error& error, MonoTime at) {
  Code code = error.code();
  bool open = code == Code::kUnavailable || code == Code::kCancelled || code == Code::kDataLoss || code == Code::kDeadlineExceeded;
  call.error = error;
  call.outcome = open ? Call::Outcome::kUnknown : Call::Outcome::kRefused;
  call.returned = tick();
  call.returned_at = at;
}

namespace {

// Long values by their beginning.
std::string shorten(std::string_view value) { return value.size() > 40 ? cat(value.substr(0, 30), "... ", value.size(), " bytes") : std::string(value); }

std::string range_text(const std::string& key, const std::string& end) {
  auto shown = [](const std::string& s) { return s == std::string_view("\0", 1) ? std::string("\\0") : s; };
  return end.empty() ? shown(key) : cat("[", shown(key), ",", shown(end), ")");
}

std::string describe_txn(const Txn& txn);

std::string describe_op(const Op& op) {
  if (auto* range = std::get_if<RangeRequest>(&op))
    return cat("range ", range_text(range->key, range->range_end), range->revision.value ? cat(" at ", range->revision.value) : "");
  if (auto* put = std::get_if<PutRequest>(&op))
    return cat("put ", put->key, "=", put->value ? shorten(*put->value) : std::string("-"), put->lease.value ? cat(" lease ", put->lease.value) : "",
               put->ignore_value ? " ignore value" : "", put->ignore_lease ? " ignore lease" : "");
  if (auto* del = std::get_if<DeleteRequest>(&op)) return cat("delete ", range_text(del->key, del->range_end));
  return cat("(", describe_txn(*std::get<std::shared_ptr<const Txn>>(op)), ")");
}

std::string describe_txn(const Txn& txn) {
  std::string text;
  for (const Compare& compare : txn.compare) {
    constexpr std::string_view kTargets[] = {"version", "create", "mod", "value", "lease"}, kOps[] = {"==", "!=", ">", "<"};
    text += cat(text.empty() ? "if " : " and ", kTargets[static_cast<int>(compare.target)], " ", range_text(compare.key, compare.range_end), " ",
                kOps[static_cast<int>(compare.op)], " ", compare.target == Compare::Target::kValue ? compare.value : cat(compare.number));
  }
  for (const Op& op : txn.success) text += cat(text.empty() ? "" : ", ", describe_op(op));
  for (const Op& op : txn.failure) text += cat(" else ", describe_op(op));
  return text;
}

}  // namespace

std::string describe(const Call& call) {
  struct Visitor {
    std::string operator()(const RangeRequest& r) { return cat(describe_op(r), r.limit ? cat(" limit ", r.limit) : ""); }
    std::string operator()(const Txn& t) { return cat("txn ", describe_txn(t)); }
    std::string operator()(const CompactRequest& r) { return cat("compact ", r.revision.value); }
    std::string operator()(const GrantRequest& r) { return cat("grant lease ", r.id.value, " for ", r.ttl.count(), "s"); }
    std::string operator()(const RevokeRequest& r) { return cat("revoke lease ", r.id.value); }
    std::string operator()(const KeepAliveRequest& r) { return cat("keep lease ", r.id.value, " alive"); }
    std::string operator()(const LeasesRequest&) { return "leases"; }
    std::string operator()(const StatusRequest&) { return "status"; }
  };
  constexpr std::string_view kOutcomes[] = {"unknown", "done", "refused"};
  std::string text = cat("call ", call.index, " of client ", call.client, " in life ", call.life, " (", std::visit(Visitor{}, call.request), ": ",
                         kOutcomes[static_cast<int>(call.outcome)]);
  if (call.error) text += cat(": ", call.error->message());
  return text + ")";
}

std::string describe(const KeyValue& kv) {
  return cat(kv.key, "=", kv.value ? shorten(*kv.value) : std::string("-"), "/create ", kv.create.value, "/mod ", kv.mod.value, "/version ", kv.version, "/lease ", kv.lease.value);
}

std::string describe(const WatchEvent& event) {
  std::string text = event.type == WatchEvent::Type::kPut ? cat("put ", describe(event.kv)) : cat("delete ", event.kv.key, "/mod ", event.kv.mod.value);
  if (event.prev) text += cat(" before: ", describe(*event.prev));
  return text;
}

std::string describe(const std::vector<WatchEvent>& events) {
  std::string text;
  for (const WatchEvent& event : events) text += cat(text.empty() ? "" : ", ", describe(event));
  return text.empty() ? "nothing" : text;
}

}  // namespace monopod::testing
