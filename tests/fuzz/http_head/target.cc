// HTTP/1.1 heads: what is accepted can be told to another server without changing its meaning.
#include "http/h1_parser.h"
#include "tests/fuzz/fuzz.h"

using namespace monopod;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text = fuzz::text_of(data, size);
  http::Limits limits;
  auto end = http::find_head_end(text, 0, limits);
  if (!end || !*end) return 0;
  fuzz::check(**end <= size, "a head ends inside the input");
  auto head = http::parse_request_head(text.substr(0, **end), limits);
  (void)http::parse_response_head(text.substr(0, **end), "GET", limits);
  if (!head) return 0;
  for (const auto& [name, value] : head->headers) {
    fuzz::check(name.find_first_of(" \t\r\n:") == std::string::npos && !name.empty(), "a header's name is a token");
    fuzz::check(value.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos, "a header's value is one line");
  }
  fuzz::check(head->target.find_first_of(" \r\n") == std::string::npos, "a target is one word");
  http::BodyDecoder body(head->framing, head->content_length);
  std::byte out[256];
  std::string_view rest = text.substr(**end);
  while (!body.done()) {
    auto moved = body.decode(rest, out);
    if (!moved || (moved->consumed == 0 && moved->produced == 0)) break;
    fuzz::check(moved->consumed <= rest.size() && moved->produced <= sizeof out, "a body stays inside its buffers");
    rest.remove_prefix(moved->consumed);
  }
  return 0;
}
