// A filter looks at every request of a listener before a route's cluster is asked, and at every answer before it leaves. Filters run in the order of
// the configuration (answers: the reverse). To add one: a file in this folder with its make function, a row in filters.cc, its fields in
// config/spec.h and config/parse_filter.cc, and a test in stream/filters_test.cc.
//
// One that has to ask somebody returns kCall with a message for a cluster; the request waits, and on_answer() goes on.
//
// Hardening: a filter sees the request as it will be sent (path normalised, forged x-forwarded-* gone). What it writes goes through HeadEdits,
// which lets no value start a line. It keeps no reference to an exchange.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "codec/pattern.h"
#include "proxy/filters/grpc_web.h"
#include "proxy/io/address.h"
#include "proxy/io/tls.h"
#include "proxy/stream/head_edits.h"
#include "proxy/upstream/side_message.h"

namespace monopod::proxy {

struct Route;

// What a filter sees of a request. References last for the call.
struct RequestView {
  Head& head;
  HeadEdits& edits;
  HeadEdits& answer_edits;  // what is written here is added to the answer, whoever makes it
  Arena& arena;
  std::string_view path;   // normalised, without the query
  std::string_view query;
  const Route* route;      // null: none matched
  const unsigned char (&source)[16];
  const Address& remote;
  std::string_view host;
  const PeerIdentity& peer;
  bool tls;
  std::uint64_t now_ms;
  Rng& rng;
  MatchBudget& budget;
  GrpcWeb& grpc_web;  // to be set
};

struct Verdict {
  enum Kind : std::uint8_t { kContinue, kAnswer, kPause, kCall } kind = kContinue;
  int status = 0;              // kAnswer
  std::string_view body{};     // kAnswer; static text, or the arena's
  std::string_view details{};  // of the access log; static text
  std::uint32_t pause_ms = 0;  // kPause: the next filter runs after it
  std::unique_ptr<SideRequest> call{};  // kCall
};

class Filter {
 public:
  virtual ~Filter() = default;
  virtual Verdict on_request(const RequestView& request) const = 0;
  // What came of kCall. The view is of the same request; it may ask again.
  virtual Verdict on_answer(const RequestView&, const SideAnswer&) const { return {}; }
  // Of answers from upstream and from the proxy itself.
  virtual void on_response(Head&, HeadEdits&, Arena&) const {}
};

}  // namespace monopod::proxy
