// Random operations against a small model of etcd's semantics: a map per revision, nothing more. SEED=n replays one run.
#include <map>

#include "store/test_support.h"

namespace monopod::store {
namespace {

using async::Task;

struct Model {
  struct Value {
    std::string value{};
    std::int64_t create = 0, mod = 0, version = 0, lease = 0;
    bool operator==(const Value&) const = default;
  };
  using State = std::map<std::string, Value>;
  std::map<std::int64_t, State> history{{1, {}}};  // every state ever
  std::map<std::int64_t, bool> leases{};
  std::int64_t revision = 1, compacted = 0;

  State& now() { return history[revision]; }

  // The next state is a copy that becomes history if it changed.
  template <typename F>
  void change(F edit) {
    State next = now();
    edit(next, revision + 1);
    if (next == now()) return;
    history[++revision] = std::move(next);
  }
  static void put(State& state, std::int64_t at, const std::string& key, const std::string& value, std::int64_t lease) {
    Value& entry = state[key];
    if (entry.version == 0) entry.create = at;
    entry.value = value;
    entry.mod = at;
    entry.lease = lease;
    ++entry.version;
  }
  std::string dump(std::int64_t at, const std::string& begin, const std::string& end) const {
    std::string text;
    for (const auto& [key, v] : history.at(at))
      if (in_range(key, begin, end)) text += cat(key, "=", v.value, "/", v.create, "/", v.mod, "/", v.version, "/", v.lease, " ");
    return text;
  }
};

std::string dump(const std::vector<KeyValue>& kvs) {
  std::string text;
  for (const KeyValue& kv : kvs) text += cat(kv.key, "=", *kv.value, "/", kv.create.value, "/", kv.mod.value, "/", kv.version, "/", kv.lease.value, " ");
  return text;
}

class Run {
 public:
  Run(StoreTest& test, Model& model, Rng& rng) : test_(test), model_(model), rng_(rng) {}

  Task<Result<>> steps(int count) {
    for (int i = 0; i < count; ++i) {
      switch (rng_.below(12)) {
        case 0: CO_TRY(co_await remove_range()); break;
        case 1: CO_TRY(co_await read()); break;
        case 2: CO_TRY(co_await read()); break;
        case 3: CO_TRY(co_await compact()); break;
        case 4: CO_TRY(co_await lease()); break;
        case 5: CO_TRY(co_await guarded()); break;
        case 6: CO_TRY(co_await many()); break;
        default: CO_TRY(co_await put()); break;
      }
      EXPECT_EQ(test_.store.current_revision().value, model_.revision);
      if (::testing::Test::HasFailure()) co_return fail(Code::kInternal, cat("step ", i));
    }
    co_return Result<>();
  }

 private:
  std::string key() { return cat("k", rng_.below(12)); }
  std::string value() { return cat("v", rng_.below(5)); }
  std::int64_t some_lease() {
    if (model_.leases.empty() || rng_.below(3) > 0) return 0;
    return std::next(model_.leases.begin(), static_cast<std::ptrdiff_t>(rng_.below(model_.leases.size())))->first;
  }

  Task<Result<>> put() {
    std::string k = key(), v = value();
    std::int64_t lease = some_lease();
    CO_TRY_ASSIGN(Revision made, co_await test_.store.put(k, share(v), LeaseId(lease)));
    model_.change([&](Model::State& state, std::int64_t at) { Model::put(state, at, k, v, lease); });
    EXPECT_EQ(made.value, model_.revision);
    co_return Result<>();
  }
  Task<Result<>> remove_range() {
    std::string begin = key(), end = rng_.below(2) == 0 ? std::string() : key();
    CO_TRY_ASSIGN(TxnResult result, co_await test_.store.txn({.success = {DeleteRequest{.key = begin, .range_end = end}}}));
    std::int64_t deleted = 0;
    model_.change([&](Model::State& state, std::int64_t) { deleted = static_cast<std::int64_t>(std::erase_if(state, [&](const auto& e) { return in_range(e.first, begin, end); })); });
    EXPECT_EQ(std::get<DeleteResult>(result.results[0]).deleted, deleted);
    co_return Result<>();
  }
  Task<Result<>> read() {
    std::int64_t at = rng_.below(2) == 0 ? 0 : static_cast<std::int64_t>(rng_.below(static_cast<std::uint64_t>(model_.revision) + 3));
    RangeRequest request{.key = "k", .range_end = "l", .revision = Revision(at)};
    if (rng_.below(3) == 0) request = {.key = key(), .range_end = key(), .revision = Revision(at)};
    auto result = co_await test_.store.range(request);
    if (at > model_.revision || (at > 0 && at < model_.compacted)) {
      EXPECT_FALSE(result) << "read at " << at;
      co_return Result<>();
    }
    if (!result) co_return fail(result.error());
    EXPECT_EQ(dump(result->kvs), model_.dump(at > 0 ? at : model_.revision, request.key, request.range_end)) << "read at " << at;
    co_return Result<>();
  }
  Task<Result<>> compact() {
    std::int64_t at = static_cast<std::int64_t>(rng_.below(static_cast<std::uint64_t>(model_.revision) + 2));
    if (rng_.below(3) > 0) at = std::max<std::int64_t>(at, model_.revision - 40) - 20;
    auto result = co_await test_.store.compact(Revision(at));
    bool valid = at > model_.compacted && at <= model_.revision;
    EXPECT_EQ(result.has_value(), valid) << "compact at " << at;
    if (valid) model_.compacted = at;
    co_return Result<>();
  }
  Task<Result<>> lease() {
    std::int64_t id = 1 + static_cast<std::int64_t>(rng_.below(4));
    if (!model_.leases.contains(id)) {
      CO_TRY(co_await test_.store.lease_grant(std::chrono::seconds(1000), LeaseId(id)));
      model_.leases[id] = true;
    } else if (rng_.below(3) == 0) {
      CO_TRY(co_await test_.store.lease_revoke(LeaseId(id)));
      model_.leases.erase(id);
      model_.change([&](Model::State& state, std::int64_t) { std::erase_if(state, [&](const auto& e) { return e.second.lease == id; }); });
    }
    co_return Result<>();
  }
  Task<Result<>> guarded() {
    std::string k = key(), v = value();
    auto found = model_.now().find(k);
    std::int64_t mod = found == model_.now().end() ? 0 : found->second.mod;
    std::int64_t expected = rng_.below(3) == 0 ? mod + 1 : mod;
    Txn txn;
    txn.compare = {{.key = k, .target = Compare::Target::kMod, .number = expected}};
    if (rng_.below(2) == 0) txn.compare.push_back({.key = "k", .range_end = "l", .target = Compare::Target::kVersion, .op = Compare::Op::kGreater, .number = 0});
    txn.success = {PutRequest{.key = k, .value = share(v)}};
    bool any = !model_.now().empty();
    bool holds = expected == mod && (txn.compare.size() == 1 || any);
    CO_TRY_ASSIGN(TxnResult result, co_await test_.store.txn(txn));
    EXPECT_EQ(result.succeeded, holds);
    if (holds) model_.change([&](Model::State& state, std::int64_t at) { Model::put(state, at, k, v, 0); });
    co_return Result<>();
  }
  Task<Result<>> many() {
    std::map<std::string, std::string> pairs;
    for (std::uint64_t i = 0, n = 1 + rng_.below(5); i < n; ++i) pairs[key()] = value();
    Txn txn;
    for (const auto& [k, v] : pairs) txn.success.push_back(PutRequest{.key = k, .value = share(v)});
    txn.success.push_back(RangeRequest{.key = "k", .range_end = "l"});
    CO_TRY_ASSIGN(TxnResult result, co_await test_.store.txn(txn));
    model_.change([&](Model::State& state, std::int64_t at) {
      for (const auto& [k, v] : pairs) Model::put(state, at, k, v, 0);
    });
    EXPECT_EQ(dump(std::get<RangeResult>(result.results.back()).kvs), model_.dump(model_.revision, "k", "l"));
    co_return Result<>();
  }

  StoreTest& test_;
  Model& model_;
  Rng& rng_;
};

struct Session {
  Model& model;
  Rng& rng;
  static Task<Result<>> run(StoreTest& test, Model& model, Rng& rng) {
    for (const auto& [key, v] : model.now()) {
      CO_TRY_ASSIGN(auto kv, co_await test.store.get(key));
      EXPECT_TRUE(kv && *kv->value == v.value) << key << " after a restart";
    }
    Run session(test, model, rng);
    co_return co_await session.steps(150);
  }
  Task<Result<>> operator()(StoreTest& test) { return run(test, model, rng); }
};

TEST(Model, RandomOperationsAgreeWithItOverRestarts) {
  const char* replay = ::getenv("SEED");
  std::uint64_t first = replay ? std::strtoull(replay, nullptr, 10) : 1;
  std::uint64_t runs = replay ? 1 : ::getenv("MONOPOD_LONG") ? 2000 : 20;
  for (std::uint64_t seed = first; seed < first + runs && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(cat("SEED=", seed));
    TempDir dir;
    SeededRng rng(seed);
    Model model;
    for (int restart = 0; restart < 4; ++restart) {
      Result<> done = run_store({.path = dir.file(), .durability = Durability::kOs, .compaction = {.interval = std::chrono::seconds(0)}}, Session{model, rng});
      ASSERT_TRUE(done) << done.error().message();
    }
  }
}

}  // namespace
}  // namespace monopod::store
