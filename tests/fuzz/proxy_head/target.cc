// The proxy's codecs: heads, chunked bodies, paths, PROXY headers, ClientHellos. What the span parser takes, the server's own parser (Boost.Beast's, judged
// by http/h1_parser.cc) reads the same way.
#include "http/h1_parser.h"
#include "proxy/codec/chunked.h"
#include "proxy/codec/client_hello.h"
#include "proxy/codec/head.h"
#include "proxy/codec/proxy_protocol.h"
#include "proxy/route/path.h"
#include "tests/fuzz/fuzz.h"

using namespace monopod;

namespace {

void check_spans(const proxy::Head& head, std::size_t size) {
  fuzz::check(head.size <= size && head.size <= proxy::kHeadBytesMax, "a head ends inside the input");
  for (std::size_t i = 0; i < head.count; ++i) {
    const proxy::FieldSpan& f = head.fields[i];
    fuzz::check(f.begin < f.end && f.end <= head.size && f.value_begin + f.value_size <= f.end, "a field lies inside its head");
    for (char c : head.name(f)) fuzz::check(proxy::is_token_byte(c), "a header's name is a token");
    fuzz::check(head.value(f).find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos, "a header's value is one line");
  }
}

// Both parsers are strict, each in its own way: where both take a head they must agree on what follows it.
void compare(std::string_view text, const proxy::Head& head) {
  http::Limits limits;
  auto end = http::find_head_end(text, 0, limits);
  if (!end || !*end) return;
  fuzz::check(**end == head.size, "two parsers see the same end of a head");
  auto other = http::parse_request_head(text.substr(0, **end), limits);
  if (!other) return;
  bool same_target = head.absolute_target || other->target == head.target;  // the other one takes the authority off
  fuzz::check(other->method == head.method && same_target, "two parsers see the same request line");
  if (head.framing == proxy::Framing::kLength) fuzz::check(other->content_length == head.length, "two parsers see the same length");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text = fuzz::text_of(data, size);
  static proxy::Head head;
  if (proxy::parse_request_head(text.data(), text.size(), head) == proxy::Parsed::kDone) {
    check_spans(head, size);
    compare(text, head);
    std::string once, twice;
    if (head.path.starts_with('/') && proxy::normalize_path(head.path, true, once) == proxy::PathVerdict::kRewritten)
      fuzz::check(proxy::normalize_path(once, true, twice) == proxy::PathVerdict::kAsIs, "a normalised path is normal");
    proxy::ChunkedBody body;
    for (std::string_view rest = text.substr(head.size); head.framing == proxy::Framing::kChunked && !rest.empty() && !body.done();) {
      proxy::ChunkedBody::Step step = body.consume(rest);
      fuzz::check(step.bytes <= rest.size(), "a step stays inside its input");
      if (step.bad || step.bytes == 0) break;
      rest.remove_prefix(step.bytes);
    }
  }
  if (proxy::parse_response_head(text.data(), text.size(), false, head) == proxy::Parsed::kDone) check_spans(head, size);
  if (auto header = proxy::parse_proxy_header(text); header && *header) fuzz::check((*header)->bytes <= size, "a PROXY header ends inside the input");
  (void)proxy::find_server_name(text);
  return 0;
}
