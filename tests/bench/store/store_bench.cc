// Microbenchmark of the store: store_bench [directory] [scale]. scale 1 is the full size (1,000,000 keys); 0.1 is quick.
// The disk's own fdatasync is measured beside it, since one durable write cannot be faster.
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "async/loop.h"
#include "async/scope.h"
#include "base/strings.h"
#include "store/sqlite_backend.h"

namespace monopod::store {
namespace {

using async::Task;
using Time = std::chrono::steady_clock;

void print(const std::string& name, double value, const char* unit) { std::printf("%-42s %12.2f %s\n", name.c_str(), value, unit); std::fflush(stdout); }
double us_since(Time::time_point start) { return std::chrono::duration<double, std::micro>(Time::now() - start).count(); }

double percentile(std::vector<double>& samples, double p) {
  std::sort(samples.begin(), samples.end());
  return samples.empty() ? 0 : samples[std::min(samples.size() - 1, static_cast<std::size_t>(p * static_cast<double>(samples.size())))];
}

double memory_mb(const char* field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(field)) return std::atof(line.c_str() + std::string_view(field).size() + 1) / 1024;
  return 0;
}
double written_bytes() {
  std::ifstream io("/proc/self/io");
  for (std::string line; std::getline(io, line);)
    if (line.starts_with("write_bytes:")) return std::atof(line.c_str() + 12);
  return 0;
}

// What a log file costs: append 4 KiB, fdatasync, as a write-ahead log does.
void bench_disk(const std::string& directory) {
  std::string path = directory + "/fdatasync";
  int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  std::vector<double> samples;
  std::string page(4120, 'x');
  for (int i = 0; i < 400; ++i) {
    if (::write(fd, page.data(), page.size()) < 0) break;
    auto start = Time::now();
    ::fdatasync(fd);
    samples.push_back(us_since(start));
  }
  ::close(fd);
  ::unlink(path.c_str());
  print("disk fdatasync p50", percentile(samples, 0.5), "us");
  print("disk fdatasync p99", percentile(samples, 0.99), "us");
}

struct Bench {
  SqliteBackend& store;
  async::Executor executor;
};

Task<Result<>> put_client(SqliteBackend& store, int client, int count, std::size_t bytes, std::vector<double>& samples) {
  for (int i = 0; i < count; ++i) {
    auto start = Time::now();
    CO_TRY(co_await store.put(cat("/registry/pods/default/", client, "-", i % 100), share(std::string(bytes, 'v'))));
    samples.push_back(us_since(start));
  }
  co_return Result<>();
}

Task<Result<>> bench_put(Bench& bench, int clients, int each, std::size_t bytes) {
  std::vector<double> samples;
  std::string name = cat("put ", bytes, " B, ", clients, clients == 1 ? " client" : " clients");
  double written = written_bytes();
  auto start = Time::now();
  async::Scope scope(bench.executor);
  for (int client = 0; client < clients; ++client) scope.spawn(put_client(bench.store, client, each, bytes, samples));
  CO_TRY(co_await scope.join());
  double us = us_since(start), count = static_cast<double>(samples.size());
  print(name + ": p50", percentile(samples, 0.5), "us");
  print(name + ": p99", percentile(samples, 0.99), "us");
  print(name + ": rate", count / us * 1e6, "per s");
  print(name + ": written to disk", (written_bytes() - written) / count, "B per put");
  co_return Result<>();
}

Task<Result<>> get_client(SqliteBackend& store, int client, int count) {
  for (int i = 0; i < count; ++i) CO_TRY(co_await store.get(cat("/registry/pods/default/", client % 64, "-", (i * 37) % 100)));
  co_return Result<>();
}
Task<Result<>> bench_get(Bench& bench, int clients, int each) {
  auto start = Time::now();
  async::Scope scope(bench.executor);
  for (int client = 0; client < clients; ++client) scope.spawn(get_client(bench.store, client, each));
  CO_TRY(co_await scope.join());
  print(cat("get, ", clients, " clients: rate"), clients * each / us_since(start) * 1e6, "per s");
  co_return Result<>();
}

Task<Result<>> watch_one(Watch& watch, std::vector<double>& delivered, Time::time_point& sent) {
  for (int i = 0; i < 20; ++i) {
    CO_TRY(co_await watch.next());
    delivered.push_back(us_since(sent));
  }
  co_return Result<>();
}
Task<Result<>> bench_watch(Bench& bench, int watchers) {
  std::vector<std::unique_ptr<Watch>> watches;
  std::vector<double> delivered, last;
  Time::time_point sent = Time::now();
  async::Scope scope(bench.executor);
  for (int i = 0; i < watchers; ++i) {
    CO_TRY_ASSIGN(auto watch, co_await bench.store.watch({.key = "/w/", .range_end = "/w0"}));
    scope.spawn(watch_one(*watch, delivered, sent));
    watches.push_back(std::move(watch));
  }
  for (int i = 0; i < 20; ++i) {
    sent = Time::now();
    CO_TRY(co_await bench.store.put(cat("/w/", i), share("x")));
    while (delivered.size() < static_cast<std::size_t>(watchers) * static_cast<std::size_t>(i + 1)) CO_TRY(co_await bench.store.put("/other", share("x")));
    last.push_back(delivered.back());
  }
  CO_TRY(co_await scope.join());
  print(cat("put to ", watchers, " watchers: last delivery p50"), percentile(last, 0.5), "us");
  co_return Result<>();
}

Task<Result<>> fill_client(SqliteBackend& store, int client, int clients, int keys, std::size_t bytes) {
  for (int i = client; i < keys; i += clients) {
    Txn txn;
    for (int j = 0; j < 50 && i < keys; ++j, i += clients) txn.success.push_back(PutRequest{.key = cat("/registry/configmaps/ns-", i % 97, "/name-", i), .value = share(std::string(bytes, 'v'))});
    i -= clients;
    CO_TRY(co_await store.txn(std::move(txn)));
  }
  co_return Result<>();
}

Task<Result<>> bench_big(const std::string& path, async::Pool& pool, async::Time& time, Rng& rng, int keys, std::size_t bytes) {
  async::Executor executor = co_await async::this_executor();
  {
    CO_TRY_ASSIGN(auto store, co_await SqliteBackend::open({.path = path, .durability = Durability::kOs}, pool, time, rng));
    auto start = Time::now();
    async::Scope scope(executor);
    for (int client = 0; client < 8; ++client) scope.spawn(fill_client(*store, client, 8, keys, bytes));
    CO_TRY(co_await scope.join());
    print(cat("fill ", keys, " keys of ", bytes, " B"), us_since(start) / 1e6, "s");
    CO_TRY(co_await store->close());
  }
  auto start = Time::now();
  CO_TRY_ASSIGN(auto store, co_await SqliteBackend::open({.path = path}, pool, time, rng));
  print(cat("open with ", keys, " keys of ", bytes, " B"), us_since(start) / 1000, "ms");
  print(cat("memory (RSS) with ", keys, " keys"), memory_mb("VmRSS:"), "MB");
  start = Time::now();
  CO_TRY_ASSIGN(RangeResult range, co_await store->range({.key = "/registry/", .range_end = "/registry0", .limit = 10'000}));
  print(cat("range of ", range.kvs.size(), " keys of ", bytes, " B, ", keys, " counted"), us_since(start) / 1000, "ms");
  co_return co_await store->close();
}

Task<Result<>> run(std::string directory, double scale) {
  async::Executor executor = co_await async::this_executor();
  async::Pool pool(2);
  async::RealTime time;
  SystemRng rng;
  bench_disk(directory);
  {
    CO_TRY_ASSIGN(auto store, co_await SqliteBackend::open({.path = directory + "/put.db"}, pool, time, rng));
    print("memory (RSS) empty", memory_mb("VmRSS:"), "MB");
    Bench bench{*store, executor};
    auto times = [&](int n) { return std::max(20, static_cast<int>(n * scale)); };
    CO_TRY(co_await bench_put(bench, 1, times(2000), 256));
    CO_TRY(co_await bench_put(bench, 1, times(2000), 1024));
    CO_TRY(co_await bench_put(bench, 64, times(500), 256));
    CO_TRY(co_await bench_put(bench, 64, times(500), 1024));
    CO_TRY(co_await bench_get(bench, 64, times(2000)));
    CO_TRY(co_await bench_watch(bench, 1000));
    CO_TRY(co_await store->close());
  }
  // Memory is measured in processes of their own: main forks for these.
  co_return Result<>();
}

Result<> run_big(const std::string& directory, int keys, std::size_t bytes) {
  async::Loop loop;
  async::Pool pool(2);
  async::RealTime time;
  SystemRng rng;
  return loop.run(bench_big(cat(directory, "/big-", keys, ".db"), pool, time, rng, keys, bytes));
}

}  // namespace
}  // namespace monopod::store

int main(int argc, char** argv) {
  using namespace monopod;
  std::string parent = argc > 1 ? argv[1] : "/tmp";
  double scale = argc > 2 ? std::atof(argv[2]) : 1;
  // store_bench DIR SCALE KEYS BYTES: the big part alone, run as a process of its own.
  Result<> done;
  if (argc > 4) {
    done = store::run_big(parent, std::atoi(argv[3]), static_cast<std::size_t>(std::atoi(argv[4])));
  } else {
    std::string directory = parent + "/store-bench-XXXXXX";
    if (!::mkdtemp(directory.data())) return 1;
    {
      async::Loop loop;
      done = loop.run(store::run(directory, scale));
    }
    for (auto [keys, bytes] : {std::pair{100'000, 1024}, {1'000'000, 256}}) {
      std::string command = cat("/proc/self/exe ", directory, " 1 ", static_cast<int>(keys * scale), " ", bytes);
      command.replace(0, std::string_view("/proc/self/exe").size(), argv[0]);
      if (done && std::system(command.c_str()) != 0) done = fail(Code::kInternal, "big part failed");
    }
    std::filesystem::remove_all(directory);
  }
  if (!done) std::fprintf(stderr, "store_bench: %s\n", done.error().message().c_str());
  return done ? 0 : 1;
}
