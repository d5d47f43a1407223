// A session against a peer that writes frames by hand.
#include "http/spdy_session.h"

#include <sys/socket.h>

#include "async/test_support.h"
#include "base/bytes.h"
#include "base/strings.h"
#include "sys/stream.h"

namespace monopod::http {
namespace {

using namespace std::chrono_literals;
using async::Loop;
using async::Scope;
using async::Task;

Headers data_headers(std::string_view request = "0") { return {{"streamtype", "data"}, {"port", "80"}, {"requestid", request}}; }

class Peer {
 public:
  explicit Peer(std::unique_ptr<async::Stream> wire) : wire_(std::move(wire)) {}
  Task<Result<>> send(std::string bytes) { co_return co_await wire_->write_all(as_bytes(bytes)); }
  Task<Result<>> open(std::uint32_t id, Headers headers, bool fin = false) {
    CO_TRY_ASSIGN(std::string frame, framer_.format_syn_stream(id, headers, fin));
    co_return co_await send(std::move(frame));
  }
  Task<Result<>> data(std::uint32_t id, std::string bytes, bool fin = false) {
    co_return co_await send(SpdyFramer::format_data_head(id, bytes.size(), fin) + bytes);
  }
  // The next frame of the session.
  Task<Result<SpdyFrame>> next() {
    for (;;) {
      std::string_view rest = input_;
      CO_TRY_ASSIGN(std::optional<SpdyFrame> frame, framer_.parse(rest));
      input_.erase(0, input_.size() - rest.size());
      if (frame) co_return std::move(*frame);
      std::array<std::byte, 4096> buffer;
      CO_TRY_ASSIGN(std::size_t n, co_await wire_->read_some(buffer));
      if (n == 0) co_return fail(Code::kUnavailable, "end");
      input_ += as_text(std::span(buffer).first(n));
    }
  }
  Task<Result<>> expect(SpdyType type, std::uint32_t id, std::uint32_t value = 0) {
    CO_TRY_ASSIGN(SpdyFrame frame, co_await next());
    EXPECT_EQ(frame.type, type);
    EXPECT_EQ(frame.stream_id, id);
    EXPECT_EQ(frame.value, value);
    co_return Result<>();
  }
  // Data of the stream up to n bytes, or to its end.
  Task<Result<std::string>> read(std::uint32_t id, std::size_t n) {
    std::string out;
    while (out.size() < n) {
      CO_TRY_ASSIGN(SpdyFrame frame, co_await next());
      if (frame.type == SpdyType::kWindowUpdate) continue;
      CO_ASSERT_TRUE(frame.type == SpdyType::kData && frame.stream_id == id);
      out += frame.data;
      if (frame.fin) break;
    }
    co_return out;
  }
  void close() { wire_->close(); }

 private:
  std::unique_ptr<async::Stream> wire_;
  SpdyFramer framer_;
  std::string input_;
};

struct Pair {
  Pair(async::Executor executor, async::Time& time, const Limits& limits = {}) {
    int fds[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) std::abort();
    peer = std::make_unique<Peer>(sys::make_stream(executor, sys::Fd(fds[0])));
    auto check = [](const Headers& headers) { return headers.find("port") ? Result<>() : Result<>(fail(Code::kInvalidArgument, "no port")); };
    session = std::make_unique<SpdySession>(executor, time, sys::make_stream(executor, sys::Fd(fds[1])), check, limits);
  }
  std::unique_ptr<Peer> peer;
  std::unique_ptr<SpdySession> session;
};

// Runs a script beside a session; both must come to an end.
using Script = Task<Result<>> (*)(Pair&, Scope&);

Task<Result<>> beside_session(async::Executor executor, Script script, Limits limits) {
  async::RealTime time;
  Scope scope(executor);
  Pair pair(executor, time, limits);
  scope.spawn(pair.session->run());
  scope.spawn(script(pair, scope));
  co_return co_await scope.join();
}
void with_session(Script script, const Limits& limits = {}) {
  async::run_test([script, limits](Loop& loop) { return beside_session(loop.executor(), script, limits); });
}

Task<Result<std::string>> read_text(SpdyStream& stream) {
  std::array<std::byte, 8192> buffer;
  CO_TRY_ASSIGN(std::size_t n, co_await stream.read_some(buffer));
  co_return std::string(as_text(std::span(buffer).first(n)));
}

Task<Result<>> talks(Pair& pair, Scope&) {
  CO_TRY(co_await pair.peer->open(1, data_headers()));
  CO_TRY(co_await pair.peer->expect(SpdyType::kSynReply, 1));
  CO_TRY_ASSIGN(std::unique_ptr<SpdyStream> stream, co_await pair.session->accept());
  EXPECT_EQ(stream->id(), 1U);
  EXPECT_EQ(stream->headers().find("streamtype"), "data");
  CO_TRY(co_await pair.peer->data(1, "ping"));
  CO_TRY_ASSIGN(std::string ping, co_await read_text(*stream));
  EXPECT_EQ(ping, "ping");
  CO_TRY(co_await pair.peer->data(1, "", true));
  CO_TRY_ASSIGN(std::string end, co_await read_text(*stream));
  EXPECT_EQ(end, "") << "the peer's end of file; ours is still to come";
  CO_TRY(co_await stream->write_all(as_bytes("pong")));
  CO_TRY(co_await stream->shutdown_write());
  EXPECT_FALSE(co_await stream->write_all(as_bytes("more")));
  CO_TRY_ASSIGN(std::string pong, co_await pair.peer->read(1, 100));
  EXPECT_EQ(pong, "pong");
  stream.reset();
  CO_TRY(co_await pair.peer->send(SpdyFramer::format_ping(2) + SpdyFramer::format_ping(3)));
  CO_TRY(co_await pair.peer->expect(SpdyType::kPing, 3));  // and no reset of what is closed; its own pings are not answered
  CO_TRY(co_await pair.peer->send(SpdyFramer::format_goaway(0, kSpdyGoawayOk)));
  EXPECT_EQ((co_await pair.session->accept()).error().message(), "connection closed") << "no streams, and none to come";
  co_return Result<>();
}
TEST(SpdySession, StreamsHalfCloseAndASessionEndsWithTheLast) { with_session(talks); }

Task<Result<>> resets(Pair& pair, Scope&) {
  CO_TRY(co_await pair.peer->open(1, {{"streamtype", "data"}}));
  CO_TRY(co_await pair.peer->expect(SpdyType::kRstStream, 1, kSpdyRefusedStream));
  CO_TRY(co_await pair.peer->open(3, data_headers("0")));
  CO_TRY(co_await pair.peer->expect(SpdyType::kSynReply, 3));
  CO_TRY(co_await pair.peer->open(5, data_headers("1")));
  CO_TRY(co_await pair.peer->expect(SpdyType::kSynReply, 5));
  CO_TRY(co_await pair.peer->open(7, data_headers("2")));
  CO_TRY(co_await pair.peer->expect(SpdyType::kRstStream, 7, kSpdyRefusedStream));  // one past two
  CO_TRY_ASSIGN(std::unique_ptr<SpdyStream> three, co_await pair.session->accept());
  CO_TRY_ASSIGN(std::unique_ptr<SpdyStream> five, co_await pair.session->accept());
  three.reset();
  CO_TRY(co_await pair.peer->expect(SpdyType::kRstStream, 3, kSpdyCancel));
  CO_TRY(co_await pair.peer->data(3, "late"));
  CO_TRY(co_await pair.peer->open(9, data_headers("3")));
  CO_TRY(co_await pair.peer->expect(SpdyType::kSynReply, 9));  // there is room again, and nothing is said of late data
  CO_TRY(co_await pair.peer->send(SpdyFramer::format_rst_stream(5, kSpdyCancel)));
  EXPECT_EQ((co_await read_text(*five)).error().message(), "stream reset");
  EXPECT_EQ((co_await five->write_all(as_bytes("x"))).error().message(), "stream reset");
  CO_TRY(co_await pair.peer->data(11, "never opened"));
  CO_TRY(co_await pair.peer->expect(SpdyType::kRstStream, 11, kSpdyInvalidStream));
  CO_TRY_ASSIGN(std::unique_ptr<SpdyStream> nine, co_await pair.session->accept());
  pair.peer->close();
  EXPECT_EQ((co_await read_text(*nine)).error().message(), "connection closed");
  co_return Result<>();
}
TEST(SpdySession, ResetsOfEitherSideAndTheNumberOfStreams) { with_session(resets, {.spdy_streams_max = 2}); }

Task<Result<>> violates(Pair& pair, Scope&) {
  CO_TRY(co_await pair.peer->open(3, data_headers()));
  CO_TRY(co_await pair.peer->expect(SpdyType::kSynReply, 3));
  CO_TRY(co_await pair.peer->open(1, data_headers()));
  CO_TRY(co_await pair.peer->expect(SpdyType::kGoaway, 3, kSpdyGoawayProtocolError));
  EXPECT_FALSE(co_await pair.peer->next()) << "and the connection closes";
  co_return Result<>();
}
TEST(SpdySession, AProtocolErrorIsToldAndEndsIt) { with_session(violates); }

Task<Result<>> flood(Peer& peer, std::uint32_t id, std::size_t bytes, std::size_t& sent) {
  for (; sent < bytes; sent += 10'000) CO_TRY(co_await peer.data(id, std::string(10'000, 'f')));
  co_return co_await peer.data(id, "", true);
}

Task<Result<>> holds_back(Pair& pair, Scope& scope) {
  constexpr std::size_t kBytes = 20'000'000;
  CO_TRY(co_await pair.peer->open(1, data_headers()));
  CO_TRY_ASSIGN(std::unique_ptr<SpdyStream> stream, co_await pair.session->accept());
  std::size_t sent = 0;
  scope.spawn(flood(*pair.peer, 1, kBytes, sent));
  async::RealTime time;
  for (std::size_t last = 1; last != sent;) {  // until the peer cannot write any more
    last = sent;
    CO_TRY(co_await time.sleep_for(20ms));
  }
  EXPECT_LT(sent, 2U << 20) << "the limit, and what the socket holds";
  std::size_t got = 0;
  for (;;) {
    CO_TRY_ASSIGN(std::string text, co_await read_text(*stream));
    if (text.empty()) break;
    got += text.size();
  }
  EXPECT_EQ(got, kBytes);
  pair.peer->close();
  co_return Result<>();
}
TEST(SpdySession, APeerIsNotReadFurtherThanItsStreamIs) { with_session(holds_back); }

Task<Result<>> write_much(SpdyStream& stream, std::size_t bytes, std::size_t& written) {
  std::string chunk(10'000, 'w');
  for (; written < bytes; written += chunk.size()) CO_TRY(co_await stream.write_all(as_bytes(chunk)));
  co_return co_await stream.shutdown_write();
}

Task<Result<>> waits(Pair& pair, Scope& scope) {
  constexpr std::size_t kBytes = 20'000'000;
  CO_TRY(co_await pair.peer->open(1, data_headers()));
  CO_TRY(co_await pair.peer->expect(SpdyType::kSynReply, 1));
  CO_TRY_ASSIGN(std::unique_ptr<SpdyStream> stream, co_await pair.session->accept());
  std::size_t written = 0;
  scope.spawn(write_much(*stream, kBytes, written));
  async::RealTime time;
  for (std::size_t last = 1; last != written;) {
    last = written;
    CO_TRY(co_await time.sleep_for(20ms));
  }
  EXPECT_LT(written, 2U << 20);
  CO_TRY_ASSIGN(std::string got, co_await pair.peer->read(1, kBytes + 1));
  EXPECT_EQ(got.size(), kBytes) << "a peer that knows no windows gets more than the first one";
  pair.peer->close();
  co_return Result<>();
}
TEST(SpdySession, WritesWaitForAPeerThatDoesNotRead) { with_session(waits); }

Task<Result<>> counts(Pair& pair, Scope& scope) {
  using namespace std::string_literals;
  CO_TRY(co_await pair.peer->send("\x80\x03\x00\x04\x00\x00\x00\x0c\x00\x00\x00\x01\x00\x00\x00\x07\x00\x00\x00\x0a"s));  // initial window 10
  CO_TRY(co_await pair.peer->open(1, data_headers()));
  CO_TRY(co_await pair.peer->expect(SpdyType::kSynReply, 1));
  CO_TRY_ASSIGN(std::unique_ptr<SpdyStream> stream, co_await pair.session->accept());
  std::size_t written = 0;
  scope.spawn(write_much(*stream, 10'000, written));
  CO_TRY_ASSIGN(std::string first, co_await pair.peer->read(1, 10));
  EXPECT_EQ(first.size(), 10U);
  CO_TRY(co_await pair.peer->send(SpdyFramer::format_ping(1)));
  CO_TRY(co_await pair.peer->expect(SpdyType::kPing, 1));  // and no data before it
  CO_TRY(co_await pair.peer->send(SpdyFramer::format_window_update(1, 20'000)));
  CO_TRY_ASSIGN(std::string rest, co_await pair.peer->read(1, 10'000));
  EXPECT_EQ(rest.size(), 9'990U);
  // What comes in is given back to the peer's windows.
  CO_TRY(co_await pair.peer->data(1, std::string(40'000, 'c')));
  std::size_t got = 0;
  while (got < 40'000) {
    CO_TRY_ASSIGN(std::string text, co_await read_text(*stream));
    got += text.size();
  }
  CO_TRY_ASSIGN(SpdyFrame session, co_await pair.peer->next());
  CO_TRY_ASSIGN(SpdyFrame of_stream, co_await pair.peer->next());
  EXPECT_EQ(session.type, SpdyType::kWindowUpdate);
  EXPECT_EQ(session.stream_id, 0U);
  EXPECT_GE(session.value, 32U << 10);
  EXPECT_EQ(of_stream.stream_id, 1U);
  EXPECT_EQ(of_stream.value, session.value);
  CO_TRY(co_await pair.peer->send(SpdyFramer::format_window_update(1, 0x7fffffff)));
  CO_TRY(co_await pair.peer->expect(SpdyType::kRstStream, 1, kSpdyFlowControlError));
  pair.peer->close();
  co_return Result<>();
}
TEST(SpdySession, WindowsBindOnceThePeerHasTalkedOfThem) { with_session(counts); }

}  // namespace
}  // namespace monopod::http
