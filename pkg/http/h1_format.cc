#include "base/strings.h"
#include "http/h1_parser.h"
#include "http/reason.h"

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

}  // namespace monopod::http
