#include "store/key_index.h"

#include <gtest/gtest.h>

#include <map>

#include "base/rng.h"
#include "base/strings.h"

namespace monopod::store {
namespace {

std::vector<std::string> keys_in(const KeyIndex& index, std::string_view begin, std::string_view end) {
  std::vector<std::string> keys;
  index.walk(begin, end, [&](const KeyIndex::Entry& entry) { return keys.push_back(entry.key), true; });
  return keys;
}

TEST(KeyIndex, ReaderSeesTheNewestVersionAtItsRevision) {
  KeyIndex index;
  index.push("a", {.row = row_id(2, 0), .create = 2, .version = 1});
  index.push("a", {.row = row_id(4, 0), .create = 2, .version = 2});
  index.push("a", {.row = row_id(6, 0)});
  index.push("a", {.row = row_id(8, 0), .create = 8, .version = 1});
  const KeyIndex::Entry* entry = index.find("a");
  EXPECT_EQ(entry->visible_at(1), nullptr);
  EXPECT_EQ(entry->visible_at(2)->version, 1);
  EXPECT_EQ(entry->visible_at(3)->version, 1);
  EXPECT_EQ(entry->visible_at(5)->version, 2);
  EXPECT_EQ(entry->visible_at(6), nullptr);
  EXPECT_EQ(entry->visible_at(9)->create, 8);
}

TEST(KeyIndex, PruneKeepsWhatAReaderAtTheRevisionSees) {
  KeyIndex index;
  index.push("a", {.row = row_id(2, 0), .create = 2, .version = 1});
  index.push("a", {.row = row_id(4, 0), .create = 2, .version = 2});
  index.push("a", {.row = row_id(9, 0), .create = 2, .version = 3});
  index.push("dead", {.row = row_id(3, 0), .create = 3, .version = 1});
  index.push("dead", {.row = row_id(5, 0)});
  index.push("edge", {.row = row_id(6, 0), .create = 6, .version = 1});
  index.push("edge", {.row = row_id(7, 0)});
  std::string cursor;
  std::vector<RowId> rows;
  EXPECT_TRUE(index.prune(7, 100, cursor, rows));
  EXPECT_EQ(rows, (std::vector<RowId>{row_id(2, 0), row_id(3, 0), row_id(5, 0), row_id(6, 0)}));
  EXPECT_EQ(index.find("a")->visible_at(7)->version, 2);
  EXPECT_EQ(index.find("dead"), nullptr);
  ASSERT_NE(index.find("edge"), nullptr) << "a delete at the compaction revision can still be watched";
  EXPECT_EQ(index.live(), 1u);
  EXPECT_EQ(index.versions(), 3u);
}

TEST(KeyIndex, BehavesLikeASortedMapUnderRandomChanges) {
  SeededRng rng(7);
  KeyIndex index;
  std::map<std::string, std::vector<RowId>> model;
  for (std::int64_t revision = 2; revision < 20'000; ++revision) {
    std::string key = cat("k", rng.below(3000));
    std::uint64_t what = rng.below(10);
    if (what < 8 || !model.contains(key)) {
      model[key].push_back(row_id(revision, 0));
      index.push(key, {.row = row_id(revision, 0), .create = revision, .version = 1});
    } else {
      model[key].pop_back();
      if (model[key].empty()) model.erase(key);
      index.pop(key);
    }
  }
  std::vector<std::string> all;
  for (const auto& [key, rows] : model) {
    all.push_back(key);
    ASSERT_EQ(index.find(key)->latest.row, rows.back());
  }
  EXPECT_EQ(keys_in(index, std::string_view("\0", 1), std::string_view("\0", 1)), all);
  EXPECT_EQ(index.keys(), all.size());
  auto from = model.lower_bound("k15"), to = model.lower_bound("k2");
  std::vector<std::string> some;
  for (; from != to; ++from) some.push_back(from->first);
  EXPECT_EQ(keys_in(index, "k15", "k2"), some);
  EXPECT_EQ(keys_in(index, all[5], ""), std::vector<std::string>{all[5]});
}

TEST(KeyIndex, PruneInSmallStepsEqualsPruneAtOnce) {
  for (std::size_t steps : {1u, 7u, 100'000u}) {
    SeededRng rng(11);
    KeyIndex index;
    for (std::int64_t revision = 2; revision < 5000; ++revision) {
      std::string key = cat("k", rng.below(700));
      const KeyIndex::Entry* entry = index.find(key);
      bool alive = entry && !entry->latest.tombstone();
      if (alive && rng.below(3) == 0) index.push(key, {.row = row_id(revision, 0)});
      else index.push(key, {.row = row_id(revision, 0), .create = revision, .version = 1});
    }
    std::vector<RowId> rows;
    std::string cursor;
    while (!index.prune(4000, steps, cursor, rows)) {
    }
    EXPECT_EQ(rows.size() + index.versions(), 4998u);
    static std::vector<RowId> first;
    if (first.empty()) first = rows;
    EXPECT_EQ(rows, first);
  }
}

}  // namespace
}  // namespace monopod::store
