// For tests with real etcd programs: a store served on loopback while a blocking body runs, and shell scripts beside it.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include "async/scope.h"
#include "etcd/serve.h"
#include "store/test_support.h"

namespace monopod::testing {

struct Output {
  std::string text{};  // stdout and stderr
  int status = 0;      // as of waitpid
};

inline Output run_script(const std::string& script) {
  Output out;
  FILE* pipe = ::popen(cat("{ ", script, "\n} 2>&1").c_str(), "r");
  char buffer[65536];
  for (std::size_t n; (n = ::fread(buffer, 1, sizeof buffer, pipe)) > 0;) out.text.append(buffer, n);
  out.status = ::pclose(pipe);
  return out;
}

// A shell line whose etcdctl talks to the store; at most 30 s.
inline Output run_etcdctl(std::uint16_t port, const std::string& line) {
  return run_script(cat("export ETCDCTL_API=3 ETCDCTL_ENDPOINTS=127.0.0.1:", port, "; exec timeout 30 sh -c '", line, "'"));
}

// A real etcd with the data directory (made if absent) in a network namespace of its own, and the lines that talk to it.
inline Output run_etcd(const std::string& data_dir, const std::string& lines) {
  return run_script(cat("timeout 60 unshare -n sh -c 'ip link set lo up; export ETCDCTL_API=3\n"
                        "etcd --data-dir ", data_dir, " --log-level error >", data_dir, ".log 2>&1 & etcd=$!\n"
                        "for i in $(seq 200); do etcdctl endpoint health >/dev/null 2>&1 && break; kill -0 $etcd || { cat ", data_dir, ".log; exit 1; }; sleep 0.05; done\n",
                        lines, "\nstatus=$?; kill $etcd; wait $etcd; exit $status'"));
}

inline bool have_etcdctl() { return ::access("/usr/bin/etcdctl", X_OK) == 0; }
inline bool have_etcd() {
  return have_etcdctl() && ::access("/usr/bin/etcd", X_OK) == 0 && run_script("unshare -n true").status == 0;
}

namespace detail {
template <typename Body>
async::Task<Result<>> run_body(async::Pool& pool, std::uint16_t& port, async::Event& ready, Body& body, async::Scope& server) {
  CO_TRY(co_await ready.wait());
  co_await pool.run([&] { body(port); });
  server.cancel();
  co_return Result<>();
}

template <typename Body>
async::Task<Result<>> serve_while(etcd::ServeOptions options, Body& body) {
  async::Executor executor = co_await async::this_executor();
  async::RealTime time;
  SeededRng rng(1);
  async::Pool pool(1);
  std::uint16_t port = 0;
  async::Event ready(executor);
  async::Scope server(executor), client(executor);
  options.listen = "127.0.0.1:0";
  options.on_ready = [&](std::uint16_t p) {
    port = p;
    ready.set();
  };
  server.spawn(etcd::serve(std::move(options), time, rng));
  client.spawn(run_body(pool, port, ready, body, server));
  Result<> served = co_await server.join();
  if (!served) client.cancel();
  Result<> done = co_await client.join();
  CO_TRY(std::move(served));
  co_return done;
}
}  // namespace detail

// Serves options.data_dir while body(port) runs on a thread of its own; then stops cleanly.
template <typename Body>
void with_served_store(etcd::ServeOptions options, Body body) {
  async::Loop loop;
  Result<> done = loop.run(detail::serve_while(std::move(options), body));
  EXPECT_TRUE(done) << (done ? "" : done.error().message());
}

}  // namespace monopod::testing
