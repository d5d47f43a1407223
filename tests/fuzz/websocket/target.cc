// WebSocket frames of a client, cut at random: messages stay inside their limit, and what goes back is whole control frames,
// a close at most once and last.
#include "async/loop.h"
#include "base/bytes.h"
#include "http/websocket_stream.h"
#include "tests/fuzz/fuzz.h"

using namespace monopod;

namespace {

constexpr std::size_t kMessageBytesMax = 300;

class Wire final : public async::Stream {
 public:
  Wire(std::string_view in, std::size_t piece, std::string& out) : in_(in), piece_(piece), out_(out) {}
  async::Task<Result<std::size_t>> read_some(std::span<std::byte> into) override {
    std::size_t n = std::min({into.size(), piece_, in_.size()});
    std::memcpy(into.data(), in_.data(), n);
    in_.remove_prefix(n);
    co_return n;
  }
  async::Task<Result<>> write_all(std::span<const std::byte> bytes) override {
    out_ += as_text(bytes);
    co_return Result<>();
  }
  async::Task<Result<>> shutdown_write() override { co_return Result<>(); }
  void close() override {}

 private:
  std::string_view in_;
  std::size_t piece_;
  std::string& out_;
};

async::Task<Result<>> read_all(async::Executor executor, std::string_view in, std::size_t piece, std::string& out) {
  auto socket = http::make_websocket(executor, std::make_unique<Wire>(in, piece, out), {.message_bytes_max = kMessageBytesMax});
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
