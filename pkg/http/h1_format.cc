#include <array>

#include "base/strings.h"
#include "http/h1_parser.h"

namespace monopod::http {

std::string format_response_head(int status, const Headers& headers) {
  std::string out = cat("HTTP/1.1 ", status, " ", reason_phrase(status), "\r\n");
  for (const Headers::Field& field : headers) out += cat(field.name, ": ", field.value, "\r\n");
  out += "\r\n";
  return out;
}

std::string format_request_head(std::string_view method, std::string_view target, const Headers& headers) {
  std::string out = cat(method, " ", target, " HTTP/1.1\r\n");
  for (const Headers::Field& field : headers) out += cat(field.name, ": ", field.value, "\r\n");
  out += "\r\n";
  return out;
}

std::string_view reason_phrase(int status) {
  struct Row {
    int status;
    std::string_view text;
  };
  // RFC 9110 section 15; 429, 431 RFC 6585; 499 is nginx's.
  static constexpr std::array<Row, 34> kRows = {{
      {100, "Continue"}, {101, "Switching Protocols"}, {200, "OK"}, {201, "Created"}, {202, "Accepted"}, {204, "No Content"},
      {206, "Partial Content"}, {301, "Moved Permanently"}, {302, "Found"}, {303, "See Other"}, {304, "Not Modified"},
      {307, "Temporary Redirect"}, {308, "Permanent Redirect"}, {400, "Bad Request"}, {401, "Unauthorized"}, {403, "Forbidden"},
      {404, "Not Found"}, {405, "Method Not Allowed"}, {406, "Not Acceptable"}, {409, "Conflict"}, {410, "Gone"},
      {413, "Request Entity Too Large"}, {414, "Request URI Too Long"}, {415, "Unsupported Media Type"},
      {416, "Requested Range Not Satisfiable"}, {422, "Unprocessable Entity"}, {429, "Too Many Requests"},
      {431, "Request Header Fields Too Large"}, {500, "Internal Server Error"}, {501, "Not Implemented"}, {502, "Bad Gateway"},
      {503, "Service Unavailable"}, {504, "Gateway Timeout"}, {505, "HTTP Version Not Supported"},
  }};
  for (const Row& row : kRows)
    if (row.status == status) return row.text;
  return "Status";
}

}  // namespace monopod::http
