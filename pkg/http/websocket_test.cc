// WebSocket frames as bytes: what is refused and with which close code, what is joined and answered, the limit of a message.
#include "http/websocket.h"

#include <boost/asio/post.hpp>

#include "http/test_support.h"

namespace monopod::http {
namespace {

using async::FakeTime;
using async::Loop;
using async::Scope;
using async::Task;
using namespace std::string_literals;

constexpr std::string_view kHandshake =
    "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
constexpr std::string_view kAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";  // RFC 6455 section 1.3

template <typename F>
Task<Result<>> with_server(Loop& loop, F body) {
  FakeTime time(loop.executor());
  Scope scope(loop.executor());
  TestServer server(loop.executor(), scope, time);
  Result<> result = co_await body(server);
  scope.cancel();
  Result<> joined = co_await scope.join();
  co_return result;
}
template <typename F>
void run(F body) {
  async::run_test([body](Loop& loop) { return with_server(loop, body); });
}

// A client's frame, masked by "mask".
std::string frame(int first, std::string payload) {
  std::string out(1, static_cast<char>(first));
  if (payload.size() < 126) {
    out += static_cast<char>(0x80U | payload.size());
  } else if (payload.size() < 65536) {
    out += "\xfe"s + static_cast<char>(payload.size() >> 8U) + static_cast<char>(payload.size() & 0xffU);
  } else {
    out += '\xff';
    for (int shift = 56; shift >= 0; shift -= 8) out += static_cast<char>(payload.size() >> shift & 0xffU);
  }
  out += "mask";
  for (std::size_t i = 0; i < payload.size(); ++i) payload[i] = static_cast<char>(payload[i] ^ "mask"[i % 4]);
  return out + payload;
}
std::string close_frame(int code, std::string_view reason = {}) {
  return frame(0x88, std::string{static_cast<char>(code >> 8), static_cast<char>(code & 0xff)} + std::string(reason));
}

// All that comes back to the handshake and these bytes, without the head.
Task<Result<std::string>> answer_to(TestServer& server, std::string bytes) {
  CO_TRY_ASSIGN(RawClient raw, co_await server.connect());
  CO_TRY(co_await raw.send(std::string(kHandshake)));
  CO_TRY_ASSIGN(std::string head, co_await raw.read_until("\r\n\r\n"));
  EXPECT_NE(head.find(kAccept), std::string::npos) << head;
  Result<> sent = co_await raw.send(std::move(bytes));  // it may be refused before it is read
  CO_TRY(co_await raw.shutdown());
  co_return co_await raw.read_to_end();
}
std::string closes_with(int code) { return {'\x88', '\x02', static_cast<char>(code >> 8), static_cast<char>(code & 0xff)}; }

struct Row {
  const char* name;
  std::string bytes;
  std::string answer;
};

Task<Result<>> expect_rows(TestServer& server, std::vector<Row> rows) {
  for (const Row& row : rows) {
    CO_TRY_ASSIGN(std::string answer, co_await answer_to(server, row.bytes));
    EXPECT_EQ(answer, row.answer) << row.name;
  }
  co_return Result<>();
}

Task<Result<>> violations(TestServer& server) {
  std::string after = frame(0x82, "unheard");
  std::string protocol_error = closes_with(1002), not_utf8 = closes_with(1007);
  std::vector<Row> rows = {
      {"not masked", "\x82\x01x"s + after, protocol_error},
      {"reserved bit 1", frame(0xc2, "x") + after, protocol_error},
      {"reserved bit 2", frame(0xa2, "x") + after, protocol_error},
      {"reserved bit 3", frame(0x92, "x") + after, protocol_error},
      {"ping in two frames", frame(0x09, "x") + after, protocol_error},
      {"ping of 126 bytes", frame(0x89, std::string(126, 'p')) + after, protocol_error},
      {"close in two frames", frame(0x08, "\x03\xe8") + after, protocol_error},
      {"continuation of nothing", frame(0x80, "x") + after, protocol_error},
      {"message inside a message", frame(0x02, "x") + frame(0x82, "y") + after, protocol_error},
      {"length of 64 bits with the top bit", "\x82\xff\x80\0\0\0\0\0\0\1mask"s, protocol_error},
      {"5 in 16 bits", "\x82\xfe\0\5maskhello"s + after, protocol_error},
      {"125 in 16 bits", "\x82\xfe\0\x7dmask"s + std::string(125, 'x') + after, protocol_error},
      {"5 in 64 bits", "\x82\xff\0\0\0\0\0\0\0\5maskhello"s + after, protocol_error},
      {"65535 in 64 bits", "\x82\xff\0\0\0\0\0\0\xff\xffmask"s + std::string(65535, 'x') + after, protocol_error},
      {"close of one byte", frame(0x88, "\x03") + after, protocol_error},
      {"close with a broken reason", close_frame(1000, "\xff") + after, protocol_error},
      {"a head cut short", "\x82"s, ""},
      {"a frame cut short", frame(0x82, "hello").substr(0, 8), ""},
  };
  for (int opcode : {3, 4, 5, 6, 7, 11, 12, 13, 14, 15}) rows.push_back({"unknown opcode", frame(0x80 | opcode, "x") + after, protocol_error});
  for (int code : {0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535}) rows.push_back({"close code nobody may send", close_frame(code) + after, protocol_error});
  for (int code : {1000, 1001, 1003, 1007, 1011, 1014, 3000, 4999}) rows.push_back({"close code", close_frame(code, "why") + after, closes_with(code)});
  rows.push_back({"close without a code", frame(0x88, "") + after, closes_with(1000)});
  for (const char* text : {"\x80", "\xc0\x80", "\xc1\xbf", "\xc3", "\xe0\x80\x80", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xed\xbf\xbf", "\xe2\x82", "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf",
                           "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "a\xc3(", "\xe2(\xa1"})
    rows.push_back({"text that is not UTF-8", frame(0x81, text) + after, not_utf8});
  return expect_rows(server, std::move(rows));
}
TEST(WebSocket, ViolationsEndWithTheirCloseCode) { run(violations); }

Task<Result<>> sound(TestServer& server) {
  auto text = [](std::string_view t) { return cat('\x81', static_cast<char>(t.size()), t); };
  std::string end = close_frame(1000), ended = closes_with(1000);
  std::vector<Row> rows = {
      {"empty", frame(0x82, "") + end, "\x82\0"s + ended},
      {"fragments", frame(0x01, "hel") + frame(0x00, "") + frame(0x80, "lo") + end, text("hello") + ended},
      {"a character across fragments", frame(0x01, "\xc3") + frame(0x80, "\xa4") + end, text("\xc3\xa4") + ended},
      {"a ping inside a message", frame(0x01, "he") + frame(0x89, "p") + frame(0x80, "y") + end, "\x8a\1p"s + text("hey") + ended},
      {"a ping of 125 bytes", frame(0x89, std::string(125, 'p')) + end, "\x8a\x7d"s + std::string(125, 'p') + ended},
      {"a pong nobody asked for", frame(0x8a, "x") + end, ended},
      {"binary that is not UTF-8", frame(0x82, "\xff") + end, "\x82\1\xff"s + ended},
      {"every width", frame(0x81, "$\xc2\xa3\xe2\x82\xac\xf0\x90\x8d\x88\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf") + end,
       text("$\xc2\xa3\xe2\x82\xac\xf0\x90\x8d\x88\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf") + ended},
      {"126 bytes", frame(0x82, std::string(126, 'b')) + end, "\x82\x7e\0\x7e"s + std::string(126, 'b') + ended},
      {"65535 bytes", frame(0x82, std::string(65535, 'b')) + end, "\x82\x7e\xff\xff"s + std::string(65535, 'b') + ended},
      {"65536 bytes", frame(0x82, std::string(65536, 'b')) + end, "\x82\x7f\0\0\0\0\0\1\0\0"s + std::string(65536, 'b') + ended},
  };
  return expect_rows(server, std::move(rows));
}
TEST(WebSocket, SoundFramesComeBackJoined) { run(sound); }

Task<Result<>> byte_by_byte(TestServer& server) {
  CO_TRY_ASSIGN(RawClient raw, co_await server.connect());
  std::string bytes = cat(kHandshake, frame(0x01, "he"), frame(0x80, "llo"), frame(0x82, std::string(200, 'b')), close_frame(3000));
  for (char c : bytes) {
    CO_TRY(co_await raw.send(std::string(1, c)));
    co_await async::asio::post(server.executor, async::use_task);
  }
  CO_TRY_ASSIGN(std::string answer, co_await raw.read_to_end());
  EXPECT_TRUE(answer.ends_with("\x81\5hello\x82\x7e\0\xc8"s + std::string(200, 'b') + closes_with(3000))) << answer;
  co_return Result<>();
}
TEST(WebSocket, UnderstandsOneByteAtATime) { run(byte_by_byte); }

Task<Result<>> limit(TestServer& server) {
  std::size_t most = Limits{}.websocket_message_bytes_max;
  CO_TRY_ASSIGN(std::string whole, co_await answer_to(server, frame(0x82, std::string(most, 'b')) + close_frame(1000)));
  EXPECT_EQ(whole.size(), 10 + most + 4);
  CO_TRY_ASSIGN(std::string past, co_await answer_to(server, frame(0x82, std::string(most + 1, 'b')).substr(0, 100)));
  EXPECT_EQ(past, closes_with(1009)) << "refused by its head alone";
  CO_TRY_ASSIGN(std::string joined, co_await answer_to(server, frame(0x02, std::string(most, 'b')) + frame(0x80, "b")));
  EXPECT_EQ(joined, closes_with(1009)) << "fragments count together";
  co_return Result<>();
}
TEST(WebSocket, AMessageHoldsItsLimitAtAndPast) { run(limit); }

Task<Result<>> servers_own_limit(Loop& loop) {
  FakeTime time(loop.executor());
  Scope scope(loop.executor());
  TestServer server(loop.executor(), scope, time, {.limits = {.websocket_message_bytes_max = 1000}});
  Result<std::string> whole = co_await answer_to(server, frame(0x82, std::string(1000, 'b')) + close_frame(1000));
  Result<std::string> past = co_await answer_to(server, frame(0x82, std::string(1001, 'b')));
  scope.cancel();
  (void)co_await scope.join();
  CO_TRY(whole);
  EXPECT_EQ(whole->size(), 4 + 1000 + 4U);
  CO_TRY(past);
  EXPECT_EQ(*past, closes_with(1009));
  co_return Result<>();
}
TEST(WebSocket, AServersLimitHoldsForItsSockets) { async::run_test(servers_own_limit); }

}  // namespace
}  // namespace monopod::http
