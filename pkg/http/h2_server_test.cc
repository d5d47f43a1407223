// HTTP/2 from a hostile or odd client: raw frames in, the connection's end out.
#include <boost/asio/post.hpp>

#include "base/rng.h"
#include "http/test_support.h"

namespace monopod::http {
namespace {

using namespace std::chrono_literals;
using async::FakeTime;
using async::Loop;
using async::Scope;
using async::Task;

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

enum Type : std::uint8_t { kData, kHeaders, kPriority, kReset, kSettings, kPush, kPing, kGoAway, kWindow, kContinuation };
constexpr std::uint8_t kEndStream = 1;
constexpr std::uint8_t kEndHeaders = 4;
constexpr std::uint32_t kEnhanceYourCalm = 11;

std::string big_endian(std::uint64_t value, int bytes) {
  std::string out;
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) out += static_cast<char>(value >> static_cast<unsigned>(shift) & 0xffU);
  return out;
}
std::string frame(Type type, std::uint8_t flags, std::uint32_t stream, std::string_view payload) {
  return cat(big_endian(payload.size(), 3), static_cast<char>(type), static_cast<char>(flags), big_endian(stream, 4), payload);
}
std::string literal(std::string_view name, std::string_view value) {
  return cat('\0', static_cast<char>(name.size()), name, static_cast<char>(value.size()), value);
}
// ":method GET, :scheme http" are static table entries; path as a literal.
std::string head(std::string_view path) { return cat("\x82\x86", literal(":path", path), literal(":authority", "a")); }
std::string get(std::uint32_t stream, std::string_view path) { return frame(kHeaders, kEndStream | kEndHeaders, stream, head(path)); }
std::string start() { return cat(kPreface, frame(kSettings, 0, 0, "")); }

struct Frame {
  std::uint8_t type = 0;
  std::uint8_t flags = 0;
  std::uint32_t stream = 0;
  std::string payload{};
};
std::vector<Frame> parse(std::string_view bytes) {
  std::vector<Frame> out;
  auto number = [&](std::size_t at, int n) {
    std::uint32_t value = 0;
    for (int i = 0; i < n; ++i) value = value << 8U | static_cast<unsigned char>(bytes[at + static_cast<std::size_t>(i)]);
    return value;
  };
  while (bytes.size() >= 9) {
    std::size_t size = number(0, 3);
    if (bytes.size() < 9 + size) break;
    out.push_back({static_cast<std::uint8_t>(bytes[3]), static_cast<std::uint8_t>(bytes[4]), number(5, 4), std::string(bytes.substr(9, size))});
    bytes.remove_prefix(9 + size);
  }
  return out;
}
std::optional<std::uint32_t> goaway_code(const std::vector<Frame>& frames) {
  for (const Frame& f : frames)
    if (f.type == kGoAway && f.payload.size() >= 8)
      return static_cast<std::uint32_t>(static_cast<unsigned char>(f.payload[7])) | static_cast<std::uint32_t>(static_cast<unsigned char>(f.payload[6])) << 8U;
  return std::nullopt;
}

template <typename F>
Task<Result<>> with_server(Loop& loop, Limits limits, F body) {
  FakeTime time(loop.executor());
  Scope scope(loop.executor());
  TestServer server(loop.executor(), scope, time, {.limits = limits});
  Result<> result = co_await body(server, time);
  scope.cancel();
  Result<> joined = co_await scope.join();
  co_return result;
}
template <typename F>
void run(F body, Limits limits = {}) {
  async::run_test([body, limits](Loop& loop) { return with_server(loop, limits, body); });
}

// Sends while reading, so that neither side's full socket stops the other; everything until the server closes, or `until` frames match.
Task<Result<>> send_all(RawClient& raw, std::string bytes) {
  Result<> sent = co_await raw.send(std::move(bytes));
  co_return co_await raw.shutdown();
}
Task<Result<>> collect(RawClient& raw, std::string& into) {
  CO_TRY_ASSIGN(into, co_await raw.read_to_end());
  co_return Result<>();
}
Task<Result<std::vector<Frame>>> attack(TestServer& server, std::string bytes) {
  CO_TRY_ASSIGN(RawClient raw, co_await server.connect());
  std::string answer;
  Scope scope(server.executor);
  scope.spawn(send_all(raw, start() + bytes));
  scope.spawn(collect(raw, answer));
  CO_TRY(co_await scope.join());
  co_return parse(answer);
}

Task<Result<>> rapid_reset(TestServer& server, FakeTime&) {
  std::string bytes;
  for (std::uint32_t i = 0; i < 1000; ++i) bytes += get(2 * i + 1, "/hang") + frame(kReset, 0, 2 * i + 1, big_endian(8, 4));
  CO_TRY_ASSIGN(std::vector<Frame> frames, co_await attack(server, bytes));
  EXPECT_EQ(goaway_code(frames), kEnhanceYourCalm);
  CO_TRY(co_await wait_until(server.handler.changed, [&] { return server.handler.live == 0; }));
  co_return Result<>();
}
TEST(H2Server, RapidResetEndsTheConnection) { run(rapid_reset); }

Task<Result<>> floods(TestServer& server, FakeTime&) {
  struct Row {
    const char* name;
    std::string one;
    std::string before;
  };
  for (const Row& row : {Row{"ping", frame(kPing, 0, 0, "12345678"), ""}, Row{"settings", frame(kSettings, 0, 0, ""), ""},
                         Row{"priority", frame(kPriority, 0, 1, std::string(5, '\0')), get(1, "/hang")},
                         Row{"empty data", frame(kData, 0, 1, ""), frame(kHeaders, kEndHeaders, 1, head("/echo"))}}) {
    std::string bytes = row.before;
    for (int i = 0; i < 5000; ++i) bytes += row.one;
    CO_TRY_ASSIGN(std::vector<Frame> frames, co_await attack(server, bytes));
    EXPECT_TRUE(goaway_code(frames).has_value()) << row.name;
  }
  co_return Result<>();
}
TEST(H2Server, ControlFloodsEndTheConnection) { run(floods); }

Task<Result<>> within_budget(TestServer& server, FakeTime&) {
  std::string bytes;
  for (std::uint32_t i = 0; i < 400; ++i) bytes += get(2 * i + 1, "/hang") + frame(kReset, 0, 2 * i + 1, big_endian(8, 4));
  for (int i = 0; i < 1500; ++i) bytes += frame(kPing, 0, 0, "12345678");
  bytes += get(1001, "/") + frame(kGoAway, 0, 0, std::string(8, '\0'));
  CO_TRY_ASSIGN(RawClient raw, co_await server.connect());
  CO_TRY(co_await raw.send(start() + bytes));
  CO_TRY_ASSIGN(std::string answer, co_await raw.read_until("hello\n"));
  EXPECT_FALSE(goaway_code(parse(answer)).has_value());
  co_return Result<>();
}
TEST(H2Server, BusyButHonestPeersStayWithinTheBudgets) { run(within_budget); }

Task<Result<>> malformed(TestServer& server, FakeTime&) {
  std::string many_settings;
  for (int i = 0; i < 1000; ++i) many_settings += cat(big_endian(3, 2), big_endian(100, 4));
  std::string continuations = frame(kHeaders, 0, 1, head("/"));
  for (int i = 0; i < 2000; ++i) continuations += frame(kContinuation, 0, 1, literal("x", "y"));
  struct Row {
    const char* name;
    std::string bytes;
  };
  for (const Row& row : {Row{"even stream id", get(2, "/")}, Row{"data on idle stream", frame(kData, 0, 5, "x")},
                         Row{"settings of 1000 entries", frame(kSettings, 0, 0, many_settings)}, Row{"continuation flood", continuations},
                         Row{"window overflow", frame(kWindow, 0, 0, big_endian(0x7fffffff, 4))}, Row{"window of zero", frame(kWindow, 0, 0, big_endian(0, 4))},
                         Row{"oversized frame", frame(kData, 0, 1, std::string(20'000, 'x'))}, Row{"push from client", frame(kPush, 4, 1, big_endian(2, 4))},
                         Row{"broken hpack", frame(kHeaders, kEndHeaders | kEndStream, 1, "\xff\xff\xff\xff\xff\xff")},
                         Row{"settings ack with payload", frame(kSettings, 1, 0, "123456")}, Row{"ping of 7 bytes", frame(kPing, 0, 0, "1234567")}}) {
    CO_TRY_ASSIGN(std::vector<Frame> frames, co_await attack(server, row.bytes));
    EXPECT_TRUE(goaway_code(frames).has_value()) << row.name;
  }
  co_return Result<>();
}
TEST(H2Server, ProtocolErrorsEndTheConnection) { run(malformed); }

// The answer to a ping behind the request proves that the request was seen; its own answer may come later.
Task<Result<std::vector<Frame>>> ask(TestServer& server, std::string bytes) {
  CO_TRY_ASSIGN(RawClient raw, co_await server.connect());
  std::string ping = frame(kPing, 0, 0, "pingping");
  std::string seen;
  CO_TRY(co_await raw.send(start() + bytes + ping));
  for (int i = 0; i < 3; ++i) {
    CO_TRY_ASSIGN(std::string more, co_await raw.read_until("pingping"));
    seen += more;
    CO_TRY(co_await raw.send(ping));
  }
  co_return parse(seen);
}

Task<Result<>> bad_requests(TestServer& server, FakeTime&) {
  auto headers = [](std::string_view block) { return frame(kHeaders, kEndHeaders | kEndStream, 1, block); };
  std::string base = cat("\x82\x86", literal(":authority", "a"));
  struct Row {
    const char* name;
    std::string bytes;
  };
  for (const Row& row : {Row{"no path", headers(base)}, Row{"space in path", headers(base + literal(":path", "/a b"))},
                         Row{"path without slash", headers(base + literal(":path", "x"))}, Row{"upper-case name", headers(head("/") + literal("X", "y"))},
                         Row{"connection field", headers(head("/") + literal("connection", "close"))},
                         Row{"transfer-encoding", headers(head("/") + literal("transfer-encoding", "chunked"))},
                         Row{"cr lf in value", headers(head("/") + literal("x", "a\r\nb: c"))}, Row{"two paths", headers(head("/") + literal(":path", "/b"))},
                         Row{"empty name", headers(head("/") + literal("", "y"))}, Row{"unknown pseudo", headers(head("/") + literal(":x", "y"))},
                         Row{"pseudo after field", headers(cat("\x82\x86", literal("x", "y"), literal(":path", "/")))}}) {
    int before = server.handler.ended;
    CO_TRY_ASSIGN(std::vector<Frame> frames, co_await ask(server, row.bytes));
    bool hello = std::ranges::any_of(frames, [](const Frame& f) { return f.type == kData && f.payload == "hello\n"; });
    EXPECT_FALSE(hello) << row.name;
    EXPECT_EQ(server.handler.ended, before) << row.name;
  }
  co_return Result<>();
}
TEST(H2Server, BadRequestsNeverReachTheHandler) { run(bad_requests); }

Task<Result<>> too_many_streams(TestServer& server, FakeTime&) {
  std::string bytes;
  for (std::uint32_t i = 0; i < 6; ++i) bytes += get(2 * i + 1, "/hang");
  bytes += frame(kSettings, 1, 0, "");
  CO_TRY_ASSIGN(RawClient raw, co_await server.connect());
  CO_TRY(co_await raw.send(start()));
  CO_TRY_ASSIGN(std::string settings, co_await raw.read_until(std::string("\0\0\0\4\1\0\0\0\0", 9)));
  CO_TRY(co_await raw.send(bytes));
  CO_TRY(co_await wait_until(server.handler.changed, [&] { return server.handler.live == 4; }));
  CO_TRY(co_await raw.send(frame(kPing, 0, 0, "pingping")));
  CO_TRY_ASSIGN(std::string answer, co_await raw.read_until("pingping"));
  EXPECT_EQ(server.handler.live, 4) << "the limit of four holds";
  co_return Result<>();
}
TEST(H2Server, StreamsPastTheLimitAreRefused) {
  Limits limits;
  limits.concurrent_streams_max = 4;
  run(too_many_streams, limits);
}

Task<Result<>> advance(TestServer& server, FakeTime& time, Duration total) {
  for (Duration step = 1s; total > Duration{}; total -= step) {
    time.advance(step);
    for (int i = 0; i < 20; ++i) co_await async::asio::post(server.executor, async::use_task);
  }
  co_return Result<>();
}

Task<Result<>> closed_window(TestServer& server, FakeTime& time) {
  // SETTINGS_INITIAL_WINDOW_SIZE 0, and never a WINDOW_UPDATE: the writer queues its bound and waits, then is cut.
  CO_TRY_ASSIGN(RawClient raw, co_await server.connect());
  CO_TRY(co_await raw.send(cat(kPreface, frame(kSettings, 0, 0, cat(big_endian(4, 2), big_endian(0, 4))), get(1, "/trickle"))));
  CO_TRY(co_await wait_until(server.handler.changed, [&] { return server.handler.live == 1; }));
  CO_TRY(co_await advance(server, time, 100s));
  EXPECT_EQ(server.handler.live, 1);
  EXPECT_LE(server.handler.written, 72U << 10);
  CO_TRY(co_await advance(server, time, 30s));
  EXPECT_EQ(server.handler.live, 0);
  co_return Result<>();
}
TEST(H2Server, AWindowThatNeverOpensBoundsAndEndsTheAnswer) { run(closed_window); }

Task<Result<>> silent_uploader(TestServer& server, FakeTime& time) {
  CO_TRY_ASSIGN(RawClient raw, co_await server.connect());
  CO_TRY(co_await raw.send(start() + frame(kHeaders, kEndHeaders, 1, cat("\x83\x86", literal(":path", "/echo"), literal(":authority", "a")))));
  CO_TRY(co_await wait_until(server.handler.changed, [&] { return server.handler.live == 1; }));
  CO_TRY(co_await advance(server, time, 110s));
  EXPECT_EQ(server.handler.live, 1);
  CO_TRY(co_await advance(server, time, 20s));
  EXPECT_EQ(server.handler.live, 0);
  CO_TRY(co_await raw.send(get(3, "/watch")));  // a started answer is not cut
  CO_TRY(co_await wait_until(server.handler.changed, [&] { return server.handler.live == 1; }));
  CO_TRY(co_await advance(server, time, 600s));
  EXPECT_EQ(server.handler.live, 1);
  co_return Result<>();
}
TEST(H2Server, AStalledUploadIsCutAndAQuietWatchIsNot) { run(silent_uploader); }

Task<Result<>> idle(TestServer& server, FakeTime& time) {
  CO_TRY_ASSIGN(RawClient raw, co_await server.connect());
  CO_TRY(co_await raw.send(start() + get(1, "/")));
  CO_TRY_ASSIGN(std::string hello, co_await raw.read_until("hello\n"));
  CO_TRY(co_await advance(server, time, 170s));
  EXPECT_EQ(server.server.stats().connections, 1U);
  CO_TRY(co_await advance(server, time, 20s));
  EXPECT_EQ(server.server.stats().connections, 0U);
  CO_TRY_ASSIGN(std::string end, co_await raw.read_to_end());
  EXPECT_EQ(goaway_code(parse(end)), 0U);
  co_return Result<>();
}
TEST(H2Server, IdleConnectionsGoAway) { run(idle); }

Task<Result<>> garbage(TestServer& server, FakeTime&) {
  const char* text = std::getenv("SEED");
  std::uint64_t seed = text != nullptr ? std::strtoull(text, nullptr, 10) : 4711;
  SeededRng rng(seed);
  for (int round = 0; round < 300; ++round) {
    std::string bytes = start();
    std::size_t frames = rng.below(20);
    for (std::size_t i = 0; i < frames; ++i) {
      std::string payload = rng.below(2) == 0 ? head("/echo") : std::string();
      while (rng.below(4) != 0) payload += static_cast<char>(rng.next());
      bytes += frame(static_cast<Type>(rng.below(11)), static_cast<std::uint8_t>(rng.below(64)), static_cast<std::uint32_t>(rng.below(8)), payload);
    }
    if (rng.below(3) == 0) bytes[rng.below(bytes.size())] = static_cast<char>(rng.next());
    CO_TRY_ASSIGN(RawClient raw, co_await server.connect());
    Result<> sent = co_await raw.send(bytes);
    CO_TRY(co_await raw.shutdown());
    Result<std::string> answer = co_await raw.read_to_end();
  }
  CO_TRY(co_await wait_until(server.handler.changed, [&] { return server.handler.live == 0; }));
  CO_TRY_ASSIGN(RawClient raw, co_await server.connect());
  CO_TRY(co_await raw.send(start() + get(1, "/")));
  CO_TRY_ASSIGN(std::string hello, co_await raw.read_until("hello\n"));
  co_return Result<>();
}
TEST(H2Server, GarbageNeverHurts) { run(garbage); }

}  // namespace
}  // namespace monopod::http
