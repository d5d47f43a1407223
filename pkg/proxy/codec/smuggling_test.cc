// Requests that two servers could read differently, through a real socket: each is refused, the connection closed, and nothing reaches the endpoint.
#include "base/strings.h"
#include "proxy/test_support.h"

namespace monopod::proxy {
namespace {

struct Row {
  std::string name;
  std::string bytes;
  int status = 400;
};

std::string head(std::string_view fields) { return cat("POST / HTTP/1.1\r\nHost: a\r\n", fields, "\r\n"); }
std::string body(std::string_view chunks) { return head("Transfer-Encoding: chunked\r\n") + std::string(chunks); }

std::vector<Row> rows() {
  using namespace std::string_literals;
  std::vector<Row> out = {
      // Lengths.
      {"length beside chunks", head("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n"},
      {"chunks beside length", head("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n") + "0\r\n\r\n"},
      {"two lengths that differ", head("Content-Length: 5\r\nContent-Length: 6\r\n") + "aaaaaa"},
      {"two lengths that agree", head("Content-Length: 5\r\nContent-Length: 5\r\n") + "aaaaa"},
      {"a list of lengths", head("Content-Length: 5, 5\r\n") + "aaaaa"},
      {"a list of lengths that differ", head("Content-Length: 5, 6\r\n") + "aaaaa"},
      {"plus before a length", head("Content-Length: +5\r\n") + "aaaaa"},
      {"minus before a length", head("Content-Length: -5\r\n") + "aaaaa"},
      {"hexadecimal length", head("Content-Length: 0x5\r\n") + "aaaaa"},
      {"length with a fraction", head("Content-Length: 5.0\r\n") + "aaaaa"},
      {"length with an exponent", head("Content-Length: 1e1\r\n") + "aaaaaaaaaa"},
      {"empty length", head("Content-Length:\r\n")},
      {"blank length", head("Content-Length:  \r\n")},
      {"length that overflows", head("Content-Length: 18446744073709551617\r\n")},
      {"length of many digits", head("Content-Length: 000000000000000000000000000001\r\n") + "a"},
      {"length with a blank within", head("Content-Length: 1 0\r\n") + "aaaaaaaaaa"},
      {"length with an underscore", head("Content-Length: 1_0\r\n") + "aaaaaaaaaa"},
      {"length in quotes", head("Content-Length: \"5\"\r\n") + "aaaaa"},
      {"length with text behind", head("Content-Length: 5a\r\n") + "aaaaa"},
      {"length behind a vertical tab", head("Content-Length: \v5\r\n") + "aaaaa"},
      {"length behind a form feed", head("Content-Length: \f5\r\n") + "aaaaa"},
      {"length of other digits", head("Content-Length: \xd9\xa5\r\n") + "aaaaa"},
      {"length with a semicolon", head("Content-Length: 5;\r\n") + "aaaaa"},
      // Codings.
      {"identity", head("Transfer-Encoding: identity\r\n"), 501},
      {"chunked, identity", head("Transfer-Encoding: chunked, identity\r\n") + "0\r\n\r\n", 501},
      {"identity, chunked", head("Transfer-Encoding: identity, chunked\r\n") + "0\r\n\r\n", 501},
      {"gzip, chunked", head("Transfer-Encoding: gzip, chunked\r\n") + "0\r\n\r\n", 501},
      {"chunked twice in a list", head("Transfer-Encoding: chunked, chunked\r\n") + "0\r\n\r\n", 501},
      {"chunked in two fields", head("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n"},
      {"chunked and identity in two fields", head("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n") + "0\r\n\r\n"},
      {"xchunked", head("Transfer-Encoding: xchunked\r\n") + "0\r\n\r\n", 501},
      {"chunked with a parameter", head("Transfer-Encoding: chunked;q=1\r\n") + "0\r\n\r\n", 501},
      {"chunked in quotes", head("Transfer-Encoding: \"chunked\"\r\n") + "0\r\n\r\n", 501},
      {"empty coding", head("Transfer-Encoding:\r\n"), 501},
      {"a comma alone", head("Transfer-Encoding: ,\r\n"), 501},
      {"chunked behind a comma", head("Transfer-Encoding: ,chunked\r\n") + "0\r\n\r\n", 501},
      {"chunked behind a vertical tab", head("Transfer-Encoding: \vchunked\r\n") + "0\r\n\r\n"},
      {"chunked with NUL", head("Transfer-Encoding: chunked\0\r\n"s) + "0\r\n\r\n"},
      {"chunked in http/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
      {"coding with a blank before the colon", head("Transfer-Encoding : chunked\r\n") + "0\r\n\r\n"},
      {"coding with a tab before the colon", head("Transfer-Encoding\t: chunked\r\n") + "0\r\n\r\n"},
      {"coding behind a blank", head(" Transfer-Encoding: chunked\r\n") + "0\r\n\r\n"},
      {"length with a blank before the colon", head("Content-Length : 5\r\n") + "aaaaa"},
      {"coding with NUL in its name", head("Transfer\0-Encoding: chunked\r\n"s) + "0\r\n\r\n"},
      {"coding in a folded line", head("X: y\r\n Transfer-Encoding: chunked\r\n") + "0\r\n\r\n"},
      {"coding behind a bare line feed", head("X: y\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n"},
      {"coding behind a bare carriage return", head("X: y\rTransfer-Encoding: chunked\r\n") + "0\r\n\r\n"},
      // Lines.
      {"bare line feeds only", "GET / HTTP/1.1\nHost: a\n\n"},
      {"bare line feed behind the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n"},
      {"bare line feed at the head's end", "GET / HTTP/1.1\r\nHost: a\r\n\n"},
      {"bare carriage return in a value", head("X: a\rb\r\n")},
      {"bare carriage return at a value's end", head("X: a\r\r\n")},
      {"bare carriage return before the end", "GET / HTTP/1.1\r\nHost: a\r\n\rX\r\n"},
      {"folded line with a blank", head("X: a\r\n b\r\n")},
      {"folded line with a tab", head("X: a\r\n\tb\r\n")},
      {"folded first line", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"},
      {"NUL in a value", head("X: a\0b\r\n"s)},
      {"NUL in a name", head("X\0Y: a\r\n"s)},
      {"escape in a value", head("X: a\x1b[0m\r\n")},
      {"delete in a value", head("X: a\x7f\r\n")},
      {"backspace in a value", head("X: a\bb\r\n")},
      {"line without a colon", head("Xabc\r\n")},
      {"line with a colon alone", head(": a\r\n")},
      {"blank in a name", head("X Y: a\r\n")},
      {"slash in a name", head("X/Y: a\r\n")},
      {"parenthesis in a name", head("X(: a\r\n")},
      {"letters that are not ASCII in a name", head("X\xc3\xa9: a\r\n")},
      {"comma in a name", head("Content-Length,: 5\r\n")},
      {"two empty lines before the request", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"bare line feed before the request", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"},
      // Request lines.
      {"no version", "GET /\r\nHost: a\r\n\r\n"},
      {"http/0.9", "GET /\r\n\r\n"},
      {"two blanks before the target", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"two blanks before the version", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"tab before the target", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"blank in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"blank behind the version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"},
      {"blank before the method", " GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"version in lowercase", "GET / http/1.1\r\nHost: a\r\n\r\n"},
      {"version with two digits", "GET / HTTP/1.10\r\nHost: a\r\n\r\n"},
      {"version with a letter", "GET / HTTP/1.x\r\nHost: a\r\n\r\n"},
      {"version 1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505},
      {"version 2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
      {"version 3", "GET / HTTP/3\r\nHost: a\r\n\r\n", 505},
      {"version 0.9", "GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505},
      {"another protocol", "GET / ICAP/1.0\r\nHost: a\r\n\r\n"},
      {"method with a colon", "GE:T / HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"method of forty letters", "GETGETGETGETGETGETGETGETGETGETGETGETGET / HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"NUL in the target", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"s},
      {"delete in the target", "GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"target without a slash", "GET a HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"target of a query", "GET ?a HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"fragment in the target", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"star without OPTIONS", "GET * HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"another scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"absolute target without a host", "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"absolute target with a user", "GET http://u@a/x HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"connect", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501},
      {"two requests run together", "GET / HTTP/1.1GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"a TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and so on and on and on and on and on and on and on"s},
      // Hosts.
      {"no host", "GET / HTTP/1.1\r\n\r\n"},
      {"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"},
      {"two hosts that agree", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"},
      {"a list of hosts", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"},
      {"host with a blank", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"},
      {"host with a user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"},
      {"host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"},
      {"host with a query", "GET / HTTP/1.1\r\nHost: a?b\r\n\r\n"},
      {"host with a port that is none", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n"},
      {"host with two ports", "GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n"},
      {"host with an open bracket", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"},
      {"host with a zone", "GET / HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\n\r\n"},
      {"host with a backslash", "GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n"},
      {"host with a percent sign", "GET / HTTP/1.1\r\nHost: a%2eb\r\n\r\n"},
      // Hop by hop.
      {"connection names host", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, host\r\n\r\n"},
      {"connection names content-length", head("Content-Length: 5\r\nConnection: content-length\r\n") + "aaaaa"},
      {"connection names transfer-encoding", head("Transfer-Encoding: chunked\r\nConnection: transfer-encoding\r\n") + "0\r\n\r\n"},
      {"connection names x-forwarded-for", "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: b\r\nConnection: x-forwarded-for\r\n\r\n"},
      {"upgrade with a body", head("Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n") + "abc"},
      // Paths.
      {"path above the root", "GET /../etc HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"escaped path above the root", "GET /%2e%2e/etc HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"escaped slash", "GET /a%2fb HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"escaped backslash", "GET /a%5cb HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"backslash", "GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"escaped NUL", "GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"escaped line feed", "GET /a%0ab HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"escape of one digit", "GET /a%2 HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"escape that is none", "GET /a%zz HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"dots with a parameter", "GET /a/..;/b HTTP/1.1\r\nHost: a\r\n\r\n"},
      // Sizes.
      {"head of 20 KB", head(cat("X: ", std::string(20'000, 'a'), "\r\n")), 431},
      {"target of 9 KB", cat("GET /", std::string(9'000, 'a'), " HTTP/1.1\r\nHost: a\r\n\r\n"), 414},
  };
  std::string many;
  for (int i = 0; i < 200; ++i) many += cat("X", i, ": y\r\n");
  out.push_back({"two hundred fields", head(many), 431});
  return out;
}

// Bodies whose head is sound: what was forwarded of them is cut short.
std::vector<Row> body_rows() {
  using namespace std::string_literals;
  return {
      {"size with a plus", body("+5\r\naaaaa\r\n0\r\n\r\n")},
      {"size with a minus", body("-5\r\naaaaa\r\n0\r\n\r\n")},
      {"size with 0x", body("0x5\r\naaaaa\r\n0\r\n\r\n")},
      {"size that overflows", body("10000000000000005\r\naaaaa\r\n0\r\n\r\n")},
      {"size of many zeros", body("00000000000000000005\r\naaaaa\r\n0\r\n\r\n")},
      {"empty size", body("\r\naaaaa\r\n0\r\n\r\n")},
      {"size with a blank before", body(" 5\r\naaaaa\r\n0\r\n\r\n")},
      {"size with a blank behind", body("5 \r\naaaaa\r\n0\r\n\r\n")},
      {"size with a tab behind", body("5\t\r\naaaaa\r\n0\r\n\r\n")},
      {"size that is no number", body("xyz\r\naaaaa\r\n0\r\n\r\n")},
      {"size with a comma", body("5,5\r\naaaaa\r\n0\r\n\r\n")},
      {"size with a bare line feed", body("5\naaaaa\r\n0\r\n\r\n")},
      {"size with a bare carriage return", body("5\raaaaa\r\n0\r\n\r\n")},
      {"extension with a bare line feed", body("5;a\nb\r\naaaaa\r\n0\r\n\r\n")},
      {"extension with a bare carriage return", body("5;a\rb\r\naaaaa\r\n0\r\n\r\n")},
      {"extension with NUL", body("5;a\0b\r\naaaaa\r\n0\r\n\r\n"s)},
      {"extension of 300 bytes", body(cat("5;", std::string(300, 'a'), "\r\naaaaa\r\n0\r\n\r\n"))},
      {"data without its line's end", body("5\r\naaaaa0\r\n\r\n")},
      {"data with a bare line feed", body("5\r\naaaaa\n0\r\n\r\n")},
      {"data longer than its size", body("5\r\naaaaaaaa\r\n0\r\n\r\n")},
      {"trailer with a length", body("0\r\nContent-Length: 5\r\n\r\n")},
      {"trailer with a coding", body("0\r\nTransfer-Encoding: chunked\r\n\r\n")},
      {"trailer with a host", body("0\r\nHost: b\r\n\r\n")},
      {"trailer with authorization", body("0\r\nAuthorization: b\r\n\r\n")},
      {"trailer with x-forwarded-for", body("0\r\nX-Forwarded-For: b\r\n\r\n")},
      {"trailer that is folded", body("0\r\nA: b\r\n c\r\n\r\n")},
      {"trailer with a bare line feed", body("0\r\nA: b\nC: d\r\n\r\n")},
      {"trailer without a colon", body("0\r\nAbc\r\n\r\n")},
      {"trailer with NUL", body("0\r\nA: \0\r\n\r\n"s)},
  };
}

int status_of(const std::string& answer) { return answer.starts_with("HTTP/1.1 ") ? parse_int<int>(std::string_view(answer).substr(9, 3)).value_or(0) : 0; }

TEST(HardeningH1, EveryAmbiguousHeadIsRefusedAndItsConnectionClosed) {
  std::atomic<int> reached{0};
  TestEndpoint endpoint(answering([&reached](const std::string&) {
    ++reached;
    return ok("no");
  }));
  TestProxy proxy(simple_config(endpoint.address()));
  std::vector<Row> table = rows();
  EXPECT_GE(table.size() + body_rows().size(), 150U);
  for (const Row& row : table) {
    TestClient client(proxy.port());
    client.send(row.bytes + "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
    std::string answer = client.read_to_end();
    EXPECT_EQ(status_of(answer), row.status) << row.name << ": " << answer;
    EXPECT_NE(answer.find("connection: close"), std::string::npos) << row.name;
    EXPECT_EQ(answer.find("HTTP/1.1", 1), std::string::npos) << row.name << ": answered twice";
  }
  EXPECT_EQ(reached, 0);
}

TEST(HardeningH1, EveryAmbiguousBodyEndsItsConnection) {
  std::atomic<int> answered{0};
  TestEndpoint endpoint(answering([&answered](const std::string& request) {
    if (request.find("\r\n0\r\n") != std::string::npos || request.find("smuggled") != std::string::npos) ++answered;
    return ok("no");
  }));
  TestProxy proxy(simple_config(endpoint.address()));
  for (const Row& row : body_rows()) {
    TestClient client(proxy.port());
    client.send(row.bytes + "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
    std::string answer = client.read_to_end();
    EXPECT_EQ(status_of(answer), row.status) << row.name << ": " << answer;
    EXPECT_EQ(answer.find("HTTP/1.1", 1), std::string::npos) << row.name << ": answered twice";
  }
  EXPECT_EQ(answered, 0);
}

}  // namespace
}  // namespace monopod::proxy
