// Tar streams: ustar, PAX (POSIX.1-2001, with SCHILY.xattr and GNU.sparse), GNU long names and sparse files, base-256 numbers.
//
//   | header 512 B | data, padded to 512 | header | ... | 1024 zero bytes |
// Extension headers (PAX x/g, GNU L/K) stand before the header they change. Everything is capped (limits.h) before memory is
// taken. Errors are kInvalidArgument "tar: <entry>: why".
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "codec/byte_stream.h"

namespace monopod::image {

inline constexpr std::size_t kTarBlock = 512;  // of headers, and what data is padded to

struct TarEntry {
  enum class Type { kFile, kDirectory, kSymlink, kHardLink, kCharDevice, kBlockDevice, kFifo };
  struct Extent {
    std::uint64_t offset = 0, bytes = 0;
  };

  Type type = Type::kFile;
  std::string name;  // as written: not yet safe
  std::string link;
  std::uint32_t mode = 0;  // permission bits with setuid, setgid and sticky
  std::uint32_t uid = 0, gid = 0;
  std::uint64_t size = 0;       // of the file
  std::uint64_t data_bytes = 0; // in the archive; less than size for sparse files
  std::int64_t mtime_seconds = 0;
  std::uint32_t mtime_nanos = 0;
  std::uint32_t device_major = 0, device_minor = 0;
  std::map<std::string, std::string> xattrs;
  bool sparse = false;
  std::vector<Extent> extents;  // of a sparse file, ascending; their bytes follow each other in the data
};

struct TarReadOptions {
  // The archive may end without its last file's padding: docker's client ends a context so where it adds a Dockerfile to it.
  bool may_lack_padding = false;
};

class TarReader final : public codec::ByteSource {
 public:
  // input outlives it.
  explicit TarReader(codec::ByteSource& input, TarReadOptions options = {}) : input_(input), options_(options) {}

  // Goes to the next entry, past what is left of the current one. False at the end of the archive; then the input is read to its
  // end, and anything but zeros there is an error.
  Result<bool> next(TarEntry& entry);
  // Bytes of the current entry's data; 0 at their end. A short input is an error.
  Result<std::size_t> read(std::span<std::byte> into) override;
  // Bytes of the archive before the current entry's data.
  std::uint64_t position() const { return position_; }

 private:
  using Records = std::vector<std::pair<std::string, std::string>>;
  Result<> pass_over(std::uint64_t bytes);
  Result<bool> read_block(std::span<std::byte, 512> block);
  Result<std::string> read_text(std::uint64_t bytes);
  Result<> read_pax(std::uint64_t bytes, Records& into);
  Result<> apply_pax(const Records& records, TarEntry& entry);
  Result<> read_gnu_sparse(const char* header, TarEntry& entry);
  Result<> read_pax_sparse_map(TarEntry& entry);
  Result<bool> finish();

  codec::ByteSource& input_;
  const TarReadOptions options_;
  std::uint64_t position_ = 0;
  std::uint64_t rest_ = 0;     // of the entry's data
  std::uint64_t padding_ = 0;  // after it
  Records global_;
  std::string sparse_version_;
};

class TarWriter {
 public:
  explicit TarWriter(codec::ByteSink& output) : output_(output) {}
  // ustar where the entry fits, a PAX header before it where it does not. Then exactly data_bytes by write().
  Result<> begin(const TarEntry& entry);
  Result<> write(std::span<const std::byte> bytes);
  Result<> finish();  // pads the last entry, ends the archive

 private:
  Result<> pad();
  codec::ByteSink& output_;
  std::uint64_t rest_ = 0, padding_ = 0;
};

}  // namespace monopod::image
