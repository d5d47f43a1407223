#include "image/erofs_layer.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <ctime>

#include "base/strings.h"
#include "image/layer_record.h"

namespace monopod::image {
namespace {

constexpr int kLinksFollowedMax = 40;  // as the kernel
constexpr std::size_t kDirectoryDepthMax = 2 * kPathDepthMax;  // through links a name may lead deeper than it is long; what walks the tree calls itself
constexpr char kOpaqueXattr[] = "trusted.overlay.opaque";

ErofsAttributes attributes_of(const TarEntry& entry, std::uint32_t type) {
  return {.mode = type | entry.mode, .uid = entry.uid, .gid = entry.gid, .mtime_seconds = entry.mtime_seconds, .mtime_nanos = entry.mtime_nanos};
}

void add_xattrs(const TarEntry& entry, Xattrs& out) {
  for (const auto& [name, value] : entry.xattrs)
    if (keeps_xattr(name) && name.find('\0') == std::string::npos) out.insert_or_assign(name, value);
}

erofs::FileType file_type(std::uint32_t type) {
  switch (type) {
    case S_IFDIR: return erofs::FileType::kDirectory;
    case S_IFLNK: return erofs::FileType::kSymlink;
    case S_IFCHR: return erofs::FileType::kCharDevice;
    case S_IFBLK: return erofs::FileType::kBlockDevice;
    case S_IFIFO: return erofs::FileType::kFifo;
    default: return erofs::FileType::kFile;
  }
}

}  // namespace

// What a name stands for; hard links share it.
struct ErofsLayer::Node {
  std::uint32_t type = 0;  // S_IFREG, ...
  bool whiteout = false;
  std::uint32_t links = 0;
  ErofsNid nid = 0;
  std::uint64_t number = 0;  // of a file, in the record
  std::string target;        // of a symbolic link
  std::unique_ptr<Directory> directory;
};

struct ErofsLayer::Directory {
  Directory* parent = nullptr;
  std::size_t depth = 0;
  bool implicit = false;
  ErofsAttributes attributes;
  std::map<std::string, std::shared_ptr<Node>, std::less<>> children;
  ErofsWriter::Place place;

  Node* find(std::string_view name) const {
    auto found = children.find(name);
    return found == children.end() ? nullptr : found->second.get();
  }
  void hide_below() { attributes.xattrs.insert_or_assign(kOpaqueXattr, "y"); }
};

ErofsLayer::ErofsLayer(sys::Fd file, bool compress) : file_(std::move(file)), writer_(file_.get(), compress), root_(std::make_unique<Directory>()), kept_(std::make_unique<Directory>()), now_seconds_(::time(nullptr)) {
  root_->attributes = {.mode = S_IFDIR | 0755, .mtime_seconds = now_seconds_};
  kept_->attributes = {.mode = S_IFDIR | 0700, .mtime_seconds = now_seconds_};
}
ErofsLayer::~ErofsLayer() = default;

// The directory that a path leads to, symbolic links followed inside the layer; null where there is none.
ErofsLayer::Directory* ErofsLayer::find_directory_at(std::string_view path) const {
  std::string rest(path);
  Directory* at = root_.get();
  int followed = 0;
  while (!rest.empty()) {
    const std::size_t slash = rest.find('/');
    const std::string part = rest.substr(0, slash);
    rest.erase(0, slash == std::string::npos ? rest.size() : slash + 1);
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (at->parent != nullptr) at = at->parent;
      continue;
    }
    Node* node = at->find(part);
    if (node == nullptr) return nullptr;
    if (node->type == S_IFLNK) {
      if (++followed > kLinksFollowedMax || node->target.size() + rest.size() > 2 * kNameBytesMax) return nullptr;
      if (node->target.starts_with('/')) at = root_.get();
      rest = cat(node->target, "/", rest);
      continue;
    }
    if (!node->directory) return nullptr;
    at = node->directory.get();
  }
  return at;
}

std::shared_ptr<ErofsLayer::Node> ErofsLayer::make_node(std::uint32_t type) {
  auto out = std::make_shared<Node>();
  out->type = type;
  return out;
}

Result<ErofsLayer::Directory*> ErofsLayer::add_directory(Directory& parent, const std::string& leaf) {
  if (parent.depth >= kDirectoryDepthMax) return fail(Code::kInvalidArgument, "nested too deep");
  auto node = make_node(S_IFDIR);
  node->directory = std::make_unique<Directory>();
  node->directory->parent = &parent;
  node->directory->depth = parent.depth + 1;
  node->directory->attributes = {.mode = S_IFDIR | 0755, .mtime_seconds = now_seconds_};
  return (parent.children[leaf] = std::move(node))->directory.get();
}

Result<ErofsLayer::Directory*> ErofsLayer::parent_of(const std::string& directory) {
  if (directory.empty()) return root_.get();
  if (parent_ != nullptr && parent_path_ == directory) return parent_;
  parent_ = find_directory_at(directory);
  if (parent_ == nullptr) {
    TRY(make_parents(directory));
    parent_ = find_directory_at(directory);
  }
  if (parent_ == nullptr) return fail(Code::kInvalidArgument, cat("open ", shown_name(directory), ": not a directory"));
  parent_path_ = directory;
  return parent_;
}

Result<> ErofsLayer::make_parents(const std::string& directory) {
  for (std::size_t end = 0; end != std::string::npos;) {
    end = directory.find('/', end + 1);
    const std::string prefix = directory.substr(0, end);
    if (find_directory_at(prefix) != nullptr) continue;
    auto [above, leaf] = split_leaf(prefix);
    Directory* parent = find_directory_at(above);
    Node* there = parent == nullptr ? nullptr : parent->find(leaf);
    if (parent == nullptr || (there != nullptr && !there->whiteout)) return fail(Code::kInvalidArgument, cat("make directory ", shown_name(prefix), ": something else is there"));
    const bool hides = there != nullptr;
    TRY_ASSIGN(Directory* made, add_directory(*parent, std::string(leaf)));
    if (hides) made->hide_below();
    made->implicit = true;
    if (++result_.entries > limits_.entries_max) return fail(Code::kResourceExhausted, "too many entries");
  }
  return {};
}

// A whiteout hides what lower layers have, never what this layer brings.
Result<> ErofsLayer::white_out(const LayerName& name) {
  TRY_ASSIGN(Directory* parent, parent_of(name.directory));
  if (name.kind == LayerName::Kind::kOpaque) {
    parent->hide_below();
    return {};
  }
  if (Node* there = parent->find(name.leaf); there != nullptr) {
    if (there->directory) there->directory->hide_below();
    return {};
  }
  if (whiteout_ == 0) {
    TRY_ASSIGN(whiteout_, writer_.add_special({.mode = S_IFCHR, .mtime_seconds = now_seconds_}, 0, 0));
  }
  auto node = make_node(S_IFCHR);
  node->whiteout = true;
  node->nid = whiteout_;
  parent->children[name.leaf] = std::move(node);
  return {};
}

// The tar's bytes of a file that goes are wanted still: its record refers to them.
void ErofsLayer::keep(const std::shared_ptr<Node>& node) {
  if (node->directory)
    for (const auto& [name, child] : node->directory->children) keep(child);
  else if (node->type == S_IFREG) kept_->children[std::to_string(node->number)] = node;
}

void ErofsLayer::clear(Directory& parent, const std::string& leaf) {
  auto found = parent.children.find(leaf);
  if (found == parent.children.end()) return;
  keep(found->second);
  if (found->second->directory) parent_ = nullptr;  // may have been in there
  parent.children.erase(found);
}

void ErofsLayer::describe(Directory& directory, const TarEntry& entry) {
  Xattrs xattrs = std::move(directory.attributes.xattrs);
  directory.attributes = attributes_of(entry, S_IFDIR);
  directory.attributes.xattrs = std::move(xattrs);
  add_xattrs(entry, directory.attributes.xattrs);
  directory.implicit = false;
}

Result<> ErofsLayer::make_directory(Directory& parent, const std::string& leaf, const TarEntry& entry) {
  Node* there = parent.find(leaf);
  const bool hides = there != nullptr && there->whiteout;
  Directory* directory = there != nullptr ? there->directory.get() : nullptr;
  if (directory == nullptr) {
    clear(parent, leaf);
    TRY_ASSIGN(directory, add_directory(parent, leaf));
  }
  describe(*directory, entry);
  if (hides) directory->hide_below();
  return {};
}

Result<> ErofsLayer::make_file(Directory& parent, const LayerName& name, const TarEntry& entry, TarReader& reader) {
  ErofsAttributes attributes = attributes_of(entry, S_IFREG);
  add_xattrs(entry, attributes.xattrs);
  auto node = make_node(S_IFREG);
  node->number = kFirstNumber + ++numbers_;
  auto expect = [&](std::uint64_t offset, std::uint64_t bytes) -> Result<> { return recorder_ == nullptr ? Result<>{} : recorder_->expect_file(name.path, node->number, offset, bytes); };
  if (entry.sparse) {
    TRY(writer_.begin_sparse(entry.size));
    for (const TarEntry::Extent& extent : entry.extents) {
      TRY(expect(extent.offset, extent.bytes));
      TRY(writer_.add_extent(extent.offset, extent.bytes, reader));
    }
    TRY_ASSIGN(node->nid, writer_.end_sparse(attributes));
  } else {
    TRY(expect(0, entry.size));
    TRY_ASSIGN(node->nid, writer_.add_file(attributes, entry.size, reader));
  }
  parent.children[name.leaf] = std::move(node);
  return {};
}

Result<> ErofsLayer::make_special(Directory& parent, const std::string& leaf, const TarEntry& entry) {
  const bool link = entry.type == TarEntry::Type::kSymlink;
  auto node = make_node(link ? S_IFLNK : entry.type == TarEntry::Type::kCharDevice ? S_IFCHR : entry.type == TarEntry::Type::kBlockDevice ? S_IFBLK : S_IFIFO);
  ErofsAttributes attributes = attributes_of(entry, node->type);
  if (link) {
    if (entry.link.empty()) return fail(Code::kInvalidArgument, "symbolic link to nothing");
    attributes.mode = S_IFLNK | 0777;
    node->target = entry.link;
    TRY_ASSIGN(node->nid, writer_.add_symlink(attributes, entry.link));
  } else {
    const bool device = node->type != S_IFIFO;
    node->whiteout = node->type == S_IFCHR && entry.device_major == 0 && entry.device_minor == 0;
    TRY_ASSIGN(node->nid, writer_.add_special(attributes, device ? entry.device_major : 0, device ? entry.device_minor : 0));
  }
  parent.children[leaf] = std::move(node);
  return {};
}

// To a name of this layer. The inode keeps its attributes: they came with the first name.
Result<> ErofsLayer::make_link(Directory& parent, const std::string& leaf, const TarEntry& entry) {
  TRY_ASSIGN(std::string target, clean_path(entry.link));
  if (target.empty()) return fail(Code::kInvalidArgument, "hard link to the root");
  auto [above, name] = split_leaf(target);
  Directory* at = find_directory_at(above);
  auto found = at == nullptr ? parent.children.end() : at->children.find(name);
  if (at == nullptr || found == at->children.end()) return fail(Code::kNotFound, cat("hard link to ", shown_name(entry.link), ": no such file"));
  if (found->second->directory || found->second->whiteout) return fail(Code::kInvalidArgument, cat("hard link to ", shown_name(entry.link), ": not a file"));
  std::shared_ptr<Node> node = found->second;
  parent.children[leaf] = std::move(node);
  return {};
}

Result<> ErofsLayer::apply(const TarEntry& entry, TarReader& reader) {
  TRY(count_entry(entry, limits_, result_));
  TRY_ASSIGN(const LayerName name, read_layer_name(entry));
  switch (name.kind) {
    case LayerName::Kind::kNothing: return {};
    case LayerName::Kind::kWhiteout:
    case LayerName::Kind::kOpaque: return white_out(name);
    case LayerName::Kind::kRoot: {
      result_.has_root = true;
      describe(*root_, entry);
      return {};
    }
    case LayerName::Kind::kEntry: break;
  }
  TRY_ASSIGN(Directory* parent, parent_of(name.directory));
  if (entry.type == TarEntry::Type::kDirectory) return make_directory(*parent, name.leaf, entry);
  std::string target;
  if (entry.type == TarEntry::Type::kHardLink) {
    TRY_ASSIGN(target, clean_path(entry.link));
  }
  if (target != name.path) clear(*parent, name.leaf);  // else what it links to would go
  if (entry.type == TarEntry::Type::kHardLink) return make_link(*parent, name.leaf, entry);
  return entry.type == TarEntry::Type::kFile ? make_file(*parent, name, entry, reader) : make_special(*parent, name.leaf, entry);
}

void ErofsLayer::collect_implicit(const Directory& directory, const std::string& path, std::vector<std::string>& out) const {
  for (const auto& [name, node] : directory.children) {
    if (!node->directory) continue;
    const std::string below = cat(path, path.empty() ? "" : "/", name);
    if (node->directory->implicit) out.push_back(below);
    collect_implicit(*node->directory, below, out);
  }
}

Result<Unpacked> ErofsLayer::unpack(codec::ByteSource& tar, const UnpackLimits& limits, const std::atomic<bool>& stop, LayerRecorder* recorder) {
  limits_ = limits;
  recorder_ = recorder;
  TarReader reader(tar);
  TRY(for_each_entry(reader, stop, [this, &reader](const TarEntry& entry) { return apply(entry, reader); }));
  TRY(writer_.begin_directories());
  parent_ = nullptr;
  collect_implicit(*root_, "", result_.implicit_directories);
  return std::move(result_);
}

Result<> ErofsLayer::adopt(const std::vector<std::string>& implicit_directories, const std::vector<sys::Root>& parents_top_first) {
  for (const std::string& path : implicit_directories) {
    TRY_ASSIGN(auto theirs, find_directory(parents_top_first, path));
    Directory* own = find_directory_at(path);
    if (!theirs || own == nullptr) continue;
    const struct ::stat& st = theirs->stat;
    Xattrs xattrs = std::move(own->attributes.xattrs);
    for (auto& [name, value] : theirs->xattrs) xattrs.insert_or_assign(name, std::move(value));
    own->attributes = {.mode = st.st_mode, .uid = st.st_uid, .gid = st.st_gid, .mtime_seconds = st.st_mtim.tv_sec, .mtime_nanos = static_cast<std::uint32_t>(st.st_mtim.tv_nsec), .links = 1, .xattrs = std::move(xattrs)};
  }
  return {};
}

// Of directories: themselves, "." and each "..".
Result<> ErofsLayer::count_links(Directory& directory) {
  directory.attributes.links = 2;
  for (const auto& [name, node] : directory.children) {
    if (node->directory) {
      ++directory.attributes.links;
      TRY(count_links(*node->directory));
    } else if (++node->links > 1) {
      TRY(writer_.set_links(node->nid, node->links));
    }
  }
  return {};
}

Result<> ErofsLayer::place(Directory& directory) {
  std::vector<std::string_view> names = {".", ".."};
  for (const auto& [name, node] : directory.children) names.emplace_back(name);
  std::ranges::sort(names);
  TRY_ASSIGN(directory.place, writer_.place_directory(directory.attributes, names));
  for (const auto& [name, node] : directory.children) {
    if (!node->directory) continue;
    TRY(place(*node->directory));
    node->nid = node->directory->place.nid;
  }
  return {};
}

void ErofsLayer::fill(Directory& directory) {
  const ErofsNid own = directory.place.nid;
  std::vector<ErofsWriter::Child> children = {{".", own, erofs::FileType::kDirectory}, {"..", directory.parent != nullptr ? directory.parent->place.nid : ErofsWriter::kRootNid, erofs::FileType::kDirectory}};
  for (const auto& [name, node] : directory.children) children.push_back({name, node->nid, file_type(node->type)});
  std::ranges::sort(children, {}, &ErofsWriter::Child::name);
  writer_.fill_directory(directory.place, children);
  for (const auto& [name, node] : directory.children)
    if (node->directory) fill(*node->directory);
}

Result<> ErofsLayer::finish() {
  const bool keeps = !kept_->children.empty();
  TRY(count_links(*root_));
  if (keeps) TRY(count_links(*kept_));
  TRY(place(*root_));
  if (keeps) TRY(place(*kept_));
  fill(*root_);
  if (keeps) fill(*kept_);
  TRY(writer_.finish(root_->place.nid, keeps ? kept_->place.nid : 0, now_seconds_));
  file_.reset();
  return {};
}

}  // namespace monopod::image
