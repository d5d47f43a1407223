// One layer's tar as an EROFS image: unpack.h's other form, with the same rules. The names are held in memory, some 200 bytes each, until finish(); contents are not.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "image/erofs_writer.h"
#include "image/layer_names.h"
#include "image/unpack.h"
#include "sys/fd.h"

namespace monopod::image {

class ErofsLayer {
 public:
  // In a layer's record, files of an image have numbers from here on, which no inode of a directory has.
  static constexpr std::uint64_t kFirstNumber = 1ULL << 62;

  ErofsLayer(sys::Fd file, bool compress);
  ~ErofsLayer();
  ErofsLayer(const ErofsLayer&) = delete;
  ErofsLayer& operator=(const ErofsLayer&) = delete;

  // As unpack_layer(); once.
  Result<Unpacked> unpack(codec::ByteSource& tar, const UnpackLimits& limits, const std::atomic<bool>& stop, LayerRecorder* recorder);
  // As adopt_attributes().
  Result<> adopt(const std::vector<std::string>& implicit_directories, const std::vector<sys::Root>& parents_top_first);
  // After unpack(): the image is complete then; not durable.
  Result<> finish();

 private:
  struct Node;
  struct Directory;
  Result<> apply(const TarEntry& entry, TarReader& reader);
  Result<Directory*> parent_of(const std::string& directory);
  Result<> make_parents(const std::string& directory);
  Directory* find_directory_at(std::string_view path) const;
  static std::shared_ptr<Node> make_node(std::uint32_t type);
  Result<Directory*> add_directory(Directory& parent, const std::string& leaf);
  static void describe(Directory& directory, const TarEntry& entry);
  Result<> white_out(const LayerName& name);
  Result<> make_directory(Directory& parent, const std::string& leaf, const TarEntry& entry);
  Result<> make_file(Directory& parent, const LayerName& name, const TarEntry& entry, TarReader& reader);
  Result<> make_special(Directory& parent, const std::string& leaf, const TarEntry& entry);
  Result<> make_link(Directory& parent, const std::string& leaf, const TarEntry& entry);
  void clear(Directory& parent, const std::string& leaf);
  void keep(const std::shared_ptr<Node>& node);
  void collect_implicit(const Directory& directory, const std::string& path, std::vector<std::string>& out) const;
  Result<> count_links(Directory& directory);
  Result<> place(Directory& directory);
  void fill(Directory& directory);

  sys::Fd file_;
  ErofsWriter writer_;
  std::unique_ptr<Directory> root_;
  std::unique_ptr<Directory> kept_;  // files that later entries replaced, by number
  Unpacked result_;
  UnpackLimits limits_;
  LayerRecorder* recorder_ = nullptr;
  Directory* parent_ = nullptr;  // of the last entry: entries of one directory follow each other
  std::string parent_path_;
  std::uint64_t numbers_ = 0;
  ErofsNid whiteout_ = 0;  // all share an inode
  std::int64_t now_seconds_ = 0;
};

}  // namespace monopod::image
