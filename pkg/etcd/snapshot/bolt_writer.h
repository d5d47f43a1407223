// Writes a bbolt file in one pass from sorted input: pages are full, nothing is free, and memory holds one page of each level of the tree.
//
//   BoltWriter writer(fd);
//   TRY(writer.begin_bucket("key")); TRY(writer.add(key, value)); ...; TRY(writer.end_bucket());
//   TRY_ASSIGN(std::int64_t bytes, writer.finish());
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "etcd/snapshot/bolt_format.h"

namespace monopod::etcd {

class BoltWriter {
 public:
  // fd: an empty file open for writing; outlives the writer and is not closed. Blocking; nothing is synced.
  explicit BoltWriter(int fd);

  // Buckets in any order, each name once; none inside another.
  Result<> begin_bucket(std::string_view name);
  // Keys strictly rising. kInvalidArgument for an empty key or one that does not rise.
  Result<> add(std::string_view key, std::string_view value);
  Result<> end_bucket();
  // The bytes of the file: a multiple of the page size.
  Result<std::int64_t> finish();
  std::int64_t bytes_written() const { return static_cast<std::int64_t>(next_page_ * bolt::kPageBytes); }

 private:
  // The page being filled of one level; level 0 is of leaves.
  struct Level {
    struct Element {
      std::string key{};
      std::string value{};     // leaf
      std::uint64_t page = 0;  // branch
    };
    std::vector<Element> elements{};
    std::size_t bytes = bolt::kPageHeaderBytes;
  };

  Result<> add_to(std::size_t level, Level::Element element);
  Result<> flush(std::size_t level, std::size_t count);  // the first count elements become a page
  Result<std::uint64_t> close_tree();                    // its root
  std::string format_page(std::uint64_t id, std::size_t level, std::size_t count) const;
  Result<std::uint64_t> append_page(const std::string& bytes);
  Result<> write_buffer();
  Result<> write_at(std::string_view bytes, std::uint64_t offset);

  int fd_;
  std::string buffer_;              // pages from buffer_page_ on, not yet in the file
  std::uint64_t buffer_page_ = 3;   // 0 and 1 are meta, 2 is the free list
  std::uint64_t next_page_ = 3;
  std::vector<Level> levels_;
  std::uint32_t leaf_flags_ = 0;
  std::string bucket_;
  std::string last_key_;
  bool in_bucket_ = false;
  std::vector<Level::Element> buckets_;  // name -> bucket header
};

}  // namespace monopod::etcd
