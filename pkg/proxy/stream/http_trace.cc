// What a request tells about itself where that is asked for: spans, and the header that explains.
#include <algorithm>

#include "base/strings.h"
#include "proxy/stream/http_session.h"

namespace monopod::proxy {
namespace {

constexpr std::string_view kExplainHeader = "x-monopod-explain";

}  // namespace

void HttpSession::begin_trace() {
  Exchange& e = *exchange_;
  const TracingSpec& spec = *runtime_->snapshot->tracing;
  auto value = [&e](std::string_view name) {
    const FieldSpan* field = e.request.find(name);
    return field == nullptr ? std::string_view() : e.request.value(*field);
  };
  TraceContext context = parse_trace_context({.traceparent = value("traceparent"), .b3 = value("b3"), .x_trace_id = value("x-b3-traceid"), .x_span_id = value("x-b3-spanid"), .x_sampled = value("x-b3-sampled")});
  bool believed = context.decided && !runtime_->config->spec.edge;
  bool sampled = believed ? context.sampled : worker_.rng().below(100) < spec.sample_percent;
  if (!sampled && context.trace_id.empty()) return;
  std::string span_id = worker_.tracer().make_id(16);
  if (context.trace_id.empty()) context.trace_id = worker_.tracer().make_id(32);
  std::string_view flag = sampled ? "1" : "0";
  HeadEdits& edits = e.request_edits;
  // Who is not sampled leaves no span: its caller's stays the parent.
  std::string_view parent = sampled ? std::string_view(span_id) : std::string_view(context.parent_id);
  for (std::string_view name : {"traceparent", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled"}) edits.remove(e.request, name);
  if (spec.context != TracingSpec::Context::kB3) edits.add(e.arena, "traceparent", e.arena.join({"00-", context.trace_id, "-", parent, "-0", flag}));
  if (spec.context != TracingSpec::Context::kW3c) {
    edits.add(e.arena, "x-b3-traceid", context.trace_id);
    edits.add(e.arena, "x-b3-spanid", parent);
    if (sampled && !context.parent_id.empty()) edits.add(e.arena, "x-b3-parentspanid", context.parent_id);
    edits.add(e.arena, "x-b3-sampled", flag);
  }
  if (sampled) e.trace = std::make_unique<Trace>(Trace{.context = std::move(context), .span_id = std::move(span_id)});
}

void HttpSession::end_trace(std::uint64_t duration) {
  Exchange& e = *exchange_;
  worker_.tracer().add({.trace = *e.trace, .start = RealClock().wall() - Milliseconds(duration), .duration_ms = duration, .method = e.request.method, .path = e.path, .host = e.host,
                        .protocol = socket_.is_stream() ? "HTTP/2" : e.request.http_1_0 ? "HTTP/1.0" : "HTTP/1.1", .details = e.details,
                        .route = e.route != nullptr ? std::string_view(e.route->name) : std::string_view(),
                        .cluster = e.cluster ? std::string_view(e.cluster->config().spec.name) : std::string_view(),
                        .endpoint = e.endpoint != nullptr ? std::string_view(e.endpoint->label) : std::string_view(), .client = client_text().address, .listener = runtime_->config->spec.name,
                        .status = e.status, .attempts = e.attempts});
}

void HttpSession::note_explained() {
  Exchange& e = *exchange_;
  if (e.request.find(kExplainHeader) == nullptr) return;
  e.explained = true;
  e.request_edits.remove(e.request, kExplainHeader);
}

void HttpSession::explain_answer(HeadEdits& edits) {
  Exchange& e = *exchange_;
  std::string text = cat("listener=", runtime_->config->spec.name, "; config=", runtime_->snapshot->version, "; route=", e.route != nullptr ? std::string_view(e.route->name) : std::string_view("none"));
  if (e.cluster) text += cat("; cluster=", e.cluster->config().spec.name);
  if (e.endpoint != nullptr) text += cat("; endpoint=", e.endpoint->label, "; why=", e.cluster->describe_choice(*e.endpoint));
  text += cat("; attempts=", e.attempts, "; details=", e.details);
  edits.add(e.arena, kExplainHeader, text);
}

}  // namespace monopod::proxy
