#include "etcd/messages.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "etcd/cluster/answers.h"
#include "store/limits.h"

namespace monopod::etcd {
namespace {

TEST(ProtoWire, RoundTripsFields) {
  std::string message = ProtoWriter().integer(1, -5).integer(2, 300).integer(3, 0).bytes(4, "abc").message(64, "").take();
  ProtoReader reader(message);
  ASSERT_TRUE(*reader.next());
  EXPECT_EQ(reader.field(), 1u);
  EXPECT_EQ(reader.integer(), -5);
  ASSERT_TRUE(*reader.next());
  EXPECT_EQ(reader.integer(), 300);
  ASSERT_TRUE(*reader.next());
  EXPECT_EQ(reader.field(), 4u) << "defaults are left out";
  EXPECT_EQ(reader.bytes(), "abc");
  ASSERT_TRUE(*reader.next());
  EXPECT_EQ(reader.field(), 64u);
  EXPECT_FALSE(*reader.next());
}

// Values on both sides of what a piece takes: the size that is announced is what comes, and it reads back as what went in.
TEST(EtcdMessages, RangesInPiecesAreWhatTheirSizeSays) {
  SeededRng rng(11);
  for (int round = 0; round < 200; ++round) {
    RangeResult result{.revision = Revision(9), .count = 1000, .more = rng.below(2) == 0};
    for (std::uint64_t keys = rng.below(6); keys > 0; --keys) {
      std::size_t size = rng.below(4) == 0 ? 0 : rng.below(150'000);
      result.kvs.push_back({.key = std::string(1 + rng.below(300), 'k'), .value = share(std::string(size, 'v')), .create = Revision(2), .mod = Revision(3), .version = 1});
    }
    RangeResult sent = result;
    Message message = format_range(Revision(9), std::move(sent), {});
    std::size_t size = message.size(), pieces = 0;
    std::string all;
    for (std::string piece = message.next_piece(); !piece.empty(); piece = message.next_piece(), ++pieces) all += piece;
    ASSERT_EQ(all.size(), size);
    EXPECT_EQ(pieces > 1, size > (64U << 10)) << size;
    Result<RangeResult> read = parse_range_answer(all, false);
    ASSERT_TRUE(read) << read.error().message();
    ASSERT_EQ(read->kvs.size(), result.kvs.size());
    EXPECT_EQ(read->count, 1000);
    EXPECT_EQ(read->more, result.more);
    for (std::size_t i = 0; i < read->kvs.size(); ++i) EXPECT_EQ(*read->kvs[i].value, *result.kvs[i].value);
  }
}

TEST(EtcdMessages, TransactionOfKubeApiserverIsUnderstood) {
  // If ModRevision("k") = 7 then Put("k", "v") else Range("k").
  std::string compare = ProtoWriter().integer(2, 2).bytes(3, "k").integer(6, 7).take();
  std::string put = ProtoWriter().message(2, ProtoWriter().bytes(1, "k").bytes(2, "v").str()).take();
  std::string range = ProtoWriter().message(1, ProtoWriter().bytes(1, "k").str()).take();
  auto parsed = parse_txn(ProtoWriter().message(1, compare).message(2, put).message(3, range).str());
  ASSERT_TRUE(parsed) << parsed.error().message();
  const Txn& txn = parsed->txn;
  EXPECT_EQ(txn.compare.at(0).target, Compare::Target::kMod);
  EXPECT_EQ(txn.compare.at(0).number, 7);
  EXPECT_EQ(*std::get<PutRequest>(txn.success.at(0)).value, "v");
  EXPECT_EQ(std::get<RangeRequest>(txn.failure.at(0)).key, "k");
}

TEST(EtcdMessages, TooManyOperationsAndTooDeepNestingAreRefused) {
  std::string put = ProtoWriter().message(2, ProtoWriter().bytes(1, "k").str()).take();
  ProtoWriter wide;
  for (std::size_t i = 0; i <= kTxnOperationsMax; ++i) wide.message(2, put);
  EXPECT_EQ(parse_txn(wide.str()).error().message(), "etcdserver: too many operations in txn request");
  std::string deep;
  for (int i = 0; i < 2000; ++i) deep = ProtoWriter().message(2, ProtoWriter().message(4, deep).str()).take();
  EXPECT_EQ(parse_txn(deep).error().code(), Code::kInvalidArgument);
}

TEST(EtcdMessages, RandomBytesNeverDoHarm) {
  SeededRng rng(9);
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes(rng.below(60), '\0');
    for (char& c : bytes) c = static_cast<char>(rng.below(3) == 0 ? rng.next() : (rng.below(6) << 3U | 2U));
    (void)parse_range(bytes);
    (void)parse_put(bytes);
    (void)parse_delete(bytes);
    (void)parse_txn(bytes);
    (void)parse_watch(bytes);
    (void)parse_integer(bytes, 1);
  }
}

}  // namespace
}  // namespace monopod::etcd
