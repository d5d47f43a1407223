// Load on a server of etcd's v3 gRPC API: the same client for every server, so that figures can stand side by side.
//   etcd_bench PORT put CLIENTS COUNT BYTES [noise]  latency p50 and p99 (us), rate (1/s) of puts over 1,000 keys; values are objects as
//                                              an API server stores them, every one different, or bytes that do not compress
//   etcd_bench PORT get CLIENTS COUNT          rate of gets of those keys
//   etcd_bench PORT fill KEYS BYTES            makes /fill/<n>, 100 puts a transaction
//   etcd_bench PORT range KEYS COUNT           time (us) of one range over KEYS of the filled keys
//   etcd_bench PORT watch WATCHERS COUNT       one put to all watchers: time (us) until the last has it
// Prints "p50 p99 rate", numbers only.
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "async/loop.h"
#include "async/scope.h"
#include "base/rng.h"
#include "base/strings.h"
#include "codec/proto_wire.h"
#include "http/grpc.h"
#include "store/types.h"

namespace monopod::etcd {
namespace {

using async::Task;
using Clock = std::chrono::steady_clock;

constexpr int kConnections = 8;
constexpr int kPutKeys = 1000;

double us_since(Clock::time_point start) { return std::chrono::duration<double, std::micro>(Clock::now() - start).count(); }

// BYTES of a pod's JSON with names, ids and addresses of its own; or noise.
class Values {
 public:
  // The first count are made beforehand.
  Values(std::size_t bytes, bool noise, int count) : bytes_(bytes), noise_(noise) {
    for (int i = 0; i < count; ++i) made_.push_back(make());
  }
  std::string next() {
    if (made_.empty()) return make();
    std::string text = std::move(made_.back());
    made_.pop_back();
    return text;
  }

 private:
  std::string make() {
    std::string text;
    if (noise_) {
      while (text.size() < bytes_) text += static_cast<char>(rng_.next());
      return text;
    }
    text = cat(R"({"kind":"Pod","apiVersion":"v1","metadata":{"name":"web-)", hex(10), "-", hex(5), R"(","namespace":"team-)", rng_.below(40), R"(","uid":")", hex(8), "-", hex(4), "-", hex(4), "-", hex(12), R"(",)");
    for (int container = 0; text.size() < bytes_; ++container)
      text += cat(container == 0 ? R"("labels":{"app":"web","pod-template-hash":")" : R"("status":{"hash":")", hex(10), R"("}},"spec":{"containers":[{"name":"c)", container, R"(","image":"registry.example.com/team/web:)",
                  rng_.below(50), ".", rng_.below(20), R"(","resources":{"limits":{"cpu":")", rng_.below(900), R"(m","memory":")", rng_.below(900), R"(Mi"}},"containerID":"sha256:)", hex(32), R"(","podIP":"10.)",
                  rng_.below(250), ".", rng_.below(250), ".", rng_.below(250), R"(","startedAt":"2026-11-)", 10 + rng_.below(20), "T", 10 + rng_.below(14), ":", 10 + rng_.below(50), R"(:00Z","ready":true,"restartPolicy":"Always"},)");
    text.resize(bytes_);
    return text;
  }
  std::string hex(int digits) {
    std::string text;
    for (int i = 0; i < digits; ++i) text += "0123456789abcdef"[rng_.below(16)];
    return text;
  }
  std::size_t bytes_;
  bool noise_;
  std::vector<std::string> made_{};
  SeededRng rng_{7};
};

struct Samples {
  std::vector<double> us{};
  double p(double q) {
    std::sort(us.begin(), us.end());
    return us.empty() ? 0 : us[std::min(us.size() - 1, static_cast<std::size_t>(q * static_cast<double>(us.size())))];
  }
};

struct Bench {
  async::Executor executor;
  async::Scope& background;
  async::Time& time;
  std::uint16_t port;
  std::vector<std::unique_ptr<http::Client>> connections{};
  Clock::time_point began = Clock::now();

  void connect() {
    http::Endpoint endpoint{.host = "127.0.0.1", .port = port};
    http::Limits limits;
    for (int i = 0; i < kConnections; ++i)
      connections.push_back(std::make_unique<http::Client>(background, executor, time, http::ClientOptions{.endpoint = endpoint, .http2_prior_knowledge = true, .limits = limits}));
  }
  http::Client& connection(int client) { return *connections[static_cast<std::size_t>(client % kConnections)]; }
};

std::string put_message(std::string_view key, const std::string& value) { return ProtoWriter().bytes(1, key).bytes(2, value).take(); }

Task<Result<>> put_client(Bench& bench, int client, int& left, Values& values, Samples& samples) {
  for (int i = 0; left > 0; ++i) {
    --left;
    std::string value = values.next();
    auto start = Clock::now();
    CO_TRY(co_await http::call_grpc(bench.connection(client), "/etcdserverpb.KV/Put", put_message(cat("/put/", (client * 131 + i) % kPutKeys), value)));
    samples.us.push_back(us_since(start));
  }
  co_return Result<>();
}

Task<Result<>> get_client(Bench& bench, int client, int& left, Samples& samples) {
  for (int i = 0; left > 0; ++i) {
    --left;
    auto start = Clock::now();
    CO_TRY_ASSIGN(std::string answer, co_await http::call_grpc(bench.connection(client), "/etcdserverpb.KV/Range", ProtoWriter().bytes(1, cat("/put/", (client * 131 + i) % kPutKeys)).take()));
    samples.us.push_back(us_since(start));
    if (answer.size() < 64) co_return fail(Code::kNotFound, "no such key: run put first");
  }
  co_return Result<>();
}

template <typename Client>
Task<Result<>> with_clients(Bench& bench, int clients, Client client) {
  async::Scope scope(bench.executor);
  for (int i = 0; i < clients; ++i) scope.spawn(client(i));
  co_return co_await scope.join();
}

Task<Result<>> fill_client(Bench& bench, int client, int& next, int keys, Values& values) {
  while (next < keys) {
    ProtoWriter txn;
    for (int i = 0; i < 100 && next < keys; ++i, ++next) txn.message(2, ProtoWriter().message(2, put_message(cat("/fill/", 10'000'000 + next), values.next())).str());
    CO_TRY(co_await http::call_grpc(bench.connection(client), "/etcdserverpb.KV/Txn", txn.take()));
  }
  co_return Result<>();
}

Task<Result<>> range_once(Bench& bench, int keys, Samples& samples) {
  auto start = Clock::now();
  CO_TRY_ASSIGN(auto call, co_await http::open_grpc(bench.connection(0), "/etcdserverpb.KV/Range", {.message_bytes_max = 1U << 30}));
  CO_TRY(co_await call->write(ProtoWriter().bytes(1, "/fill/").bytes(2, cat("/fill/", 10'000'000 + keys)).str()));
  CO_TRY(co_await call->finish_writing());
  CO_TRY_ASSIGN(auto answer, co_await call->read());
  samples.us.push_back(us_since(start));
  if (!answer || answer->size() < static_cast<std::size_t>(keys) * 100) co_return fail(Code::kNotFound, "too short an answer: run fill first");
  co_return Result<>();
}

struct Watched {
  std::size_t delivered = 0;
  std::size_t created = 0;
  double last_us = 0;
  Clock::time_point sent{};
};

// All watches of one connection ride on one stream, as etcd's own client does it.
Task<Result<>> watch_stream(Bench& bench, int connection, int watches, Watched& watched) {
  CO_TRY_ASSIGN(auto call, co_await http::open_grpc(bench.connection(connection), "/etcdserverpb.Watch/Watch"));
  for (int i = 0; i < watches; ++i) CO_TRY(co_await call->write(ProtoWriter().message(1, ProtoWriter().bytes(1, "/watched").str()).str()));
  for (;;) {
    CO_TRY_ASSIGN(auto message, co_await call->read());
    if (!message) co_return Result<>();
    ProtoReader reader(*message);
    bool created = false, event = false;
    for (;;) {
      CO_TRY_ASSIGN(bool more, reader.next());
      if (!more) break;
      if (reader.field() == 3) created = true;
      if (reader.field() == 11) event = true;
    }
    if (created) ++watched.created;
    if (event) {
      ++watched.delivered;
      watched.last_us = us_since(watched.sent);
    }
  }
}

Task<Result<>> watch_driver(Bench& bench, int watchers, int count, Watched& watched, Samples& samples, async::Scope& streams) {
  while (watched.created < static_cast<std::size_t>(watchers)) CO_TRY(co_await bench.time.sleep_for(std::chrono::milliseconds(5)));
  for (int i = 0; i < count; ++i) {
    watched.sent = Clock::now();
    CO_TRY(co_await http::call_grpc(bench.connection(0), "/etcdserverpb.KV/Put", put_message("/watched", "x")));
    while (watched.delivered < static_cast<std::size_t>(watchers) * static_cast<std::size_t>(i + 1)) CO_TRY(co_await bench.time.sleep_for(std::chrono::milliseconds(1)));
    samples.us.push_back(watched.last_us);
  }
  streams.cancel();
  co_return Result<>();
}

Task<Result<>> bench_watch(Bench& bench, int watchers, int count, Samples& samples) {
  Watched watched;
  async::Scope streams(bench.executor);
  for (int i = 0; i < kConnections; ++i) streams.spawn(watch_stream(bench, i, watchers / kConnections, watched));
  streams.spawn(watch_driver(bench, watchers / kConnections * kConnections, count, watched, samples, streams));
  Result<> done = co_await streams.join();
  if (!done && done.error().code() != Code::kCancelled) co_return done;
  co_return samples.us.size() == static_cast<std::size_t>(count) ? Result<>() : fail(Code::kInternal, "watch streams ended early");
}

Task<Result<>> measure(Bench& bench, std::vector<std::string> args, Samples& samples) {
  auto number = [&](std::size_t i) { return i < args.size() ? std::atoi(args[i].c_str()) : 0; };
  const std::string& what = args.at(0);
  if (what == "put") {
    int left = number(2);
    Values values(static_cast<std::size_t>(number(3)), args.size() > 4 && args[4] == "noise", left);
    bench.began = Clock::now();
    co_return co_await with_clients(bench, number(1), [&](int i) { return put_client(bench, i, left, values, samples); });
  }
  if (what == "get") {
    int left = number(2);
    co_return co_await with_clients(bench, number(1), [&](int i) { return get_client(bench, i, left, samples); });
  }
  if (what == "fill") {
    int next = 0;
    Values values(static_cast<std::size_t>(number(2)), false, 0);
    co_return co_await with_clients(bench, 8, [&](int i) { return fill_client(bench, i, next, number(1), values); });
  }
  if (what == "range") {
    for (int i = 0; i < number(2); ++i) CO_TRY(co_await range_once(bench, number(1), samples));
    co_return Result<>();
  }
  if (what == "watch") co_return co_await bench_watch(bench, number(1), number(2), samples);
  co_return fail(Code::kInvalidArgument, cat("no measurement ", what));
}

Task<Result<>> run(std::uint16_t port, std::vector<std::string> args) {
  async::Executor executor = co_await async::this_executor();
  async::RealTime time;
  async::Scope background(executor);
  Bench bench{.executor = executor, .background = background, .time = time, .port = port};
  bench.connect();
  Samples samples;
  Result<> done = co_await measure(bench, std::move(args), samples);
  double seconds = us_since(bench.began) / 1e6;
  bench.connections.clear();
  background.cancel();
  (void)co_await background.join();
  if (done) std::printf("%.1f %.1f %.1f\n", samples.p(0.5), samples.p(0.99), static_cast<double>(samples.us.size()) / seconds);
  co_return done;
}

}  // namespace
}  // namespace monopod::etcd

int main(int argc, char** argv) {
  using namespace monopod;
  if (argc < 3) return 2;
  // Large answers reuse memory: the kernel's zeroing of pages for this client is not what is measured.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  async::Loop loop;
  Result<> done = loop.run(etcd::run(static_cast<std::uint16_t>(std::atoi(argv[1])), {argv + 2, argv + argc}));
  if (!done) std::fprintf(stderr, "etcd_bench: %s\n", done.error().message().c_str());
  return done ? 0 : 1;
}
