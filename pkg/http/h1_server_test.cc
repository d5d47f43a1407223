// HTTP/1.1 as scripts: raw bytes in, the answer's bytes out. The refusals are rows of request smuggling history.
#include "http/h1_parser.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/rng.h"
#include <boost/asio/post.hpp>

#include "http/test_support.h"

namespace monopod::http {
namespace {

using namespace std::chrono_literals;
using async::FakeTime;
using async::Loop;
using async::Scope;
using async::Task;

// Runs body against a server on fake time, then cancels everything.
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

struct Row {
  const char* name;
  std::string request;
  const char* status;  // the last answer's status line start; then the connection closes
};

std::string get(std::string_view fields) { return cat("GET / HTTP/1.1\r\nHost: a\r\n", fields, "\r\n"); }
std::string post(std::string_view fields, std::string_view body) { return cat("POST /echo HTTP/1.1\r\nHost: a\r\n", fields, "\r\n", body); }

std::vector<Row> refusals() {
  using namespace std::string_literals;
  std::vector<Row> rows = {
      {"cl and te", post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), "400"},
      {"te and cl", post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "0\r\n\r\n"), "400"},
      {"two cl", post("Content-Length: 1\r\nContent-Length: 2\r\n", "ab"), "400"},
      {"two equal cl", post("Content-Length: 1\r\nContent-Length: 1\r\n", "a"), "400"},
      {"cl list", post("Content-Length: 1, 1\r\n", "a"), "400"},
      {"cl plus", post("Content-Length: +1\r\n", "a"), "400"},
      {"cl minus", post("Content-Length: -1\r\n", "a"), "400"},
      {"cl hex", post("Content-Length: 0x1\r\n", "a"), "400"},
      {"cl empty", post("Content-Length: \r\n", "a"), "400"},
      {"cl space inside", post("Content-Length: 1 0\r\n", "a"), "400"},
      {"cl overflow", post("Content-Length: 99999999999999999999\r\n", "a"), "400"},
      {"te identity", post("Transfer-Encoding: identity\r\n", ""), "400"},
      {"te chunked identity", post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"), "400"},
      {"te gzip chunked", post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), "400"},
      {"te twice", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), "400"},
      {"te xchunked", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), "400"},
      {"te quoted", post("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"), "400"},
      {"te vertical tab", post("Transfer-Encoding: \x0b" "chunked\r\n", "0\r\n\r\n"), "400"},
      {"te space before colon", post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), "400"},
      {"te tab before colon", post("Transfer-Encoding\t: chunked\r\n", "0\r\n\r\n"), "400"},
      {"te in 1.0", "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
      {"obs-fold", get("X: a\r\n b\r\n"), "400"},
      {"obs-fold tab", get("X: a\r\n\tb\r\n"), "400"},
      {"first field folded", "GET / HTTP/1.1\r\n X: a\r\nHost: a\r\n\r\n", "400"},
      {"bare lf lines", "GET / HTTP/1.1\nHost: a\n\n", "400"},
      {"bare lf after field", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", "400"},
      {"bare cr in value", get("X: a\rb\r\n"), "400"},
      {"cr cr lf", get("X: a\r\r\n"), "400"},
      {"nul in value", get("X: a\0b\r\n"s), "400"},
      {"nul in name", get("X\0: a\r\n"s), "400"},
      {"nul in target", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"s, "400"},
      {"del in value", get("X: a\x7f\r\n"), "400"},
      {"empty name", get(": a\r\n"), "400"},
      {"no colon", get("Xa\r\n"), "400"},
      {"name with space", get("X Y: a\r\n"), "400"},
      {"name with slash", get("X/Y: a\r\n"), "400"},
      {"name not ascii", get("X\xc3\xa4: a\r\n"), "400"},
      {"no host", "GET / HTTP/1.1\r\n\r\n", "400"},
      {"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"},
      {"host with slash", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400"},
      {"host with userinfo", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "400"},
      {"host with space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400"},
      {"two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
      {"tab in request line", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
      {"leading space", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
      {"no version", "GET /\r\nHost: a\r\n\r\n", "400"},
      {"four words", "GET / x HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
      {"lower-case version", "GET / http/1.1\r\nHost: a\r\n\r\n", "400"},
      {"version 1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", "505"},
      {"version 3", "GET / HTTP/3.0\r\nHost: a\r\n\r\n", "505"},
      {"version 1.10", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", "505"},
      {"fragment", "GET /#f HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
      {"no slash", "GET index HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
      {"star for get", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
      {"connect", "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
      {"method with colon", "GE:T / HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
      {"binary", "\x16\x03\x01\x02\x01\r\n\r\n", "400"},
  };
  // Broken chunks reach the handler as an error of its read; it returns it.
  for (const char* size : {"x", "0x5", "+5", "-5", " 5", "5 ", "5\t", "", "fffffffffffffffff", "5;a\x01", "5;a=\r"})
    rows.push_back({"chunk size", post("Transfer-Encoding: chunked\r\n", cat(size, "\r\nhello\r\n0\r\n\r\n")), "400"});
  rows.push_back({"chunk bare lf", post("Transfer-Encoding: chunked\r\n", "5\nhello\r\n0\r\n\r\n"), "400"});
  rows.push_back({"chunk extension newline", post("Transfer-Encoding: chunked\r\n", "5;a\nb\r\nhello\r\n0\r\n\r\n"), "400"});
  rows.push_back({"chunk longer", post("Transfer-Encoding: chunked\r\n", "3\r\nhello\r\n0\r\n\r\n"), "400"});
  rows.push_back({"chunk end bare lf", post("Transfer-Encoding: chunked\r\n", "5\r\nhello\n0\r\n\r\n"), "400"});
  rows.push_back({"trailer folded", post("Transfer-Encoding: chunked\r\n", "0\r\nX: a\r\n b\r\n\r\n"), "400"});
  rows.push_back({"trailer nul", post("Transfer-Encoding: chunked\r\n", "0\r\nX: \0\r\n\r\n"s), "400"});
  return rows;
}

Task<Result<>> refused(TestServer& server, FakeTime&) {
  for (const Row& row : refusals()) {
    CO_TRY_ASSIGN(RawClient raw, co_await server.connect());
    // A smuggled second request would be answered too.
    CO_TRY(co_await raw.send(row.request + "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"));
    CO_TRY(co_await raw.shutdown());
    CO_TRY_ASSIGN(std::string answer, co_await raw.read_to_end());
    EXPECT_TRUE(answer.starts_with(cat("HTTP/1.1 ", row.status, " "))) << row.name << ": " << answer;
    EXPECT_EQ(answer.find("HTTP/1.1", 8), std::string::npos) << row.name << ": " << answer;
    EXPECT_NE(answer.find("Connection: close"), std::string::npos) << row.name;
  }
  co_return Result<>();
}
TEST(H1Server, RefusesWhatSmugglesRequestsAndCloses) { run(refused); }

Task<Result<>> pipelined(TestServer& server, FakeTime&) {
  CO_TRY_ASSIGN(RawClient raw, co_await server.connect());
  CO_TRY(co_await raw.send(cat("\r\n", get(""), post("Content-Length: 3\r\n", "one"), post("Transfer-Encoding: chunked\r\n", "3;x=y\r\ntwo\r\n0\r\nT: v\r\n\r\n"),
                               "GET /none HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")));
  CO_TRY_ASSIGN(std::string answer, co_await raw.read_to_end());
  std::size_t hello = answer.find("hello");
  std::size_t one = answer.find("\r\n\r\none");
  std::size_t two = answer.find("\r\n\r\ntwo");
  EXPECT_TRUE(hello < one && one < two && two != std::string::npos) << answer;
  EXPECT_TRUE(answer.ends_with("\r\n\r\n")) << answer;
  co_return Result<>();
}
TEST(H1Server, AnswersPipelinedRequestsInOrder) { run(pipelined); }

Task<Result<>> byte_by_byte(TestServer& server, FakeTime&) {
  CO_TRY_ASSIGN(RawClient raw, co_await server.connect());
  std::string request = post("Transfer-Encoding: chunked\r\nConnection: close\r\n", "5\r\nhello\r\n0\r\n\r\n");
  for (char c : request) {
    CO_TRY(co_await raw.send(std::string(1, c)));
    for (int i = 0; i < 3; ++i) co_await async::asio::post(server.executor, async::use_task);
  }
  CO_TRY_ASSIGN(std::string answer, co_await raw.read_to_end());
  EXPECT_TRUE(answer.ends_with("\r\n\r\nhello")) << answer;
  co_return Result<>();
}
TEST(H1Server, UnderstandsOneByteAtATime) { run(byte_by_byte); }

Task<Result<>> expectations(TestServer& server, FakeTime&) {
  CO_TRY_ASSIGN(RawClient raw, co_await server.connect());
  CO_TRY(co_await raw.send(post("Content-Length: 5\r\nExpect: 100-continue\r\n", "")));
  CO_TRY_ASSIGN(std::string interim, co_await raw.read_until("\r\n\r\n"));
  EXPECT_EQ(interim, "HTTP/1.1 100 Continue\r\n\r\n");
  CO_TRY(co_await raw.send("hello"));
  CO_TRY_ASSIGN(std::string answer, co_await raw.read_until("hello"));
  // A handler that does not want the body answers at once and the connection ends.
  CO_TRY(co_await raw.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"));
  CO_TRY_ASSIGN(std::string refused_body, co_await raw.read_to_end());
  EXPECT_TRUE(refused_body.starts_with("HTTP/1.1 200 OK")) << refused_body;
  EXPECT_NE(refused_body.find("Connection: close"), std::string::npos);
  co_return Result<>();
}
TEST(H1Server, SaysContinueOnlyWhenTheBodyIsWanted) { run(expectations); }

Task<Result<>> unread_body(TestServer& server, FakeTime&) {
  CO_TRY_ASSIGN(RawClient raw, co_await server.connect());
  CO_TRY(co_await raw.send(cat("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n", std::string(1000, 'z'),
                               "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")));
  CO_TRY_ASSIGN(std::string answer, co_await raw.read_to_end());
  EXPECT_NE(answer.find("HTTP/1.1 200", 8), std::string::npos) << "the small unread body was drained, the next request answered";
  co_return Result<>();
}
TEST(H1Server, DrainsASmallUnreadBody) { run(unread_body); }

Task<Result<>> version_one_zero(TestServer& server, FakeTime&) {
  CO_TRY_ASSIGN(RawClient raw, co_await server.connect());
  CO_TRY(co_await raw.send("GET /stream?n=2 HTTP/1.0\r\n\r\n"));
  CO_TRY_ASSIGN(std::string answer, co_await raw.read_to_end());
  EXPECT_EQ(answer.find("Transfer-Encoding"), std::string::npos);
  EXPECT_TRUE(answer.ends_with(std::string(2000, 'x')));
  co_return Result<>();
}
TEST(H1Server, AnswersHttp10ByClosing) { run(version_one_zero); }

Task<Result<>> absolute(TestServer& server, FakeTime&) {
  CO_TRY_ASSIGN(RawClient raw, co_await server.connect());
  CO_TRY(co_await raw.send("GET http://real:81/headers?x HTTP/1.1\r\nHost: fake\r\nConnection: close\r\n\r\n"));
  CO_TRY_ASSIGN(std::string answer, co_await raw.read_to_end());
  EXPECT_NE(answer.find("GET /headers?x\n"), std::string::npos) << answer;
  EXPECT_NE(answer.find("host=real:81\n"), std::string::npos) << answer;
  co_return Result<>();
}
TEST(H1Server, AbsoluteTargetNamesTheHost) { run(absolute); }

Task<Result<>> gone(TestServer& server, FakeTime&) {
  auto idle = [&] { return server.handler.live == 0; };
  auto busy = [&] { return server.handler.live == 1; };
  CO_TRY_ASSIGN(RawClient waiting, co_await server.connect());
  CO_TRY(co_await waiting.send("GET /hang HTTP/1.1\r\nHost: a\r\n\r\n"));
  CO_TRY(co_await wait_until(server.handler.changed, busy));
  waiting.close();
  CO_TRY(co_await wait_until(server.handler.changed, idle));
  CO_TRY_ASSIGN(RawClient sender, co_await server.connect());
  CO_TRY(co_await sender.send(post("Content-Length: 100\r\n", "only half")));
  CO_TRY(co_await wait_until(server.handler.changed, busy));
  sender.close();
  CO_TRY(co_await wait_until(server.handler.changed, idle));
  EXPECT_EQ(server.handler.last_error, "request body: peer went away");
  co_return Result<>();
}
TEST(H1Server, HandlerEndsWhenThePeerVanishesMidBodyOrWaiting) { run(gone); }

// --- limits, at each and past it

Limits small_limits() {
  Limits limits;
  limits.header_bytes_max = 400;
  limits.header_fields_max = 4;
  limits.target_bytes_max = 100;
  limits.connections_max = 2;
  return limits;
}

Task<Result<std::string>> ask(TestServer& server, std::string request) {
  CO_TRY_ASSIGN(RawClient raw, co_await server.connect());
  CO_TRY(co_await raw.send(std::move(request)));
  CO_TRY_ASSIGN(std::string answer, co_await raw.read_until("\r\n"));
  raw.close();
  CO_TRY(co_await wait_until(server.handler.changed, [&] { return server.handler.live == 0; }));
  co_return answer;
}

Task<Result<>> head_limits(TestServer& server, FakeTime&) {
  auto with_fields = [](int n) {
    std::string fields;
    for (int i = 1; i < n; ++i) fields += cat("X", i, ": v\r\n");
    return get(fields);
  };
  auto with_bytes = [](std::size_t n) { return get(cat("X: ", std::string(n - 6, 'v'), "\r\n")); };  // Host: a is 5, X is 1
  auto with_target = [](std::size_t n) { return cat("GET /", std::string(n - 1, 't'), " HTTP/1.1\r\nHost: a\r\n\r\n"); };
  struct Case {
    const char* name;
    std::string request;
    int status;
  };
  for (const Case& c : {Case{"4 fields", with_fields(4), 200}, Case{"5 fields", with_fields(5), 431}, Case{"400 bytes", with_bytes(400), 200},
                        Case{"401 bytes", with_bytes(401), 431}, Case{"far too many bytes", with_bytes(4000), 431},
                        Case{"target of 100", with_target(100), 200}, Case{"target of 101", with_target(101), 414},
                        Case{"endless target", cat("GET /", std::string(3000, 't')), 414}}) {
    CO_TRY_ASSIGN(std::string line, co_await ask(server, c.request));
    EXPECT_TRUE(line.starts_with(cat("HTTP/1.1 ", c.status))) << c.name << ": " << line;
  }
  co_return Result<>();
}
TEST(H1Server, HeadLimitsHoldAtAndPast) {
  Limits limits = small_limits();
  limits.connections_max = 100;
  run(head_limits, limits);
}

Task<Result<>> connection_limit(TestServer& server, FakeTime&) {
  CO_TRY_ASSIGN(RawClient first, co_await server.connect());
  CO_TRY_ASSIGN(RawClient second, co_await server.connect());
  CO_TRY(co_await first.send(get("")));
  CO_TRY_ASSIGN(std::string one, co_await first.read_until("hello"));
  CO_TRY(co_await second.send(get("")));
  CO_TRY_ASSIGN(std::string two, co_await second.read_until("hello"));
  CO_TRY_ASSIGN(RawClient third, co_await server.connect());
  CO_TRY_ASSIGN(std::string nothing, co_await third.read_to_end());
  EXPECT_EQ(nothing, "");
  EXPECT_EQ(server.server.stats().connections, 2U);
  co_return Result<>();
}
TEST(H1Server, ConnectionsPastTheLimitAreClosedAtOnce) { run(connection_limit, small_limits()); }

Task<Result<>> turn(TestServer& server) {
  for (int i = 0; i < 20; ++i) co_await async::asio::post(server.executor, async::use_task);
  co_return Result<>();
}

// The sweeper looks every 5 s at most.
Task<Result<>> advance(TestServer& server, FakeTime& time, Duration total) {
  for (Duration step = 1s; total > Duration{}; total -= step) {
    time.advance(step);
    CO_TRY(co_await turn(server));
  }
  co_return Result<>();
}

Task<Result<>> slow_head(TestServer& server, FakeTime& time) {
  CO_TRY_ASSIGN(RawClient raw, co_await server.connect());
  CO_TRY(co_await raw.send("GET / HTTP/1.1\r\nHo"));
  CO_TRY(co_await wait_until(server.handler.changed, [&] { return true; }));
  CO_TRY(co_await turn(server));
  CO_TRY(co_await advance(server, time, 20s));
  EXPECT_EQ(server.server.stats().connections, 1U);
  CO_TRY(co_await advance(server, time, 20s));
  EXPECT_EQ(server.server.stats().connections, 0U);
  CO_TRY_ASSIGN(std::string nothing, co_await raw.read_to_end());
  EXPECT_EQ(nothing, "");
  co_return Result<>();
}
TEST(H1Server, SlowHeadsAreCutAtTheirDeadline) { run(slow_head); }

Task<Result<>> idle_connection(TestServer& server, FakeTime& time) {
  CO_TRY_ASSIGN(RawClient raw, co_await server.connect());
  CO_TRY(co_await raw.send(get("")));
  CO_TRY_ASSIGN(std::string hello, co_await raw.read_until("hello\n"));
  CO_TRY(co_await advance(server, time, 170s));
  EXPECT_EQ(server.server.stats().connections, 1U);
  CO_TRY(co_await advance(server, time, 20s));
  EXPECT_EQ(server.server.stats().connections, 0U);
  co_return Result<>();
}
TEST(H1Server, IdleConnectionsAreClosed) { run(idle_connection); }

Task<Result<>> stalled_body(TestServer& server, FakeTime& time) {
  CO_TRY_ASSIGN(RawClient raw, co_await server.connect());
  CO_TRY(co_await raw.send(post("Content-Length: 100\r\n", "half")));
  CO_TRY(co_await wait_until(server.handler.changed, [&] { return server.handler.live == 1; }));
  CO_TRY(co_await turn(server));
  CO_TRY(co_await advance(server, time, 110s));
  EXPECT_EQ(server.handler.live, 1);
  CO_TRY(co_await advance(server, time, 20s));
  EXPECT_EQ(server.handler.live, 0);
  co_return Result<>();
}
TEST(H1Server, AStalledBodyEndsItsHandler) { run(stalled_body); }

Task<Result<>> no_descriptors(TestServer& server, FakeTime& time) {
  sys::Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  rlimit old{};
  ::getrlimit(RLIMIT_NOFILE, &old);
  rlimit none{3, old.rlim_max};
  ::setrlimit(RLIMIT_NOFILE, &none);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(server.port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int connected = ::connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
  CO_TRY(co_await turn(server));
  std::uint64_t accepted_meanwhile = server.server.stats().accepted;
  ::setrlimit(RLIMIT_NOFILE, &old);
  EXPECT_EQ(connected, 0);
  EXPECT_EQ(accepted_meanwhile, 0U);
  CO_TRY(co_await advance(server, time, 1s));
  CO_TRY_ASSIGN(std::unique_ptr<Transport> transport, make_transport(server.executor, std::move(client)));
  RawClient raw(std::move(transport));
  CO_TRY(co_await raw.send(get("")));
  CO_TRY_ASSIGN(std::string hello, co_await raw.read_until("hello"));
  co_return Result<>();
}
TEST(H1Server, AcceptBacksOffWithoutDescriptorsAndRecovers) { run(no_descriptors); }

// --- garbage

Task<Result<>> garbage(TestServer& server, FakeTime&) {
  const char* text = std::getenv("SEED");
  std::uint64_t seed = text != nullptr ? std::strtoull(text, nullptr, 10) : 4711;
  SeededRng rng(seed);
  std::vector<Row> rows = refusals();
  for (int round = 0; round < 300; ++round) {
    std::string bytes = round % 3 == 0 ? std::string() : rows[rng.below(rows.size())].request;
    if (round % 5 == 0) bytes = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes;
    std::size_t edits = rng.below(12);
    for (std::size_t i = 0; i < edits; ++i) bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(rng.below(bytes.size() + 1)), static_cast<char>(rng.next()));
    if (!bytes.empty()) bytes[rng.below(bytes.size())] = static_cast<char>(rng.next());
    CO_TRY_ASSIGN(RawClient raw, co_await server.connect());
    Result<> sent = co_await raw.send(bytes);
    CO_TRY(co_await raw.shutdown());
    Result<std::string> answer = co_await raw.read_to_end();
  }
  CO_TRY_ASSIGN(std::string line, co_await ask(server, get("")));
  EXPECT_TRUE(line.starts_with("HTTP/1.1 200")) << "seed " << seed;
  co_return Result<>();
}
TEST(H1Server, GarbageNeverHurts) { run(garbage); }

// --- the decoder alone

TEST(BodyDecoder, GivesTheSameBodyHoweverTheInputIsCut) {
  std::string wire = "4;a=b\r\nWiki\r\n6\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n0\r\nX: y\r\n\r\nGET";
  for (std::size_t cut = 0; cut <= wire.size(); ++cut) {
    BodyDecoder decoder(Framing::kChunked, 0);
    std::string body;
    std::string input;
    for (std::string part : {wire.substr(0, cut), wire.substr(cut)}) {
      input += part;
      for (;;) {
        std::string out(5, '\0');
        auto progress = decoder.decode(input, std::as_writable_bytes(std::span(out)));
        ASSERT_TRUE(progress) << cut;
        body += out.substr(0, progress->produced);
        input.erase(0, progress->consumed);
        if (progress->consumed == 0 || decoder.done()) break;
      }
    }
    EXPECT_TRUE(decoder.done()) << cut;
    EXPECT_EQ(body, "Wikipedia in \r\n\r\nchunks.");
    EXPECT_EQ(input, "GET");
    EXPECT_EQ(decoder.trailers().find("x").value_or(""), "y");
  }
}

TEST(BodyDecoder, ExtensionsAreBounded) {
  BodyDecoder decoder(Framing::kChunked, 0);
  std::string line = "1;" + std::string(200, 'e') + "\r\na\r\n";
  std::string out(1, '\0');
  int chunks = 0;
  for (; chunks < 1000; ++chunks) {
    auto progress = decoder.decode(line, std::as_writable_bytes(std::span(out)));
    if (!progress) break;
    auto rest = decoder.decode(std::string_view(line).substr(progress->consumed), std::as_writable_bytes(std::span(out)));
    ASSERT_TRUE(rest);
  }
  EXPECT_EQ(chunks, (16 << 10) / 201);
}

TEST(Headers, ValuesCannotStartANewField) {
  Headers headers;
  headers.add("X", "a\r\nSet-Cookie: b");
  headers.set("Y", std::string("c\0d", 3));
  EXPECT_EQ(headers.find("x").value_or(""), "a  Set-Cookie: b");
  EXPECT_EQ(headers.find("y").value_or(""), "c d");
  headers.add("x", "second");
  EXPECT_EQ(headers.find_all("X").size(), 2U);
  headers.set("x", "only");
  EXPECT_EQ(headers.find_all("X").size(), 1U);
  headers.add("Connection", "keep-alive, Upgrade");
  EXPECT_TRUE(headers.has_token("connection", "upgrade"));
  EXPECT_FALSE(headers.has_token("connection", "keep"));
}

TEST(Query, DecodesAsGoDoes) {
  Query query = parse_query("a=1&b=x+y%20z&a=2&c&d=%zz&e;f=1&watch=true");
  EXPECT_EQ(query.get("a").value_or(""), "1");
  EXPECT_EQ(query.get_all("a").size(), 2U);
  EXPECT_EQ(query.get("b").value_or(""), "x y z");
  EXPECT_EQ(query.get("c").value_or("none"), "");
  EXPECT_FALSE(query.get("d"));
  EXPECT_FALSE(query.get("e;f"));
  EXPECT_TRUE(query.get_bool("watch"));
  EXPECT_FALSE(query.get_bool("absent"));
  EXPECT_EQ(decode_path("/a%2Fb+c").value_or(""), "/a/b+c");
  EXPECT_FALSE(decode_path("/%00"));
  EXPECT_FALSE(decode_path("/%4"));
  EXPECT_EQ(encode_query_component("a b&c/é"), "a%20b%26c%2F%C3%A9");
}

}  // namespace
}  // namespace monopod::http
