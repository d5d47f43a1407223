#include "network/dns/forwarder.h"

#include <algorithm>

namespace monopod::network::dns {
namespace {

constexpr std::uint32_t kTtlSecondsMin = 5;  // of negative answers without a SOA, as short as the zone's own

struct InFlight {
  std::size_t& count;
  explicit InFlight(std::size_t& c) : count(c) { ++count; }
  ~InFlight() { --count; }
  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;
};

}  // namespace

void Forwarder::set_upstreams(std::vector<IpAddress> upstreams) {
  options_.upstreams = std::move(upstreams);
  cache_.clear();
}

std::optional<Answer> Forwarder::find_cached(const Ask& ask) {
  auto found = cache_.find(key_of(ask));
  if (found == cache_.end()) return std::nullopt;
  if (found->second.expires <= time_.mono()) {
    cache_.erase(found);
    return std::nullopt;
  }
  Answer out = found->second.answer;
  auto age = static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::seconds>(time_.mono() - found->second.stored).count());
  auto left = [&](std::uint32_t ttl) { return ttl > age ? ttl - age : 0; };
  for (std::size_t at : out.response.ttl_offsets) {
    std::uint32_t ttl = 0;
    for (std::size_t i = 0; i < 4; ++i) ttl = ttl << 8 | static_cast<std::uint8_t>(out.packet[at + i]);
    ttl = left(ttl);
    for (std::size_t i = 0; i < 4; ++i) out.packet[at + i] = static_cast<char>(ttl >> (24 - 8 * i) & 0xFF);
  }
  for (Record& record : out.response.answers) record.ttl = left(record.ttl);
  std::ranges::copy(ask.question, out.packet.begin() + kHeaderBytes);
  return out;
}

void Forwarder::store(const Ask& ask, const Answer& answer) {
  const Response& response = answer.response;
  if (response.truncated || (response.rcode != kNoError && response.rcode != kNameError)) return;
  std::chrono::seconds ttl(response.answers.empty() ? std::max(response.ttl_min, kTtlSecondsMin) : response.ttl_min);
  ttl = std::min(ttl, kCacheTtlMax);
  if (ttl.count() == 0 || options_.cache_entries_max == 0) return;
  if (cache_.size() >= options_.cache_entries_max) {
    std::erase_if(cache_, [now = time_.mono()](const auto& entry) { return entry.second.expires <= now; });
    if (cache_.size() >= options_.cache_entries_max) cache_.erase(cache_.begin());
  }
  cache_.insert_or_assign(key_of(ask), Entry{.answer = answer, .stored = time_.mono(), .expires = time_.mono() + ttl});
}

async::Task<Result<Answer>> Forwarder::resolve(Ask ask) {
  if (std::optional<Answer> cached = find_cached(ask)) co_return std::move(*cached);
  if (in_flight_ >= options_.in_flight_max) co_return fail(Code::kResourceExhausted, "too many dns queries wait for upstream servers");
  InFlight counted(in_flight_);
  const std::vector<IpAddress> servers = options_.upstreams;  // may be replaced while we wait
  Error last(Code::kUnavailable, "no upstream dns server");
  for (const IpAddress& ip : servers) {
    Upstream server{.ip = ip, .port = options_.port};
    Result<Answer> answer = ask.tcp ? co_await ask_tcp(time_, rng_, server, ask.question) : co_await ask_udp(time_, rng_, server, ask.question);
    if (!answer) {
      if (answer.error().code() == Code::kCancelled) co_return answer;
      last = std::move(answer).error();
      continue;
    }
    if (answer->response.rcode == kServerFailure || answer->response.rcode == kRefused) {
      if (ip != servers.back()) continue;
    }
    store(ask, *answer);
    co_return answer;
  }
  co_return fail(std::move(last));
}

}  // namespace monopod::network::dns
