// Connections that the kernel carries: every byte in its order, ends, limits, and what is left to the process. Needs what the kernel needs for it.
#include <poll.h>
#include <sys/resource.h>

#include "base/strings.h"
#include "proxy/io/sockmap.h"
#include "proxy/limits.h"
#include "proxy/test_support.h"

namespace monopod::proxy {
namespace {

constexpr std::string_view kJoined = "monopod_proxy_joined_total{listener=\"web\"}";

std::string tcp_config(const std::string& endpoint, std::string_view more = "sockmap: true") {
  return cat("listeners: [{name: web, address: \"PORT0\", protocol: tcp, cluster: x, ", more, "}]\nclusters: [{name: x, endpoints: [\"", endpoint, "\"]}]\n");
}

// Bytes whose place shows.
std::string pattern(std::size_t begin, std::size_t size) {
  std::string out(size, '\0');
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<char>((begin + i) * 2654435761U >> 13);
  return out;
}

class JoinedTest : public testing::Test {
 protected:
  void SetUp() override {
    auto poller = Poller::make();
    ASSERT_TRUE(poller);
    if (auto map = Sockmap::make(*poller); !map) GTEST_SKIP() << "needs sockmap: " << map.error().message();
  }
};

TEST_F(JoinedTest, BytesBothWaysAndTheEndOfEach) {
  TestEndpoint endpoint([](TestClient& peer, int) {
    for (int i = 0; i < 1000; ++i) {
      std::string ping = peer.read(8);
      if (ping.size() < 8) return;
      peer.send(cat("<", ping, ">"));
    }
    peer.send(peer.read_to_end() == "over" ? "good" : "bad");
  });
  TestProxy proxy(tcp_config(endpoint.address()));
  TestClient client(proxy.port());
  client.send("00000000");  // may be there before the connection is joined
  ASSERT_EQ(client.read(10), "<00000000>");
  ASSERT_TRUE(proxy.wait_metric(kJoined, 1));
  for (int i = 1; i < 1000; ++i) {
    std::string ping = cat(10'000'000 + i);
    client.send(ping);
    ASSERT_EQ(client.read(10), cat("<", ping, ">"));
  }
  client.send("over");
  client.shutdown();  // half of it: the answer comes yet
  EXPECT_EQ(client.read_to_end(), "good");
  ASSERT_TRUE(proxy.wait_metric_equals("monopod_proxy_connections_active{listener=\"web\"}", 0));
  EXPECT_EQ(proxy.metric("monopod_proxy_received_bytes_total{listener=\"web\"}"), 8 * 1000 + 4) << "as the kernel counted them";
  EXPECT_EQ(proxy.metric("monopod_proxy_sent_bytes_total{listener=\"web\"}"), 10 * 1000 + 4);
}

TEST_F(JoinedTest, NothingOvertakesAndNothingIsLostWhateverTheReaderDoes) {
  constexpr std::size_t kTotal = 48U << 20;
  std::atomic<bool> go{false};
  TestEndpoint endpoint([&go](TestClient& peer, int) {
    go.wait(false);  // much more than the limit waits by then
    std::size_t at = 0, wrong = 0;
    while (at < kTotal) {
      std::string some = peer.read(std::min<std::size_t>(kTotal - at, 300'000));
      if (some.empty()) break;
      wrong += some != pattern(at, some.size());
      at += some.size();
    }
    peer.send(cat(at, " bytes, ", wrong, " wrong"));
  });
  TestProxy proxy(tcp_config(endpoint.address()));
  TestClient client(proxy.port());
  ASSERT_TRUE(proxy.wait_metric(kJoined, 1));
  // A writer that nobody reads is held back, not the kernel's memory filled.
  std::size_t written = 0;
  for (int quiet = 0; quiet < 20;) {
    std::string some = pattern(written, 100'000);
    ssize_t n = ::send(client.fd(), some.data(), some.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) written += static_cast<std::size_t>(n);
    quiet = n > 0 ? 0 : quiet + 1;
    pollfd look{client.fd(), POLLOUT, 0};
    if (n <= 0) ::poll(&look, 1, 20);
    ASSERT_LT(written, 32U << 20);
  }
  EXPECT_GT(written, kJoinBytesAhead);
  go = true;
  go.notify_all();
  client.send(pattern(written, kTotal - written));
  client.shutdown();
  EXPECT_EQ(client.read_to_end(), cat(kTotal, " bytes, 0 wrong"));
  ASSERT_TRUE(proxy.wait_metric_equals("monopod_proxy_connections_active{listener=\"web\"}", 0));
  EXPECT_EQ(proxy.metric("monopod_proxy_received_bytes_total{listener=\"web\"}"), static_cast<std::int64_t>(kTotal));
}

TEST_F(JoinedTest, AResetOfEitherSideEndsTheOther) {
  TestEndpoint endpoint([](TestClient& peer, int number) {
    peer.send("hello");
    if (number == 2) peer.shutdown();  // its half is over, and then all of it
    if (peer.read(2) == "go" && number >= 1) return peer.reset();
    peer.read_to_end();
  });
  TestProxy proxy(tcp_config(endpoint.address()));
  TestClient first(proxy.port());
  ASSERT_EQ(first.read(5), "hello");
  ASSERT_TRUE(proxy.wait_metric(kJoined, 1));
  first.send("go");
  first.reset();
  EXPECT_TRUE(proxy.wait_metric_equals("monopod_proxy_connections_active{listener=\"web\"}", 0));
  TestClient second(proxy.port());
  ASSERT_EQ(second.read(5), "hello");
  ASSERT_TRUE(proxy.wait_metric(kJoined, 2));
  second.send("go");
  EXPECT_EQ(second.read_to_end(), "");
  EXPECT_TRUE(proxy.wait_metric_equals("monopod_proxy_connections_active{listener=\"web\"}", 0));
  TestClient third(proxy.port());
  ASSERT_EQ(third.read_to_end(), "hello");
  third.send("go");
  EXPECT_TRUE(proxy.wait_metric_equals("monopod_proxy_connections_active{listener=\"web\"}", 0)) << "it neither reads nor ends";
}

TEST_F(JoinedTest, ManyComeAndGoAndThoseBeyondTheLimitAreSpliced) {
  TestEndpoint endpoint([](TestClient& peer, int) {
    peer.send(peer.read(3));
    peer.read_to_end();
  });
  TestProxy proxy(tcp_config(endpoint.address()));
  for (int round = 0; round < 2; ++round) {
    std::vector<std::unique_ptr<TestClient>> clients;
    for (std::uint32_t i = 0; i < kJoinsMax + 20; ++i) {
      clients.push_back(std::make_unique<TestClient>(proxy.port()));
      clients.back()->send("abc");
      ASSERT_EQ(clients.back()->read(3), "abc");
    }
    EXPECT_TRUE(proxy.wait_metric_equals(kJoined, static_cast<std::int64_t>(kJoinsMax) * (round + 1)));
    clients.clear();
    ASSERT_TRUE(proxy.wait_metric_equals("monopod_proxy_connections_active{listener=\"web\"}", 0));
  }
}

TEST_F(JoinedTest, WhatIsNotPlainOrNotAskedForIsNotJoined) {
  TestEndpoint endpoint([](TestClient& peer, int) { peer.send(peer.read(3)); });
  TestProxy proxy(tcp_config(endpoint.address(), "connections_max: 10"));
  TestClient client(proxy.port());
  client.send("abc");
  EXPECT_EQ(client.read_to_end(), "abc");
  EXPECT_EQ(proxy.metric(kJoined), 0);
  ASSERT_TRUE(proxy.reload(tcp_config(endpoint.address(), "sockmap: true, sockmap_peers: [10.0.0.0/8]")));
  TestClient other(proxy.port());
  other.send("abc");
  EXPECT_EQ(other.read_to_end(), "abc");
  EXPECT_EQ(proxy.metric(kJoined), 0) << "neither is of those";
}

}  // namespace
}  // namespace monopod::proxy
