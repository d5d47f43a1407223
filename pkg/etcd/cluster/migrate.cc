#include "etcd/cluster/migrate.h"

#include <algorithm>
#include <map>

#include "base/strings.h"

namespace monopod::etcd {

using namespace store;
using async::Task;

namespace {

constexpr std::int64_t kPageKeys = 500;
constexpr std::size_t kBatchOperations = 100;  // etcd's default bound is 128
constexpr std::size_t kBatchBytes = 1U << 20;  // and 1.5 MiB
constexpr int kTriesMax = 20;                  // of one batch while the sink cannot be reached
constexpr Duration kPause = std::chrono::milliseconds(500);

std::string everything() { return std::string(1, '\0'); }
std::string after(std::string key) { return std::move(key) + '\0'; }

class BackendSource final : public KeySource {
 public:
  BackendSource(Backend& backend, std::string name, Revision revision) : backend_(backend), name_(std::move(name)), revision_(revision) {}
  std::string describe() const override { return name_; }
  Task<Result<std::int64_t>> count() override {
    CO_TRY_ASSIGN(RangeResult result, co_await backend_.range({.key = everything(), .range_end = everything(), .revision = revision_, .count_only = true}));
    co_return result.count;
  }
  Task<Result<std::vector<KeyValue>>> read(std::string start) override {
    if (start.empty()) start = everything();
    CO_TRY_ASSIGN(RangeResult page, co_await backend_.range({.key = std::move(start), .range_end = everything(), .revision = revision_, .limit = kPageKeys}));
    co_return std::move(page.kvs);
  }
  Task<Result<std::optional<Lease>>> lease(LeaseId id) override {
    CO_TRY_ASSIGN(Lease lease, co_await backend_.lease_time_to_live(id));
    if (lease.remaining < std::chrono::seconds(0) || lease.ttl < std::chrono::seconds(1)) co_return std::nullopt;
    co_return lease;
  }

 private:
  Backend& backend_;
  std::string name_;
  Revision revision_;
};

class BackendSink final : public KeySink {
 public:
  BackendSink(Backend& backend, async::Time& time, std::string name) : backend_(backend), time_(time), name_(std::move(name)) {}
  std::string describe() const override { return name_; }
  Task<Result<std::int64_t>> count() override {
    CO_TRY_ASSIGN(RangeResult result, co_await backend_.range({.key = everything(), .range_end = everything(), .count_only = true}));
    co_return result.count;
  }
  Task<Result<std::vector<KeyValue>>> read(std::string start, std::string end) override {
    if (start.empty()) start = everything();
    CO_TRY_ASSIGN(RangeResult page, co_await backend_.range({.key = std::move(start), .range_end = std::move(end)}));
    co_return std::move(page.kvs);
  }
  Task<Result<>> write(std::vector<KeyValue> put, std::vector<std::string> remove) override {
    Txn txn;
    std::size_t bytes = 0;
    std::string largest;  // of the batch, for the error
    std::size_t largest_bytes = 0;
    for (std::size_t i = 0; i < put.size() + remove.size(); ++i) {
      bool puts = i < put.size();
      std::size_t size = puts ? put[i].key.size() + put[i].value->size() : remove[i - put.size()].size();
      if (!txn.success.empty() && (txn.success.size() == kBatchOperations || bytes + size > kBatchBytes)) {
        CO_TRY(co_await write_batch(std::exchange(txn, {}), largest));
        bytes = largest_bytes = 0;
      }
      if (size > largest_bytes) largest = cat(puts ? put[i].key : remove[i - put.size()], " (", size, " bytes)");
      largest_bytes = std::max(largest_bytes, size);
      bytes += size;
      if (puts) txn.success.emplace_back(PutRequest{.key = put[i].key, .value = put[i].value, .lease = put[i].lease});
      else txn.success.emplace_back(DeleteRequest{.key = remove[i - put.size()]});
    }
    if (txn.success.empty()) co_return Result<>();
    co_return co_await write_batch(std::move(txn), largest);
  }
  Task<Result<>> need_lease(const Lease& lease) override {
    Result<Lease> kept = co_await backend_.lease_keep_alive(lease.id);
    if (kept && kept->ttl >= lease.ttl) co_return Result<>();
    if (kept) co_return fail(Code::kFailedPrecondition, cat("lease ", lease.id.value, " is in use in ", name_, " with a shorter time to live"));
    if (kept.error().code() != Code::kNotFound) co_return fail(kept.error());
    Result<Lease> granted = co_await backend_.lease_grant(lease.ttl, lease.id);
    if (!granted && granted.error().code() != Code::kFailedPrecondition) co_return fail(granted.error());  // exists: an earlier try that was not answered
    co_return Result<>();
  }

 private:
  // The same again does no harm: nobody else writes.
  Task<Result<>> write_batch(Txn txn, std::string largest) {
    for (int tries = 1;; ++tries) {
      Result<TxnResult> done = co_await backend_.txn(txn);
      if (done) co_return Result<>();
      if (done.error().code() == Code::kInvalidArgument) co_return fail(done.error().with(cat("write a batch with key ", largest)));
      if (done.error().code() != Code::kUnavailable || tries == kTriesMax) co_return fail(done.error().with(cat("write to ", name_)));
      CO_TRY(co_await time_.sleep_for(kPause));
    }
  }

  Backend& backend_;
  async::Time& time_;
  std::string name_;
};

bool same(const KeyValue& a, const KeyValue& b) { return *a.value == *b.value && a.lease == b.lease; }

class Migration {
 public:
  Migration(KeySource& source, KeySink& sink, MigrateOptions options) : source_(source), sink_(sink), options_(std::move(options)) {}

  Task<Result<MigrateReport>> run() {
    CO_TRY_ASSIGN(total_, co_await source_.count());
    CO_TRY(co_await begin());
    CO_TRY(co_await walk("copy", &Migration::copy_page));
    CO_TRY(co_await walk("verify", &Migration::verify_page));
    for (const auto& [id, lease] : leases_)
      if (lease) CO_TRY(co_await sink_.need_lease(*lease));  // their time begins now
    CO_TRY(co_await sink_.write({}, {std::string(kMigrationMarker)}));
    report_.expired = expired_;
    report_.leases = std::ranges::count_if(leases_, [](const auto& entry) { return entry.second.has_value(); });
    co_return report_;
  }

 private:
  using Page = std::vector<KeyValue>;
  using PageStep = Task<Result<>> (Migration::*)(Page page, std::string start, std::string end);

  Task<Result<>> begin() {
    std::string marker(kMigrationMarker);
    CO_TRY_ASSIGN(Page marked, co_await sink_.read(marker, after(marker)));
    if (!marked.empty()) {
      if (*marked[0].value != source_.describe() && !options_.replace)
        co_return fail(Code::kFailedPrecondition, cat(sink_.describe(), " holds an unfinished migration from ", *marked[0].value, ": finish that one, or --replace it"));
      report_.resumed = *marked[0].value == source_.describe();
    } else {
      CO_TRY_ASSIGN(std::int64_t keys, co_await sink_.count());
      if (keys > 0 && !options_.replace) co_return fail(Code::kFailedPrecondition, cat(sink_.describe(), " is not empty (", keys, " keys): --replace makes it hold the source's keys alone"));
    }
    Page put;
    put.push_back({.key = marker, .value = share(source_.describe())});
    co_return co_await sink_.write(std::move(put), {});
  }

  // Each step gets a page of the source and the part [start, end) of all keys that it stands for.
  Task<Result<>> walk(std::string_view step, PageStep take) {
    std::string start;
    std::int64_t done = 0;
    expired_ = 0;
    for (;;) {
      CO_TRY_ASSIGN(Page page, co_await source_.read(start));
      bool last = page.empty();
      done += static_cast<std::int64_t>(page.size());
      std::string end = last ? everything() : after(page.back().key);
      CO_TRY(co_await drop_expired(page));
      CO_TRY(co_await (this->*take)(std::move(page), start, end));
      if (options_.progress) options_.progress(done, total_, step);
      if (last) co_return Result<>();
      start = std::move(end);
    }
  }

  // Learns the leases of a page; keys whose lease has ended are gone in the source, whatever the state that is read.
  Task<Result<>> drop_expired(Page& page) {
    for (const KeyValue& kv : page) {
      if (kv.lease.value == 0 || leases_.contains(kv.lease.value)) continue;
      CO_TRY_ASSIGN(std::optional<Lease> lease, co_await source_.lease(kv.lease));
      if (lease) CO_TRY(co_await sink_.need_lease(*lease));
      leases_[kv.lease.value] = std::move(lease);
    }
    std::erase_if(page, [](const KeyValue& kv) { return kv.key == kMigrationMarker; });
    expired_ += static_cast<std::int64_t>(std::erase_if(page, [this](const KeyValue& kv) { return kv.lease.value != 0 && !leases_.at(kv.lease.value); }));
    co_return Result<>();
  }

  Task<Result<>> copy_page(Page page, std::string start, std::string end) {
    CO_TRY_ASSIGN(Page have, co_await sink_.read(start, end));
    std::map<std::string_view, const KeyValue*> there;
    for (const KeyValue& kv : have)
      if (kv.key != kMigrationMarker) there[kv.key] = &kv;
    Page put;
    for (KeyValue& kv : page) {
      auto at = there.find(kv.key);
      bool equal = at != there.end() && same(*at->second, kv);
      if (at != there.end()) there.erase(at);
      if (!equal) put.push_back(std::move(kv));
    }
    std::vector<std::string> remove;
    for (const auto& [key, kv] : there) remove.emplace_back(key);
    report_.written += static_cast<std::int64_t>(put.size());
    report_.removed += static_cast<std::int64_t>(remove.size());
    co_return co_await sink_.write(std::move(put), std::move(remove));
  }

  Task<Result<>> verify_page(Page page, std::string start, std::string end) {
    CO_TRY_ASSIGN(Page have, co_await sink_.read(start, end));
    std::erase_if(have, [](const KeyValue& kv) { return kv.key == kMigrationMarker; });
    auto differs = [this](const std::string& key, std::string_view how) { return fail(Code::kDataLoss, cat("verify: key ", key, " ", how, " in ", sink_.describe())); };
    for (std::size_t i = 0; i < std::max(page.size(), have.size()); ++i) {
      if (i >= have.size() || (i < page.size() && page[i].key < have[i].key)) co_return differs(page[i].key, "is missing");
      if (i >= page.size() || have[i].key < page[i].key) co_return differs(have[i].key, "should not be");
      if (!same(page[i], have[i])) co_return differs(page[i].key, "has another value or lease");
    }
    report_.keys += static_cast<std::int64_t>(page.size());
    co_return Result<>();
  }

  KeySource& source_;
  KeySink& sink_;
  MigrateOptions options_;
  std::int64_t total_ = 0;
  std::int64_t expired_ = 0;  // in this walk
  std::map<std::int64_t, std::optional<Lease>> leases_;
  MigrateReport report_;
};

}  // namespace

Task<Result<std::unique_ptr<KeySource>>> make_backend_source(Backend& backend, std::string name) {
  CO_TRY_ASSIGN(Revision revision, co_await backend.newest_revision());
  co_return std::make_unique<BackendSource>(backend, std::move(name), revision);
}

std::unique_ptr<KeySink> make_backend_sink(Backend& backend, async::Time& time, std::string name) { return std::make_unique<BackendSink>(backend, time, std::move(name)); }

Task<Result<MigrateReport>> migrate(KeySource& source, KeySink& sink, MigrateOptions options) {
  Migration migration(source, sink, std::move(options));
  co_return co_await migration.run();
}

}  // namespace monopod::etcd
