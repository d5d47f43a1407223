#include "image/erofs_writer.h"

#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/strings.h"
#include "image/fd_streams.h"

namespace monopod::image {
namespace {

using namespace erofs;

constexpr std::size_t kContentRoom = 1U << 20;
constexpr std::uint64_t kInodesRoom = 128U << 10;
constexpr std::size_t kInlineBytesMax = kBlockBytes - kSlotBytes;  // behind an inode and xattrs of any length it fits a block
constexpr std::size_t kXattrBytesMax = 64U << 10;
constexpr std::uint64_t kChunksMax = 1U << 16;
constexpr std::uint64_t kRootAt = ErofsWriter::kRootNid * kSlotBytes;  // behind the superblock

constexpr std::uint64_t round_up(std::uint64_t n, std::uint64_t unit) { return (n + unit - 1) / unit * unit; }
std::uint64_t blocks_of(std::uint64_t bytes) { return (bytes + kBlockBytes - 1) >> kBlockBits; }

template <typename T>
void append(std::string& out, const T& value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}
template <typename T>
void put(std::string& out, std::uint64_t at, const T& value) {
  std::memcpy(out.data() + at, &value, sizeof value);
}

Result<std::string> format_xattrs(const Xattrs& xattrs) {
  struct Prefix {
    std::string_view name;
    std::uint8_t index;
  };
  constexpr std::array kPrefixes = {Prefix{"user.", kXattrUser}, Prefix{"trusted.", kXattrTrusted}, Prefix{"security.", kXattrSecurity}};
  std::string out;
  if (xattrs.empty()) return out;
  append(out, XattrHeader{});
  for (const auto& [name, value] : xattrs) {
    auto prefix = std::ranges::find_if(kPrefixes, [&](const Prefix& p) { return name.starts_with(p.name); });
    if (prefix == kPrefixes.end()) return fail(Code::kInvalidArgument, cat("attribute ", name.substr(0, 100), ": of no kind that the format has"));
    std::string_view rest = std::string_view(name).substr(prefix->name.size());
    if (rest.empty() || rest.size() > UINT8_MAX || value.size() > UINT16_MAX || out.size() + rest.size() + value.size() > kXattrBytesMax)
      return fail(Code::kInvalidArgument, cat("attribute ", name.substr(0, 100), ": too long for the format"));
    append(out, XattrEntry{.name_bytes = static_cast<std::uint8_t>(rest.size()), .prefix = prefix->index, .value_bytes = static_cast<std::uint16_t>(value.size())});
    out.append(rest).append(value);
    out.resize(round_up(out.size(), 4));
  }
  return out;
}

// Blocks of a directory are filled in order; a name never spans two.
class DirectoryBlocks {
 public:
  // true: the name begins a new one.
  bool add(std::string_view name) {
    const std::uint64_t bytes = sizeof(DirectoryEntry) + name.size();
    const bool fresh = used_ + bytes > kBlockBytes;
    if (fresh) {
      ++full_;
      used_ = 0;
    }
    used_ += bytes;
    return fresh;
  }
  std::uint64_t full() const { return full_; }
  std::uint64_t used() const { return used_; }  // of the last one

 private:
  std::uint64_t full_ = 0, used_ = 0;
};

void fill_block(char* block, std::span<const ErofsWriter::Child> children) {
  std::size_t entry_at = 0, name_at = children.size() * sizeof(DirectoryEntry);
  for (const ErofsWriter::Child& child : children) {
    const DirectoryEntry entry{.nid = child.nid, .name_offset = static_cast<std::uint16_t>(name_at), .type = static_cast<std::uint8_t>(child.type)};
    std::memcpy(block + entry_at, &entry, sizeof entry);
    std::memcpy(block + name_at, child.name.data(), child.name.size());
    entry_at += sizeof entry;
    name_at += child.name.size();
  }
}

}  // namespace

ErofsWriter::ErofsWriter(int file, bool compress) : file_(file), compressed_(compress), zstd_(compress ? make_cluster_compressor() : nullptr), content_(kContentRoom), raw_(compress ? ClusterCompressor::kBytes : 0) {}

Result<> ErofsWriter::write_at(std::uint64_t at, std::span<const std::byte> bytes) {
  TRY(write_all_at(file_, bytes, at));
  written_to_ = std::max(written_to_, at + bytes.size());
  return {};
}

// --- content

Result<> ErofsWriter::flush_content() {
  TRY(write_at(content_at_, std::span(content_).first(content_bytes_)));
  content_at_ += content_bytes_;
  content_bytes_ = 0;
  return {};
}

Result<std::span<std::byte>> ErofsWriter::room(std::uint64_t wanted) {
  if (content_bytes_ == content_.size()) TRY(flush_content());
  return std::span(content_).subspan(content_bytes_, static_cast<std::size_t>(std::min<std::uint64_t>(wanted, content_.size() - content_bytes_)));
}

Result<> ErofsWriter::add_content(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    TRY_ASSIGN(std::span<std::byte> to, room(bytes.size()));
    std::ranges::copy(bytes.first(to.size()), to.begin());
    used(to.size());
    bytes = bytes.subspan(to.size());
  }
  return {};
}

Result<> ErofsWriter::add_zeros(std::uint64_t bytes) {
  while (bytes > 0) {
    TRY_ASSIGN(std::span<std::byte> to, room(bytes));
    std::ranges::fill(to, std::byte{});
    used(to.size());
    bytes -= to.size();
  }
  return {};
}

Result<> ErofsWriter::copy_content(codec::ByteSource& content, std::uint64_t bytes) {
  while (bytes > 0) {
    TRY_ASSIGN(std::span<std::byte> to, room(bytes));
    TRY(read_exactly(content, to));
    used(to.size());
    bytes -= to.size();
  }
  return {};
}

Result<> ErofsWriter::read_exactly(codec::ByteSource& content, std::span<std::byte> into) {
  TRY_ASSIGN(std::size_t n, codec::read_full(content, into));
  if (n != into.size()) return fail(Code::kInvalidArgument, "truncated");
  return {};
}

Result<> ErofsWriter::pad_content() { return add_zeros(round_up(content_end(), kBlockBytes) - content_end()); }

Result<std::uint32_t> ErofsWriter::next_block() const {
  const std::uint64_t block = content_end() >> kBlockBits;
  if (block >= kNoBlock) return fail(Code::kResourceExhausted, "the layer is too large for the format");
  return static_cast<std::uint32_t>(block);
}

// --- inodes

Result<> ErofsWriter::flush_inodes() {
  if (!inodes_.empty()) TRY(write_at(inodes_at_, as_bytes(inodes_)));
  inodes_.clear();
  inodes_room_ = 0;
  return {};
}

// Where bytes that begin with an inode go; those inline are within one block.
Result<std::uint64_t> ErofsWriter::place(std::uint64_t bytes, std::uint64_t inline_offset, std::uint64_t inline_bytes) {
  auto fitting = [&](std::uint64_t at) {
    at = round_up(at, kSlotBytes);
    if ((at + inline_offset) % kBlockBytes + inline_bytes <= kBlockBytes) return at;
    return round_up(round_up(at + inline_offset, kBlockBytes) - inline_offset, kSlotBytes);
  };
  std::uint64_t at = fitting(inodes_at_ + inodes_.size());
  if (inodes_room_ == 0 || at + bytes > inodes_at_ + inodes_room_) {
    TRY(flush_inodes());
    TRY(pad_content());
    TRY(flush_content());
    TRY(next_block());
    inodes_at_ = content_at_;
    at = fitting(inodes_at_);
    inodes_room_ = std::max(kInodesRoom, round_up(at + bytes - inodes_at_, kBlockBytes));
    content_at_ += inodes_room_;
  }
  inodes_.resize(at + bytes - inodes_at_);
  return at;
}

Result<std::uint64_t> ErofsWriter::add_inode(const ErofsAttributes& attributes, const Data& data) {
  auto xattrs = format_xattrs(attributes.xattrs);
  if (!xattrs) return fail(std::move(xattrs).error());
  const std::uint64_t behind = round_up(sizeof(Inode) + xattrs->size(), data.layout == Layout::kCompressed ? 8 : 4), tail = behind + data.behind.size();
  TRY_ASSIGN(std::uint64_t at, place(tail + data.tail.size(), tail, data.tail.size()));
  put(inodes_, at - inodes_at_,
      Inode{.format = static_cast<std::uint16_t>(1 | static_cast<unsigned>(data.layout) << 1),
            .xattr_units = static_cast<std::uint16_t>(xattrs->empty() ? 0 : (xattrs->size() - sizeof(XattrHeader)) / 4 + 1),
            .mode = static_cast<std::uint16_t>(attributes.mode),
            .size = data.size,
            .data = data.word,
            .ino = ++count_,
            .uid = attributes.uid,
            .gid = attributes.gid,
            .mtime_seconds = attributes.mtime_seconds,
            .mtime_nanos = attributes.mtime_nanos,
            .links = attributes.links});
  inodes_.replace(at - inodes_at_ + sizeof(Inode), xattrs->size(), *xattrs);
  inodes_.replace(at - inodes_at_ + behind, data.behind.size(), data.behind);
  inodes_.replace(at - inodes_at_ + tail, data.tail.size(), data.tail);
  return at;
}

Result<> ErofsWriter::set_links(ErofsNid nid, std::uint32_t links) {
  const std::uint64_t at = nid * kSlotBytes + offsetof(Inode, links);
  if (at >= inodes_at_ && at < inodes_at_ + inodes_.size()) {
    put(inodes_, at - inodes_at_, links);
    return {};
  }
  return write_at(at, std::as_bytes(std::span(&links, 1)));
}

// --- files

Result<ErofsNid> ErofsWriter::add_plain(const ErofsAttributes& attributes, std::uint64_t size, std::span<const std::byte> begun, codec::ByteSource& content) {
  std::uint64_t tail = size % kBlockBytes;
  if (tail > kInlineBytesMax) tail = 0;
  Data data{.layout = tail > 0 ? Layout::kInline : Layout::kPlain, .size = size, .word = 0};
  TRY_ASSIGN(data.word, next_block());
  const std::span<const std::byte> whole = begun.first(std::min<std::size_t>(begun.size(), size - tail));
  TRY(add_content(whole));
  TRY(copy_content(content, size - tail - whole.size()));
  TRY(pad_content());
  std::array<std::byte, kBlockBytes> last;
  const std::span<const std::byte> held = begun.subspan(whole.size());
  std::ranges::copy(held, last.begin());
  TRY(read_exactly(content, std::span(last).subspan(held.size(), tail - held.size())));
  data.tail = as_text(std::span(last).first(tail));
  TRY_ASSIGN(std::uint64_t at, add_inode(attributes, data));
  return at / kSlotBytes;
}

Result<ErofsNid> ErofsWriter::add_file(const ErofsAttributes& attributes, std::uint64_t size, codec::ByteSource& content) {
  if (!zstd_ || size == 0) return add_plain(attributes, size, {}, content);
  const std::span<std::byte> raw = std::span(raw_).first(static_cast<std::size_t>(std::min<std::uint64_t>(size, raw_.size())));
  TRY(read_exactly(content, raw));
  // What the first cluster does not gain the others will not: less than an eighth is not worth the unpacking.
  const std::size_t worth = raw.size() - raw.size() / 8;
  TRY_ASSIGN(std::span<const std::byte> packed, zstd_->pack(raw, worth));
  const bool within = raw.size() == size && packed.size() <= kInlineBytesMax;
  if (packed.empty() || (within ? packed.size() + sizeof(MapHeader) + 8 : round_up(packed.size(), kBlockBytes)) >= worth) return add_plain(attributes, size, raw, content);
  return add_compressed(attributes, size, packed, content);
}

// begun: its first cluster, whose bytes are in raw_.
Result<ErofsNid> ErofsWriter::add_compressed(const ErofsAttributes& attributes, std::uint64_t size, std::span<const std::byte> begun, codec::ByteSource& content) {
  index_.clear();
  compressed_blocks_ = 0;
  std::span<const std::byte> packed = begun;
  MapHeader header{.advice = kAdviseBigClusters};
  append(index_, header);
  append(index_, std::uint64_t{0});
  for (std::uint64_t rest = size; rest > 0;) {
    const std::span<std::byte> raw = std::span(raw_).first(static_cast<std::size_t>(std::min<std::uint64_t>(rest, raw_.size())));
    if (rest != size) {
      TRY(read_exactly(content, raw));
      TRY_ASSIGN(packed, zstd_->pack(raw, raw.size()));
    }
    rest -= raw.size();
    if (rest == 0 && !packed.empty() && packed.size() <= kInlineBytesMax) {
      header.inline_bytes = static_cast<std::uint16_t>(packed.size());
      header.advice |= kAdviseInlineCluster;
      add_index(blocks_of(raw.size()), 0, 1);
    } else {
      TRY(add_cluster(raw, packed));
    }
  }
  put(index_, 0, header);
  TRY_ASSIGN(std::uint64_t at, add_inode(attributes, {.layout = Layout::kCompressed, .size = size, .word = compressed_blocks_, .behind = index_, .tail = as_text(packed.first(header.inline_bytes))}));
  return at / kSlotBytes;
}

void ErofsWriter::add_index(std::uint64_t blocks, std::uint32_t first, std::uint64_t compressed) {
  append(index_, IndexEntry{.kind = BlockKind::kHead, .value = first});
  for (std::uint64_t i = 1; i < blocks; ++i)
    append(index_, IndexEntry{.kind = BlockKind::kRest, .value = static_cast<std::uint32_t>((i == 1 ? compressed | kBlockCount : i) | (blocks - i) << 16)});
}

Result<> ErofsWriter::add_cluster(std::span<const std::byte> raw, std::span<const std::byte> packed) {
  TRY_ASSIGN(std::uint32_t first, next_block());
  const std::uint64_t blocks = blocks_of(raw.size()), compressed = blocks_of(packed.size());
  if (packed.empty() || compressed >= blocks) {
    for (std::uint32_t i = 0; i < blocks; ++i) append(index_, IndexEntry{.kind = BlockKind::kPlain, .value = first + i});
    compressed_blocks_ += static_cast<std::uint32_t>(blocks);
    TRY(add_content(raw));
    return pad_content();
  }
  add_index(blocks, first, compressed);
  compressed_blocks_ += static_cast<std::uint32_t>(compressed);
  TRY(add_zeros(compressed * kBlockBytes - packed.size()));
  return add_content(packed);
}

Result<> ErofsWriter::begin_sparse(std::uint64_t size) {
  sparse_ = {.size = size, .bits = kBlockBits};
  while (size >> sparse_.bits > kChunksMax) ++sparse_.bits;
  index_.clear();
  const std::uint64_t chunks = (size + (1ULL << sparse_.bits) - 1) >> sparse_.bits;
  for (std::uint64_t i = 0; i < chunks; ++i) append(index_, kNoBlock);
  return {};
}

// To the end of the chunk that is being filled.
Result<> ErofsWriter::end_chunk() {
  if (!sparse_.filling) return {};
  const std::uint64_t chunk = 1ULL << sparse_.bits, bytes = std::min(chunk, round_up(sparse_.size - sparse_.chunk * chunk, kBlockBytes));
  sparse_.filling = false;
  return add_zeros(sparse_.at + bytes - content_end());
}

Result<> ErofsWriter::add_extent(std::uint64_t offset, std::uint64_t bytes, codec::ByteSource& content) {
  const std::uint64_t chunk = 1ULL << sparse_.bits;
  if (offset > sparse_.size || bytes > sparse_.size - offset) return fail(Code::kInvalidArgument, "a part of a sparse file is out of bounds");
  while (bytes > 0) {
    const std::uint64_t number = offset / chunk, inside = offset % chunk, n = std::min(bytes, chunk - inside);
    if (!sparse_.filling || sparse_.chunk != number) {
      TRY(end_chunk());
      TRY_ASSIGN(std::uint32_t block, next_block());
      put(index_, number * sizeof block, block);
      sparse_.filling = true;
      sparse_.chunk = number;
      sparse_.at = content_end();
    }
    if (content_end() - sparse_.at > inside) return fail(Code::kInvalidArgument, "parts of a sparse file are out of order");
    TRY(add_zeros(sparse_.at + inside - content_end()));
    TRY(copy_content(content, n));
    offset += n;
    bytes -= n;
  }
  return {};
}

Result<ErofsNid> ErofsWriter::end_sparse(const ErofsAttributes& attributes) {
  TRY(end_chunk());
  Data data{.layout = sparse_.size > 0 ? Layout::kChunked : Layout::kPlain, .size = sparse_.size, .word = sparse_.size > 0 ? sparse_.bits - kBlockBits : 0, .behind = index_};
  TRY_ASSIGN(std::uint64_t at, add_inode(attributes, data));
  return at / kSlotBytes;
}

Result<ErofsNid> ErofsWriter::add_symlink(const ErofsAttributes& attributes, std::string_view target) {
  codec::MemorySource content(target);
  return add_plain(attributes, target.size(), {}, content);
}

Result<ErofsNid> ErofsWriter::add_special(const ErofsAttributes& attributes, std::uint32_t major, std::uint32_t minor) {
  // As the kernel's new_encode_dev().
  const std::uint32_t device = (minor & 0xff) | major << 8 | (minor & ~0xffU) << 12;
  TRY_ASSIGN(std::uint64_t at, add_inode(attributes, {.size = 0, .word = device}));
  return at / kSlotBytes;
}

// --- directories

Result<> ErofsWriter::begin_directories() {
  TRY(flush_inodes());
  TRY(flush_content());
  inodes_at_ = content_at_;
  inodes_room_ = UINT64_MAX / 2;
  // A pull of many layers may have as many writers wait here.
  content_ = {};
  raw_ = {};
  zstd_.reset();
  return {};
}

Result<ErofsWriter::Place> ErofsWriter::place_directory(const ErofsAttributes& attributes, std::span<const std::string_view> names) {
  DirectoryBlocks blocks;
  for (std::string_view name : names) blocks.add(name);
  const bool within = blocks.used() <= kInlineBytesMax;
  const std::uint64_t whole = blocks.full() + (within ? 0 : 1);
  Place out{.nid = 0, .size = blocks.full() * kBlockBytes + blocks.used()};
  if (whole > 0) {
    out.blocks_at = round_up(inodes_at_ + inodes_.size(), kBlockBytes);
    inodes_.resize(out.blocks_at + whole * kBlockBytes - inodes_at_);
  }
  const std::string tail(within ? blocks.used() : 0, '\0');
  if ((inodes_at_ + inodes_.size()) >> kBlockBits >= kNoBlock) return fail(Code::kResourceExhausted, "the layer is too large for the format");
  TRY_ASSIGN(std::uint64_t at, add_inode(attributes, {.layout = within ? Layout::kInline : Layout::kPlain, .size = out.size, .word = static_cast<std::uint32_t>(out.blocks_at >> kBlockBits), .tail = tail}));
  out.nid = at / kSlotBytes;
  if (within) out.inline_at = inodes_at_ + inodes_.size() - tail.size();
  return out;
}

void ErofsWriter::fill_directory(const Place& place, std::span<const Child> children) {
  DirectoryBlocks blocks;
  auto fill = [&](std::uint64_t at, std::span<const Child> some) { fill_block(inodes_.data() + (at - inodes_at_), some); };
  std::size_t first = 0;
  for (std::size_t i = 0; i < children.size(); ++i) {
    if (!blocks.add(children[i].name)) continue;
    fill(place.blocks_at + (blocks.full() - 1) * kBlockBytes, children.subspan(first, i - first));
    first = i;
  }
  fill(place.inline_at != 0 ? place.inline_at : place.blocks_at + blocks.full() * kBlockBytes, children.subspan(first));
}

Result<> ErofsWriter::finish(ErofsNid fs, ErofsNid kept, std::int64_t mtime_seconds) {
  TRY(flush_inodes());
  const std::uint64_t end = round_up(std::max(written_to_, kBlockBytes), kBlockBytes);
  if (::ftruncate(file_, static_cast<off_t>(end)) != 0) return fail_errno("set size");
  std::string block(kBlockBytes, '\0');
  SuperBlock super{.root_nid = kRootNid, .inodes = count_ + 1, .build_seconds = static_cast<std::uint64_t>(mtime_seconds), .blocks = static_cast<std::uint32_t>(end >> kBlockBits), .incompatible = kChunkedFiles};
  // overlayfs tells its layers apart by it.
  if (::getrandom(super.uuid, sizeof super.uuid, 0) != sizeof super.uuid) return fail_errno("random bytes");
  if (compressed_) {
    super.incompatible |= kZeroPadding | kBigClusters | kInlineClusters;
    super.algorithms = 1U << kZstd;
    put(block, kSuperOffset + sizeof super, ZstdSettings{.window_log_less_10 = ClusterCompressor::kLog - 10});
  }
  put(block, kSuperOffset, super);
  std::vector<Child> children = {{".", kRootNid, FileType::kDirectory}, {"..", kRootNid, FileType::kDirectory}, {"fs", fs, FileType::kDirectory}};
  if (kept != 0) children.push_back({"kept", kept, FileType::kDirectory});
  std::uint64_t size = 0;
  for (const Child& child : children) size += sizeof(DirectoryEntry) + child.name.size();
  put(block, kRootAt, Inode{.format = 1 | static_cast<unsigned>(Layout::kInline) << 1, .mode = S_IFDIR | 0700, .size = size, .ino = ++count_, .mtime_seconds = mtime_seconds, .links = static_cast<std::uint32_t>(children.size())});
  fill_block(block.data() + kRootAt + sizeof(Inode), children);
  return write_at(0, as_bytes(block));
}

}  // namespace monopod::image
