// Writer and reader against each other, and against files that are not whole.
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/rng.h"
#include "base/strings.h"
#include "etcd/snapshot/bolt_reader.h"
#include "etcd/snapshot/bolt_writer.h"
#include "etcd/snapshot/crc32c.h"
#include "sys/fd.h"

namespace monopod::etcd {
namespace {

using Pairs = std::map<std::string, std::string>;
using Content = std::map<std::string, Pairs>;

std::string write(const Content& content) {
  sys::Fd fd(::memfd_create("bolt", MFD_CLOEXEC));
  BoltWriter writer(fd.get());
  for (const auto& [bucket, pairs] : content) {
    EXPECT_TRUE(writer.begin_bucket(bucket));
    for (const auto& [key, value] : pairs) EXPECT_TRUE(writer.add(key, value));
    EXPECT_TRUE(writer.end_bucket());
  }
  Result<std::int64_t> bytes = writer.finish();
  EXPECT_TRUE(bytes) << (bytes ? "" : bytes.error().message());
  std::string out(static_cast<std::size_t>(bytes.value_or(0)), '\0');
  EXPECT_EQ(::pread(fd.get(), out.data(), out.size(), 0), static_cast<ssize_t>(out.size()));
  EXPECT_EQ(::lseek(fd.get(), 0, SEEK_END), static_cast<off_t>(out.size()));
  return out;
}

Result<Content> read(std::string_view bytes) {
  StringSource source(bytes);
  TRY_ASSIGN(BoltReader reader, BoltReader::open(source));
  Content content;
  for (const std::string& bucket : reader.buckets()) {
    Pairs& pairs = content[bucket];
    TRY(reader.walk(bucket, [&pairs](std::string_view key, std::string_view value) -> Result<> {
      pairs.emplace(key, value);
      return {};
    }));
  }
  return content;
}

void expect_round_trip(const Content& content) {
  Result<Content> again = read(write(content));
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_TRUE(*again == content);
}

std::string numbered(int n) { return cat("key-", 1'000'000 + n); }

TEST(Bolt, RoundTripsEmptyAndSmallFiles) {
  expect_round_trip({});
  expect_round_trip({{"key", {}}});
  expect_round_trip({{"key", {{"a", "1"}}}, {"lease", {}}, {"meta", {{"b", ""}, {"c", std::string("\0x", 2)}}}});
}

TEST(Bolt, RoundTripsValuesThatOverflowTheirPage) {
  Content content;
  for (std::size_t bytes : {1000U, 4000U, 4048U, 4049U, 4096U, 8192U, 100'000U, 3'000'000U}) content["key"][numbered(static_cast<int>(bytes))] = std::string(bytes, 'v');
  content["keys"][std::string(30'000, 'k')] = "long";
  for (int i = 0; i < 300; ++i) content["branches"][std::string(3000, 'k') + numbered(i)] = "many long keys make a deep tree";
  expect_round_trip(content);
}

TEST(Bolt, RoundTripsAHundredThousandKeysWithThreeLevels) {
  Content content;
  for (int i = 0; i < 100'000; ++i) content["key"][numbered(i)] = "some value of middling length";
  std::string bytes = write(content);
  EXPECT_LT(bytes.size(), 100'000U * (16 + 11 + 29) * 11 / 10) << "pages are nearly full";
  Result<Content> again = read(bytes);
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_TRUE(*again == content);
}

TEST(Bolt, RoundTripsRandomContent) {
  SeededRng rng(20);
  for (int round = 0; round < 16; ++round) {
    Content content;
    for (std::uint64_t buckets = 1 + rng.next() % 4; buckets > 0; --buckets) {
      Pairs& pairs = content[cat("bucket", buckets)];
      for (std::uint64_t n = rng.next() % 400; n > 0; --n)
        pairs[std::string(1 + rng.next() % 60, static_cast<char>(rng.next())) + numbered(static_cast<int>(n))] = std::string(rng.next() % (round % 2 ? 200 : 6000), 'v');
    }
    expect_round_trip(content);
  }
}

TEST(Bolt, WriterRefusesKeysThatDoNotRise) {
  sys::Fd fd(::memfd_create("bolt", MFD_CLOEXEC));
  BoltWriter writer(fd.get());
  EXPECT_FALSE(writer.add("a", "1")) << "no bucket";
  ASSERT_TRUE(writer.begin_bucket("key"));
  EXPECT_FALSE(writer.begin_bucket("nested"));
  ASSERT_TRUE(writer.add("b", "1"));
  EXPECT_FALSE(writer.add("b", "2"));
  EXPECT_FALSE(writer.add("a", "2"));
  EXPECT_FALSE(writer.add("", "2"));
  EXPECT_FALSE(writer.finish()) << "a bucket is open";
  ASSERT_TRUE(writer.end_bucket());
  EXPECT_FALSE(writer.begin_bucket("key")) << "twice";
}

TEST(Bolt, MetaHasTheChecksumOfTheFormat) {
  std::string bytes = write({{"key", {{"a", "1"}}}});
  EXPECT_EQ(bolt::load<std::uint32_t>(bytes, 16), 0xED0CDAEDU);
  EXPECT_EQ(bolt::fnv1a("hello"), 0xa430d84680aabd0bULL) << "FNV-1a 64's own test vector";
  EXPECT_EQ(crc32c(0, "123456789"), 0xe3069283U) << "CRC-32C's check value";
}

TEST(Bolt, ReaderTakesTheNewerMetaAndTheOtherIfThatIsDamaged) {
  Content content{{"key", {{"a", "1"}}}};
  std::string bytes = write(content);
  for (std::size_t meta : {0U, 4096U}) {
    std::string damaged = bytes;
    damaged[meta + 40] ^= 1;
    Result<Content> again = read(damaged);
    ASSERT_TRUE(again) << again.error().message();
    EXPECT_TRUE(*again == content);
  }
  bytes[40] ^= 1;
  bytes[4096 + 40] ^= 1;
  EXPECT_EQ(read(bytes).error().code(), Code::kFailedPrecondition);
}

TEST(Bolt, ReaderRefusesWhatIsNoFileOfIts) {
  EXPECT_EQ(read("").error().code(), Code::kFailedPrecondition);
  EXPECT_EQ(read(std::string(100'000, '\0')).error().code(), Code::kFailedPrecondition);
  EXPECT_EQ(read("SQLite format 3" + std::string(5000, 'x')).error().code(), Code::kFailedPrecondition);
}

TEST(Bolt, ReaderFindsTruncatedAndCyclicTrees) {
  Content content;
  for (int i = 0; i < 2000; ++i) content["key"][numbered(i)] = "value";
  std::string bytes = write(content);
  EXPECT_EQ(read(std::string_view(bytes).substr(0, bytes.size() - 4096)).error().code(), Code::kDataLoss);
  // The branch of bucket "key" is the page before the root; its second child becomes its first, then itself.
  std::size_t branch = 0;
  for (std::size_t page = 3 * 4096; page < bytes.size(); page += 4096)
    if (bolt::load<std::uint16_t>(bytes, page + 8) == bolt::kBranchPage) branch = page;
  ASSERT_NE(branch, 0U);
  for (std::uint64_t target : {bolt::load<std::uint64_t>(bytes, branch + 16 + 8), branch / 4096, std::uint64_t{0}, std::uint64_t{1} << 60}) {
    std::string damaged = bytes;
    std::memcpy(damaged.data() + branch + 32 + 8, &target, sizeof target);
    Result<Content> again = read(damaged);
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().code(), Code::kDataLoss) << again.error().message();
  }
}

TEST(Bolt, ReaderSurvivesEveryFlippedBitOfASmallFile) {
  std::string bytes = write({{"key", {{"a", "1"}, {"b", std::string(2000, 'x')}}}, {"meta", {{"c", "2"}}}});
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    if ((bytes[at] == 'x' || bytes[at] == '\0') && at % 16 != 0) continue;
    for (int bit : {0, 7}) {
      std::string damaged = bytes;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
      (void)read(damaged);  // an error or other content, no crash
    }
  }
}

}  // namespace
}  // namespace monopod::etcd
