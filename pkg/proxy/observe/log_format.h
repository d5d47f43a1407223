// The access log's line as a template: text with %OPERATORS%, or a JSON object of them. Operators are Envoy's names:
//
//   %START_TIME% %METHOD% %PATH% %AUTHORITY% %PROTOCOL% %REQ(name)% %RESP(name)% %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %BYTES_RECEIVED% %BYTES_SENT%
//   %DURATION% (ms) %UPSTREAM_HOST% %UPSTREAM_CLUSTER% %ROUTE_NAME% %DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_PEER_URI_SAN% %ATTEMPTS% %LISTENER% %%
//
// What is absent is "-". Control characters, quotes and backslashes of values are escaped: a value cannot forge a line.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "proxy/config/spec.h"

namespace monopod::proxy {

// What a finished request or connection leaves behind. Views last for the call.
struct LogRecord {
  WallTime start{};
  std::string_view method{}, path{}, authority{}, protocol{}, details{}, upstream_host{}, upstream_cluster{}, route{}, remote_address{}, peer_uri{}, listener{};
  int status = 0;
  std::uint64_t bytes_received = 0, bytes_sent = 0, duration_ms = 0;
  std::uint32_t attempts = 0;
  const class LogHeaders* headers = nullptr;  // null: none
};
class LogHeaders {
 public:
  virtual std::string_view request_header(std::string_view lowercase_name) const = 0;
  virtual std::string_view response_header(std::size_t index) const = 0;  // of LogFormat::response_headers()

 protected:
  ~LogHeaders() = default;
};

// A time as text, of which most stays from one line to the next.
class StartTime {
 public:
  // As format_rfc3339_micro(). Until the next call.
  std::string_view format(WallTime time);

 private:
  std::int64_t second_ = -1;
  std::string text_;
};

class LogFormat {
 public:
  static Result<LogFormat> compile(const AccessLogSpec& spec);
  // One line with its newline.
  void append(const LogRecord& record, StartTime& start, std::string& out) const;
  // The answer's headers that the template names: to be kept when the answer's head passes.
  const std::vector<std::string>& response_headers() const { return response_headers_; }

 private:
  struct Piece {
    std::uint8_t op = 0;  // 0: text
    std::string text{};   // of op 0, or REQ's name
    std::size_t index = 0;
  };
  Result<> parse(std::string_view text, std::vector<Piece>& out);
  class Line;
  void append_piece(const Piece& piece, const LogRecord& record, StartTime& start, Line& line) const;
  std::vector<Piece> pieces_;
  std::vector<std::string> response_headers_;
  bool json_ = false;
};

}  // namespace monopod::proxy
