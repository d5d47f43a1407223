#include "proxy/stream/exchange.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "base/strings.h"

namespace monopod::proxy {

bool is_grpc(const Head& head) {
  constexpr std::string_view kType = "application/grpc";
  const FieldSpan* field = head.find("content-type");
  std::string_view type = field == nullptr ? std::string_view() : head.value(*field);
  return type.starts_with(kType) && (type.size() == kType.size() || type[kType.size()] == '+' || type[kType.size()] == ';');
}

std::optional<Milliseconds> parse_grpc_timeout(std::string_view text) {
  if (text.size() < 2 || text.size() > 9) return std::nullopt;
  auto number = parse_int<std::uint32_t>(text.substr(0, text.size() - 1));
  if (!number) return std::nullopt;
  std::uint64_t n = *number;
  switch (text.back()) {
    case 'H': n *= 3'600'000; break;
    case 'M': n *= 60'000; break;
    case 'S': n *= 1'000; break;
    case 'm': break;
    case 'u': n = (n + 999) / 1'000; break;
    case 'n': n = (n + 999'999) / 1'000'000; break;
    default: return std::nullopt;
  }
  return Milliseconds(static_cast<std::int64_t>(std::max<std::uint64_t>(n, 1)));
}

int grpc_status_for(int http_status) {
  switch (http_status) {
    case 400: return 13;
    case 401: return 16;
    case 403: return 7;
    case 404: return 12;
    case 504: return 4;
    case 429: case 502: case 503: return 14;
    default: return 2;
  }
}

int grpc_status_of(const Head& response) {
  const FieldSpan* field = response.find("grpc-status");
  return field == nullptr ? -1 : parse_int<int>(response.value(*field)).value_or(2);  // 2: unknown
}

bool is_grpc_failure(int status) {
  return status == 2 || status == 4 || status == 8 || (status >= 13 && status <= 15);  // unknown, deadline exceeded, exhausted, internal, unavailable, data loss
}

void BodyProgress::note_end(const Socket& from) {
  if (framing != Framing::kStream || all_in || !from.is_stream() || !from.stream()->at_end()) return;
  all_in = true;
  trailers = from.stream()->trailers();
  if (watches_trailer)
    for (std::string_view line : split(trailers, '\n')) note_trailer(line);
}

void BodyProgress::note_trailer(std::string_view line) {
  auto [name, value] = split_once(line, ':');
  if (value && equals_lowercase(name, "grpc-status")) grpc_status = parse_int<int>(trim(*value)).value_or(2);
}

// The trailer as gRPC-Web's last message.
void BodyProgress::add_trailer_message(std::string_view lines, Outbox& out) {
  auto size = static_cast<std::uint32_t>(lines.size());
  std::string message{'\x80', static_cast<char>(size >> 24), static_cast<char>(size >> 16), static_cast<char>(size >> 8), static_cast<char>(size)};
  message += lines;
  char digits[9] = {};
  std::snprintf(digits, sizeof digits, "%zx", message.size());
  message_ = content_only ? std::move(message) : cat(digits, "\r\n", message, "\r\n0\r\n\r\n");
  out.add(message_);
  trailers = {};
}

BodyProgress::Taken BodyProgress::take(std::string_view input, Outbox& out) { return transforms() ? take_coded(input, out) : take_plain(input, out); }

void BodyProgress::end_here(Outbox& out) {
  done = true;
  coded_.clear();
  if (!transforms()) return;
  bad = !finish_coding();
  add_coded(out);
}

BodyProgress::Taken BodyProgress::take_coded(std::string_view input, Outbox& out) {
  Outbox content;
  bool unchunked = std::exchange(content_only, true);
  Taken taken = take_plain(input, content);
  content_only = unchunked;
  coded_.clear();
  content.each([this](std::string_view part) {
    if (coding == Coding::kToBase64) encoder_.append(part, coded_);
    else bad = bad || !decoder_.append(part, coded_);
  });
  if (done && !finish_coding()) bad = true;
  taken.bad = bad;
  if (bad) done = false;  // it is refused at the next look, where the first was with its head
  else add_coded(out);
  return taken;
}

bool BodyProgress::finish_coding() {
  if (coding == Coding::kToBase64) encoder_.finish(coded_);
  return coding == Coding::kToBase64 || decoder_.whole();
}

void BodyProgress::add_coded(Outbox& out) {
  if (content_only) return out.add(coded_);
  if (!coded_.empty()) {
    char* end = std::to_chars(size_line.data(), size_line.data() + size_line.size() - 2, coded_.size(), 16).ptr;
    *end++ = '\r';
    *end++ = '\n';
    out.add({size_line.data(), static_cast<std::size_t>(end - size_line.data())});
    out.add(coded_);
    out.add("\r\n");
  }
  if (!done) return;
  out.add("0\r\n");
  out.add(trailers);
  out.add("\r\n");
}

BodyProgress::Taken BodyProgress::take_plain(std::string_view input, Outbox& out) {
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
    case Framing::kStream: break;
    case Framing::kChunked: return take_chunked(input, out);
  }
  taken.bytes = input.size();
  done = all_in;
  if (content_only) {
    out.add(input);
  } else if (!input.empty()) {
    char* end = std::to_chars(size_line.data(), size_line.data() + size_line.size() - 2, input.size(), 16).ptr;
    *end++ = '\r';
    *end++ = '\n';
    out.add({size_line.data(), static_cast<std::size_t>(end - size_line.data())});
    out.add(input);
    out.add("\r\n");
  }
  if (done && trailer_as_message) add_trailer_message(trailers, out);
  if (!done || content_only || trailer_as_message) return taken;
  out.add("0\r\n");
  out.add(trailers);
  out.add("\r\n");
  return taken;
}

BodyProgress::Taken BodyProgress::take_chunked(std::string_view input, Outbox& out) {
  Taken taken;
  while (taken.bytes < input.size() && !chunked.done()) {
    std::string_view rest = input.substr(taken.bytes);
    bool in_trailer = chunked.in_trailer();
    ChunkedBody::Step step = chunked.consume(rest);
    if (in_trailer && watches_trailer && !step.bad) note_trailer(rest.substr(0, step.bytes));
    if (step.bad) {
      bad = true;
      break;  // what is sound before it goes on
    }
    if (step.bytes == 0) break;
    if (in_trailer && (content_only || trailer_as_message) && step.bytes > 2) collected += rest.substr(0, step.bytes);
    if (!trailer_as_message || (!in_trailer && !chunked.in_trailer())) out.add(content_only ? step.data : rest.substr(0, step.bytes));  // else the line of the last chunk waits
    taken.bytes += step.bytes;
  }
  done = chunked.done();
  trailers = collected;
  if (done && trailer_as_message) add_trailer_message(collected, out);
  return taken;
}

void Exchange::reset() {
  endpoint = nullptr;  // before its cluster
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
