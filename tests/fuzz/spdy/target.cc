// A SPDY/3.1 client's bytes, cut at random: frames are the same however they are cut, headers stay inside their limits, and what the session
// answers is whole frames that such a client can read.
#include "async/loop.h"
#include "async/scope.h"
#include "async/time.h"
#include "base/bytes.h"
#include "http/spdy_session.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/wire.h"

using namespace monopod;

namespace {

struct Seen {
  std::string text;  // heads of frames, data joined
  bool failed = false;
};

Seen parse_in_pieces(std::string_view in, std::size_t piece) {
  http::Limits limits;
  http::SpdyFramer framer(limits);
  std::string held;
  Seen out;
  while (!in.empty() && !out.failed) {
    std::size_t n = std::min(piece, in.size());
    held += in.substr(0, n);
    in.remove_prefix(n);
    std::string_view rest = held;
    for (;;) {
      auto frame = framer.parse(rest);
      out.failed = !frame;
      if (!frame || !*frame) break;
      fuzz::check((*frame)->headers.size() <= limits.header_fields_max, "fields stay inside their limit");
      fuzz::check((*frame)->headers.bytes() <= limits.header_bytes_max, "headers stay inside their limit");
      for (const auto& field : (*frame)->headers) fuzz::check(http::is_field_value(field.value), "values can be passed on");
      if ((*frame)->type != http::SpdyType::kData) out.text += std::to_string(static_cast<int>((*frame)->type));
      out.text += (*frame)->data;
      if ((*frame)->fin) out.text += '!';
    }
    held = std::string(rest);
  }
  return out;
}

constexpr Duration kWindowWait = std::chrono::milliseconds(2);

// Echoes a stream back, until its window stays closed: the frame that opens it may stand behind more input than a stream holds.
async::Task<> echo(async::Time& time, std::unique_ptr<http::SpdyStream> stream) {
  std::array<std::byte, 100> buffer;
  for (;;) {
    auto n = co_await stream->read_some(buffer);
    if (!n || *n == 0) break;
    if (!co_await async::with_timeout<void>(time, kWindowWait, "window", stream->write_all(std::span(buffer).first(*n)))) break;
  }
  (void)co_await stream->shutdown_write();
}

async::Task<> accept_all(async::Time& time, http::SpdySession& session, async::Scope& scope) {
  for (;;) {
    auto stream = co_await session.accept();
    if (!stream) break;
    scope.spawn(echo(time, std::move(*stream)));
  }
  scope.cancel();  // a stream may wait for a window that its peer will not open
}

async::Task<Result<>> serve(async::Executor executor, async::Time& time, std::string_view in, std::size_t piece, std::string& out) {
  http::SpdySession session(executor, time, std::make_unique<fuzz::Wire>(in, piece, out), [](const http::Headers&) { return Result<>(); },
                            {.header_fields_max = 8, .spdy_streams_max = 4, .spdy_stream_input_bytes_max = 200});
  async::Scope scope(executor);
  scope.spawn(session.run());
  scope.spawn(accept_all(time, session, scope));
  co_return co_await scope.join();
}

void check_answers(std::string_view out) {
  http::SpdyFramer framer;
  while (!out.empty()) {
    auto frame = framer.parse(out);
    fuzz::check(frame.has_value(), "answers are well formed");
    fuzz::check(frame->has_value() || out.empty(), "answers are whole");
    if (*frame) fuzz::check((*frame)->type != http::SpdyType::kSynStream, "a server opens no stream");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text = fuzz::text_of(data, size);
  if (text.empty()) return 0;
  std::size_t piece = 1U + static_cast<unsigned char>(text.front()) % 64U;
  text.remove_prefix(1);
  Seen whole = parse_in_pieces(text, text.size() + 1), cut = parse_in_pieces(text, piece);
  fuzz::check(whole.text == cut.text && whole.failed == cut.failed, "frames are the same however they are cut");
  std::string out;
  async::Loop loop;
  async::RealTime time;
  auto done = loop.run(serve(loop.executor(), time, text, piece, out));
  fuzz::check(done.has_value(), "the session ends");
  check_answers(out);
  return 0;
}
