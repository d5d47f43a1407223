#include "image/layer_names.h"

#include "base/strings.h"
#include "image/limits.h"

namespace monopod::image {
namespace {

constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";
constexpr std::string_view kWhiteoutMeta = ".wh..wh.";

}  // namespace

Result<std::string> clean_path(std::string_view name) {
  std::string out;
  std::size_t depth = 0;
  for (std::string_view part : split(name, '/')) {
    if (part.empty() || part == ".") continue;
    if (part == "..") return fail(Code::kInvalidArgument, "name contains \"..\"");
    if (part.size() > kComponentBytesMax) return fail(Code::kInvalidArgument, cat("a name component of ", part.size(), " bytes"));
    if (++depth > kPathDepthMax) return fail(Code::kInvalidArgument, "nested too deep");
    if (!out.empty()) out += '/';
    out += part;
  }
  return out;
}

std::pair<std::string_view, std::string_view> split_leaf(std::string_view path) {
  std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return {std::string_view(), path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

std::string shown_name(std::string_view name) {
  std::string out;
  for (char c : name.substr(0, 200)) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  return out;
}

bool keeps_xattr(std::string_view name) {
  if (name.starts_with("user.overlay.")) return false;
  return (name.starts_with("user.") && name.size() > 5) || name == "security.capability";
}

Result<LayerName> read_layer_name(const TarEntry& entry) {
  LayerName out;
  TRY_ASSIGN(out.path, clean_path(entry.name));
  if (out.path.empty()) {
    if (entry.type != TarEntry::Type::kDirectory) return fail(Code::kInvalidArgument, "the root must be a directory");
    out.kind = LayerName::Kind::kRoot;
    return out;
  }
  auto [directory, leaf] = split_leaf(out.path);
  out.directory = directory;
  out.leaf = leaf;
  auto is = [&out](LayerName::Kind kind) {
    out.kind = kind;
    return std::move(out);
  };
  for (std::string_view part : split(directory, '/'))
    if (part.starts_with(kWhiteout)) return part.starts_with(kWhiteoutMeta) ? Result<LayerName>(is(LayerName::Kind::kNothing)) : fail(Code::kInvalidArgument, "a whiteout as a directory");
  if (!leaf.starts_with(kWhiteout)) return out;
  if (leaf == kOpaque) return is(LayerName::Kind::kOpaque);
  if (leaf.starts_with(kWhiteoutMeta)) return is(LayerName::Kind::kNothing);
  std::string hidden(leaf.substr(kWhiteout.size()));
  if (hidden.empty() || hidden == "." || hidden == "..") return fail(Code::kInvalidArgument, "bad whiteout name");
  out.path = cat(directory, directory.empty() ? "" : "/", hidden);
  out.leaf = std::move(hidden);
  return is(LayerName::Kind::kWhiteout);
}

}  // namespace monopod::image
