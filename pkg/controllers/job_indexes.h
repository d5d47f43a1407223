// Sets of completion indexes as status.completedIndexes writes them: "1,3-5,7". Kept as ranges: a job of 100,000 pods that end in order is one.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace monopod::controllers {

class IndexSet {
 public:
  // What is no number and what is not below end is left out: status is ours, but anybody may write it. success policies name indexes in the same way.
  static IndexSet parse(std::string_view text, std::int64_t end);
  // Two in a row are "1,2", three are "1-3".
  std::string format() const;

  bool contains(std::int64_t index) const;
  void add(std::int64_t index) { add_range(index, index); }
  void add_range(std::int64_t first, std::int64_t last);  // 0 <= first <= last
  std::int64_t next_absent(std::int64_t from) const;  // the first one from there on that is not in it
  std::int64_t size() const;
  std::int64_t common(const IndexSet& other) const;  // how many are in both

 private:
  std::map<std::int64_t, std::int64_t> ranges_;  // first -> last; apart from each other
};

}  // namespace monopod::controllers
