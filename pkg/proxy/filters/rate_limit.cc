// Token buckets by key (who asks, or for what), in a table that all workers and all listeners share where they use its name: a limit of the node. It
// outlives reloads. A bucket that is full says nothing and makes room; where none is, strangers share one bucket, so that a flood of keys frees nobody.
#include <array>
#include <mutex>
#include <unordered_map>

#include "base/strings.h"
#include "proxy/filters/bucket.h"
#include "proxy/filters/filters.h"
#include "proxy/route/table.h"
#include "proxy/upstream/hash_table.h"

namespace monopod::proxy {
namespace {

constexpr std::size_t kShards = 16;
constexpr std::size_t kKeysPerShardMax = 4'096;  // some 200 KB for a table that is full
constexpr std::uint64_t kOverflowKey = 0;

class Buckets {
 public:
  // Whether there is a token for the key; else how long until there is one.
  std::optional<std::uint64_t> take(std::uint64_t key, const Bucket& bucket, std::uint64_t now_us) {
    Shard& shard = shards_[(key >> 8) % kShards];
    std::lock_guard lock(shard.mutex);
    auto found = shard.full_at_us.find(key);
    if (found == shard.full_at_us.end()) {
      if (shard.full_at_us.size() >= kKeysPerShardMax) make_room(shard, now_us);
      found = shard.full_at_us.emplace(shard.full_at_us.size() < kKeysPerShardMax ? key : kOverflowKey, 0).first;
    }
    std::optional<std::uint64_t> next = bucket.take(found->second, now_us);
    if (!next) return bucket.wait_us(found->second, now_us);
    found->second = *next;
    return std::nullopt;
  }

 private:
  struct Shard {
    std::mutex mutex;  // for some tens of nanoseconds; a sweep once per second at most
    std::unordered_map<std::uint64_t, std::uint64_t> full_at_us;
    std::uint64_t swept_us = 0;
  };
  static void make_room(Shard& shard, std::uint64_t now_us) {
    if (now_us < shard.swept_us + 1'000'000) return;
    shard.swept_us = now_us;
    std::erase_if(shard.full_at_us, [now_us](const auto& entry) { return entry.second <= now_us; });
  }
  std::array<Shard, kShards> shards_;
};

class RateLimitFilter final : public Filter {
 public:
  RateLimitFilter(const FilterSpec& spec, std::shared_ptr<Buckets> buckets)
      : bucket_(spec.rate_limit), keys_(spec.rate_keys), seed_(stable_hash(cat(spec.rate_limit.tokens, "/", spec.rate_limit.interval.count()))), buckets_(std::move(buckets)) {}

  Verdict on_request(const RequestView& r) const override {
    std::uint64_t key = seed_;
    for (const RateKey& part : keys_) {
      std::string_view text = text_of(part, r);
      if (text.empty() && part.kind == RateKey::Kind::kHeader) return {};  // the limit is for those who have it
      key = stable_hash(text, key);
    }
    std::optional<std::uint64_t> wait_us = buckets_->take(key | 1, bucket_, r.now_ms * 1000);  // never kOverflowKey
    if (!wait_us) return {};
    r.answer_edits.add(r.arena, "retry-after", cat((*wait_us + 999'999) / 1'000'000));
    return {.kind = Verdict::kAnswer, .status = 429, .body = "too many requests\n", .details = "rate_limited"};
  }

 private:
  static std::string_view text_of(const RateKey& part, const RequestView& r) {
    switch (part.kind) {
      case RateKey::Kind::kHeader: return r.edits.find(r.head, part.name);
      case RateKey::Kind::kSourceAddress: return {reinterpret_cast<const char*>(r.source), sizeof r.source};
      case RateKey::Kind::kPrincipal: return r.peer.uris.empty() ? std::string_view(r.peer.common_name) : std::string_view(r.peer.uris.front());
      case RateKey::Kind::kPath: return r.path;
      case RateKey::Kind::kRoute: return r.route == nullptr ? std::string_view() : std::string_view(r.route->name);
    }
    return {};
  }
  Bucket bucket_;
  std::vector<RateKey> keys_;
  std::uint64_t seed_;
  std::shared_ptr<Buckets> buckets_;
};

}  // namespace

Result<FilterPtr> make_rate_limit(const FilterSpec& spec, const FilterContext& context) {
  if (spec.rate_limit.interval.count() < 1) return fail(Code::kInvalidArgument, "interval is under a millisecond");
  return std::make_unique<RateLimitFilter>(spec, context.shared.find_or_make<Buckets>("rate limit", spec.name));
}

}  // namespace monopod::proxy
