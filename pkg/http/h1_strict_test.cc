// Request smuggling, second table (the first is in h1_server_test.cc): every row goes through a socket with a second request
// behind it that must stay unanswered. Then the same strictness of bodies and answers, byte by byte and without a socket.
#include "http/h1_strict.h"

#include "http/h1_parser.h"
#include "http/test_support.h"

namespace monopod::http {
namespace {

using async::FakeTime;
using async::Loop;
using async::Scope;
using async::Task;
using namespace std::string_literals;

struct Row {
  const char* name;
  std::string request;
  int status = 400;
};

std::string get(std::string_view fields) { return cat("GET / HTTP/1.1\r\nHost: a\r\n", fields, "\r\n"); }
std::string line(std::string_view request_line) { return cat(request_line, "\r\nHost: a\r\n\r\n"); }
std::string post(std::string_view fields, std::string_view body = {}) { return cat("POST /echo HTTP/1.1\r\nHost: a\r\n", fields, "\r\n", body); }
std::string chunked(std::string_view body) { return post("Transfer-Encoding: chunked\r\n", body); }

// Spellings of a framing that one parser sees and another does not.
std::vector<Row> framings() {
  return {
      {"te upper, cl", post("TRANSFER-ENCODING: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n")},
      {"te with tab before value, cl", post("Transfer-Encoding:\tchunked\r\nContent-Length: 5\r\n", "0\r\n\r\n")},
      {"te without space, cl", post("Transfer-Encoding:chunked\r\ncontent-length:5\r\n", "0\r\n\r\n")},
      {"te trailing comma", post("Transfer-Encoding: chunked,\r\n", "0\r\n\r\n")},
      {"te leading comma", post("Transfer-Encoding: , chunked\r\n", "0\r\n\r\n")},
      {"te with parameter", post("Transfer-Encoding: chunked;q=1\r\n", "0\r\n\r\n")},
      {"te chunked twice", post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n")},
      {"te identity, then chunked field", post("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")},
      {"te chunked, then identity field", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n")},
      {"te cow", post("Transfer-Encoding: cow\r\n", "0\r\n\r\n")},
      {"te empty", post("Transfer-Encoding:\r\n", "0\r\n\r\n")},
      {"te with form feed", post("Transfer-Encoding: chunked\x0c\r\n", "0\r\n\r\n")},
      {"te with nul", post("Transfer-Encoding: chunked\0\r\n"s, "0\r\n\r\n")},
      {"te not ascii", post("Transfer-Encoding: chunk\xc3\xa9" "d\r\n", "0\r\n\r\n")},
      {"te folded", post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n")},
      {"te folded in the name", post("Transfer-\r\n Encoding: chunked\r\n", "0\r\n\r\n")},
      {"te after bare lf", post("X: y\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")},
      {"te after bare cr", post("X: y\rTransfer-Encoding: chunked\r\n", "0\r\n\r\n")},
      {"te name with nul", post("Transfer-Encoding\0: chunked\r\n"s, "0\r\n\r\n")},
      {"te space before name", post("X: y\r\n Transfer-Encoding: chunked\r\n", "0\r\n\r\n")},
      {"cl equal in a list", post("Content-Length: 1,1\r\n", "a")},
      {"cl list with comma only", post("Content-Length: ,1\r\n", "a")},
      {"cl different in a list", post("Content-Length: 1, 2\r\n", "ab")},
      {"cl twice, other case", post("Content-Length: 1\r\ncontent-length: 1\r\n", "a")},
      {"cl decimal", post("Content-Length: 1.0\r\n", "a")},
      {"cl exponent", post("Content-Length: 1e0\r\n", "a")},
      {"cl underscore", post("Content-Length: 1_0\r\n", "a")},
      {"cl quoted", post("Content-Length: \"1\"\r\n", "a")},
      {"cl with parameter", post("Content-Length: 1;x\r\n", "a")},
      {"cl vertical tab", post("Content-Length: \x0b" "1\r\n", "a")},
      {"cl octal", post("Content-Length: 0o1\r\n", "a")},
      {"cl not ascii digits", post("Content-Length: \xd9\xa1\r\n", "a")},
      {"cl 2^64", post("Content-Length: 18446744073709551616\r\n", "a")},
      {"cl 2^64+1", post("Content-Length: 18446744073709551617\r\n", "a")},
      {"cl folded", post("Content-Length: 1\r\n 0\r\n", "a")},
      {"cl name with tab", post("Content-Length\t: 1\r\n", "a")},
      {"connection is no list", get("Connection: close;x\r\n")},
  };
}

std::vector<Row> heads() {
  std::vector<Row> rows = {
      {"lf first", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"cr first", "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"lf lf end", "GET / HTTP/1.1\r\nHost: a\n\r\n"},
      {"crlf cr end", "GET / HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n"},
      {"bare cr in the request line", "GET /\rX HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"bare lf in the request line", "GET /\nX HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"method empty", line(" / HTTP/1.1")},
      {"method quoted", line("\"GET\" / HTTP/1.1")},
      {"method not ascii", line("G\xc3\x8bT / HTTP/1.1")},
      {"method with nul", line("G\0T / HTTP/1.1"s)},
      {"method without end", line(std::string(33, 'A') + " / HTTP/1.1")},
      {"target empty", line("GET  HTTP/1.1")},
      {"target not ascii", line("GET /\xc3\xa4 HTTP/1.1")},
      {"target with del", line("GET /\x7f HTTP/1.1")},
      {"target with tab", line("GET /a\tb HTTP/1.1")},
      {"target of another scheme", line("GET file:///etc/passwd HTTP/1.1")},
      {"target without host", line("GET http:///x HTTP/1.1")},
      {"target with userinfo", line("GET http://u@a/x HTTP/1.1")},
      {"space after version", line("GET / HTTP/1.1 ")},
      {"version without minor", line("GET / HTTP/1"), 505},
      {"version 0.9", line("GET / HTTP/0.9"), 505},
      {"version 2.0", line("GET / HTTP/2.0"), 505},
      {"version with letters", line("GET / HTTP/1.x"), 505},
      {"version of another protocol", line("GET / ICAP/1.0")},
      {"host twice, equal", "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"},
      {"host list", "GET / HTTP/1.1\r\nHost: a, b/c\r\n\r\n"},
      {"host folded", "GET / HTTP/1.1\r\nHost:\r\n a\r\n\r\n"},
      {"host with nul", "GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n"s},
      {"host not ascii", "GET / HTTP/1.1\r\nHost: \xc3\xa4\r\n\r\n"},
      {"host with fragment", "GET / HTTP/1.1\r\nHost: a#b\r\n\r\n"},
      {"host missing beside its prefix", "GET / HTTP/1.1\r\nHost-: a\r\n\r\n"},
  };
  for (const char* c : {"(", ")", "<", ">", "@", ",", ";", "\\", "\"", "[", "]", "?", "=", "{", "}", "\x01", "\x1f", "\x7f", "\x80", "\xff"})
    rows.push_back({"separator in a name", get(cat("X", c, ": y\r\n"))});
  for (char c : {'\x01', '\x08', '\x0b', '\x0c', '\x0e', '\x1b', '\x1f'}) rows.push_back({"control in a value", get(cat("X: a", c, "b\r\n"))});
  return rows;
}

// After the head: the handler reads, and its error is the answer.
std::vector<std::string> broken_chunks() {
  return {
      "5 \r\nhello\r\n0\r\n\r\n", " 5\r\nhello\r\n0\r\n\r\n", "5\thello\r\n0\r\n\r\n", "5h\r\nhello\r\n0\r\n\r\n", "5,\r\nhello\r\n0\r\n\r\n", "5_0\r\nhello\r\n0\r\n\r\n",
      "5.0\r\nhello\r\n0\r\n\r\n", "\r\n5\r\nhello\r\n0\r\n\r\n", ";x\r\nhello\r\n0\r\n\r\n", "0X5\r\nhello\r\n0\r\n\r\n", "1000000000000005\r\nhello\r\n0\r\n\r\n",
      "10000000000000005\r\nhello\r\n0\r\n\r\n", "0000000000000005\r\nhello\r\n0\r\n\r\n", "5;\r\nhello\r\n0\r\n\r\n", "5;=x\r\nhello\r\n0\r\n\r\n", "5;a=\r\nhello\r\n0\r\n\r\n",
      "5;a b\r\nhello\r\n0\r\n\r\n", "5;a=\"b\r\nhello\r\n0\r\n\r\n", "5;a=\"b\nc\"\r\nhello\r\n0\r\n\r\n", "5;a=\"b\rc\"\r\nhello\r\n0\r\n\r\n", "5;a=\"b\r\nc\"\r\nhello\r\n0\r\n\r\n",
      "5;a\n0\r\n\r\n", "5\n\r\nhello\r\n0\r\n\r\n", "5\r\r\nhello\r\n0\r\n\r\n", "5\r\nhello0\r\n\r\n", "5\r\nhello\r0\r\n\r\n", "5\r\nhello\n\n0\r\n\r\n", "5\r\nhello\n\r0\r\n\r\n",
      "4\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\n\n", "5\r\nhello\r\n0\r\nX\r\n\r\n", "5\r\nhello\r\n0\r\nX : y\r\n\r\n", "5\r\nhello\r\n0\r\n X: y\r\n\r\n", "5\r\nhello\r\n0\r\nX: y\n\r\n\r\n",
      "5\r\nhello\r\n0\r\nX: a\rb\r\n\r\n", "5\r\nhello\r\n0\r\n: y\r\n\r\n", "5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n", "5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
      cat("5;", std::string(kChunkLineBytesMax, 'x'), "\r\nhello\r\n0\r\n\r\n"), cat("5\r\nhello\r\n0\r\nX: ", std::string(kTrailerBytesMax, 'y'), "\r\n\r\n"),
  };
}

Task<Result<>> refuse_all(Loop& loop) {
  FakeTime time(loop.executor());
  Scope scope(loop.executor());
  TestServer server(loop.executor(), scope, time, {});
  std::vector<Row> rows = framings();
  for (Row& row : heads()) rows.push_back(std::move(row));
  for (const std::string& body : broken_chunks()) rows.push_back({"chunks", chunked(body)});
  EXPECT_GE(rows.size(), 100U);
  for (const Row& row : rows) {
    CO_TRY_ASSIGN(RawClient raw, co_await server.connect());
    CO_TRY(co_await raw.send(row.request + "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"));
    CO_TRY(co_await raw.shutdown());
    CO_TRY_ASSIGN(std::string answer, co_await raw.read_to_end());
    EXPECT_TRUE(answer.starts_with(cat("HTTP/1.1 ", row.status, " "))) << row.name << ": " << row.request << "\n" << answer;
    EXPECT_EQ(answer.find("HTTP/1.1", 8), std::string::npos) << row.name << ": " << row.request << "\n" << answer;
    EXPECT_NE(answer.find("Connection: close"), std::string::npos) << row.name << ": " << row.request;
  }
  scope.cancel();
  co_return co_await scope.join();
}
TEST(H1Strict, RefusesEveryRowThroughASocketAndCloses) { async::run_test(refuse_all); }

// The whole of wire in pieces; what the body was, or the error.
Result<std::string> decode(BodyDecoder& decoder, std::string_view wire, std::size_t piece) {
  std::string input, body;
  while (!decoder.done()) {
    std::string out(7, '\0');
    TRY_ASSIGN(BodyDecoder::Progress progress, decoder.decode(input, std::as_writable_bytes(std::span(out))));
    body += out.substr(0, progress.produced);
    input.erase(0, progress.consumed);
    if (progress.consumed > 0) continue;
    if (wire.empty()) return fail(Code::kUnavailable, "cut short");
    input += wire.substr(0, piece);
    wire.remove_prefix(std::min(piece, wire.size()));
  }
  return body;
}

TEST(H1Strict, BrokenChunksAreBrokenHoweverTheyAreCut) {
  for (const std::string& wire : broken_chunks()) {
    for (std::size_t piece : {1U, 2U, 3U, 5U, 4096U, 100000U}) {
      BodyDecoder decoder(Framing::kChunked, 0);
      Result<std::string> body = decode(decoder, wire, piece);
      ASSERT_FALSE(body) << wire;
      EXPECT_EQ(body.error().code(), Code::kInvalidArgument) << piece << ": " << wire << ": " << body.error().message();
      EXPECT_FALSE(decoder.done());
    }
  }
}

TEST(H1Strict, OddButSoundChunksAreTaken) {
  for (const char* wire : {"5\r\nhello\r\n0\r\n\r\n", "005\r\nhello\r\n000\r\n\r\n", "2\r\nhe\r\n3\r\nllo\r\n0;x\r\nT: v\r\n\r\n", "5;a;b=c;d=\"e; f\"\r\nhello\r\n0\r\n\r\n",
                           "5;a = b\r\nhello\r\n0\r\nHost: gone\r\n\r\n"}) {
    for (std::size_t piece : {1U, 2U, 4096U}) {
      BodyDecoder decoder(Framing::kChunked, 0);
      Result<std::string> body = decode(decoder, wire, piece);
      ASSERT_TRUE(body) << wire << ": " << body.error().message();
      EXPECT_EQ(*body, "hello");
      EXPECT_FALSE(decoder.trailers().find("host"));
    }
  }
}

TEST(H1Strict, SizedAndEndlessBodiesTakeWhatIsTheirs) {
  std::string out(100, '\0');
  BodyDecoder sized(Framing::kLength, 5);
  EXPECT_EQ(sized.left(), 5U);
  auto first = sized.decode("hel", std::as_writable_bytes(std::span(out)));
  ASSERT_TRUE(first);
  EXPECT_EQ(first->produced, 3U);
  EXPECT_EQ(sized.left(), 2U);
  auto second = sized.decode("loGET", std::as_writable_bytes(std::span(out)));
  ASSERT_TRUE(second);
  EXPECT_EQ(second->consumed, 2U);
  EXPECT_TRUE(sized.done());
  BodyDecoder huge(Framing::kLength, 999'999'999'999'999'999U);
  EXPECT_EQ(huge.left(), 999'999'999'999'999'999U);
  BodyDecoder endless(Framing::kUntilClose, 0);
  auto all = endless.decode("0\r\n\r\n", std::as_writable_bytes(std::span(out)));
  ASSERT_TRUE(all);
  EXPECT_EQ(all->produced, 5U);
  EXPECT_FALSE(endless.done());
  EXPECT_TRUE(BodyDecoder(Framing::kNone, 0).done());
}

TEST(H1Strict, AnswersAreReadAsStrictly) {
  auto parse = [](std::string_view head) { return parse_response_head(head, "GET", Limits{}); };
  struct Sound {
    const char* head;
    int status;
    Framing framing;
  };
  for (const Sound& row : {Sound{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", 200, Framing::kLength}, Sound{"HTTP/1.1 200\r\nContent-Length: 3\r\n\r\n", 200, Framing::kLength},
                           Sound{"HTTP/1.1 200 \r\n\r\n", 200, Framing::kUntilClose}, Sound{"HTTP/1.0 599 Odd \xe4 reason\r\n\r\n", 599, Framing::kUntilClose},
                           Sound{"HTTP/1.1 204 No Content\r\n\r\n", 204, Framing::kNone}, Sound{"HTTP/1.1 500 x\r\nTransfer-Encoding: Chunked\r\n\r\n", 500, Framing::kChunked}}) {
    auto head = parse(row.head);
    ASSERT_TRUE(head) << row.head << head.error().message();
    EXPECT_EQ(head->status, row.status);
    EXPECT_EQ(head->framing, row.framing) << row.head;
  }
  for (const char* broken : {"HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 099 x\r\n\r\n", "HTTP/1.1 600 x\r\n\r\n", "HTTP/1.1  200 OK\r\n\r\n", "HTTP/1.1200 OK\r\n\r\n",
                             "HTTP/1.2 200 OK\r\n\r\n", "http/1.1 200 OK\r\n\r\n", "HTTP/1.1 200\tOK\r\n\r\n", "HTTP/1.1 200 O\nK\r\n\r\n", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
                             "HTTP/1.1 200 OK\r\nX : a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n",
                             "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
                             "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"})
    EXPECT_FALSE(parse(broken)) << broken;
}

TEST(H1Strict, CloseWinsOverKeepAlive) {
  for (const char* version : {"1.0", "1.1"}) {
    auto head = parse_request_head(cat("GET / HTTP/", version, "\r\nHost: a\r\nConnection: keep-alive, close\r\n\r\n"), Limits{});
    ASSERT_TRUE(head);
    EXPECT_FALSE(head->keep_alive) << version;
  }
}

}  // namespace
}  // namespace monopod::http
