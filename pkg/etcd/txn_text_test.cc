#include "etcd/txn_text.h"

#include <gtest/gtest.h>

#include "base/strings.h"

namespace monopod::etcd {
namespace {

using namespace store;

template <typename T>
std::string why(const Result<T>& result) {
  return result ? "" : result.error().message();
}

TEST(TxnText, ReadsComparisons) {
  struct Case {
    const char* line;
    Compare::Target target;
    Compare::Op op;
    const char* key;
    std::int64_t number;
    const char* value;
  };
  using enum Compare::Target;
  using enum Compare::Op;
  for (const Case& c : {Case{"mod(\"key1\") > \"0\"", kMod, kGreater, "key1", 0, ""}, {"m(\"k\")=\"12\"", kMod, kEqual, "k", 12, ""}, {"create(\"k\") = 7", kCreate, kEqual, "k", 7, ""},
                        {"c(\"k\") < \"3\"", kCreate, kLess, "k", 3, ""}, {"ver(\"k\") != \"1\"", kVersion, kNotEqual, "k", 1, ""}, {"version(\"k\")>\"1\"", kVersion, kGreater, "k", 1, ""},
                        {"val(\"a b\") = \"x y\"", kValue, kEqual, "a b", 0, "x y"}, {"  value(\"k\")   =   \"say \\\"hi\\\"\\n\"  ", kValue, kEqual, "k", 0, "say \"hi\"\n"},
                        {"value(\"k\") = \"\"", kValue, kEqual, "k", 0, ""}, {"value(\"(\") = \")\"", kValue, kEqual, "(", 0, ")"}, {"lease(\"k\") = \"7f\"", kLease, kEqual, "k", 0x7f, ""}}) {
    Result<Compare> parsed = parse_compare(c.line);
    ASSERT_TRUE(parsed) << why(parsed);
    EXPECT_EQ(parsed->target, c.target) << c.line;
    EXPECT_EQ(parsed->op, c.op) << c.line;
    EXPECT_EQ(parsed->key, c.key) << c.line;
    EXPECT_EQ(parsed->number, c.number) << c.line;
    EXPECT_EQ(parsed->value, c.value) << c.line;
  }
}

TEST(TxnText, NamesWhatIsWrongWithAComparison) {
  struct Case {
    const char* line;
    const char* words;
  };
  for (const Case& c : {Case{"k = 1", "want a comparison"}, {"size(\"k\") = 1", "\"size\" is none of"}, {"mod(k) = 1", "stands in"}, {"mod(\"k) = 1", "no closing"}, {"mod(\"k\" = 1", "no )"},
                        {"mod(\"k\") 1", "want =, !="}, {"mod(\"k\") =", "want =, !="}, {"mod(\"k\") => 1", "want =, !="}, {"mod(\"k\") = \"x\"", "no number"}, {"value(\"k\") = \"1\" 2", "something follows"},
                        {"value(\"\\q\") = 1", "unknown escape"}, {"value(\"\\xf\") = 1", "two hex digits"}, {"lease(\"k\") = \"xyz\"", "no number"}}) {
    Result<Compare> parsed = parse_compare(c.line);
    ASSERT_FALSE(parsed) << c.line;
    EXPECT_TRUE(parsed.error().message().contains(c.words)) << why(parsed);
  }
}

TEST(TxnText, ReadsOperations) {
  auto put = parse_operation("put 'my key' \"a\\tvalue\" --lease=1a --prev-kv");
  ASSERT_TRUE(put) << why(put);
  const auto& p = std::get<PutRequest>(*put);
  EXPECT_EQ(p.key, "my key");
  EXPECT_EQ(*p.value, "a\tvalue");
  EXPECT_EQ(p.lease.value, 0x1a);
  EXPECT_TRUE(p.prev_kv);
  auto get = parse_operation("get --prefix k --limit 3 --keys-only --rev=9");
  ASSERT_TRUE(get) << why(get);
  const auto& g = std::get<RangeRequest>(*get);
  EXPECT_EQ(cat(g.key, "-", g.range_end, " ", g.limit, " ", g.revision.value), "k-l 3 9");
  EXPECT_TRUE(g.keys_only);
  auto del = parse_operation("del a c");
  ASSERT_TRUE(del) << why(del);
  EXPECT_EQ(std::get<DeleteRequest>(*del).range_end, "c");
  auto all = parse_operation("del \"\" --from-key");
  ASSERT_TRUE(all) << why(all);
  EXPECT_EQ(std::get<DeleteRequest>(*all).key, std::string(1, '\0'));
  for (const char* bad : {"", "move a b", "put a", "put a b c", "get", "get a b c", "get a b --prefix", "get a --prev-kv", "del a --rev=1", "get a --limit=x", "get a --limit", "put a \"b", "put a b --ignore-value"})
    EXPECT_FALSE(parse_operation(bad)) << bad;
}

TEST(TxnText, HasThreePartsApartByEmptyLines) {
  auto txn = parse_txn_text("mod(\"a\") > \"0\"\nvalue(\"b\") = \"x\"\n\nput a 1\nget a\n\ndel a\n\nnever read");
  ASSERT_TRUE(txn) << why(txn);
  EXPECT_EQ(cat(txn->compare.size(), txn->success.size(), txn->failure.size()), "221");
  auto no_compare = parse_txn_text("\nput a 1\n");
  ASSERT_TRUE(no_compare) << why(no_compare);
  EXPECT_EQ(cat(no_compare->compare.size(), no_compare->success.size(), no_compare->failure.size()), "010");
  EXPECT_FALSE(parse_txn_text("put a 1\n\n"));
}

}  // namespace
}  // namespace monopod::etcd
