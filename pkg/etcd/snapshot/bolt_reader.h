// Reads a bbolt file that may be anything: every offset is checked, no page is visited twice, depth and size are bounded.
//
//   TRY_ASSIGN(BoltReader reader, BoltReader::open(source));
//   for (const std::string& name : reader.buckets()) TRY(reader.walk(name, [](std::string_view key, std::string_view value) -> Result<> { ... }));
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "etcd/snapshot/bolt_format.h"

namespace monopod::etcd {

// Bytes at offsets.
class PageSource {
 public:
  virtual ~PageSource() = default;
  virtual std::uint64_t size() const = 0;
  // Exactly bytes from offset on; [offset, offset + bytes) lies within size().
  virtual Result<std::string> read(std::uint64_t offset, std::size_t bytes) = 0;
};

class FileSource final : public PageSource {
 public:
  // fd outlives the source. size: as much of the file as is the database.
  FileSource(int fd, std::uint64_t size) : fd_(fd), size_(size) {}
  std::uint64_t size() const override { return size_; }
  Result<std::string> read(std::uint64_t offset, std::size_t bytes) override;

 private:
  int fd_;
  std::uint64_t size_;
};

class StringSource final : public PageSource {
 public:
  explicit StringSource(std::string_view bytes) : bytes_(bytes) {}
  std::uint64_t size() const override { return bytes_.size(); }
  Result<std::string> read(std::uint64_t offset, std::size_t bytes) override { return std::string(bytes_.substr(offset, bytes)); }

 private:
  std::string_view bytes_;
};

class BoltReader {
 public:
  static constexpr std::size_t kPageGroupBytesMax = 64 * 1024 * 1024;  // a page with what overflows; etcd's requests are far below
  static constexpr int kDepthMax = 32;
  static constexpr std::size_t kBucketsMax = 1000;

  using OnPair = std::function<Result<>(std::string_view key, std::string_view value)>;

  // kFailedPrecondition: not a bbolt file; kDataLoss: broken. source outlives the reader.
  static Result<BoltReader> open(PageSource& source);

  std::vector<std::string> buckets() const;  // sorted
  bool has(std::string_view bucket) const { return buckets_.contains(bucket); }
  // Every pair in key order; views live until on_pair returns. An absent bucket has none. Each bucket can be walked once.
  // kDataLoss: a page out of bounds, of the wrong kind, visited before, too deep; keys that do not rise. Else on_pair's first error.
  Result<> walk(std::string_view bucket, const OnPair& on_pair);
  std::size_t page_bytes() const { return page_bytes_; }

 private:
  struct Page {
    std::string bytes{};  // header and elements
    std::uint16_t flags = 0;
    std::size_t count = 0;
  };
  struct Leaf {
    bool bucket = false;
    std::string_view key{};
    std::string_view value{};
  };
  using OnLeaf = std::function<Result<>(const Leaf&)>;

  explicit BoltReader(PageSource& source) : source_(&source) {}
  Result<> read_meta();
  Result<bool> take_meta(std::uint64_t offset);
  Result<Page> read_page(std::uint64_t id);
  Result<> walk_page(std::uint64_t id, int depth, const OnLeaf& on_leaf);
  Result<> walk_leaf(const Page& page, const OnLeaf& on_leaf);

  PageSource* source_;
  std::size_t page_bytes_ = 0;
  std::uint64_t root_ = 0;
  std::uint64_t pages_ = 0;  // first page never used
  std::uint64_t transaction_ = 0;
  std::vector<bool> visited_;
  std::map<std::string, std::string, std::less<>> buckets_;  // name -> bucket value
  std::string last_key_;
};

}  // namespace monopod::etcd
