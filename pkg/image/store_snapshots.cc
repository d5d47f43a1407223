// Snapshots of the store: what one container sees, and writes.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/strings.h"
#include "image/store_impl.h"

namespace monopod::image {

using async::Task;

namespace {

constexpr Duration kUsePrecision = std::chrono::hours(1);  // of what is remembered of an image's last use

bool is_snapshot_id(std::string_view id) {
  if (id.empty() || id.size() > 128 || id.front() == '.' || id.front() == '-' || id.front() == '_') return false;
  return std::ranges::all_of(id, [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-'; });
}

// The merged root directory shows the upper one's attributes: they are those of the topmost layer that describes the root.
Result<> make_snapshot_directory(const Content& content, const std::string& id, const std::vector<std::string>& layers) {
  TRY_ASSIGN(std::unique_ptr<Staged> staged, content.make_staging());
  const std::string fs = staged->path() + "/fs";
  TRY(content.root().make_directory(fs, 0755));
  TRY(content.root().make_directory(staged->path() + "/work", 0700));
  mode_t mode = 0755;
  uid_t uid = 0;
  gid_t gid = 0;
  for (const std::string& key : layers) {
    auto meta = content.find_layer(key);
    if (!meta) return fail(Code::kDataLoss, cat("layer ", key, " is missing or damaged"));
    if (!meta->has_root) continue;
    TRY_ASSIGN(OpenLayer layer, open_layer(content.layer_path(key)));
    struct ::stat st = {};
    if (::fstat(layer.fs.fd(), &st) != 0) return fail_errno(cat("stat layer ", key));
    mode = st.st_mode & 07777;
    uid = st.st_uid;
    gid = st.st_gid;
    break;
  }
  TRY_ASSIGN(sys::Fd fd, content.root().open_file(fs, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  if (::fchown(fd.get(), uid, gid) != 0 || ::fchmod(fd.get(), mode) != 0) return fail_errno("set attributes of the snapshot's root");
  TRY(content.remove(Content::snapshot_entry(id)));  // of a try that was not recorded
  TRY(content.root().rename(staged->path(), Content::snapshot_entry(id)));
  staged->release();
  return {};
}

}  // namespace

Snapshot Store::snapshot_of(const std::string& id, const SnapshotRecord& record) const {
  Snapshot out{.container_id = id, .image_id = record.image_id, .lowerdirs = {}, .upperdir = content_->snapshot_path(id) + "/fs", .workdir = content_->snapshot_path(id) + "/work"};
  for (const std::string& key : record.layers) out.lowerdirs.push_back(content_->layer_path(key));
  if (out.lowerdirs.empty()) out.lowerdirs.push_back(content_directory() + "/empty");
  return out;
}

Task<Result<Snapshot>> Store::prepare_snapshot(std::string container_id, std::string image_id) {
  if (!is_snapshot_id(container_id)) co_return fail(Code::kInvalidArgument, cat("snapshot id \"", container_id.substr(0, 150), "\" is not usable"));
  while (busy_snapshots_.contains(container_id)) CO_TRY(co_await changed_.wait());  // forever: its holder ends
  SnapshotGuard guard(*this, container_id);
  auto id = find_id(image_id);
  if (auto known = state_.snapshots.find(container_id); known != state_.snapshots.end()) {
    if (!id || known->second.image_id != *id) co_return fail(Code::kAlreadyExists, cat("snapshot ", container_id, " is of another image"));
    co_return snapshot_of(container_id, known->second);
  }
  if (!id) co_return fail(Code::kNotFound, cat("image ", image_id, ": not found"));
  ImageRecord& image = state_.images.at(*id);
  const bool told = time_.wall() - image.last_used < kUsePrecision;
  image.last_used = time_.wall();
  SnapshotRecord record{.image_id = *id, .layers = image.stored.layers};
  std::ranges::reverse(record.layers);
  // In the table from here on: the image is in use, whatever else runs meanwhile.
  state_.snapshots.emplace(container_id, record);
  guard.set_unrecorded(true);
  auto made = co_await pool_.run([&] { return make_snapshot_directory(*content_, container_id, record.layers); });
  if (made) made = co_await records_.put(kBucket, "snapshot/" + container_id, format_record(record), async::Lasts::kUntilReboot);
  if (auto used = state_.images.find(*id); made && !told && used != state_.images.end()) made = co_await records_.put(kBucket, "image/" + *id, format_record(used->second), async::Lasts::kUntilReboot);
  if (!made) co_return fail(std::move(made).error().with(cat("snapshot ", container_id)));
  guard.set_unrecorded(false);
  co_return snapshot_of(container_id, record);
}

std::optional<Snapshot> Store::find_snapshot(std::string_view container_id) const {
  auto found = state_.snapshots.find(container_id);
  if (found == state_.snapshots.end()) return std::nullopt;
  return snapshot_of(found->first, found->second);
}

std::vector<std::string> Store::list_snapshots() const {
  std::vector<std::string> out;
  for (const auto& [id, record] : state_.snapshots) out.push_back(id);
  return out;
}

Task<Result<>> Store::mount(std::string container_id, std::string target, sys::IdMaps maps) {
  auto snapshot = find_snapshot(container_id);
  if (!snapshot) co_return fail(Code::kNotFound, cat("snapshot ", container_id, ": not found"));
  CO_TRY(co_await pool_.run([&]() -> Result<> {
    TRY(layer_mounts_.open(*snapshot));
    return maps.empty() ? mount_snapshot(*snapshot, target) : mount_mapped_snapshot(*snapshot, target, maps);
  }));
  if (std::ranges::any_of(snapshot->open, [](const auto& layer) { return layer != nullptr; })) mounted_.insert_or_assign(std::move(target), std::move(snapshot->open));
  co_return Result<>{};
}

Task<Result<>> Store::unmount(std::string target) {
  CO_TRY(co_await pool_.run([&] { return unmount_snapshot(target); }));
  // The last one's image is unmounted with it: not on the loop.
  if (auto mounted = mounted_.extract(target)) co_await pool_.run([&] { mounted.mapped().clear(); });
  co_return Result<>{};
}

Task<Result<>> Store::remove_snapshot(std::string container_id) {
  while (busy_snapshots_.contains(container_id)) CO_TRY(co_await changed_.wait());  // forever: its holder ends
  SnapshotGuard guard(*this, container_id);
  auto found = state_.snapshots.find(container_id);
  if (found == state_.snapshots.end()) co_return Result<>{};
  if (auto image = state_.images.find(found->second.image_id); image != state_.images.end()) image->second.last_used = time_.wall();
  auto removed = co_await pool_.run([&] { return content_->remove(Content::snapshot_entry(container_id)); });
  if (!removed) co_return fail(std::move(removed).error().with(cat("remove snapshot ", container_id)));
  CO_TRY(co_await records_.remove(kBucket, "snapshot/" + container_id, async::Lasts::kUntilReboot));
  state_.snapshots.erase(container_id);
  co_return Result<>{};
}

Task<Result<std::uint64_t>> Store::snapshot_bytes(std::string container_id) {
  if (!state_.snapshots.contains(container_id)) co_return fail(Code::kNotFound, cat("snapshot ", container_id, ": not found"));
  co_return co_await pool_.run([&] { return tree_bytes(content_->root(), Content::snapshot_entry(container_id) + "/fs"); });
}

}  // namespace monopod::image
