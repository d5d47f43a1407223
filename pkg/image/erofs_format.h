// The bytes of an EROFS image, as far as the writer uses them. Facts: the kernel's Documentation/filesystems/erofs.rst, and https://erofs.docs.kernel.org/en/latest/core_ondisk.html.
//
// Everything is little endian. An inode is found by its nid, its place in units of 32 bytes. 64 bytes of inode are followed by
//   xattrs | plain: nothing; inline: the file's last, partial block | chunks: a block address each | compressed: map header, index, last cluster
#pragma once

#include <bit>
#include <cstdint>

namespace monopod::image::erofs {

static_assert(std::endian::native == std::endian::little, "structures are copied as they stand in memory");

inline constexpr unsigned kBlockBits = 12;
inline constexpr std::uint64_t kBlockBytes = 1U << kBlockBits;
inline constexpr std::uint64_t kSlotBytes = 32;        // what a nid counts
inline constexpr std::uint64_t kSuperOffset = 1024;
inline constexpr std::uint32_t kMagic = 0xe0f5e1e2;
inline constexpr std::uint32_t kNoBlock = 0xffffffff;  // a hole

inline constexpr std::uint32_t kCompatMtime = 2;
inline constexpr std::uint32_t kZeroPadding = 1;       // compressed bytes stand at the end of their blocks
inline constexpr std::uint32_t kBigClusters = 2;       // and which algorithms are used, and how, stands behind the superblock
inline constexpr std::uint32_t kChunkedFiles = 4;
inline constexpr std::uint32_t kInlineClusters = 16;

struct [[gnu::packed]] SuperBlock {
  std::uint32_t magic = kMagic;
  std::uint32_t checksum = 0;
  std::uint32_t compatible = kCompatMtime;
  std::uint8_t block_bits = kBlockBits;
  std::uint8_t extension_slots = 0;
  std::uint16_t root_nid = 0;
  std::uint64_t inodes = 0;
  std::uint64_t build_seconds = 0;
  std::uint32_t build_nanos = 0;
  std::uint32_t blocks = 0;
  std::uint32_t metadata_block = 0;
  std::uint32_t xattr_block = 0;
  std::uint8_t uuid[16] = {};
  std::uint8_t volume[16] = {};
  std::uint32_t incompatible = 0;
  std::uint16_t algorithms = 0;  // a bit each
  std::uint8_t rest[42] = {};
};
static_assert(sizeof(SuperBlock) == 128);

inline constexpr unsigned kZstd = 3;  // the algorithm, since Linux 6.10

// Behind the superblock, one for each algorithm.
struct [[gnu::packed]] ZstdSettings {
  std::uint16_t bytes = 6;
  std::uint8_t format = 0;
  std::uint8_t window_log_less_10 = 0;
  std::uint8_t rest[4] = {};
};

enum class Layout : std::uint16_t { kPlain = 0, kCompressed = 1, kInline = 2, kChunked = 4 };

struct [[gnu::packed]] Inode {
  std::uint16_t format = 0;       // bit 0: of this form, not the short one; from bit 1 on: the layout
  std::uint16_t xattr_units = 0;  // 0, or 1 and the bytes behind the xattr header over 4
  std::uint16_t mode = 0;
  std::uint16_t reserved = 0;
  std::uint64_t size = 0;
  std::uint32_t data = 0;  // first block; of devices the number; of chunked files the format; of compressed ones the blocks
  std::uint32_t ino = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::int64_t mtime_seconds = 0;
  std::uint32_t mtime_nanos = 0;
  std::uint32_t links = 1;
  std::uint8_t rest[16] = {};
};
static_assert(sizeof(Inode) == 64);

struct [[gnu::packed]] XattrHeader {
  std::uint32_t name_filter = 0;
  std::uint8_t shared = 0;
  std::uint8_t rest[7] = {};
};
struct [[gnu::packed]] XattrEntry {  // the name without its prefix and the value follow; padded to 4 bytes
  std::uint8_t name_bytes = 0;
  std::uint8_t prefix = 0;
  std::uint16_t value_bytes = 0;
};
inline constexpr std::uint8_t kXattrUser = 1, kXattrTrusted = 4, kXattrSecurity = 6;

struct [[gnu::packed]] DirectoryEntry {  // all of a block, then the names
  std::uint64_t nid = 0;
  std::uint16_t name_offset = 0;
  std::uint8_t type = 0;
  std::uint8_t reserved = 0;
};
static_assert(sizeof(DirectoryEntry) == 12);
enum class FileType : std::uint8_t { kFile = 1, kDirectory, kCharDevice, kBlockDevice, kFifo, kSocket, kSymlink };

// Of a compressed file: at the next 8 bytes behind the xattrs, then 8 of nothing, then an index entry for each block of the file.
struct [[gnu::packed]] MapHeader {
  std::uint16_t reserved = 0;
  std::uint16_t inline_bytes = 0;  // of the last cluster, if it stands behind the index
  std::uint16_t advice = 0;
  std::uint8_t algorithm = kZstd;
  std::uint8_t cluster_bits = 0;   // of an index entry, less 12
};
inline constexpr std::uint16_t kAdviseBigClusters = 2, kAdviseInlineCluster = 8;

enum class BlockKind : std::uint16_t { kPlain = 0, kHead = 1, kRest = 2 };
struct [[gnu::packed]] IndexEntry {
  BlockKind kind = BlockKind::kPlain;
  std::uint16_t offset = 0;
  std::uint32_t value = 0;  // of kPlain and kHead: the block. Of kRest: blocks back to the head, and from bit 16 on those to the next head
};
static_assert(sizeof(IndexEntry) == 8);
inline constexpr std::uint32_t kBlockCount = 0x800;  // the first kRest says instead how many compressed blocks the head has

}  // namespace monopod::image::erofs
