// Writes an EROFS image to a file, front to back as the files come: their content is never held, and each byte is written once.
//
//   block 0: superblock, root {fs, kept} | content of files | inodes, 128 KiB of them together | content | ... | directories
// The root is ours: "fs" is the layer (what overlayfs sees), "kept" what the tar brought and then replaced, which its record refers to.
// Inodes and what is inline of a file gather in memory until their piece of the image is full. Directories come last: names may change until then.
// Blocking, one thread. Errors: what the file system says (kResourceExhausted: full), kInvalidArgument for what the format cannot say.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "codec/byte_stream.h"
#include "image/erofs_compress.h"
#include "image/erofs_format.h"

namespace monopod::image {

using ErofsNid = std::uint64_t;
using Xattrs = std::map<std::string, std::string>;

struct ErofsAttributes {
  std::uint32_t mode = 0;  // type and permissions
  std::uint32_t uid = 0, gid = 0;
  std::int64_t mtime_seconds = 0;
  std::uint32_t mtime_nanos = 0;
  std::uint32_t links = 1;
  Xattrs xattrs = {};  // user.*, trusted.*, security.*: kInvalidArgument for others
};

class ErofsWriter {
 public:
  static constexpr ErofsNid kRootNid = 64;
  // file: empty, for writing; outlives this.
  ErofsWriter(int file, bool compress);
  ErofsWriter(const ErofsWriter&) = delete;
  ErofsWriter& operator=(const ErofsWriter&) = delete;

  // Takes size bytes of content.
  Result<ErofsNid> add_file(const ErofsAttributes& attributes, std::uint64_t size, codec::ByteSource& content);
  // One with holes: begun with its size, then what is in it, ascending, then its end.
  Result<> begin_sparse(std::uint64_t size);
  Result<> add_extent(std::uint64_t offset, std::uint64_t bytes, codec::ByteSource& content);
  Result<ErofsNid> end_sparse(const ErofsAttributes& attributes);
  Result<ErofsNid> add_symlink(const ErofsAttributes& attributes, std::string_view target);
  // A device or a FIFO.
  Result<ErofsNid> add_special(const ErofsAttributes& attributes, std::uint32_t major, std::uint32_t minor);
  Result<> set_links(ErofsNid nid, std::uint32_t links);

  // Nothing but directories from here on: each is placed by the names it will have ("." and ".." among them, sorted by their bytes), then filled.
  Result<> begin_directories();
  struct Place {
    ErofsNid nid = 0;
    std::uint64_t size = 0, blocks_at = 0, inline_at = 0;  // inline_at: 0 where nothing is
  };
  Result<Place> place_directory(const ErofsAttributes& attributes, std::span<const std::string_view> names);
  struct Child {
    std::string_view name;
    ErofsNid nid = 0;
    erofs::FileType type = erofs::FileType::kFile;
  };
  void fill_directory(const Place& place, std::span<const Child> children);
  // The root's, then everything is written. kept: 0 where there is none.
  Result<> finish(ErofsNid fs, ErofsNid kept, std::int64_t mtime_seconds);

 private:
  struct Data {  // of an inode
    erofs::Layout layout = erofs::Layout::kPlain;
    std::uint64_t size = 0;
    std::uint32_t word = 0;
    std::string_view behind = {};  // index or chunks
    std::string_view tail = {};    // inline: within one block
  };
  struct Sparse {
    std::uint64_t size = 0;
    unsigned bits = 0;
    bool filling = false;
    std::uint64_t chunk = 0, at = 0;  // that is being filled: its number, its place in the image
  };
  Result<std::uint64_t> add_inode(const ErofsAttributes& attributes, const Data& data);
  Result<std::uint64_t> place(std::uint64_t bytes, std::uint64_t inline_offset, std::uint64_t inline_bytes);
  Result<> flush_inodes();
  Result<> write_at(std::uint64_t at, std::span<const std::byte> bytes);
  // Room for content right behind what was added last; used() says how much became content.
  Result<std::span<std::byte>> room(std::uint64_t wanted);
  void used(std::size_t bytes) { content_bytes_ += bytes; }
  Result<> add_content(std::span<const std::byte> bytes);
  Result<> add_zeros(std::uint64_t bytes);
  Result<> copy_content(codec::ByteSource& content, std::uint64_t bytes);
  static Result<> read_exactly(codec::ByteSource& content, std::span<std::byte> into);
  Result<> pad_content();
  Result<> flush_content();
  std::uint64_t content_end() const { return content_at_ + content_bytes_; }
  Result<std::uint32_t> next_block() const;
  Result<ErofsNid> add_plain(const ErofsAttributes& attributes, std::uint64_t size, std::span<const std::byte> begun, codec::ByteSource& content);
  Result<ErofsNid> add_compressed(const ErofsAttributes& attributes, std::uint64_t size, std::span<const std::byte> begun, codec::ByteSource& content);
  Result<> add_cluster(std::span<const std::byte> raw, std::span<const std::byte> packed);
  void add_index(std::uint64_t blocks, std::uint32_t first, std::uint64_t compressed);
  Result<> end_chunk();

  const int file_;
  const bool compressed_;
  std::unique_ptr<ClusterCompressor> zstd_;
  std::vector<std::byte> content_;  // of the image from content_at_ on, content_bytes_ of it; not written yet
  std::uint64_t content_at_ = erofs::kBlockBytes, content_bytes_ = 0;
  std::vector<std::byte> raw_;  // a cluster
  std::string inodes_;          // of the image from inodes_at_ on, inodes_room_ at most
  std::uint64_t inodes_at_ = 0, inodes_room_ = 0;
  std::uint64_t written_to_ = 0;
  std::uint32_t count_ = 0;
  std::string index_;  // of the file that is being added: its chunks, or what became of each block
  std::uint32_t compressed_blocks_ = 0;
  Sparse sparse_;
};

}  // namespace monopod::image
