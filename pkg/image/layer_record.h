// The plain tar that a layer came as, without what stands in its files: with the unpacked layer it is that tar again, bit for bit, for save and push.
//
//   layers/<key>/record   zstd over: "MLR1", then pieces, numbers as LEB128
//     1 n, n bytes                      bytes of the tar: headers, padding, what entries without a file carry
//     2 path bytes, path, inode, offset, n    n bytes of this file from this offset on
//     3 offset, n                       of the same file
//     0 n                               the end; n bytes in all
//   layers/<key>/kept/<inode>   files that a later entry of the same layer replaced; of an image, kept/<number> in it
//
// Paths resolve inside the layer. An inode is looked at only where kept/ exists.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "codec/byte_stream.h"
#include "codec/compress.h"
#include "image/digest.h"
#include "image/fd_streams.h"
#include "sys/root.h"

namespace monopod::image {

// Passes a layer's tar through and writes its record. Blocking, one thread.
class LayerRecorder final : public codec::ByteSource {
 public:
  // input outlives it. directory is the layer's: record and kept/ are made in it.
  static Result<std::unique_ptr<LayerRecorder>> open(codec::ByteSource& input, const sys::Root& directory);

  Result<std::size_t> read(std::span<std::byte> into) override;
  // The next bytes that are read are those of this file at offset.
  Result<> expect_file(std::string_view path, std::uint64_t inode, std::uint64_t offset, std::uint64_t bytes);
  // A name that the layer replaces, or a directory with all below it: regular files move to kept/.
  Result<> keep(int parent, const std::string& leaf);
  // After the input's end.
  Result<> finish();

 private:
  LayerRecorder(codec::ByteSource& input, sys::Root directory, sys::Fd file);
  Result<> flush();

  codec::ByteSource& input_;
  sys::Root directory_;
  sys::Fd file_;
  FdSink sink_;
  std::unique_ptr<codec::Compressor> zstd_;
  std::string literal_;
  std::string path_;  // of the last file
  std::uint64_t inode_ = 0;
  std::uint64_t expected_ = 0;
  std::uint64_t total_ = 0;
  bool keeps_ = false;
};

// The tar again. Blocking, one thread.
class LayerTar final : public codec::ByteSource {
 public:
  // The file of a path and inode, for reading.
  using OpenFile = std::function<Result<sys::Fd>(const std::string& path, std::uint64_t inode)>;

  // record is the plain pieces, and outlives it. digest: of the tar; read from front to back, its last bytes are given out only if it matches, else
  // kDataLoss. Empty: not checked. Errors: kDataLoss "record: ..." for what is not one, and for a file that is gone or too short.
  LayerTar(codec::ByteSource& record, OpenFile open_file, std::string digest) : record_(record), open_file_(std::move(open_file)), digest_(std::move(digest)), checked_(!digest_.empty()) {}

  Result<std::size_t> read(std::span<std::byte> into) override;
  // Files are passed over unread; the digest is not checked then.
  Result<std::uint64_t> skip(std::uint64_t count) override;

 private:
  Result<> next_piece();
  Result<std::uint64_t> number();
  Result<std::string> text(std::uint64_t bytes);
  Result<> read_file_piece(bool same);
  Result<> read_end();
  Result<std::size_t> read_some(std::span<std::byte> into);

  codec::ByteSource& record_;
  OpenFile open_file_;
  std::string digest_;
  bool checked_;
  bool begun_ = false, ended_ = false, from_file_ = false;
  std::uint64_t rest_ = 0;  // of the piece
  std::string path_;
  std::uint64_t inode_ = 0, offset_ = 0;
  sys::Fd file_;
  std::uint64_t total_ = 0;
  Hash hash_;
};

}  // namespace monopod::image
