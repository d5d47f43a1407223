#include "etcd/snapshot/bolt_reader.h"

#include <unistd.h>

#include <bit>

#include "base/strings.h"

namespace monopod::etcd {

using namespace bolt;

namespace {

std::unexpected<Error> broken(std::uint64_t page, std::string_view what) { return fail(Code::kDataLoss, cat("page ", page, ": ", what)); }

Result<std::string_view> slice(std::string_view bytes, std::uint64_t at, std::uint64_t size) {
  if (at > bytes.size() || size > bytes.size() - at) return fail(Code::kDataLoss, "an element lies outside of its page");
  return bytes.substr(at, size);
}

}  // namespace

Result<std::string> FileSource::read(std::uint64_t offset, std::size_t bytes) {
  std::string out(bytes, '\0');
  for (std::size_t got = 0; got < bytes;) {
    ssize_t n = ::pread(fd_, out.data() + got, bytes - got, static_cast<off_t>(offset + got));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("read snapshot");
    if (n == 0) return fail(Code::kDataLoss, "the file is shorter than it was");
    got += static_cast<std::size_t>(n);
  }
  return out;
}

Result<BoltReader> BoltReader::open(PageSource& source) {
  BoltReader reader(source);
  TRY(reader.read_meta());
  reader.visited_.assign(reader.pages_, false);
  TRY(reader.walk_page(reader.root_, 0, [&reader](const Leaf& leaf) -> Result<> {
    if (!leaf.bucket) return fail(Code::kDataLoss, "the root holds something that is no bucket");
    if (leaf.value.size() < kBucketBytes) return fail(Code::kDataLoss, "a bucket without its header");
    if (reader.buckets_.size() >= kBucketsMax) return fail(Code::kDataLoss, "too many buckets");
    reader.buckets_.emplace(leaf.key, leaf.value);
    return {};
  }));
  return reader;
}

// The page size is only known from a meta, so the second one is looked for at every place it can be.
Result<> BoltReader::read_meta() {
  TRY_ASSIGN(bool found, take_meta(0));
  for (std::uint64_t at = found ? page_bytes_ : kPageBytesMin; at <= (found ? page_bytes_ : kPageBytesMax); at *= 2) {
    TRY_ASSIGN(bool another, take_meta(at));
    found |= another;
  }
  if (!found) return fail(Code::kFailedPrecondition, "not a database file of etcd");
  if (pages_ > source_->size() / page_bytes_) return fail(Code::kDataLoss, "the file is truncated");
  return {};
}

Result<bool> BoltReader::take_meta(std::uint64_t offset) {
  if (source_->size() < kPageHeaderBytes + kMetaBytes || offset > source_->size() - kPageHeaderBytes - kMetaBytes) return false;
  TRY_ASSIGN(std::string bytes, source_->read(offset, kPageHeaderBytes + kMetaBytes));
  std::string_view meta = std::string_view(bytes).substr(kPageHeaderBytes);
  if (load<std::uint32_t>(meta, 0) != kMagic || load<std::uint32_t>(meta, 4) != kVersion) return false;
  if (load<std::uint64_t>(meta, kMetaBytes - 8) != fnv1a(meta.substr(0, kMetaBytes - 8))) return false;
  std::size_t page_bytes = load<std::uint32_t>(meta, 8);
  if (page_bytes < kPageBytesMin || page_bytes > kPageBytesMax || !std::has_single_bit(page_bytes) || (offset != 0 && offset != page_bytes)) return false;
  auto transaction = load<std::uint64_t>(meta, 48);
  if (page_bytes_ != 0 && transaction < transaction_) return true;
  page_bytes_ = page_bytes;
  root_ = load<std::uint64_t>(meta, 16);
  pages_ = load<std::uint64_t>(meta, 40);
  transaction_ = transaction;
  return true;
}

std::vector<std::string> BoltReader::buckets() const {
  std::vector<std::string> names;
  for (const auto& [name, value] : buckets_) names.push_back(name);
  return names;
}

Result<> BoltReader::walk(std::string_view bucket, const OnPair& on_pair) {
  auto at = buckets_.find(bucket);
  if (at == buckets_.end()) return {};
  last_key_.clear();
  OnLeaf on_leaf = [&on_pair](const Leaf& leaf) -> Result<> {
    if (leaf.bucket) return fail(Code::kDataLoss, "a bucket within a bucket");
    return on_pair(leaf.key, leaf.value);
  };
  auto run = [&]() -> Result<> {
    auto root = load<std::uint64_t>(at->second, 0);
    if (root != 0) return walk_page(root, 0, on_leaf);
    Page page{.bytes = at->second.substr(kBucketBytes)};
    if (page.bytes.size() < kPageHeaderBytes) return fail(Code::kDataLoss, "its page is truncated");
    page.flags = load<std::uint16_t>(page.bytes, 8);
    page.count = load<std::uint16_t>(page.bytes, 10);
    if (page.flags != kLeafPage) return fail(Code::kDataLoss, "its page is no leaf");
    return walk_leaf(page, on_leaf);
  };
  Result<> walked = run();
  if (!walked) return fail(std::move(walked).error().with(cat("bucket ", bucket)));
  return {};
}

Result<BoltReader::Page> BoltReader::read_page(std::uint64_t id) {
  if (id < 2 || id >= pages_) return broken(id, "does not exist");
  TRY_ASSIGN(std::string head, source_->read(id * page_bytes_, kPageHeaderBytes));
  if (load<std::uint64_t>(head, 0) != id) return broken(id, "has another number");
  std::uint64_t overflow = load<std::uint32_t>(head, 12);
  if (overflow >= pages_ - id) return broken(id, "overflows the file");
  if ((overflow + 1) * page_bytes_ > kPageGroupBytesMax) return broken(id, "is too large");
  for (std::uint64_t i = id; i <= id + overflow; ++i) {
    if (visited_[i]) return broken(i, "is used twice");
    visited_[i] = true;
  }
  Page page{.flags = load<std::uint16_t>(head, 8), .count = load<std::uint16_t>(head, 10)};
  TRY_ASSIGN(page.bytes, source_->read(id * page_bytes_, (overflow + 1) * page_bytes_));
  return page;
}

Result<> BoltReader::walk_page(std::uint64_t id, int depth, const OnLeaf& on_leaf) {
  if (depth > kDepthMax) return broken(id, "lies too deep");
  TRY_ASSIGN(Page page, read_page(id));
  if (page.flags == kLeafPage) {
    Result<> walked = walk_leaf(page, on_leaf);
    if (!walked) return fail(std::move(walked).error().with(cat("page ", id)));
    return {};
  }
  if (page.flags != kBranchPage) return broken(id, "is neither branch nor leaf");
  if (page.count == 0) return broken(id, "is an empty branch");
  if (kPageHeaderBytes + page.count * kElementBytes > page.bytes.size()) return broken(id, "has more elements than fit");
  for (std::size_t i = 0; i < page.count; ++i) {
    std::size_t element = kPageHeaderBytes + i * kElementBytes;
    std::uint64_t pos = load<std::uint32_t>(page.bytes, element);
    TRY_ASSIGN(std::string_view key, slice(page.bytes, element + pos, load<std::uint32_t>(page.bytes, element + 4)));
    if (!last_key_.empty() && key <= last_key_) return broken(id, "its keys do not rise");
    TRY(walk_page(load<std::uint64_t>(page.bytes, element + 8), depth + 1, on_leaf));
  }
  return {};
}

Result<> BoltReader::walk_leaf(const Page& page, const OnLeaf& on_leaf) {
  if (kPageHeaderBytes + page.count * kElementBytes > page.bytes.size()) return fail(Code::kDataLoss, "more elements than fit");
  for (std::size_t i = 0; i < page.count; ++i) {
    std::size_t element = kPageHeaderBytes + i * kElementBytes;
    std::uint64_t pos = load<std::uint32_t>(page.bytes, element + 4);
    std::uint64_t key_bytes = load<std::uint32_t>(page.bytes, element + 8);
    Leaf leaf{.bucket = (load<std::uint32_t>(page.bytes, element) & kBucketFlag) != 0};
    TRY_ASSIGN(leaf.key, slice(page.bytes, element + pos, key_bytes));
    TRY_ASSIGN(leaf.value, slice(page.bytes, element + pos + key_bytes, load<std::uint32_t>(page.bytes, element + 12)));
    if (leaf.key.empty() || leaf.key <= last_key_) return fail(Code::kDataLoss, "keys do not rise");
    last_key_ = leaf.key;
    TRY(on_leaf(leaf));
  }
  return {};
}

}  // namespace monopod::etcd
