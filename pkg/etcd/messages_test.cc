#include "etcd/messages.h"

#include <gtest/gtest.h>

#include "base/rng.h"
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
