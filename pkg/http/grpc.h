// gRPC over HTTP/2 (grpc/doc/PROTOCOL-HTTP2.md): length-prefixed messages, status in trailers. Messages are bytes: protobuf
// is the caller's. No compression.
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "http/client.h"
#include "http/exchange.h"

namespace monopod::http {

inline constexpr std::size_t kGrpcMessageBytesMax = 8U << 20;

// The five-byte prefix and the message.
std::string format_grpc_message(std::string_view message);
// The same at the end of out, of a message in parts.
void append_grpc_message(std::string& out, std::initializer_list<std::string_view> parts);

// Joins prefixed messages out of chunks. kResourceExhausted past bytes_max, kUnimplemented for compressed ones.
class GrpcDecoder {
 public:
  explicit GrpcDecoder(std::size_t bytes_max = kGrpcMessageBytesMax) : bytes_max_(bytes_max) {}
  void feed(std::string_view bytes) { buffer_ += bytes; }
  void feed(std::string&& bytes) {
    if (empty()) {
      buffer_ = std::move(bytes);
      offset_ = 0;
    } else {
      buffer_ += bytes;
    }
  }
  Result<std::optional<std::string>> next();
  bool empty() const { return buffer_.size() == offset_; }

 private:
  std::size_t bytes_max_;
  std::string buffer_;
  std::size_t offset_ = 0;
};

// --- server: inside a Handler, over its Exchange.
class GrpcServerCall {
 public:
  explicit GrpcServerCall(Exchange& exchange) : exchange_(exchange) {}
  // "/package.Service/Method".
  std::string_view method() const { return exchange_.request().raw_path(); }
  // nullopt once the client has finished its side.
  async::Task<Result<std::optional<std::string>>> read();
  // Asked before read() returns a message, and before write() sends one; an error becomes that of read() or write(). message outlives
  // the task.
  struct Gate {
    std::function<async::Task<Result<>>(std::string_view message)> on_read{};
    std::function<async::Task<Result<>>()> on_write{};
  };
  void set_gate(Gate gate) { gate_ = std::move(gate); }
  async::Task<Result<>> write(std::string message);
  // One of size bytes, in pieces that are asked for when there is room.
  async::Task<Result<>> write(std::size_t size, std::move_only_function<std::string()> next_piece);
  // Messages that have their prefixes: many small ones at the cost of one.
  async::Task<Result<>> write_framed(std::string messages);
  // The one message of an answer, and success: write() and finish() at the cost of one.
  async::Task<Result<>> answer(std::string message);
  // Trailers with the status; code kOk for success. The Code numbering is gRPC's own.
  async::Task<Result<>> finish(Result<> outcome);
  // What finish() was called with; nullopt before.
  std::optional<Code> outcome() const { return outcome_; }

 private:
  Exchange& exchange_;
  GrpcDecoder decoder_;
  std::optional<Code> outcome_;
  Gate gate_{};
};

bool is_grpc(const Request& request);  // content-type application/grpc[+proto]

// --- client
// A stream in either direction. read() gives nullopt after an OK status and the status' error otherwise.
class GrpcClientCall {
 public:
  explicit GrpcClientCall(std::unique_ptr<Call> call, std::size_t message_bytes_max = kGrpcMessageBytesMax) : call_(std::move(call)), decoder_(message_bytes_max) {}
  async::Task<Result<>> write(std::string message);
  async::Task<Result<>> finish_writing();
  async::Task<Result<std::optional<std::string>>> read();

 private:
  std::unique_ptr<Call> call_;
  std::optional<Response> response_;
  GrpcDecoder decoder_;
};

struct GrpcOptions {
  Headers metadata{};
  Duration timeout{};  // zero: the client's response_timeout; sent as grpc-timeout when given
  std::size_t message_bytes_max = kGrpcMessageBytesMax;  // of one answer
};

async::Task<Result<std::unique_ptr<GrpcClientCall>>> open_grpc(Caller& caller, std::string method, GrpcOptions options = {});
// One message each way, over a call of its own; or over one just opened.
async::Task<Result<std::string>> exchange_message(GrpcClientCall& call, std::string message);
async::Task<Result<std::string>> call_grpc(Caller& caller, std::string method, std::string message, GrpcOptions options = {});

}  // namespace monopod::http
