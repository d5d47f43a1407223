// Every order in which the two ends of a request, its deadline and the configuration may act (hardening row H7): bytes in halves, ends, half closes,
// resets and cancelled streams of both sides, a timeout, a listener that goes, a drain. Whatever the order: no cut answer looks whole, a whole one
// arrives, nothing is left behind, and the next request is served. All on the test's own loop: each step has been taken in full before the next.
// MONOPOD_LONG=1: every order; else a share of them, the same each time.
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>

#include "base/strings.h"
#include "proxy/config/load.h"
#include "proxy/test_support.h"

namespace monopod::proxy {
namespace {

enum class Protocol : std::uint8_t { kHttp1, kChunks, kHttp2, kTcp };  // kChunks: HTTP/1.1, the answer in chunks
enum class Step : std::uint8_t { kFirst, kRest, kHalfClose, kClose, kReset, kCancel, kTimeout, kListenerGoes, kDrain };
using Script = std::vector<Step>;
struct Event {
  enum Actor : std::uint8_t { kClient, kServer, kProxy } actor;
  Step step;
};
using Order = std::vector<Event>;

constexpr std::string_view kHalves[] = {"first-half", "other-half"};
constexpr int kSettleMs = 5'000;
constexpr unsigned kShare = 23, kTimedShare = 199;  // of the orders, one in so many is tried

// What comes after the head and half of a request.
const std::vector<Script> kClientScripts = {{},
                                            {Step::kRest},
                                            {Step::kRest, Step::kHalfClose},
                                            {Step::kRest, Step::kClose},
                                            {Step::kRest, Step::kReset},
                                            {Step::kHalfClose},
                                            {Step::kReset},
                                            {Step::kCancel},
                                            {Step::kRest, Step::kCancel}};
const std::vector<Script> kServerScripts = {{},
                                            {Step::kFirst, Step::kRest},
                                            {Step::kFirst, Step::kRest, Step::kClose},
                                            {Step::kFirst, Step::kHalfClose},
                                            {Step::kFirst, Step::kClose},
                                            {Step::kFirst, Step::kReset},
                                            {Step::kFirst, Step::kCancel},
                                            {Step::kClose},
                                            {Step::kReset},
                                            {Step::kCancel}};
const std::vector<Script> kProxyScripts = {{}, {Step::kListenerGoes}, {Step::kDrain}, {Step::kTimeout}};

std::string_view name_of(Step step) {
  constexpr std::string_view kNames[] = {"first", "rest", "half-close", "close", "reset", "cancel", "timeout", "listener-goes", "drain"};
  return kNames[static_cast<std::size_t>(step)];
}

std::string describe(const Order& order) {
  std::string out;
  for (const Event& event : order) out += cat(out.empty() ? "" : " ", event.actor == Event::kClient ? "client:" : event.actor == Event::kServer ? "server:" : "", name_of(event.step));
  return out;
}

bool has(const Script& script, Step step) { return std::ranges::find(script, step) != script.end(); }

// All merges of three scripts that keep each one's order.
void merge(const Script& client, const Script& server, const Script& proxy, Order& so_far, const std::function<void(const Order&)>& each) {
  if (client.empty() && server.empty() && proxy.empty()) return each(so_far);
  const Script* scripts[] = {&client, &server, &proxy};
  for (int who = 0; who < 3; ++who) {
    if (scripts[who]->empty()) continue;
    Script rest(scripts[who]->begin() + 1, scripts[who]->end());
    so_far.push_back({static_cast<Event::Actor>(who), scripts[who]->front()});
    merge(who == 0 ? rest : client, who == 1 ? rest : server, who == 2 ? rest : proxy, so_far, each);
    so_far.pop_back();
  }
}

constexpr int kData = 0, kHeaders = 1, kRstStream = 3, kSettings = 4, kEndStream = 1, kEndHeaders = 4;
const std::string kCancelled = frame(kRstStream, 0, 1, std::string_view("\0\0\0\x08", 4));

std::string request_bytes(Protocol protocol, Step step) {
  if (step == Step::kCancel) return kCancelled;
  bool first = step == Step::kFirst;
  if (protocol != Protocol::kHttp2) return first ? "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 8\r\n\r\nhalf" : "rest";
  if (!first) return frame(kData, kEndStream, 1, "rest");
  std::string_view fields("\x83\x86\x84\x41\x06" "a.test");  // POST, http, "/", authority (RFC 7541 appendix A)
  return cat(kPreface, frame(kSettings, 0, 0, ""), frame(kHeaders, kEndHeaders, 1, fields), frame(kData, 0, 1, "half"));
}

std::string answer_bytes(Protocol protocol, Step step) {
  if (step == Step::kCancel) return kCancelled;
  bool first = step == Step::kFirst;
  std::string_view half = kHalves[first ? 0 : 1];
  if (protocol == Protocol::kHttp2)
    return first ? cat(frame(kSettings, 0, 0, ""), frame(kHeaders, kEndHeaders, 1, "\x88"), frame(kData, 0, 1, half)) : frame(kData, kEndStream, 1, half);
  if (protocol == Protocol::kChunks) return first ? cat("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n", half, "\r\n") : cat("a\r\n", half, "\r\n0\r\n\r\n");
  return first ? cat("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n", half) : std::string(half);
}

// Of a client, from whichever end of a connection; bytes that came are kept.
class End {
 public:
  void take(sys::Fd fd) {
    ::fcntl(fd.get(), F_SETFL, O_NONBLOCK);
    fd_ = std::move(fd);
    received_.clear();
  }
  bool is_open() const { return static_cast<bool>(fd_); }
  void act(Step step, const std::string& bytes) {
    if (!fd_) return;
    read();
    switch (step) {
      case Step::kHalfClose: ::shutdown(fd_.get(), SHUT_WR); return;
      case Step::kClose: return fd_.reset();
      case Step::kReset: {
        sockaddr nobody{.sa_family = AF_UNSPEC, .sa_data = {}};
        ::connect(fd_.get(), &nobody, sizeof nobody);
        return fd_.reset();
      }
      default: (void)!::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    }
  }
  const std::string& read() {
    char bytes[4096];
    for (ssize_t n; fd_ && (n = ::recv(fd_.get(), bytes, sizeof bytes, 0)) > 0;) received_.append(bytes, static_cast<std::size_t>(n));
    return received_;
  }

 private:
  sys::Fd fd_;
  std::string received_;
};

bool ends_stream(std::string_view bytes) {
  while (bytes.size() >= 9) {
    std::size_t size = 0;
    for (char byte : bytes.substr(0, 3)) size = size << 8 | static_cast<unsigned char>(byte);
    if ((bytes[3] == kData || bytes[3] == kHeaders) && (bytes[4] & kEndStream) != 0) return true;
    bytes.remove_prefix(std::min(bytes.size(), 9 + size));
  }
  return false;
}

// Whether what a client of this protocol got is an answer of the server's, to its end.
bool looks_whole(Protocol protocol, const std::string& got) {
  if (got.find(kHalves[0]) == std::string::npos) return false;
  if (protocol == Protocol::kHttp2) return ends_stream(got);
  if (got.find("hunked") != std::string::npos) return got.ends_with("0\r\n\r\n");
  return got.size() - (got.find("\r\n\r\n") + 4) >= 20;
}

// A proxy between a client and a server that both are the test.
class World {
 public:
  World(Protocol client, Protocol server) : client_protocol_(client), server_protocol_(server), listening_(listen(server_port_)) {
    sys::Fd spare = listen(port_);
    spare.reset();
    auto started = Proxy::start({.workers = 0});
    EXPECT_TRUE(started);
    proxy_ = std::move(*started);
  }

  void run(const Order& order, bool timed) {
    configure(timed ? "4ms" : "0", true);
    client_.take(connect());
    client_.act(Step::kFirst, request_bytes(client_protocol_, Step::kFirst));
    settle();
    for (const Event& event : order) {
      if (!server_.is_open()) accept();
      if (event.actor == Event::kClient) client_.act(event.step, request_bytes(client_protocol_, event.step));
      else if (event.actor == Event::kServer) server_.act(event.step, answer_bytes(server_protocol_, event.step));
      else happen(event.step);
      settle();
    }
  }
  // What the client has got, once it is complete where it has to be.
  std::string answer(bool complete) {
    until([&] { return !complete || looks_whole(client_protocol_, client_.read()); });
    return client_.read();
  }
  void end() {
    accept();
    client_.act(Step::kClose, "");
    server_.act(Step::kClose, "");
    EXPECT_TRUE(until([&] { return worker().connections() == 0 && active().empty(); })) << worker().connections() << " connections of clients; " << active();
  }
  bool serves() {
    configure("0", true);
    client_.take(connect());
    client_.act(Step::kFirst, cat(request_bytes(client_protocol_, Step::kFirst), request_bytes(client_protocol_, Step::kRest)));
    if (!until([&] { accept(); return server_.is_open(); })) return false;
    server_.act(Step::kFirst, cat(answer_bytes(server_protocol_, Step::kFirst), answer_bytes(server_protocol_, Step::kRest)));
    return until([&] { return looks_whole(client_protocol_, client_.read()); });
  }

 private:
  static sys::Fd listen(std::uint16_t& port) {
    Result<sys::Fd> fd = listen_on(*Address::parse("127.0.0.1:0"), false);
    port = Address::of(fd->get())->port();
    return std::move(*fd);
  }
  Worker& worker() { return proxy_->own_worker(); }
  void settle() {
    pollfd look{worker().poll_fd(), POLLIN, 0};
    for (int turns = 0; turns < 1'000; ++turns)
      if (!worker().turn() && ::poll(&look, 1, 0) == 0) return;
    ADD_FAILURE() << "the worker never has nothing to do";
  }
  template <typename F>
  bool until(F done) {
    auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(kSettleMs);
    do {
      settle();
      if (done()) return true;
      pollfd look{worker().poll_fd(), POLLIN, 0};
      ::poll(&look, 1, 5);
    } while (std::chrono::steady_clock::now() < end);
    return false;
  }
  // Gauges that are not zero.
  std::string active() {
    std::string text, out;
    worker().append_metrics(text);
    for (std::string_view line : split(text, '\n'))
      if (!line.starts_with('#') && (line.find("_active{") != std::string_view::npos || line.find("_pending{") != std::string_view::npos) && !line.ends_with(" 0")) out += cat(line, "; ");
    return out;
  }
  void configure(std::string_view timeout, bool with_listener) {
    std::string yaml = cat("clusters: [{name: x, endpoints: [\"127.0.0.1:", server_port_, "\"], http2: ", server_protocol_ == Protocol::kHttp2 ? "true" : "false", "}]\n");
    if (with_listener) {
      yaml += cat("listeners: [{name: web, address: \"127.0.0.1:", port_, "\", ");
      if (client_protocol_ == Protocol::kTcp) yaml += "protocol: tcp, cluster: x}]\n";
      else yaml += cat("http2: true, virtual_hosts: [{routes: [{prefix: /, cluster: x, timeout: ", timeout, "}]}]}]\n");
    }
    if (yaml == configured_) return;
    configured_ = yaml;
    auto loaded = load_sources({.yaml = yaml}, "test", proxy_->snapshot().get());
    ASSERT_TRUE(loaded) << loaded.error().message();
    ASSERT_TRUE(proxy_->apply(loaded->snapshot));
    settle();
  }
  void happen(Step step) {
    if (step == Step::kListenerGoes) configure("0", false);
    if (step == Step::kDrain) worker().begin_drain();
    if (step == Step::kTimeout) wait_for_alarm();
  }
  // Until a timer is due, if one is soon; a tick of the wheel is 8 ms.
  void wait_for_alarm() {
    pollfd look{worker().poll_fd(), POLLIN, 0};
    for (int looks = 0; looks < 3 && ::poll(&look, 1, 30) > 0; ++looks) settle();  // the wheel may look before it is due
  }
  sys::Fd connect() const {
    sys::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    Address to = *Address::parse(cat("127.0.0.1:", port_));
    EXPECT_EQ(::connect(fd.get(), to.get(), to.size), 0);
    return fd;
  }
  void accept() {
    sys::Fd fd(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (fd) server_.take(std::move(fd));
  }

  Protocol client_protocol_, server_protocol_;
  std::uint16_t server_port_ = 0, port_ = 0;  // before what sets them
  sys::Fd listening_;
  std::unique_ptr<Proxy> proxy_;
  std::string configured_;
  End client_, server_;
};

struct Pair {
  const char* name;
  Protocol client, server;
};

class HardeningH7 : public testing::TestWithParam<Pair> {
 protected:
  void SetUp() override { world_ = std::make_unique<World>(GetParam().client, GetParam().server); }

  bool applies(const Script& client, const Script& server) const {
    return (GetParam().client == Protocol::kHttp2 || !has(client, Step::kCancel)) && (GetParam().server == Protocol::kHttp2 || !has(server, Step::kCancel));
  }
  void check(const Script& client, const Script& server, const Script& proxy, const Order& order) {
    SCOPED_TRACE(describe(order));
    world_->run(order, has(proxy, Step::kTimeout));
    bool server_said_all = has(server, Step::kRest);
    bool client_waits = has(client, Step::kRest) && !has(client, Step::kClose) && !has(client, Step::kReset) && !has(client, Step::kCancel);
    if (GetParam().client == Protocol::kHttp2 && has(client, Step::kHalfClose)) client_waits = false;  // it can open no window any more: taken as gone
    bool must_arrive = GetParam().client != Protocol::kTcp && server_said_all && client_waits && proxy.empty();
    std::string got = world_->answer(must_arrive);
    if (must_arrive) EXPECT_TRUE(looks_whole(GetParam().client, got)) << got;
    else if (GetParam().client != Protocol::kTcp && !server_said_all) EXPECT_FALSE(looks_whole(GetParam().client, got)) << got;
    world_->end();
    if (has(proxy, Step::kDrain)) world_ = std::make_unique<World>(GetParam().client, GetParam().server);  // it takes nobody any more
    EXPECT_TRUE(world_->serves()) << "afterwards";
    world_->end();
  }
  std::unique_ptr<World> world_;
};

TEST_P(HardeningH7, EndAsTheyShould) {
  bool all = std::getenv("MONOPOD_LONG") != nullptr;
  unsigned number = 0, tried = 0;
  for (const Script& client : kClientScripts)
    for (const Script& server : kServerScripts)
      for (const Script& proxy : kProxyScripts) {
        if (!applies(client, server)) continue;
        Order order;
        merge(client, server, proxy, order, [&](const Order& one) {
          if (HasFailure() || (!all && ++number % (has(proxy, Step::kTimeout) ? kTimedShare : kShare) != 0)) return;
          ++tried;
          check(client, server, proxy, one);
        });
      }
  RecordProperty("orders", static_cast<int>(tried));
  EXPECT_GT(tried, 20U);
}

INSTANTIATE_TEST_SUITE_P(Protocols, HardeningH7,
                         testing::Values(Pair{"Http1", Protocol::kHttp1, Protocol::kHttp1}, Pair{"Http1Chunks", Protocol::kHttp1, Protocol::kChunks}, Pair{"Http1ToHttp2", Protocol::kHttp1, Protocol::kHttp2},
                                         Pair{"Http2ToHttp1", Protocol::kHttp2, Protocol::kHttp1}, Pair{"Http2ToChunks", Protocol::kHttp2, Protocol::kChunks}, Pair{"Http2", Protocol::kHttp2, Protocol::kHttp2},
                                         Pair{"Tcp", Protocol::kTcp, Protocol::kHttp1}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace monopod::proxy
