// WebSocket frames of a client, cut at random: messages stay inside their limit, and what goes back is whole control frames,
// a close at most once and last.
#include "async/loop.h"
#include "base/bytes.h"
#include "http/websocket_stream.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/wire.h"

using namespace monopod;

namespace {

constexpr std::size_t kMessageBytesMax = 300;

async::Task<Result<>> read_all(async::Executor executor, std::string_view in, std::size_t piece, std::string& out) {
  auto socket = http::make_websocket(executor, std::make_unique<fuzz::Wire>(in, piece, out), {.message_bytes_max = kMessageBytesMax});
  for (;;) {
    Result<http::WebSocket::Message> message = co_await socket->read();
    if (!message) co_return Result<>();
    fuzz::check(message->data.size() <= kMessageBytesMax, "a message stays inside its limit");
  }
}

void check_frames(std::string_view out) {
  while (!out.empty()) {
    fuzz::check(out.size() >= 2, "a frame has a head");
    auto first = static_cast<unsigned char>(out[0]), size = static_cast<unsigned char>(out[1]);
    fuzz::check(first == 0x8a || first == 0x88, "only pongs and closes answer by themselves");
    fuzz::check(size <= 125 && out.size() >= 2U + size, "a control frame is short, whole and not masked");
    out.remove_prefix(2U + size);
    fuzz::check(first != 0x88 || out.empty(), "nothing follows a close");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text = fuzz::text_of(data, size);
  if (text.empty()) return 0;
  std::size_t piece = 1U + static_cast<unsigned char>(text.front()) % 64U;
  std::string out;
  async::Loop loop;
  auto done = loop.run(read_all(loop.executor(), text.substr(1), piece, out));
  fuzz::check(done.has_value(), "reading ends");
  check_frames(out);
  return 0;
}
