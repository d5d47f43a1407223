#include "etcd/snapshot/bolt_writer.h"

#include <unistd.h>

#include <algorithm>
#include <bit>

#include "base/strings.h"

namespace monopod::etcd {

using namespace bolt;

static_assert(std::endian::native == std::endian::little, "pages are little endian");

namespace {

constexpr std::size_t kBufferBytes = 1024 * 1024;
constexpr std::size_t kInlineBytesMax = kPageBytes / 4;  // bbolt keeps smaller buckets in their parent
constexpr std::size_t kElementsMax = 0xfffe;             // of a page, whatever its size

std::string format_header(std::uint64_t id, std::uint16_t flags, std::size_t count, std::size_t overflow) {
  std::string out;
  append(out, id);
  append(out, flags);
  append(out, static_cast<std::uint16_t>(count));
  append(out, static_cast<std::uint32_t>(overflow));
  return out;
}

std::string format_bucket(std::uint64_t root) {
  std::string out;
  append(out, root);
  append(out, std::uint64_t{0});  // sequence
  return out;
}

std::string format_meta(std::uint64_t id, std::uint64_t root, std::uint64_t pages) {
  std::string meta;
  append(meta, kMagic);
  append(meta, kVersion);
  append(meta, static_cast<std::uint32_t>(kPageBytes));
  append(meta, std::uint32_t{0});
  meta += format_bucket(root);
  append(meta, std::uint64_t{2});  // free list
  append(meta, pages);
  append(meta, id);  // transaction: page 1 counts
  append(meta, fnv1a(meta));
  return format_header(id, kMetaPage, 0, 0) + meta;
}

}  // namespace

BoltWriter::BoltWriter(int fd) : fd_(fd), levels_(1) {}

Result<> BoltWriter::begin_bucket(std::string_view name) {
  if (in_bucket_ || name.empty()) return fail(Code::kInvalidArgument, "a bucket needs a name and must not be within another");
  for (const auto& bucket : buckets_)
    if (bucket.key == name) return fail(Code::kInvalidArgument, cat("bucket ", name, " was written already"));
  bucket_ = name;
  last_key_.clear();
  in_bucket_ = true;
  return {};
}

Result<> BoltWriter::add(std::string_view key, std::string_view value) {
  if (!in_bucket_) return fail(Code::kInvalidArgument, "no bucket was begun");
  if (key.empty() || key <= last_key_) return fail(Code::kInvalidArgument, cat("bucket ", bucket_, ": keys must rise"));
  last_key_ = key;
  return add_to(0, {.key = std::string(key), .value = std::string(value)});
}

Result<> BoltWriter::end_bucket() {
  if (!in_bucket_) return fail(Code::kInvalidArgument, "no bucket was begun");
  in_bucket_ = false;
  std::string header;
  if (levels_.size() == 1 && levels_[0].bytes <= kInlineBytesMax) {
    header = format_bucket(0) + format_page(0, 0, levels_[0].elements.size());
    levels_[0] = {};
  } else {
    TRY_ASSIGN(std::uint64_t root, close_tree());
    header = format_bucket(root);
  }
  buckets_.push_back({.key = std::move(bucket_), .value = std::move(header)});
  return {};
}

Result<std::int64_t> BoltWriter::finish() {
  if (in_bucket_) return fail(Code::kInvalidArgument, cat("bucket ", bucket_, " was not ended"));
  std::ranges::sort(buckets_, {}, &Level::Element::key);
  leaf_flags_ = kBucketFlag;
  for (auto& bucket : buckets_) TRY(add_to(0, std::move(bucket)));
  TRY_ASSIGN(std::uint64_t root, close_tree());
  TRY(write_buffer());
  std::string first;
  for (std::uint64_t id = 0; id < 2; ++id) {
    first += format_meta(id, root, next_page_);
    first.resize((id + 1) * kPageBytes);
  }
  first += format_header(2, kFreelistPage, 0, 0);
  first.resize(3 * kPageBytes);
  TRY(write_at(first, 0));
  return bytes_written();
}

Result<> BoltWriter::add_to(std::size_t level, Level::Element element) {
  if (level == levels_.size()) levels_.emplace_back();
  std::size_t bytes = kElementBytes + element.key.size() + element.value.size();
  std::size_t count = levels_[level].elements.size();
  if (count > 0 && (levels_[level].bytes + bytes > kPageBytes || count >= kElementsMax)) {
    // A branch keeps one back, so that the page after this has at least two.
    if (level == 0) TRY(flush(level, count));
    else if (count >= 3) TRY(flush(level, count - 1));
  }
  levels_[level].elements.push_back(std::move(element));
  levels_[level].bytes += bytes;
  return {};
}

Result<> BoltWriter::flush(std::size_t level, std::size_t count) {
  std::string first = levels_[level].elements.front().key;
  TRY_ASSIGN(std::uint64_t id, append_page(format_page(next_page_, level, count)));
  Level rest;
  for (std::size_t i = count; i < levels_[level].elements.size(); ++i) {
    Level::Element& kept = levels_[level].elements[i];
    rest.bytes += kElementBytes + kept.key.size() + kept.value.size();
    rest.elements.push_back(std::move(kept));
  }
  levels_[level] = std::move(rest);
  return add_to(level + 1, {.key = std::move(first), .page = id});
}

Result<std::uint64_t> BoltWriter::close_tree() {
  for (std::size_t level = 0;; ++level) {
    bool top = level + 1 == levels_.size();
    if (top && level > 0 && levels_[level].elements.size() == 1) {
      std::uint64_t root = levels_[level].elements[0].page;
      levels_.assign(1, {});
      return root;
    }
    std::size_t count = levels_[level].elements.size();
    if (top) {
      TRY_ASSIGN(std::uint64_t root, append_page(format_page(next_page_, level, count)));
      levels_.assign(1, {});
      return root;
    }
    TRY(flush(level, count));
  }
}

std::string BoltWriter::format_page(std::uint64_t id, std::size_t level, std::size_t count) const {
  const std::vector<Level::Element>& elements = levels_[level].elements;
  std::size_t bytes = kPageHeaderBytes + count * kElementBytes;
  std::string data;
  std::string heads;
  for (std::size_t i = 0; i < count; ++i) {
    const Level::Element& e = elements[i];
    auto pos = static_cast<std::uint32_t>((count - i) * kElementBytes + data.size());
    if (level == 0) {
      append(heads, leaf_flags_);
      append(heads, pos);
      append(heads, static_cast<std::uint32_t>(e.key.size()));
      append(heads, static_cast<std::uint32_t>(e.value.size()));
    } else {
      append(heads, pos);
      append(heads, static_cast<std::uint32_t>(e.key.size()));
      append(heads, e.page);
    }
    data += e.key;
    data += e.value;
  }
  bytes += data.size();
  std::size_t pages = (bytes + kPageBytes - 1) / kPageBytes;
  return format_header(id, level == 0 ? kLeafPage : kBranchPage, count, pages - 1) + heads + data;
}

Result<std::uint64_t> BoltWriter::append_page(const std::string& bytes) {
  std::uint64_t id = next_page_;
  std::size_t pages = (bytes.size() + kPageBytes - 1) / kPageBytes;
  buffer_ += bytes;
  next_page_ += pages;
  buffer_.resize((next_page_ - buffer_page_) * kPageBytes);
  if (buffer_.size() >= kBufferBytes) TRY(write_buffer());
  return id;
}

Result<> BoltWriter::write_buffer() {
  TRY(write_at(buffer_, buffer_page_ * kPageBytes));
  buffer_.clear();
  buffer_page_ = next_page_;
  return {};
}

Result<> BoltWriter::write_at(std::string_view bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("write snapshot");
    bytes.remove_prefix(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

}  // namespace monopod::etcd
