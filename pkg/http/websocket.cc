#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "async/event.h"
#include "base/bytes.h"
#include "base/strings.h"
#include "base/utf8.h"
#include "http/websocket_stream.h"
#include "pki/digest.h"
#include "pki/random.h"

namespace monopod::http {
namespace {

enum Opcode : std::uint8_t { kContinuation = 0, kText = 1, kBinary = 2, kClose = 8, kPing = 9, kPong = 10 };

constexpr std::size_t kReadBytes = 16U << 10;

//  0                   1                   2                   3
//  F RRR opcode | M length(7) | length(16 or 64 if 126, 127) | mask(32 if M) | payload
struct FrameHead {
  bool fin = false;
  std::uint8_t opcode = 0;
  bool masked = false;
  std::uint64_t size = 0;
  std::array<std::uint8_t, 4> mask{};
  std::size_t head_bytes = 0;
};

std::uint8_t byte_at(std::string_view bytes, std::size_t i) { return static_cast<std::uint8_t>(bytes[i]); }

// head_bytes 0 while incomplete.
Result<FrameHead> parse_frame_head(std::string_view bytes, bool from_client) {
  FrameHead out;
  if (bytes.size() < 2) return out;
  std::uint8_t first = byte_at(bytes, 0);
  std::uint8_t second = byte_at(bytes, 1);
  out.fin = (first & 0x80U) != 0;
  out.opcode = first & 0x0fU;
  out.masked = (second & 0x80U) != 0;
  out.size = second & 0x7fU;
  bool control = (out.opcode & 8U) != 0;
  if ((first & 0x70U) != 0) return fail(Code::kInvalidArgument, "websocket: reserved bits set");
  if (out.opcode > kPong || (out.opcode > kBinary && out.opcode < kClose)) return fail(Code::kInvalidArgument, "websocket: unknown opcode");
  if (control && (!out.fin || out.size > 125)) return fail(Code::kInvalidArgument, "websocket: malformed control frame");
  if (out.masked != from_client) return fail(Code::kInvalidArgument, "websocket: wrong masking");
  std::size_t at = 2;
  std::size_t extended = out.size == 126 ? 2 : out.size == 127 ? 8 : 0;
  if (bytes.size() < at + extended + (out.masked ? 4U : 0U)) return out;
  if (extended > 0) {
    out.size = 0;
    for (std::size_t i = 0; i < extended; ++i) out.size = out.size << 8U | byte_at(bytes, at + i);
    at += extended;
    bool shortest = out.size > 125 && (extended == 2 || out.size > 0xffff);
    if (out.size >> 63U != 0 || !shortest) return fail(Code::kInvalidArgument, "websocket: malformed length");
  }
  if (out.masked) {
    for (std::size_t i = 0; i < 4; ++i) out.mask[i] = byte_at(bytes, at + i);
    at += 4;
  }
  out.head_bytes = at;
  return out;
}

void apply_mask(std::string& payload, const std::array<std::uint8_t, 4>& mask) {
  for (std::size_t i = 0; i < payload.size(); ++i) payload[i] = static_cast<char>(static_cast<std::uint8_t>(payload[i]) ^ mask[i % 4]);
}

std::string format_frame_head(std::uint8_t opcode, std::size_t size, bool mask) {
  std::string out;
  out += static_cast<char>(0x80U | opcode);
  std::uint8_t bit = mask ? 0x80U : 0;
  if (size < 126) {
    out += static_cast<char>(bit | size);
  } else {
    std::size_t bytes = size < 65536 ? 2 : 8;
    out += static_cast<char>(bit | (bytes == 2 ? 126U : 127U));
    for (std::size_t i = bytes; i-- > 0;) out += static_cast<char>(static_cast<std::uint64_t>(size) >> (8 * i) & 0xffU);
  }
  return out;
}

// The code of a close frame: 1000 for an empty one; nullopt for what may not be sent (RFC 6455 section 7.4).
std::optional<std::uint16_t> close_code(std::string_view payload) {
  if (payload.empty()) return 1000;
  if (payload.size() < 2 || !is_utf8(payload.substr(2))) return std::nullopt;
  auto code = static_cast<std::uint16_t>(byte_at(payload, 0) << 8U | byte_at(payload, 1));
  bool standard = code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006;
  if (!standard && (code < 3000 || code > 4999)) return std::nullopt;
  return code;
}

class StreamWebSocket final : public WebSocket {
 public:
  StreamWebSocket(async::Executor executor, std::unique_ptr<async::Stream> stream, WebSocketOptions options)
      : stream_(std::move(stream)), options_(std::move(options)), writable_(executor) {}
  ~StreamWebSocket() override { stream_->close(); }

  async::Task<Result<Message>> read() override {
    Message message;
    bool open = false;  // inside a fragmented message
    for (;;) {
      CO_TRY_ASSIGN(Frame frame, co_await read_frame(message.data.size()));
      switch (frame.head.opcode) {
        case kPing: CO_TRY(co_await write_frame(kPong, as_bytes(frame.payload))); continue;
        case kPong: continue;
        case kClose: {
          std::optional<std::uint16_t> code = close_code(frame.payload);
          if (!code) co_return co_await violation(1002, "websocket: malformed close frame");
          Result<> answered = co_await close(*code);
          co_return fail(Code::kUnavailable, "websocket closed");
        }
        default: break;
      }
      if ((frame.head.opcode == kContinuation) != open) co_return co_await violation(1002, "websocket: unexpected fragment");
      if (!open) message.binary = frame.head.opcode == kBinary;
      open = true;
      if (message.data.empty()) message.data = std::move(frame.payload);
      else message.data += frame.payload;
      if (!frame.head.fin) continue;
      if (!message.binary && !is_utf8(message.data)) co_return co_await violation(1007, "websocket: text is not UTF-8");
      co_return message;
    }
  }

  async::Task<Result<>> write_binary(std::span<const std::byte> bytes) override { return write_frame(kBinary, bytes); }
  async::Task<Result<>> write_text(std::string_view text) override { return write_frame(kText, as_bytes(text)); }

  async::Task<Result<>> close(std::uint16_t code) override {
    if (closing_) co_return Result<>();
    std::string payload{static_cast<char>(code >> 8U), static_cast<char>(code & 0xffU)};
    Result<> written = co_await write_frame(kClose, as_bytes(payload));
    closing_ = true;
    co_return written;
  }

  std::string_view subprotocol() const override { return options_.subprotocol; }
  void abort() override { stream_->close(); }

 private:
  struct Frame {
    FrameHead head{};
    std::string payload{};
  };

  async::Task<Result<Message>> violation(std::uint16_t code, std::string text) {
    Result<> closed = co_await close(code);
    co_return fail(Code::kInvalidArgument, std::move(text));
  }

  async::Task<Result<>> read_more() {
    std::array<std::byte, kReadBytes> buffer;
    CO_TRY_ASSIGN(std::size_t n, co_await stream_->read_some(buffer));
    if (n == 0) co_return fail(Code::kUnavailable, "websocket closed");
    input_.append(as_text(std::span(buffer).first(n)));
    co_return Result<>();
  }

  async::Task<Result<Frame>> read_frame(std::size_t message_bytes) {
    Frame frame;
    for (;;) {
      Result<FrameHead> head = parse_frame_head(input_, !options_.client);
      if (!head) {
        Result<> closed = co_await close(1002);
        co_return fail(std::move(head).error());
      }
      if (head->head_bytes > 0) {
        frame.head = *head;
        break;
      }
      CO_TRY(co_await read_more());
    }
    if (frame.head.size > options_.message_bytes_max || message_bytes + frame.head.size > options_.message_bytes_max) {
      Result<> closed = co_await close(1009);
      co_return fail(Code::kResourceExhausted, "websocket: message too large");
    }
    std::size_t total = frame.head.head_bytes + static_cast<std::size_t>(frame.head.size);
    while (input_.size() < total) CO_TRY(co_await read_more());
    frame.payload = input_.substr(frame.head.head_bytes, static_cast<std::size_t>(frame.head.size));
    input_.erase(0, total);
    if (input_.empty() && input_.capacity() > kReadBytes) input_ = std::string();
    if (frame.head.masked) apply_mask(frame.payload, frame.head.mask);
    co_return frame;
  }

  // Frames of the reader (pong, close) and of the writer never mix.
  async::Task<Result<>> write_frame(std::uint8_t opcode, std::span<const std::byte> payload) {
    if (closing_) co_return fail(Code::kUnavailable, "websocket closed");
    std::string head = format_frame_head(opcode, payload.size(), options_.client);
    std::string masked;
    if (options_.client) {
      CO_TRY_ASSIGN(std::string random, pki::random_bytes(4));
      std::array<std::uint8_t, 4> mask{byte_at(random, 0), byte_at(random, 1), byte_at(random, 2), byte_at(random, 3)};
      masked = std::string(as_text(payload));
      apply_mask(masked, mask);
      head += random;
      payload = as_bytes(masked);
    }
    while (writing_) CO_TRY(co_await writable_.wait());
    struct Turn {
      StreamWebSocket& self;
      explicit Turn(StreamWebSocket& s) : self(s) { self.writing_ = true; }
      ~Turn() {
        self.writing_ = false;
        self.writable_.wake_all();
      }
    } turn(*this);
    std::array<std::span<const std::byte>, 2> parts{as_bytes(head), payload};
    co_return co_await stream_->write_parts(parts);
  }

  std::unique_ptr<async::Stream> stream_;
  WebSocketOptions options_;
  std::string input_;
  bool writing_ = false;
  bool closing_ = false;
  async::Notify writable_;
};

}  // namespace

std::string websocket_accept(std::string_view key) {
  return format_base64(pki::sha1(cat(key, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")));
}

std::unique_ptr<WebSocket> make_websocket(async::Executor executor, std::unique_ptr<async::Stream> stream, WebSocketOptions options) {
  return std::make_unique<StreamWebSocket>(executor, std::move(stream), std::move(options));
}

}  // namespace monopod::http
