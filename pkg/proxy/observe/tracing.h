// Distributed traces: the context that comes with a request (W3C traceparent, or Zipkin's B3) goes on with a span of ours as the parent, and spans of
// sampled requests go to a collector in batches (OTLP over HTTP, JSON encoding; opentelemetry.io/docs/specs/otlp).
//
// A caller's decision to sample holds on listeners that are no edge; strangers are drawn like everybody. What the collector does not take in time is
// dropped and counted: a slow one costs memory for kSpansMax spans, and no request waits for it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "proxy/config/spec.h"
#include "proxy/io/wheel.h"
#include "proxy/upstream/side_call.h"

namespace monopod::proxy {

inline constexpr std::size_t kSpansMax = 2'048;        // of a worker, that wait
inline constexpr std::size_t kSpansPerBatch = 256;     // that make it go at once
inline constexpr std::uint64_t kSpanDelayMs = 1'000;   // that a span waits at most
inline constexpr std::size_t kAttributeBytesMax = 1'024;

struct TraceContext {
  std::string trace_id{}, parent_id{};  // hexadecimal, 32 and 16 digits; empty: none came
  bool sampled = false, decided = false;
};
// The values of fields as they came; empty where absent. What is malformed is as if it had not come.
struct TraceFields {
  std::string_view traceparent{}, b3{}, x_trace_id{}, x_span_id{}, x_sampled{};
};
TraceContext parse_trace_context(const TraceFields& fields);

// Of one sampled request.
struct Trace {
  TraceContext context;
  std::string span_id;
};

struct SpanRecord {
  const Trace& trace;
  WallTime start;
  std::uint64_t duration_ms = 0;
  std::string_view method{}, path{}, host{}, protocol{}, details{}, route{}, cluster{}, endpoint{}, client{}, listener{};
  int status = 0;
  std::uint32_t attempts = 0;
};

class Tracer final : private Timer, private SideCallUser {
 public:
  explicit Tracer(Worker& worker) : worker_(worker) {}
  ~Tracer() { call_ = nullptr; }
  // spec empty: nothing is traced any more.
  void use(const std::optional<TracingSpec>& spec, std::shared_ptr<Cluster> cluster);
  void add(const SpanRecord& span);
  void flush();
  std::string make_id(std::size_t digits);

  std::uint64_t exported() const { return exported_; }
  std::uint64_t dropped() const { return dropped_; }

 private:
  void on_timer() override { flush(); }
  void on_side_answer(SideAnswer answer) override;
  Worker& worker_;
  std::optional<TracingSpec> spec_;
  std::shared_ptr<Cluster> cluster_;
  std::vector<std::string> waiting_;  // spans in JSON
  SideCall::Handle call_;
  std::size_t sending_ = 0;
  std::uint64_t exported_ = 0, dropped_ = 0;
};

}  // namespace monopod::proxy
