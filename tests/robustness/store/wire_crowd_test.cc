// What odd and hostile clients do to `monopod store serve`: thousands of idle connections, half-closed streams, garbage, giant messages,
// resets. It stays up, serves others meanwhile, and its memory and descriptors stay bounded.
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

#include "http/grpc.h"
#include "store/test_support.h"
#include "sys/fd.h"
#include "tests/robustness/store/history/wire_backend.h"
#include "tests/robustness/store/server_process.h"
#include "tests/robustness/store/workload.h"

namespace monopod::testing {
namespace {

using namespace store;
using async::Task;

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr std::string_view kEmptySettings("\0\0\0\4\0\0\0\0\0", 9);

std::int64_t resident_bytes(pid_t pid) {
  std::ifstream statm(cat("/proc/", pid, "/statm"));
  std::int64_t size = 0, resident = 0;
  statm >> size >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}
std::size_t open_files(pid_t pid) {
  std::error_code ignored;
  std::filesystem::directory_iterator files(cat("/proc/", pid, "/fd"), ignored);
  return static_cast<std::size_t>(std::distance(begin(files), end(files)));
}

// A connected socket that has sent bytes; blocking, with a limit.
sys::Fd connect_and_send(const std::string& path, std::string_view bytes) {
  sys::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  timeval limit{.tv_sec = 10, .tv_usec = 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return {};
  for (std::size_t sent = 0; sent < bytes.size();) {
    ssize_t n = ::send(fd.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) break;  // the server has closed it
    sent += static_cast<std::size_t>(n);
  }
  return fd;
}

Task<Result<>> put_and_get(http::Caller& caller, async::Scope& requests, async::Time& time, ServerProcess& server) {
  WireBackend store(caller, requests);
  Result<Revision> put;
  for (int i = 0; i < 5000; ++i) {
    put = co_await store.put("alive", share("yes"));
    if (put || !server.running()) break;
    CO_TRY(co_await time.sleep_for(std::chrono::milliseconds(2)));
  }
  if (!put) co_return fail(Code::kInternal, cat(put.error().message(), "; ", server.output()));
  CO_TRY_ASSIGN(auto kv, co_await store.get("alive"));
  EXPECT_TRUE(kv);
  co_return Result<>();
}

using Body = Task<Result<>> (*)(http::Caller& caller);
Task<Result<>> nothing(http::Caller&) { co_return Result<>(); }

Task<Result<>> with_client(ServerProcess& server, Body body) {
  async::Executor executor = co_await async::this_executor();
  async::RealTime time;
  async::Scope background(executor), requests(executor);
  Result<> result;
  {
    http::Client client(background, executor, time, {.endpoint = server.endpoint(), .http2_prior_knowledge = true});
    result = co_await put_and_get(client, requests, time, server);
    if (result) result = co_await body(client);
    if (result) result = co_await put_and_get(client, requests, time, server);
    requests.cancel();
    (void)co_await requests.join();
  }
  background.cancel();
  (void)co_await background.join();
  co_return result;
}
void expect_alive(ServerProcess& server, Body body = nothing) {
  async::Loop loop;
  Result<> done = loop.run(with_client(server, body));
  EXPECT_TRUE(done) << (done ? "" : done.error().message());
}

TEST(WireCrowd, IdleConnectionsAreHeldCheaplyAndLetGo) {
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  const std::size_t count = long_run() ? 9900 : 1500;  // the server takes 10,000
  if (files.rlim_cur < count + 100) GTEST_SKIP() << "needs " << count + 100 << " open files, the limit is " << files.rlim_cur;
  TempDir dir;
  ServerProcess server(dir.file("data"));
  expect_alive(server);
  const std::int64_t memory = resident_bytes(server.pid());
  const std::size_t idle_files = open_files(server.pid());
  std::vector<sys::Fd> connections;
  for (std::size_t i = 0; i < count; ++i) connections.push_back(connect_and_send(server.endpoint().unix_path, cat(kPreface, kEmptySettings)));
  expect_alive(server);
  EXPECT_GE(open_files(server.pid()), idle_files + count * 9 / 10) << "they are not held";
  std::int64_t each = (resident_bytes(server.pid()) - memory) / static_cast<std::int64_t>(count);
  std::printf("%zu idle connections: %lld bytes each\n", count, static_cast<long long>(each));
  EXPECT_LT(each, 40'000);
  connections.clear();
  for (int i = 0; i < 2000 && open_files(server.pid()) > idle_files + 10; ++i) ::usleep(5000);
  EXPECT_LE(open_files(server.pid()), idle_files + 10) << "connections that ended are still open";
  expect_alive(server);
}

TEST(WireCrowd, GarbageAndHalfClosedStreamsHurtOnlyThemselves) {
  TempDir dir;
  ServerProcess server(dir.file("data"));
  expect_alive(server);
  const std::int64_t memory = resident_bytes(server.pid());
  SeededRng rng(seed_or(3));
  std::vector<sys::Fd> held;
  for (int i = 0; i < 300; ++i) {
    std::string bytes = i % 3 == 0 ? std::string() : cat(kPreface, kEmptySettings);
    for (int frames = static_cast<int>(rng.below(20)); frames > 0; --frames) {
      std::string payload(rng.below(200), '\0');
      for (char& c : payload) c = static_cast<char>(rng.next());
      std::size_t claimed = rng.below(8) == 0 ? rng.below(1U << 24) : payload.size();
      for (int shift : {16, 8, 0}) bytes += static_cast<char>(claimed >> shift);
      bytes += static_cast<char>(rng.below(12));                                   // type
      bytes += static_cast<char>(rng.next());                                      // flags
      for (int shift : {24, 16, 8, 0}) bytes += static_cast<char>(rng.below(16) >> shift);  // stream
      bytes += payload;
    }
    sys::Fd fd = connect_and_send(server.endpoint().unix_path, bytes);
    if (fd && i % 2 == 0) ::shutdown(fd.get(), SHUT_WR);
    held.push_back(std::move(fd));
  }
  expect_alive(server);
  EXPECT_LT(resident_bytes(server.pid()) - memory, 64'000'000);
}

Task<Result<>> giants(http::Caller& caller) {
  for (std::string_view method : {"/etcdserverpb.KV/Put", "/etcdserverpb.KV/Txn", "/etcdserverpb.KV/Range", "/etcdserverpb.Lease/LeaseGrant"}) {
    for (std::size_t bytes : {std::size_t{1'572'865}, std::size_t{8U << 20}, std::size_t{20U << 20}}) {
      auto answer = co_await http::call_grpc(caller, std::string(method), std::string(bytes, 'x'));
      EXPECT_FALSE(answer) << method << " with " << bytes << " bytes";
    }
    // A message that says it is 4 GiB, and one that says it is compressed.
    for (std::string head : {std::string("\0\xff\xff\xff\xff", 5), std::string("\1\0\0\0\1x", 6)}) {
      CO_TRY_ASSIGN(auto call, co_await caller.open({.method = "POST", .target = std::string(method), .headers = {{"content-type", "application/grpc"}, {"te", "trailers"}}}));
      (void)co_await call->write(share(std::move(head)));
      (void)co_await call->finish();
      Result<http::Response> response = co_await call->response();
      if (response) (void)co_await response->body->read_all(1 << 20);
    }
  }
  co_return Result<>();
}

Task<Result<>> resets(http::Caller& caller) {
  for (int i = 0; i < 1000; ++i) {
    auto call = co_await http::open_grpc(caller, i % 2 == 0 ? "/etcdserverpb.Watch/Watch" : "/etcdserverpb.KV/Range");
    if (call) (void)co_await (*call)->write("");  // dropped at once: RST_STREAM
  }
  co_return Result<>();
}

TEST(WireCrowd, GiantMessagesAndResetsAreBounded) {
  TempDir dir;
  ServerProcess server(dir.file("data"));
  expect_alive(server);
  const std::int64_t memory = resident_bytes(server.pid());
  expect_alive(server, giants);
  expect_alive(server, resets);
  std::printf("after giants and resets: %lld KB more\n", static_cast<long long>((resident_bytes(server.pid()) - memory) / 1024));
  EXPECT_LT(resident_bytes(server.pid()) - memory, 96'000'000);
}

}  // namespace
}  // namespace monopod::testing
