#include "etcd/snapshot/backend_image.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/strings.h"
#include "codec/json.h"
#include "etcd/snapshot/big_endian.h"
#include "etcd/methods.h"

namespace monopod::etcd {
namespace {

constexpr std::size_t kPlaceBytes = 17;
constexpr std::string_view kRows = "key";
constexpr std::string_view kScheduledCompact = "scheduledCompactRev";
constexpr std::string_view kFinishedCompact = "finishedCompactRev";
constexpr std::string_view kReserved = "monopodReservedRevision";  // no name of etcd's, which ignores it

std::string format_place(std::int64_t revision, std::int64_t sub) { return big_endian(revision) + "_" + big_endian(sub); }

Result<std::pair<std::int64_t, std::int64_t>> parse_place(std::string_view key) {
  if (key.size() < kPlaceBytes || key[8] != '_') return fail(Code::kDataLoss, "a revision that is none");
  std::int64_t revision = read_big_endian(key), sub = read_big_endian(key.substr(9));
  if (revision < 0 || sub < 0) return fail(Code::kDataLoss, "a negative revision");
  return std::pair{revision, sub};
}

std::vector<Pair> meta_bucket(const store::DumpHead& head) {
  std::vector<Pair> pairs;
  pairs.emplace_back("confState", json::format(json::Object{{"voters", json::Array{kMemberId}}, {"auto_leave", false}}));
  pairs.emplace_back("consistent_index", big_endian(head.current.value));
  pairs.emplace_back("term", big_endian(kRaftTerm));
  if (head.compacted.value > 0) {
    pairs.emplace_back(kFinishedCompact, format_place(head.compacted.value, 0));
    pairs.emplace_back(kScheduledCompact, format_place(head.compacted.value, 0));
  }
  if (head.reserved > 0) pairs.emplace_back(kReserved, big_endian(head.reserved));
  std::ranges::sort(pairs);
  return pairs;
}

std::vector<Pair> lease_bucket(const store::DumpHead& head) {
  std::vector<Pair> pairs;
  for (const store::DumpLease& lease : head.leases)
    pairs.emplace_back(big_endian(lease.id.value), ProtoWriter().integer(1, lease.id.value).integer(2, lease.ttl.count()).take());
  std::ranges::sort(pairs);
  return pairs;
}

std::vector<Pair> members_bucket(const ImageFacts& facts) {
  json::Object member{{"id", kMemberId},
                      {"peerURLs", json::Array{json::Value(facts.client_url)}},
                      {"name", kMemberName},
                      {"clientURLs", json::Array{json::Value(facts.client_url)}}};
  return {{format_hex(as_bytes(big_endian(kMemberId))), json::format(member)}};
}

Result<store::DumpLease> parse_lease(std::string_view key, std::string_view value) {
  TRY_ASSIGN(std::int64_t id, parse_integer(value, 1));
  TRY_ASSIGN(std::int64_t ttl, parse_integer(value, 2));
  if (key.size() != 8 || read_big_endian(key) != id) return fail(Code::kDataLoss, "a lease under another's id");
  return store::DumpLease{.id = store::LeaseId(id), .ttl = std::chrono::seconds(ttl)};
}

}  // namespace

Result<Buckets> small_buckets(store::Dump& dump, const ImageFacts& facts) {
  Buckets buckets;
  for (const char* empty : {"alarm", "auth", "authRoles", "authUsers", "members_removed"}) buckets[empty];
  buckets[std::string(kRows)];
  buckets["cluster"] = {{"clusterVersion", "3.5.0"}, {"downgrade", R"({"target-version":"","enabled":false})"}};
  buckets["lease"] = lease_bucket(dump.head());
  buckets["members"] = members_bucket(facts);
  buckets["meta"] = meta_bucket(dump.head());
  TRY_ASSIGN(auto stored_alarms, dump.state(kAlarmBucket));
  TRY_ASSIGN(std::vector<Alarm> alarms, parse_stored_alarms(stored_alarms));
  for (const Alarm& alarm : alarms) buckets["alarm"].emplace_back(format_alarm(alarm), "");
  std::ranges::sort(buckets["alarm"]);
  TRY_ASSIGN(auto auth_records, dump.state(kAuthBucket));
  TRY(add_auth_buckets(auth_records, buckets));
  return buckets;
}

Pair format_row(const store::DumpRow& row) {
  ProtoWriter value;
  value.bytes(1, row.key).integer(2, row.create);
  if (!row.tombstone()) value.integer(3, row.revision);
  value.integer(4, row.version).bytes(5, row.value).integer(6, row.lease);
  std::string key = format_place(row.revision, row.sub);
  if (row.tombstone()) key += 't';
  return {std::move(key), value.take()};
}

Result<store::DumpRow> parse_row(std::string_view key, std::string_view value) {
  TRY_ASSIGN(auto place, parse_place(key));
  bool tombstone = key.size() == kPlaceBytes + 1 && key.back() == 't';
  if (key.size() != kPlaceBytes && !tombstone) return fail(Code::kDataLoss, "a revision with something behind it");
  store::DumpRow row{.revision = place.first, .sub = place.second};
  std::int64_t mod = 0;
  ProtoReader reader(value);
  auto broken = [&](std::string_view what) { return fail(Code::kDataLoss, cat("revision ", row.revision, ".", row.sub, ": ", what)); };
  for (;;) {
    Result<bool> more = reader.next();
    if (!more) return broken("the record is no protobuf message");
    if (!*more) break;
    switch (reader.field()) {
      case 1: row.key = reader.bytes(); break;
      case 2: row.create = reader.integer(); break;
      case 3: mod = reader.integer(); break;
      case 4: row.version = reader.integer(); break;
      case 5: row.value = reader.bytes(); break;
      case 6: row.lease = reader.integer(); break;
      default: return broken(cat("the record has a field ", reader.field(), " that is unknown"));
    }
  }
  if (tombstone ? row.version != 0 || row.create != 0 : row.version <= 0 || mod != row.revision) return broken("the record does not belong to its revision");
  if (auto [k, v] = format_row(row); k != key || v != value) return broken("the record would not be the same again");
  return row;
}

Result<> HeadReader::take(std::string_view bucket, std::string_view key, std::string_view value) {
  if (bucket == "lease") {
    TRY_ASSIGN(store::DumpLease lease, parse_lease(key, value));
    head_.leases.push_back(lease);
  } else if (bucket == "alarm") {
    TRY_ASSIGN(Alarm alarm, parse_alarm(key));
    alarms_.push_back(alarm);
  } else if (bucket == "meta" && (key == kScheduledCompact || key == kFinishedCompact)) {
    // One that was scheduled and not finished was acknowledged all the same.
    TRY_ASSIGN(auto place, parse_place(value));
    head_.compacted = std::max(head_.compacted, store::Revision(place.first));
  } else if (bucket == "meta" && key == kReserved) {
    if (value.size() != 8) return fail(Code::kDataLoss, "no number");
    head_.reserved = std::max<std::int64_t>(0, read_big_endian(value));
  }
  return auth_.take(bucket, key, value);
}

store::DumpHead HeadReader::head(std::int64_t current) const {
  store::DumpHead head = head_;
  head.current = store::Revision(std::max({std::int64_t{1}, current, head.compacted.value, head.reserved > 0 ? head.reserved + 1 : 0}));
  return head;
}

Result<bool> ImageWriter::step() {
  bool first = !std::exchange(started_, true);
  if (first) {
    TRY_ASSIGN(buckets_, small_buckets(dump_, facts_));
  }
  auto rows = buckets_.find(kRows);
  if (first) {
    TRY(write_buckets(buckets_.begin(), rows));
    TRY(begin_bucket(kRows));
  }
  TRY_ASSIGN(bool more, dump_.read([this](const store::DumpRow& row) -> Result<> {
    auto [key, value] = format_row(row);
    revision_ = row.revision;
    ++rows_;
    return add(key, value);
  }));
  if (more) return true;
  TRY(end_bucket());
  TRY(write_buckets(std::next(rows), buckets_.end()));
  return false;
}

Result<> ImageWriter::write_buckets(Buckets::const_iterator begin, Buckets::const_iterator end) {
  for (auto bucket = begin; bucket != end; ++bucket) {
    TRY(begin_bucket(bucket->first));
    for (const auto& [key, value] : bucket->second) TRY(add(key, value));
    TRY(end_bucket());
  }
  return {};
}

Result<> ImageWriter::begin_bucket(std::string_view name) {
  hash_.begin_bucket(name);
  return out_ ? out_->begin_bucket(name) : Result<>();
}

Result<> ImageWriter::add(std::string_view key, std::string_view value) {
  hash_.add(key, value);
  return out_ ? out_->add(key, value) : Result<>();
}

}  // namespace monopod::etcd
