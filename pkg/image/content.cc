#include "image/content.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/log.h"
#include "base/strings.h"
#include "codec/json.h"
#include "image/digest.h"

namespace monopod::image {
namespace {

constexpr std::size_t kMetaBytesMax = 4096;

Result<> sync_directory(const sys::Root& root, std::string_view path) {
  TRY_ASSIGN(sys::Fd fd, root.open_file(path, O_RDONLY | O_DIRECTORY));
  if (::fsync(fd.get()) != 0) return fail_errno(cat("sync ", path));
  return {};
}

// Ours alone: an image's setuid files and another's secrets are below.
Result<> make_private(const sys::Root& root, const std::string& path) {
  if (path != ".") {
    Result<> made = root.make_directory(path, 0700);
    if (!made && made.error().code() != Code::kAlreadyExists) return made;
  }
  TRY_ASSIGN(sys::Fd fd, root.open_file(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  struct ::stat st;
  if (::fstat(fd.get(), &st) != 0) return fail_errno(cat("stat ", path));
  if (st.st_uid != ::geteuid()) return fail(Code::kFailedPrecondition, cat(path, " belongs to user ", st.st_uid, ", not to us"));
  if ((st.st_mode & 0777) == 0700) return {};
  log::warn("closing an image directory that others could enter", {{"path", path}});
  if (::fchmod(fd.get(), 0700) != 0) return fail_errno(cat("set mode of ", path));
  return {};
}

std::string format_meta(const LayerMeta& meta) {
  boost::json::object out;
  out["key"] = meta.key;
  out["diffId"] = meta.diff_id;
  out["digest"] = meta.digest;
  out["blobBytes"] = meta.blob_bytes;
  out["bytes"] = meta.bytes;
  out["entries"] = meta.entries;
  out["hasRoot"] = meta.has_root;
  out["implicit"] = meta.implicit;
  return json::format(json::Value(std::move(out)));
}

std::vector<std::string> names_below(const sys::Root& root, const std::string& path) {
  std::vector<std::string> out;
  if (auto entries = root.read_directory(path))
    for (auto& entry : *entries) out.push_back(std::move(entry.name));
  return out;
}

std::vector<std::string> digests_below(const sys::Root& root, const std::string& path, std::string_view algorithm = "sha256") {
  std::vector<std::string> out;
  for (const std::string& name : names_below(root, path))
    if (std::string digest = cat(algorithm, ":", name); is_blob_digest(digest)) out.push_back(std::move(digest));
  return out;
}

bool has_file(const sys::Root& root, const std::string& path) { return root.open_file(path, O_PATH | O_NOFOLLOW).has_value(); }
std::string directory_of(std::string_view digest) { return cat("blobs/", split_once(digest, ':').first); }

// Without replacing: true if it moved, false if something is there already.
Result<bool> move_into_place(const sys::Root& root, const std::string& from, const std::string& to) {
  TRY_ASSIGN(sys::Root::Parent a, root.open_parent(from));
  TRY_ASSIGN(sys::Root::Parent b, root.open_parent(to));
  if (::renameat2(a.directory.get(), a.name.c_str(), b.directory.get(), b.name.c_str(), RENAME_NOREPLACE) == 0) return true;
  if (errno == EEXIST || errno == ENOTEMPTY) return false;
  return fail_errno(cat("publish ", to));
}

}  // namespace

Staged::~Staged() {
  if (path_.empty()) return;
  if (Result<> removed = content_.remove_tree(path_); !removed)
    log::warn("staging directory could not be removed", {{"path", path_}, {"error", removed.error()}});
}

std::string Content::layer_entry(std::string_view key) { return cat("layers/", digest_hex(key)); }
std::string Content::blob_entry(std::string_view digest) { return cat(directory_of(digest), "/", digest_hex(digest)); }
std::string Content::snapshot_entry(std::string_view id) { return cat("snapshots/", id); }
std::string Content::layer_path(std::string_view key) const { return cat(directory_, "/", layer_entry(key), "/fs"); }
std::string Content::image_path(std::string_view key) const { return cat(directory_, "/", layer_entry(key), "/erofs"); }
std::string Content::snapshot_path(std::string_view id) const { return cat(directory_, "/", snapshot_entry(id)); }

Result<std::unique_ptr<Content>> Content::open(const std::string& directory, bool keep_blobs, LayerForm form) {
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) return fail_errno(cat("make directory ", directory));
  TRY_ASSIGN(sys::Root root, sys::Root::open(directory));
  TRY(make_private(root, "."));
  for (const char* name : {"blobs", "blobs/sha256", "layers", "snapshots", "staging", "empty"}) TRY(make_private(root, name));
  TRY_ASSIGN(sys::Fd lock, root.open_no_symlinks("lock", O_RDWR | O_CREAT, 0600));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0)
    return fail(Code::kFailedPrecondition, cat("image store ", directory, " is in use by another process"));
  for (const std::string& name : names_below(root, "staging")) TRY(root.remove_tree("staging/" + name));
  TRY_ASSIGN(sys::Root staging, root.open_root("staging"));
  TRY(check_layer_form(staging, form));
  return std::unique_ptr<Content>(new Content(directory, std::move(root), std::move(lock), keep_blobs, form));
}

std::optional<LayerMeta> Content::find_layer(std::string_view diff_id, std::string_view chain, std::string_view blob) const {
  if (keep_blobs_ && !has_blob(blob)) return blob == diff_id ? find_recorded(diff_id, chain) : std::nullopt;
  return find_place(diff_id, chain);
}

std::optional<LayerMeta> Content::find_place(std::string_view diff_id, std::string_view chain) const {
  if (!is_digest(diff_id) || !is_digest(chain)) return std::nullopt;
  auto known = find_layer(diff_id);
  return known && (!known->implicit || diff_id == chain) ? known : find_layer(chain);
}

std::optional<LayerMeta> Content::find_recorded(std::string_view diff_id, std::string_view chain) const {
  auto known = find_place(diff_id, chain);
  if (!known || known->diff_id != diff_id || !has_file(root_, layer_entry(known->key) + "/record")) return std::nullopt;
  return known;
}

std::optional<LayerMeta> Content::find_layer(std::string_view key) const {
  std::string entry = layer_entry(key);
  auto text = root_.read_file(entry + "/meta", kMetaBytesMax);
  if (!text) return std::nullopt;
  auto value = json::parse(*text);
  if (!value || json::get_string(*value, {"key"}) != key) return std::nullopt;
  LayerMeta out{.key = std::string(key),
                .diff_id = std::string(json::get_string(*value, {"diffId"})),
                .digest = std::string(json::get_string(*value, {"digest"})),
                .blob_bytes = static_cast<std::uint64_t>(json::get_int(*value, {"blobBytes"})),
                .bytes = static_cast<std::uint64_t>(json::get_int(*value, {"bytes"})),
                .entries = static_cast<std::uint64_t>(json::get_int(*value, {"entries"})),
                .has_root = json::get_bool(*value, {"hasRoot"}),
                .implicit = json::get_bool(*value, {"implicit"})};
  out.disk_bytes = out.bytes;
  if (root_.open_file(entry + "/fs", O_PATH | O_DIRECTORY | O_NOFOLLOW)) return out;
  auto image = root_.lstat(entry + "/erofs");
  if (!image) return std::nullopt;
  out.disk_bytes = static_cast<std::uint64_t>(image->st_blocks) * 512;
  return out;
}

Result<std::string> Content::read_blob(std::string_view digest, std::size_t bytes_max) const {
  if (!is_blob_digest(digest)) return fail(Code::kInvalidArgument, cat("blob \"", digest.substr(0, 100), "\": not a digest"));
  auto bytes = root_.read_file(blob_entry(digest), bytes_max);
  if (!bytes) return fail(std::move(bytes).error().with(cat("blob ", digest)));
  if (digest_of(*bytes, digest) != digest) return fail(Code::kDataLoss, cat("blob ", digest, ": content does not match the digest"));
  return bytes;
}

bool Content::has_blob(std::string_view digest) const {
  return has_file(root_, blob_entry(digest));
}

Result<std::unique_ptr<Staged>> Content::make_staging() const {
  std::string path = cat("staging/", ::getpid(), "-", next_staging_.fetch_add(1));
  TRY(root_.make_directory(path, 0700));
  return std::make_unique<Staged>(root_, std::move(path));
}

Result<> Content::publish_layer(StagedLayer& layer) const {
  const std::string from = layer.directory->path(), to = layer_entry(layer.meta.key);
  if (layer.has_blob) TRY(move_into_place(root_, from + "/blob", blob_entry(layer.meta.digest)));
  TRY_ASSIGN(bool moved, move_into_place(root_, from, to));
  if (moved) {
    layer.directory->release();
    return {};
  }
  if (!layer.has_record || has_file(root_, to + "/record")) return {};
  // It is here from a process that keeps no records. The record last: it needs what is kept. An image holds that itself, and one comes to a directory for it.
  if (has_file(root_, from + "/erofs")) TRY(move_into_place(root_, from + "/erofs", to + "/erofs"));
  TRY(root_.remove_tree(to + "/kept"));  // of a process that was killed here
  if (has_file(root_, from + "/kept")) TRY(root_.rename(from + "/kept", to + "/kept"));
  TRY(failpoint("image.between_kept_and_record"));
  TRY(move_into_place(root_, from + "/record", to + "/record"));
  return sync_directory(root_, to);
}

Result<> Content::sync_all() const {
  if (::syncfs(lock_.get()) != 0) return fail_errno("sync image content");  // any real descriptor of the file system will do
  return {};
}

Result<> Content::publish(std::vector<StagedLayer>& layers, const std::vector<Blob>& blobs) const {
  TRY(failpoint("image.before_publish"));
  TRY_ASSIGN(std::unique_ptr<Staged> documents, make_staging());
  for (const StagedLayer& layer : layers) TRY(root_.write_file(layer.directory->path() + "/meta", format_meta(layer.meta), 0600));
  for (const Blob& blob : blobs) TRY(root_.write_file(cat(documents->path(), "/", digest_hex(blob.digest)), blob.bytes, 0600));
  // Contents before names: after a power cut a published layer has no empty files.
  TRY(sync_all());
  for (StagedLayer& layer : layers) TRY(publish_layer(layer));
  TRY(failpoint("image.between_layers_and_blobs"));
  for (const Blob& blob : blobs) {
    TRY_ASSIGN(bool moved, move_into_place(root_, cat(documents->path(), "/", digest_hex(blob.digest)), blob_entry(blob.digest)));
    (void)moved;
  }
  // The names of both directories: what was written is on disk already, so that this costs no more than either.
  TRY(layers.empty() ? sync_directory(root_, "blobs/sha256") : sync_all());
  return failpoint("image.after_publish");
}

Result<> Content::publish_blob(const std::string& staged, std::string_view digest) const {
  const std::string directory = directory_of(digest);
  if (!is_digest(digest)) TRY(make_private(root_, directory));  // made when the first one comes
  TRY_ASSIGN(bool moved, move_into_place(root_, staged, blob_entry(digest)));
  return moved ? sync_directory(root_, directory) : Result<>{};
}

Result<sys::Fd> Content::open_blob(std::string_view digest) const {
  if (!is_blob_digest(digest)) return fail(Code::kInvalidArgument, cat("blob \"", digest.substr(0, 100), "\": not a digest"));
  return root_.open_file(blob_entry(digest), O_RDONLY | O_NOFOLLOW);
}

Result<> Content::remove(const std::string& relative_path) const {
  TRY_ASSIGN(std::unique_ptr<Staged> trash, make_staging());
  Result<> moved = root_.rename(relative_path, trash->path() + "/x");
  if (!moved && moved.error().code() != Code::kNotFound) return moved;
  return root_.remove_tree(trash->path());
}

std::vector<std::string> Content::list_layers() const { return digests_below(root_, "layers"); }

std::vector<std::string> Content::list_blobs() const {
  std::vector<std::string> out = digests_below(root_, "blobs/sha256");
  std::ranges::move(digests_below(root_, "blobs/sha512", "sha512"), std::back_inserter(out));
  return out;
}

std::vector<std::string> Content::list_snapshots() const { return names_below(root_, "snapshots"); }

}  // namespace monopod::image
