// A worker without a thread of its own, and what a worker forgets.
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "base/strings.h"
#include "proxy/config/load.h"
#include "proxy/observe/access_log.h"
#include "proxy/test_support.h"

namespace monopod::proxy {
namespace {

std::uint16_t free_port() {
  TestEndpoint endpoint([](TestClient&, int) {});
  return endpoint.port();
}

TEST(OwnLoop, AWorkerServesAndKeepsTimeOnSomebodyElsesLoop) {
  TestEndpoint endpoint(answering([](const std::string&) { return ok("through"); }));
  std::uint16_t port = free_port();
  std::string yaml = cat("listeners: [{name: web, address: \"127.0.0.1:", port, "\", header_timeout: 50ms, virtual_hosts: [{routes: [{prefix: /, cluster: x}]}]}]\nclusters: [{name: x, endpoints: [\"", endpoint.address(), "\"]}]\n");
  auto loaded = load_sources({.yaml = yaml}, "test", nullptr);
  ASSERT_TRUE(loaded) << loaded.error().message();
  auto proxy = Proxy::start({.workers = 0});
  ASSERT_TRUE(proxy);
  ASSERT_TRUE((*proxy)->apply(loaded->snapshot));
  Worker& worker = (*proxy)->own_worker();
  std::atomic<bool> over{false};
  std::thread loop([&] {
    while (!over) {
      while (worker.turn()) {
      }
      pollfd look{worker.poll_fd(), POLLIN, 0};
      ::poll(&look, 1, 5'000);
    }
  });
  TestClient client(port);
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(client.read_answer().ends_with("through"));
  TestClient silent(port);
  silent.send("GET");
  EXPECT_NE(silent.read_to_end().find("408"), std::string::npos) << "its time is over though nothing else happens";
  worker.post([&over] { over = true; });
  loop.join();
}

TEST(OwnLoop, CountersOfAListenerThatIsGoneAreForgotten) {
  TestEndpoint endpoint(answering([](const std::string&) { return ok("x"); }));
  TestProxy proxy(simple_config(endpoint.address()));
  EXPECT_EQ(proxy.metric("monopod_proxy_connections_total{listener=\"web\"}"), 0);
  std::string other = simple_config(endpoint.address());
  other.replace(other.find("name: web"), 9, "name: new");
  ASSERT_TRUE(proxy.reload(other));
  EXPECT_TRUE(proxy.wait_metric("monopod_proxy_connections_total{listener=\"new\"}", 0));
  EXPECT_EQ(proxy.metric("monopod_proxy_connections_total{listener=\"web\"}"), -1);
}

TEST(AccessLog, AFileThatIsFullIsPutAside) {
  std::string folder = cat(testing::TempDir(), "/monopod-access-log-", ::getpid());
  std::filesystem::create_directories(folder);
  AccessLogSpec spec{.path = folder + "/a.log", .format = "%PATH%", .rotate_mb = 1, .old_files_max = 1};
  auto format = LogFormat::compile(spec);
  auto writer = LogWriter::start();
  ASSERT_TRUE(format && writer);
  auto log = AccessLogFile::open(spec, *writer);
  ASSERT_TRUE(log);
  std::string path(1023, 'x');
  for (int i = 0; i < 4'000; ++i) (*log)->append(*format, {.path = path});
  log->reset();
  EXPECT_EQ((*writer)->lines_dropped(), 0U);
  writer->reset();  // has written what waited
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    ++files;
    EXPECT_LE(entry.file_size(), 1U << 20);
  }
  EXPECT_EQ(files, 2U) << "the one in use, and an old one";
  std::filesystem::remove_all(folder);
}

// A pipe that nobody reads is a disk that does not move.
TEST(AccessLog, AFileThatTakesNothingDelaysNobodyAndLinesPastItsRoomAreCounted) {
  std::string path = cat(testing::TempDir(), "/monopod-access-log-pipe-", ::getpid());
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  sys::Fd reader(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  auto format = LogFormat::compile({.path = path, .format = "%PATH%"});
  auto writer = LogWriter::start();
  ASSERT_TRUE(reader && format && writer);
  auto log = AccessLogFile::open({.path = path}, *writer);
  ASSERT_TRUE(log);
  std::string line(1023, 'x');
  constexpr int kLines = 3 * (kLogBytesWaiting >> 10);
  for (int i = 0; i < kLines; ++i) (*log)->append(*format, {.path = line});
  log->reset();
  std::uint64_t dropped = (*writer)->lines_dropped();
  EXPECT_GT(dropped, 0U);
  std::uint64_t read = 0;
  std::thread drain([&, fd = reader.get()] {
    std::string block(1U << 16, '\0');
    for (pollfd ready{fd, POLLIN, 0}; ::poll(&ready, 1, 30'000) > 0;)
      if (ssize_t n = ::read(fd, block.data(), block.size()); n > 0) read += static_cast<std::uint64_t>(n);
      else return;
  });
  writer->reset();
  drain.join();
  EXPECT_EQ(read, (kLines - dropped) * 1024);
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace monopod::proxy
