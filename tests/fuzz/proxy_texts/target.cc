// Texts that the proxy reads beside heads and configurations: contexts of traces, metrics that are added and shown, kept configurations, base64 in pieces.
#include "proxy/codec/base64_stream.h"
#include "proxy/config/last_good.h"
#include "proxy/observe/merge.h"
#include "proxy/observe/table.h"
#include "proxy/observe/tracing.h"
#include "tests/fuzz/fuzz.h"

using namespace monopod;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text = fuzz::text_of(data, size);
  for (proxy::TraceFields fields : {proxy::TraceFields{.traceparent = text}, proxy::TraceFields{.b3 = text}, proxy::TraceFields{.x_trace_id = text, .x_span_id = text, .x_sampled = text}}) {
    proxy::TraceContext context = proxy::parse_trace_context(fields);
    fuzz::check(context.trace_id.empty() || (context.trace_id.size() == 32 && context.parent_id.size() == 16), "ids are whole");
    fuzz::check(!context.sampled || context.decided, "who samples has decided");
  }
  std::string merged = proxy::merge_metrics(text);
  fuzz::check(proxy::merge_metrics(merged) == merged, "what is merged stays as it is");
  proxy::format_top("", text, std::chrono::seconds(1), 80, 24);
  if (auto sources = proxy::parse_last_good(text)) {
    auto again = proxy::parse_last_good(proxy::format_last_good(*sources));
    fuzz::check(again && *again == *sources, "what is kept comes back");
  }
  proxy::Base64Decoder whole, parts;
  proxy::Base64Encoder encoder;
  std::string at_once, in_parts, encoded, again;
  bool good = whole.append(text, at_once), same = parts.append(text.substr(0, size / 3), in_parts) && parts.append(text.substr(size / 3), in_parts);
  fuzz::check(good == same && (!good || at_once == in_parts), "pieces make no difference");
  encoder.append(text, encoded);
  encoder.finish(encoded);
  proxy::Base64Decoder back;
  fuzz::check(back.append(encoded, again) && back.whole() && again == text, "what is encoded comes back");
  return 0;
}
