#include "proxy/stream/exchange.h"

#include <algorithm>

namespace monopod::proxy {

BodyProgress::Taken BodyProgress::take(std::string_view input, Outbox& out, bool content_only) {
  Taken taken{.bad = bad};
  if (bad) return taken;
  switch (framing) {
    case Framing::kNone: done = true; return taken;
    case Framing::kUntilClose:
      out.add(input);
      taken.bytes = input.size();
      return taken;
    case Framing::kLength:
      taken.bytes = static_cast<std::size_t>(std::min<std::uint64_t>(left, input.size()));
      out.add(input.substr(0, taken.bytes));
      left -= taken.bytes;
      done = left == 0;
      return taken;
    case Framing::kChunked: break;
  }
  while (taken.bytes < input.size() && !chunked.done()) {
    std::string_view rest = input.substr(taken.bytes);
    ChunkedBody::Step step = chunked.consume(rest);
    if (step.bad) {
      bad = true;
      break;  // what is sound before it goes on
    }
    if (step.bytes == 0) break;
    out.add(content_only ? step.data : rest.substr(0, step.bytes));
    taken.bytes += step.bytes;
  }
  done = chunked.done();
  return taken;
}

void Exchange::reset() {
  static_cast<ExchangeState&>(*this) = ExchangeState();
  arena.clear();
  request_edits.clear();
  response_edits.clear();
  up.clear();
  down.clear();
  rewritten.clear();
  logged_headers.clear();
}

std::unique_ptr<Exchange> ExchangePool::take(SlabPool& slabs) {
  if (free_.empty()) return std::make_unique<Exchange>(slabs);
  std::unique_ptr<Exchange> out = std::move(free_.back());
  free_.pop_back();
  return out;
}

void ExchangePool::give(std::unique_ptr<Exchange> exchange) {
  if (!exchange || free_.size() >= kExchangesKeptMax) return;
  exchange->reset();
  free_.push_back(std::move(exchange));
}

}  // namespace monopod::proxy
