// For tests: a store on a fresh loop with fake time, closed at the end.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

#include "async/test_support.h"
#include "base/strings.h"
#include "store/sqlite_backend.h"

namespace monopod::store {

class TempDir {
 public:
  TempDir() {
    char name[] = "/tmp/monopod-store-XXXXXX";
    path_ = ::mkdtemp(name);
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  std::string file(std::string_view name = "state.db") const { return path_ + "/" + std::string(name); }

 private:
  std::string path_;
};

struct StoreTest {
  SqliteBackend& store;
  async::FakeTime& time;
  async::Executor executor;
};

namespace detail {
template <typename Body>
async::Task<Result<>> with_store(SqliteOptions options, Body& body) {
  async::Executor executor = co_await async::this_executor();
  async::Pool pool(2);
  async::FakeTime time(executor);
  SeededRng rng(1);
  CO_TRY_ASSIGN(auto store, co_await SqliteBackend::open(std::move(options), pool, time, rng));
  StoreTest test{*store, time, executor};
  Result<> result = co_await body(test);
  Result<> closed = co_await store->close();
  CO_TRY(std::move(result));
  co_return closed;
}
}  // namespace detail

// body: async::Task<Result<>>(StoreTest&). Returns what open, body or close returned.
template <typename Body>
Result<> run_store(SqliteOptions options, Body body) {
  async::Loop loop;
  return loop.run(detail::with_store(std::move(options), body));
}
template <typename Body>
void test_store(SqliteOptions options, Body body) {
  Result<> result = run_store(std::move(options), std::move(body));
  EXPECT_TRUE(result) << (result ? "" : result.error().message());
}

// Bytes that do not compress.
inline std::string noise(std::size_t bytes, std::uint64_t seed = 1) {
  SeededRng rng(seed);
  std::string out;
  while (out.size() < bytes) out += static_cast<char>(rng.next());
  return out;
}

inline RangeRequest everything() { return {.key = std::string(1, '\0'), .range_end = std::string(1, '\0')}; }

// "a=1 b=2"
inline std::string text_of(const std::vector<KeyValue>& kvs) {
  std::string text;
  for (const KeyValue& kv : kvs) text += cat(text.empty() ? "" : " ", kv.key, "=", kv.value ? *kv.value : std::string("-"));
  return text;
}
// "5:put a=1,delete b"; "5:" is progress.
inline std::string text_of(const WatchBatch& batch) {
  std::string text = cat(batch.revision.value, ":");
  for (const WatchEvent& event : batch.events()) {
    if (text.back() != ':') text += ',';
    text += event.type == WatchEvent::Type::kPut ? cat("put ", event.kv.key, "=", *event.kv.value) : cat("delete ", event.kv.key);
    if (event.prev) text += cat("(", *event.prev->value, ")");
  }
  return text;
}

}  // namespace monopod::store
