// One request under way and its answer. Made when a head is whole, gone when both are done: an idle connection has none.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>

#include "codec/pattern.h"
#include "proxy/codec/base64_stream.h"
#include "proxy/codec/chunked.h"
#include "proxy/codec/head.h"
#include "proxy/filters/grpc_web.h"
#include "proxy/io/pipe.h"
#include "proxy/limits.h"
#include "proxy/listener/worker.h"
#include "proxy/observe/tracing.h"
#include "proxy/stream/head_edits.h"
#include "proxy/stream/outbox.h"
#include "proxy/upstream/side_call.h"

namespace monopod::proxy {

// gRPC over HTTP (its protocol document, PROTOCOL-HTTP2.md). -1: no status.
bool is_grpc(const Head& head);
int grpc_status_of(const Head& response);
// "100m": at most eight digits and a unit; up to the next millisecond.
std::optional<Milliseconds> parse_grpc_timeout(std::string_view text);
// What a status of HTTP is to a caller of gRPC (its document http-grpc-status-mapping.md; a timeout is its own).
int grpc_status_for(int http_status);
// Of those statuses that say the server failed, not the call.
bool is_grpc_failure(int status);

// How far a body has come, whichever its framing.
struct BodyProgress {
  Framing framing = Framing::kNone;
  std::uint64_t left = 0;  // kLength
  ChunkedBody chunked{};
  bool done = true;
  bool bad = false;           // for good
  bool content_only = false;  // who takes it wants no chunks: of a body in chunks their lines are taken off, of a stream's none are put on
  bool all_in = false;        // kStream: nothing comes behind what is there
  std::string_view trailers{};     // lines; where content_only, or of a stream
  std::string collected{};         // of chunks
  std::array<char, 20> size_line;  // of the chunk that is on its way
  bool watches_trailer = false;
  bool trailer_as_message = false;  // gRPC-Web: the trailer becomes the last message
  int grpc_status = -1;            // of the trailers, where they are watched
  // Where it is not kNone what goes on is content of another length: in chunks, but for content_only. To be set behind begin().
  enum class Coding : std::uint8_t { kNone, kFromBase64, kToBase64 } coding = Coding::kNone;

  void begin(const Head& head, bool without_chunks) {
    framing = head.framing;
    left = head.length;
    chunked = {};
    bad = all_in = false;
    content_only = without_chunks;
    trailers = {};
    collected.clear();
    done = framing == Framing::kNone;
    watches_trailer = trailer_as_message = false;
    grpc_status = -1;
    coding = Coding::kNone;
  }
  // Of a stream's body, after a look at it.
  void note_end(const Socket& from);
  // There is something for take() to do.
  bool has_step(bool has_input) const { return has_input || bad || (all_in && !done); }
  struct Taken {
    std::size_t bytes = 0;  // of the input, to be sent on
    bool bad = false;
  };
  // Moves on by what of the input belongs to the body. What out got before must be sent.
  Taken take(std::string_view input, Outbox& out);
  // Its source ended: of a body that ends so.
  void end_here(Outbox& out);
  bool transforms() const { return coding != Coding::kNone; }

 private:
  Taken take_plain(std::string_view input, Outbox& out);
  Taken take_chunked(std::string_view input, Outbox& out);
  Taken take_coded(std::string_view input, Outbox& out);
  bool finish_coding();
  void add_coded(Outbox& out);
  void note_trailer(std::string_view line);
  void add_trailer_message(std::string_view lines, Outbox& out);
  std::string message_;  // of the trailer, until it is sent
  std::string coded_;    // likewise: the last that was taken
  Base64Decoder decoder_;
  Base64Encoder encoder_;
};

// A try beside the exchange's own: of a request that is whole and in its buffer. Its connection is given back before it goes.
struct Hedge {
  EndpointPin endpoint{};
  UpstreamConnection* upstream = nullptr;
  Outbox up;
  BodyProgress body;
  std::uint64_t sent = 0, begun_ms = 0;
  bool begun = false, all_sent = false;  // the request's head is in up; all of it has left
};

// What went by of a body that a mirror gets as well.
struct MirrorCopy {
  explicit MirrorCopy(std::size_t& all_bytes) : all(all_bytes) {}
  ~MirrorCopy() { all -= bytes.size(); }
  MirrorCopy(const MirrorCopy&) = delete;
  MirrorCopy& operator=(const MirrorCopy&) = delete;
  void add(std::string_view more) {
    bytes += more;
    all += more.size();
  }
  std::string bytes;
  std::size_t& all;  // of the worker
};

// What every exchange begins with anew.
struct ExchangeState {
  // What is asked, normalised.
  std::string_view target, path, query;  // target: path and query
  std::string_view host;
  const Route* route = nullptr;
  std::size_t next_filter = 0;
  MatchBudget budget{kPatternStepsMax};

  // Where it goes.
  std::shared_ptr<Cluster> cluster;
  EndpointPin endpoint{};
  UpstreamConnection* upstream = nullptr;
  std::uint64_t hash = 0;
  std::uint32_t attempts = 0, retries = 0;
  bool counted = false;        // begin_request() was called
  bool retry_counted = false;  // begin_retry() was called
  bool fresh = false;          // the next attempt takes no pooled connection

  std::unique_ptr<MirrorCopy> mirror;  // null: none is made
  // Of a WebSocket between HTTP/1.1 and HTTP/2, which has no keys: what the endpoint of the one must say, or the client of the one hears.
  std::string_view websocket_accept;

  std::vector<std::unique_ptr<Hedge>> hedges;
  std::uint32_t hedged = 0;            // how many there were
  std::uint64_t hedge_at_ms = kNever;  // the next

  // A filter's question.
  SideCall::Handle call;
  std::unique_ptr<SideAnswer> answer;  // not yet seen by who asked

  enum class Phase : std::uint8_t { kPaused, kCalling, kBackoff, kCapacity, kConnecting, kForwarding, kReplying } phase = Phase::kPaused;

  // The request's body lies in the session's slab from body_at on.
  BodyProgress request_body, response_body;
  std::size_t body_at = 0;
  bool replayable = true;    // all of the request so far is still in the slab
  bool request_sent = false; // to its end
  bool send_failed = false;  // the endpoint takes no more; its answer may be there
  std::uint64_t sent_up = 0; // in this attempt

  // The answer.
  std::size_t reply_at = 0, reply_end = 0;
  bool unparsed = false;       // bytes of a head that no parser has seen
  bool head_done = false;      // the final answer's head is on its way
  bool close_after = false;    // the client's connection ends with this exchange
  bool tunnel = false;         // 101
  bool has_source = false;
  unsigned char source[16] = {};  // where it is known
  GrpcWeb grpc_web;            // what the client speaks
  bool grpc_awaited = false;   // what came of it stands in the trailer
  int informational = 0;
  std::unique_ptr<Pipe> pipe_up, pipe_down;

  std::unique_ptr<Trace> trace;  // null: not sampled
  bool explained = false;        // the client asked for it

  Milliseconds timeout{0};  // of all of it; 0: none

  // For timers, log and metrics.
  std::uint64_t begun_ms = 0, try_begun_ms = 0, moved_ms = 0, wake_ms = kNever;
  std::uint64_t received = 0, sent = 0;
  int status = 0;
  std::string_view details = "via_upstream";
};

// The buffers live on in the pool: a request of a kind seen before allocates nothing.
struct Exchange : ExchangeState {
  explicit Exchange(SlabPool& pool) : slabs(pool), arena(pool) {}
  ~Exchange() { slabs.give(reply); }
  void reset();

  SlabPool& slabs;
  Arena arena;
  Head request, response;
  HeadEdits request_edits, response_edits;
  Outbox up, down;        // to the endpoint, to the client
  char* reply = nullptr;  // slab of the answer
  std::string rewritten;  // target, where it is not as it came
  std::vector<std::string_view> logged_headers;  // of the answer, in the arena
};

inline constexpr std::size_t kExchangesKeptMax = 128;

class ExchangePool {
 public:
  std::unique_ptr<Exchange> take(SlabPool& slabs);
  void give(std::unique_ptr<Exchange> exchange);

 private:
  std::vector<std::unique_ptr<Exchange>> free_;
};

}  // namespace monopod::proxy
