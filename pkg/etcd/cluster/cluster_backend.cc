#include "etcd/cluster/cluster_backend.h"

#include <algorithm>

#include "base/log.h"
#include "base/strings.h"
#include "etcd/cluster/cluster_store.h"
#include "etcd/messages.h"
#include "store/limits.h"

namespace monopod::etcd {

using async::Task;

namespace {

constexpr std::int64_t kPageKeys = 500;          // with values
constexpr std::int64_t kPageKeysAlone = 10'000;  // without
constexpr int kReadAgainMax = 3;                 // reads of a range that compaction overtook
constexpr Duration kOpenPause = std::chrono::seconds(1);

bool reads_only(const Txn& txn);
bool reads_only(const std::vector<Op>& ops) {
  return std::ranges::all_of(ops, [](const Op& op) {
    if (auto* nested = std::get_if<std::shared_ptr<const Txn>>(&op)) return reads_only(**nested);
    return std::holds_alternative<RangeRequest>(op);
  });
}
bool reads_only(const Txn& txn) { return reads_only(txn.success) && reads_only(txn.failure); }

// "3.3.25" is too old. What cannot be read is let through.
bool too_old(const std::string& version) {
  auto [major, rest] = split_once(version, '.');
  int first = parse_int<int>(major).value_or(3);
  int second = rest ? parse_int<int>(split_once(*rest, '.').first).value_or(4) : 4;
  return first < 3 || (first == 3 && second < 4);
}

}  // namespace

ClusterStore::ClusterStore(async::Executor executor, async::Time& time, ClusterOptions options)
    : executor_(executor), time_(time), options_(std::move(options)), background_(executor), reading_asked_(executor) {}

Result<> ClusterStore::start() {
  TRY_ASSIGN(client_, Client::make(background_, executor_, time_, std::move(options_.client)));
  watches_ = std::make_unique<ClusterWatches>(ClusterWatches::Parts{.executor = executor_,
                                                                    .time = time_,
                                                                    .client = *client_,
                                                                    .newest_revision = [this] { return newest_revision(); },
                                                                    .on_revision = [this](Revision seen, Revision compacted) { note(seen, compacted); }});
  background_.spawn(watches_->run());
  background_.spawn(watches_->run_progress());
  background_.spawn(run_readings());
  return {};
}

Task<Result<>> ClusterStore::wait_for_cluster() {
  MonoTime begin = time_.mono();
  for (bool told = false;;) {
    bool bounded = options_.open_timeout != Duration{};
    Duration left = options_.open_timeout - (time_.mono() - begin);
    std::string request = format_range_request({.key = std::string(1, '\0'), .count_only = true});
    CallOptions limit{.timeout = bounded ? std::max<Duration>(left, std::chrono::milliseconds(100)) : Duration{}};
    Result<std::string> answer = co_await call("/etcdserverpb.KV/Range", std::move(request), Repeat::kSafe, limit);
    if (answer) break;
    bool may_come = answer.error().code() == Code::kUnavailable || answer.error().code() == Code::kDeadlineExceeded;
    if (!may_come || (bounded && time_.mono() - begin >= options_.open_timeout)) co_return fail(answer.error());
    if (!std::exchange(told, true)) log::warn("waiting for the etcd cluster", {{"why", answer.error()}});
    CO_TRY(co_await time_.sleep_for(kOpenPause));
  }
  for (const EndpointStatus& endpoint : client_->endpoints())
    if (!endpoint.version.empty() && too_old(endpoint.version)) co_return fail(Code::kFailedPrecondition, cat(endpoint.url, ": etcd ", endpoint.version, " is too old: 3.4 or newer is needed"));
  if (options_.compaction_interval.count() > 0) background_.spawn(run_compactor());
  co_return Result<>();
}

void ClusterStore::note(Revision seen, Revision compacted) {
  current_ = std::max(current_, seen);
  compacted_ = std::max(compacted_, compacted);
}

Task<Result<std::string>> ClusterStore::call(std::string path, std::string message, Repeat repeat, CallOptions options) {
  if (closed_) co_return fail(Code::kUnavailable, "the store is closed");
  Result<std::string> answer = co_await client_->call(std::move(path), std::move(message), repeat, options);
  if (!answer && answer.error().code() == Code::kDeadlineExceeded) co_return fail(Code::kUnavailable, answer.error().message());
  // The gRPC layer's own bound, just above etcd's.
  if (!answer && answer.error().message().contains("received message larger than max")) co_return fail(Code::kInvalidArgument, "etcdserver: request is too large");
  if (!answer) co_return fail(answer.error());
  CO_TRY_ASSIGN(Revision revision, parse_answer_revision(*answer));
  note(revision, Revision());
  co_return answer;
}

// One page; halves it where the answer would be too large.
Task<Result<RangeResult>> ClusterStore::read_page(RangeRequest& request, std::int64_t& page) {
  std::int64_t wanted = request.limit;
  for (;;) {
    request.limit = wanted > 0 ? std::min(wanted, page) : page;
    std::string message = format_range_request(request);
    Result<std::string> answer = co_await call("/etcdserverpb.KV/Range", std::move(message), Repeat::kSafe);
    if (!answer && answer.error().message() == "grpc: message too large" && request.limit > 1) {
      page = request.limit / 2;
      continue;
    }
    request.limit = wanted;
    if (!answer) co_return fail(answer.error());
    co_return parse_range_answer(*answer, request.keys_only);
  }
}

Task<Result<RangeResult>> ClusterStore::read_pages(RangeRequest request) {
  std::int64_t page = request.keys_only ? kPageKeysAlone : kPageKeys;
  CO_TRY_ASSIGN(RangeResult all, co_await read_page(request, page));
  if (request.revision.value == 0) request.revision = all.revision;
  while (all.more && !all.kvs.empty()) {
    auto have = static_cast<std::int64_t>(all.kvs.size());
    RangeRequest rest = request;
    if (request.limit > 0) rest.limit = request.limit - have;
    if (request.limit > 0 && rest.limit <= 0) break;
    rest.key = all.kvs.back().key + '\0';
    CO_TRY_ASSIGN(RangeResult more, co_await read_page(rest, page));
    std::ranges::move(more.kvs, std::back_inserter(all.kvs));
    all.more = more.more;
  }
  co_return all;
}

Task<Result<RangeResult>> ClusterStore::range(RangeRequest request) {
  if (request.key.empty()) co_return fail(Code::kInvalidArgument, "etcdserver: key is not provided");
  if (request.count_only || request.range_end.empty()) {
    std::string message = format_range_request(request);
    CO_TRY_ASSIGN(std::string answer, co_await call("/etcdserverpb.KV/Range", std::move(message), Repeat::kSafe));
    co_return parse_range_answer(answer, request.keys_only);
  }
  for (int tries = 1;; ++tries) {
    Result<RangeResult> all = co_await read_pages(request);
    bool overtaken = !all && all.error().code() == Code::kOutOfRange && request.revision.value == 0;
    if (!overtaken || tries == kReadAgainMax) co_return all;
  }
}

Task<Result<TxnResult>> ClusterStore::txn(Txn txn) {
  CO_TRY_ASSIGN(std::string message, format_txn_request(txn));
  CO_TRY_ASSIGN(std::string answer, co_await call("/etcdserverpb.KV/Txn", std::move(message), reads_only(txn) ? Repeat::kSafe : Repeat::kUnsafe));
  co_return parse_txn_answer(answer, txn);
}

Task<Result<std::unique_ptr<Watch>>> ClusterStore::watch(WatchRequest request) {
  if (closed_) co_return fail(Code::kUnavailable, "the store is closed");
  if (request.key.empty()) co_return fail(Code::kInvalidArgument, "etcdserver: key is not provided");
  Revision start = request.start_revision;
  if (start.value <= 0) {
    CO_TRY_ASSIGN(Revision newest, co_await newest_revision());
    start = Revision(newest.value + 1);
  }
  co_return watches_->add(std::move(request), start);
}

Task<Result<>> ClusterStore::compact(Revision revision) {
  std::string message = ProtoWriter().integer(1, revision.value).take();
  CO_TRY(co_await call("/etcdserverpb.KV/Compact", std::move(message), Repeat::kUnsafe));
  note(Revision(), revision);
  co_return Result<>();
}

Task<Result<Lease>> ClusterStore::lease_grant(std::chrono::seconds ttl, LeaseId id) {
  ttl = std::max(ttl, kLeaseTtlMin);
  std::string message = ProtoWriter().integer(1, ttl.count()).integer(2, id.value).take();
  // One too many, whose id nobody knows, ends by itself.
  CO_TRY_ASSIGN(std::string answer, co_await call("/etcdserverpb.Lease/LeaseGrant", std::move(message), id.value == 0 ? Repeat::kSafe : Repeat::kUnsafe));
  Lease lease;
  CO_TRY_ASSIGN(std::int64_t granted, parse_integer(answer, 2));
  CO_TRY_ASSIGN(std::int64_t seconds, parse_integer(answer, 3));
  lease.id = LeaseId(granted);
  lease.ttl = lease.remaining = std::chrono::seconds(seconds);
  co_return lease;
}

Task<Result<>> ClusterStore::lease_revoke(LeaseId id) {
  std::string message = ProtoWriter().integer(1, id.value).take();
  CO_TRY(co_await call("/etcdserverpb.Lease/LeaseRevoke", std::move(message), Repeat::kUnsafe));
  co_return Result<>();
}

// The stream with one message each way.
Task<Result<Lease>> ClusterStore::lease_keep_alive(LeaseId id) {
  std::string message = ProtoWriter().integer(1, id.value).take();
  CO_TRY_ASSIGN(std::string answer, co_await call("/etcdserverpb.Lease/LeaseKeepAlive", std::move(message), Repeat::kSafe));
  CO_TRY_ASSIGN(std::int64_t seconds, parse_integer(answer, 3));
  if (seconds <= 0) co_return fail(Code::kNotFound, "etcdserver: requested lease not found");
  co_return Lease{.id = id, .ttl = std::chrono::seconds(seconds), .remaining = std::chrono::seconds(seconds)};
}

Task<Result<Lease>> ClusterStore::lease_time_to_live(LeaseId id) {
  std::string message = ProtoWriter().integer(1, id.value).boolean(2, true).take();
  CO_TRY_ASSIGN(std::string answer, co_await call("/etcdserverpb.Lease/LeaseTimeToLive", std::move(message), Repeat::kSafe));
  Lease lease{.id = id};
  ProtoReader reader(answer);
  for (;;) {
    CO_TRY_ASSIGN(bool more, reader.next());
    if (!more) break;
    if (reader.field() == 3) lease.remaining = std::chrono::seconds(reader.integer());
    if (reader.field() == 4) lease.ttl = std::chrono::seconds(reader.integer());
    if (reader.field() == 5) lease.keys.push_back(reader.text());
  }
  std::ranges::sort(lease.keys);  // etcd gives them in any order
  co_return lease;
}

Task<Result<std::vector<LeaseId>>> ClusterStore::leases() {
  CO_TRY_ASSIGN(std::string answer, co_await call("/etcdserverpb.Lease/LeaseLeases", "", Repeat::kSafe));
  std::vector<LeaseId> ids;
  ProtoReader reader(answer);
  for (;;) {
    CO_TRY_ASSIGN(bool more, reader.next());
    if (!more) co_return ids;
    if (reader.field() != 2) continue;
    CO_TRY_ASSIGN(std::int64_t id, parse_integer(reader.bytes(), 1));
    ids.emplace_back(id);
  }
}

Task<Result<Revision>> ClusterStore::newest_revision() {
  if (closed_) co_return fail(Code::kUnavailable, "the store is closed");
  if (!reading_) reading_ = std::make_shared<Reading>(executor_);
  std::shared_ptr<Reading> mine = reading_;
  reading_asked_.wake_all();
  CO_TRY(co_await mine->done.wait());  // forever: the read has its own time-out
  co_return mine->revision;
}

Task<Result<>> ClusterStore::run_readings() {
  for (;;) {  // forever: until cancelled
    while (!reading_) CO_TRY(co_await reading_asked_.wait());
    struct Finish {
      std::shared_ptr<Reading> reading;
      ~Finish() { reading->done.set(); }
    } finish{std::exchange(reading_, nullptr)};
    finish.reading->revision = fail(Code::kUnavailable, "the store is closed");
    std::string request = format_range_request({.key = std::string(1, '\0'), .count_only = true});
    Result<std::string> answer = co_await call("/etcdserverpb.KV/Range", std::move(request), Repeat::kSafe);
    if (answer) finish.reading->revision = parse_answer_revision(*answer);
    else finish.reading->revision = fail(answer.error());
  }
}

std::optional<Error> ClusterStore::failure() const {
  if (closed_) return Error(Code::kUnavailable, "the store is closed");
  return client_->failure();
}

Task<Result<>> ClusterStore::close() {
  closed_ = true;
  if (watches_) watches_->close();
  background_.cancel();
  Result<> ended = co_await background_.join();
  if (reading_) reading_->revision = fail(Code::kUnavailable, "the store is closed");
  if (reading_) reading_->done.set();
  client_.reset();
  co_return ended;
}

Task<Result<std::unique_ptr<ClusterBackend>>> ClusterBackend::open(ClusterOptions options, async::Time& time) {
  auto store = std::make_unique<ClusterStore>(co_await async::this_executor(), time, std::move(options));
  Result<> started = store->start();
  std::exception_ptr thrown;
  if (started) {
    try {
      started = co_await store->wait_for_cluster();
    } catch (...) {
      thrown = std::current_exception();
    }
  }
  if (started && !thrown) co_return std::move(store);
  co_await async::asio::this_coro::reset_cancellation_state();  // what cancelled the opening must not cancel the closing
  (void)co_await store->close();
  if (thrown) std::rethrow_exception(thrown);
  co_return fail(started.error());
}

}  // namespace monopod::etcd
