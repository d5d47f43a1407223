// Files that are either whole or absent: written beside their place, fsynced, renamed into it.
#pragma once

#include <string>

#include "codec/byte_stream.h"
#include "sys/fd.h"

namespace monopod::backup {

// Removes what it wrote unless commit() was reached. Mode 0600.
class PendingFile final : public codec::ByteSink {
 public:
  // path: its final name. The bytes go to "<path>.partial" until then; a leftover of that name is replaced.
  static Result<std::unique_ptr<PendingFile>> create(const std::string& path);
  ~PendingFile() override;
  Result<> write(std::span<const std::byte> bytes) override;
  // fsync, rename (an existing file of the name is replaced), fsync of the folder.
  Result<> commit();
  const std::string& pending_path() const { return pending_; }
  std::int64_t bytes() const { return bytes_; }

 private:
  PendingFile(std::string path, sys::Fd fd) : path_(std::move(path)), pending_(path_ + kSuffix), fd_(std::move(fd)) {}

 public:
  static constexpr const char* kSuffix = ".partial";

 private:
  std::string path_, pending_;
  sys::Fd fd_;
  std::int64_t bytes_ = 0;
};

class FileSource final : public codec::ByteSource {
 public:
  // Bytes [begin, end) of an open file that outlives it.
  FileSource(const sys::Fd& fd, std::int64_t begin, std::int64_t end) : fd_(fd), at_(begin), end_(end) {}
  Result<std::size_t> read(std::span<std::byte> into) override;

 private:
  const sys::Fd& fd_;
  std::int64_t at_, end_;
};

Result<sys::Fd> open_file(const std::string& path);
Result<std::int64_t> file_size(const sys::Fd& fd);
Result<> sync_folder(const std::string& path);

}  // namespace monopod::backup
