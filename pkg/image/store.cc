#include "image/store_impl.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/failpoint.h"
#include "base/log.h"
#include "base/strings.h"
#include "image/archive.h"
#include "image/digest.h"
#include "image/pull.h"
#include "image/recover.h"
#include "image/reference.h"
#include "image/sources.h"

namespace monopod::image {

using async::Task;

namespace {

bool is_archive_name(std::string_view name) {
  for (std::string_view suffix : {".tar", ".tar.gz", ".tgz", ".tar.zst"})
    if (name.ends_with(suffix) && name.size() > suffix.size() && name.front() != '.') return true;
  return false;
}

}  // namespace

Task<Result<>> Store::recover_state() {
  CO_TRY_ASSIGN(auto records, co_await records_.list(kBucket));
  std::vector<std::string> dropped;
  state_ = co_await pool_.run([&] { return recover(*content_, options_.limits, records, dropped); });
  for (const std::string& key : dropped) CO_TRY(co_await records_.remove(kBucket, key));
  const StoreState& state = state_;
  CO_TRY(co_await pool_.run([&]() -> Result<> {
    for (const std::string& id : content_->list_snapshots())
      if (!state.snapshots.contains(id)) TRY(content_->remove(Content::snapshot_entry(id)));
    TRY_ASSIGN(std::uint64_t freed, sweep_content(*content_, referenced_by(state)));
    if (freed > 0) log::info("removed image content that nothing names", {{"bytes", freed}});
    return {};
  }));
  co_return Result<>{};
}

Task<Result<std::vector<ImportedImage>>> Store::import_file(std::string path, ImportOptions options) {
  return import_opened(-1, std::move(path), std::move(options));
}
Task<Result<std::vector<ImportedImage>>> Store::import_fd(int fd, ImportOptions options) { return import_opened(fd, {}, std::move(options)); }

Task<Result<std::vector<ImportedImage>>> Store::import_opened(int fd, std::string path, ImportOptions options) {
  if (!options.reference.empty()) CO_TRY(parse_reference(options.reference));
  while (sweeping_) CO_TRY(co_await changed_.wait());  // forever: a sweep ends
  std::vector<ImportedImage> out;
  {
    ImportGuard guard(*this);
    ArchiveOptions archive{.all_platforms = options.all_platforms, .reference = options.reference, .progress = ProgressRelay(executor_, options.progress)};
    auto images = co_await pool_.run([&]() -> Result<std::vector<StoredImage>> {
      if (path.empty()) return import_archive(fd, *content_, options_.limits, archive, stop_);
      sys::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
      if (!file) return fail_errno(cat("open ", path));
      auto imported = import_archive(file.get(), *content_, options_.limits, archive, stop_);
      if (!imported) return fail(std::move(imported).error().with(path));
      return imported;
    });
    if (!images) co_return fail(std::move(images).error().with("import"));
    CO_TRY(failpoint("image.before_record"));
    std::vector<std::pair<std::vector<std::string>, std::vector<std::string>>> groups;
    for (const StoredImage& image : *images)
      if (!image.index_references.empty()) groups.emplace_back(image.index_of, image.index_references);
    CO_TRY_ASSIGN(out, co_await record(*std::move(images)));
    for (auto& [ids, references] : groups) CO_TRY(co_await group(std::move(ids), std::move(references)));
  }
  if (sweep_pending_) CO_TRY(co_await sweep_if_idle());
  co_return out;
}

Task<Result<ImportedImage>> Store::pull(std::string text, PullOptions options) {
  CO_TRY_ASSIGN(Reference reference, parse_reference(text));
  while (sweeping_) CO_TRY(co_await changed_.wait());  // forever: a sweep ends
  std::vector<ImportedImage> out;
  {
    ImportGuard guard(*this);
    PullContext context{.content = *content_, .limits = options_.limits, .pool = pool_, .time = time_, .stop = stop_, .platform = options.platform, .progress = ProgressRelay(executor_, options.progress)};
    RegistryOptions registry{.tls = options_.tls, .resolver = options_.resolver, .auth = {.username = options.username, .password = options.password, .token = options.token}, .plain_http = options.plain_http, .stall_timeout = options.stall_timeout};
    CO_TRY_ASSIGN(std::vector<Source> sources, co_await pool_.run([&] { return find_sources(options_.hosts_dir, reference, registry, false); }));
    std::optional<StoredImage> pulled;
    std::optional<Error> last;
    for (Source& source : sources) {
      auto image = co_await pull_image(context, reference, source.options);
      if (image) {
        pulled = *std::move(image);
        break;
      }
      if (image.error().code() == Code::kCancelled) co_return fail(std::move(image).error());
      last = std::move(image).error();
    }
    if (!pulled) co_return fail(std::move(*last).with(cat("pull ", reference.text())));
    CO_TRY(failpoint("image.before_record"));
    std::vector<StoredImage> images;
    images.push_back(*std::move(pulled));
    CO_TRY_ASSIGN(out, co_await record(std::move(images)));
  }
  if (sweep_pending_) CO_TRY(co_await sweep_if_idle());
  co_return std::move(out.front());
}

// The image with its names, in one commit: a name always finds its image.
Task<Result<std::vector<ImportedImage>>> Store::record(std::vector<StoredImage> images) {
  std::vector<ImportedImage> out;
  for (StoredImage& image : images) {
    CO_TRY_ASSIGN(std::string text, co_await pool_.run([&] { return content_->read_blob(image.id, options_.limits.document_bytes_max); }));
    CO_TRY_ASSIGN(ImageConfig config, parse_image_config(text));
    std::ranges::sort(image.references);
    image.references.erase(std::unique(image.references.begin(), image.references.end()), image.references.end());
    ImportedImage imported{.id = image.id, .references = std::move(image.references)};
    image.references.clear();
    ImageRecord fresh{.stored = std::move(image), .imported = time_.wall(), .last_used = time_.wall()};
    if (auto old = state_.images.find(imported.id); old != state_.images.end()) {
      fresh.imported = old->second.imported;
      for (auto list : {&StoredImage::index_digests, &StoredImage::repo_digests})
        for (const std::string& digest : old->second.stored.*list)
          if (std::vector<std::string>& now = fresh.stored.*list; std::ranges::find(now, digest) == now.end()) now.push_back(digest);
      // Snapshots in use were made of these; content is equal by digest.
      fresh.stored.layers = old->second.stored.layers;
    }
    std::vector<async::StateChange> changes{{.key = "image/" + imported.id, .value = format_record(fresh)}};
    for (const std::string& reference : imported.references) {
      changes.push_back({.key = "ref/" + reference, .value = imported.id});
      if (state_.indexes.contains(reference)) changes.push_back({.key = "index/" + reference});
    }
    CO_TRY(co_await records_.apply(kBucket, std::move(changes), async::Lasts::kForever));
    state_.images.insert_or_assign(imported.id, std::move(fresh));
    state_.configs.insert_or_assign(imported.id, std::move(config));
    for (const std::string& reference : imported.references) {
      state_.references.insert_or_assign(reference, imported.id);
      state_.indexes.erase(reference);
    }
    out.push_back(std::move(imported));
  }
  co_return out;
}

Task<Result<std::size_t>> Store::import_drop_ins() {
  std::string directory = options_.data_dir + "/images";
  auto files = co_await pool_.run([&] {
    std::map<std::string, DropInRecord> found;
    auto root = sys::Root::open(directory);
    if (!root) return found;
    if (auto entries = root->read_directory("."))
      for (const sys::DirEntry& entry : *entries) {
        if (!is_archive_name(entry.name)) continue;
        auto st = root->stat(entry.name);
        if (st && S_ISREG(st->st_mode))
          found[entry.name] = {.size = static_cast<std::uint64_t>(st->st_size), .mtime_ns = st->st_mtim.tv_sec * 1'000'000'000 + st->st_mtim.tv_nsec, .images = {}};
      }
    return found;
  });
  std::vector<std::string> gone;
  for (const auto& [name, record] : state_.drop_ins)
    if (!files.contains(name)) gone.push_back(name);
  for (const std::string& name : gone) {
    CO_TRY(co_await records_.remove(kBucket, "dropin/" + name));
    state_.drop_ins.erase(name);
  }
  std::size_t imported = 0;
  for (auto& [name, file] : files) {
    if (auto known = state_.drop_ins.find(name); known != state_.drop_ins.end() && known->second.size == file.size && known->second.mtime_ns == file.mtime_ns) continue;
    auto images = co_await import_file(cat(directory, "/", name), {});
    if (!images) {
      if (images.error().code() == Code::kCancelled) co_return fail(std::move(images).error());
      log::error("image file could not be imported", {{"file", name}, {"error", images.error()}});
      // What the file says is wrong stays wrong; a full disk may pass.
      if (images.error().code() != Code::kInvalidArgument && images.error().code() != Code::kDataLoss) continue;
      file.failed = true;
    } else {
      for (const ImportedImage& image : *images) file.images.push_back(image.id);
      ++imported;
      log::info("image file imported", {{"file", name}, {"images", images->size()}});
    }
    CO_TRY(co_await records_.put(kBucket, "dropin/" + name, format_record(file)));
    state_.drop_ins.insert_or_assign(name, file);
  }
  co_return imported;
}

std::vector<std::string> Store::references_of(const std::string& id) const {
  std::vector<std::string> out;
  for (const auto& [reference, image] : state_.references)
    if (image == id) out.push_back(reference);
  return out;
}

Image Store::describe(const std::string& id, const ImageRecord& record) const {
  Image out{.id = id,
            .manifest_digest = record.stored.manifest_digest,
            .references = references_of(id),
            .repo_digests = record.stored.repo_digests,
            .indexes = {},
            .platform_of = {},
            .config = state_.configs.at(id),
            .size_bytes = record.stored.size_bytes,
            .layers = record.stored.layers,
            .blobs = record.stored.blobs,
            .imported = record.imported,
            .last_used = record.last_used};
  for (const auto& [name, index] : state_.indexes) {
    if (std::ranges::find(index.images, id) == index.images.end()) continue;
    if (state_.references.at(name) == id) out.indexes.push_back({.reference = name, .digest = index.digest, .images = index.images});
    else out.platform_of.push_back(name);
  }
  for (const std::string& text : out.references) {
    auto reference = parse_reference(text);
    if (!reference) continue;
    if (auto index = state_.indexes.find(text); index != state_.indexes.end()) {
      out.repo_digests.push_back(cat(reference->repository(), "@", index->second.digest));
      continue;
    }
    std::string repository = reference->repository() + "@";  // not from a registry: by its manifest
    if (std::ranges::none_of(out.repo_digests, [&](const std::string& digest) { return digest.starts_with(repository); })) out.repo_digests.push_back(repository + out.manifest_digest);
  }
  std::ranges::sort(out.repo_digests);
  return out;
}

std::optional<std::string> Store::find_id(std::string_view name) const {
  auto by_digest = [this](std::string_view digest) -> std::optional<std::string> {
    std::optional<std::string> of_index;  // of several this machine's
    for (const auto& [id, record] : state_.images) {
      if (id == digest || record.stored.manifest_digest == digest) return id;
      if (std::ranges::find(record.stored.index_digests, digest) == record.stored.index_digests.end()) continue;
      if (!of_index || state_.configs.at(id).platform.architecture == host_platform().architecture) of_index = id;
    }
    if (of_index) return of_index;
    for (const auto& [reference, index] : state_.indexes)
      if (index.digest == digest) return state_.references.at(reference);
    return std::nullopt;
  };
  if (is_digest(name)) return by_digest(name);
  if (auto reference = parse_reference(name)) {
    if (!reference->digest.empty()) return by_digest(reference->digest);
    if (auto found = state_.references.find(reference->text()); found != state_.references.end()) return found->second;
  }
  std::string_view hex = name.starts_with("sha256:") ? name.substr(7) : name;
  if (hex.size() < 6 || hex.find_first_not_of("0123456789abcdef") != std::string_view::npos) return std::nullopt;
  std::string prefix = cat("sha256:", hex);
  auto first = state_.images.lower_bound(prefix);
  if (first == state_.images.end() || !first->first.starts_with(prefix)) return std::nullopt;
  auto second = std::next(first);
  if (second != state_.images.end() && second->first.starts_with(prefix)) return std::nullopt;
  return first->first;
}

std::optional<Image> Store::find(std::string_view name) const {
  auto id = find_id(name);
  if (!id) return std::nullopt;
  return describe(*id, state_.images.at(*id));
}

// By one of its names, or by its digest.
const std::pair<const std::string, IndexRecord>* Store::find_index(std::string_view name) const {
  std::string digest(is_digest(name) ? name : "");
  if (auto reference = parse_reference(name); reference && digest.empty()) {
    digest = reference->digest;
    if (auto found = state_.indexes.find(reference->text()); digest.empty() && found != state_.indexes.end()) return &*found;
  }
  if (digest.empty()) return nullptr;
  for (const auto& item : state_.indexes)
    if (item.second.digest == digest) return &item;
  return nullptr;
}

std::optional<Image> Store::find_for(std::string_view name, const Platform& platform) const {
  std::vector<std::string> ids;
  if (const auto* index = find_index(name)) ids = index->second.images;
  else if (auto id = find_id(name)) ids.push_back(*id);
  const std::string* best = nullptr;
  for (const std::string& id : ids) {
    const Platform& own = state_.configs.at(id).platform;
    if (own.os != platform.os || own.architecture != platform.architecture) continue;
    if (best == nullptr || own.variant == platform.variant) best = &id;
  }
  if (best == nullptr) return std::nullopt;
  return describe(*best, state_.images.at(*best));
}

// Whether a name keeps it: its own, or that of an index it belongs to.
bool Store::is_named(const std::string& id) const {
  if (!references_of(id).empty()) return true;
  return std::ranges::any_of(state_.indexes, [&id](const auto& item) { return std::ranges::find(item.second.images, id) != item.second.images.end(); });
}

// A name moves, with what it is the index of. In one commit.
Task<Result<>> Store::name(std::string reference, std::string id, const IndexRecord* index) {
  std::vector<async::StateChange> changes{{.key = "ref/" + reference, .value = id}};
  std::optional<IndexRecord> of = index == nullptr ? std::nullopt : std::optional(*index);
  if (of) changes.push_back({.key = "index/" + reference, .value = format_record(*of)});
  else if (state_.indexes.contains(reference)) changes.push_back({.key = "index/" + reference});
  CO_TRY(co_await records_.apply(kBucket, std::move(changes), async::Lasts::kForever));
  state_.references.insert_or_assign(reference, std::move(id));
  if (of) state_.indexes.insert_or_assign(reference, *std::move(of));
  else state_.indexes.erase(reference);
  co_return Result<>{};
}

Task<Result<std::string>> Store::group(std::vector<std::string> ids, std::vector<std::string> references) {
  while (sweeping_) CO_TRY(co_await changed_.wait());  // forever: a sweep ends
  ImportGuard guard(*this);
  std::vector<StoredImage> images;
  std::string first;
  for (const std::string& name : ids) {
    auto id = find_id(name);
    if (!id) co_return fail(Code::kNotFound, cat("image ", name, ": not found"));
    images.push_back(state_.images.at(*id).stored);
    const Platform own = state_.configs.at(*id).platform, host = host_platform();
    if (first.empty() || (own.os == host.os && own.architecture == host.architecture)) first = *id;
  }
  if (first.empty()) co_return fail(Code::kInvalidArgument, "an index of no images");
  CO_TRY_ASSIGN(IndexRecord index, co_await pool_.run([&] { return make_index(*content_, options_.limits, images); }));
  for (const std::string& text : references) {
    CO_TRY_ASSIGN(Reference reference, parse_reference(text));
    CO_TRY(co_await name(reference.text(), first, &index));
  }
  co_return index.digest;
}

std::vector<Image> Store::list() const {
  std::vector<Image> out;
  for (const auto& [id, record] : state_.images) out.push_back(describe(id, record));
  return out;
}

Task<Result<>> Store::tag(std::string name, std::string text) {
  auto id = find_id(name);
  if (!id) co_return fail(Code::kNotFound, cat("image ", name, ": not found"));
  CO_TRY_ASSIGN(Reference reference, parse_reference(text));
  if (!reference.digest.empty()) co_return fail(Code::kInvalidArgument, "refusing to create a tag with a digest reference");
  const auto* index = find_index(name);
  if (auto known = state_.references.find(reference.text()); known != state_.references.end() && known->second == *id && (index == nullptr) != state_.indexes.contains(reference.text())) co_return Result<>{};
  co_return co_await this->name(reference.text(), *id, index == nullptr ? nullptr : &index->second);
}

bool Store::in_use(const std::string& id) const {
  return std::ranges::any_of(state_.snapshots, [&id](const auto& item) { return item.second.image_id == id; });
}

// Names first: none may point at an image that is gone.
Task<Result<>> Store::remove_image(std::string id) {
  for (const std::string& reference : references_of(id)) {
    CO_TRY(co_await records_.apply(kBucket, {{.key = "ref/" + reference}, {.key = "index/" + reference}}, async::Lasts::kForever));
    state_.references.erase(reference);
    state_.indexes.erase(reference);
  }
  // Of indexes that it belonged to the name stays, as one image's.
  std::vector<std::string> broken;
  for (const auto& [reference, index] : state_.indexes)
    if (std::ranges::find(index.images, id) != index.images.end()) broken.push_back(reference);
  for (const std::string& reference : broken) {
    CO_TRY(co_await records_.remove(kBucket, "index/" + reference));
    state_.indexes.erase(reference);
  }
  if (in_use(id)) co_return fail(Code::kFailedPrecondition, cat("image ", id, " is used by a container"));
  state_.images.erase(id);  // now: between the check and this nothing may prepare a snapshot
  state_.configs.erase(id);
  co_return co_await records_.remove(kBucket, "image/" + id);
}

// Those of a repository that no name is of any more.
Task<Result<>> Store::forget_digests(std::string id, std::string repository) {
  for (const std::string& text : references_of(id))
    if (auto reference = parse_reference(text); reference && reference->repository() == repository) co_return Result<>{};
  ImageRecord& image = state_.images.at(id);
  if (std::erase_if(image.stored.repo_digests, [&](const std::string& digest) { return digest.starts_with(repository + "@"); }) == 0) co_return Result<>{};
  co_return co_await records_.put(kBucket, "image/" + id, format_record(image));
}

// The images of an index whose name has gone, but those that another name keeps or a container uses.
Task<Result<>> Store::remove_others(const IndexRecord& index) {
  const std::vector<std::string> ids = index.images;
  for (const std::string& id : ids)
    if (state_.images.contains(id) && !is_named(id) && !in_use(id)) CO_TRY(co_await remove_image(id));
  co_return Result<>{};
}

Task<Result<bool>> Store::remove(std::string name) {
  auto id = find_id(name);
  if (!id) co_return fail(Code::kNotFound, cat("image ", name, ": not found"));
  auto reference = parse_reference(name);
  bool by_name = reference && reference->digest.empty() && state_.references.contains(reference->text()) && state_.references.at(reference->text()) == *id;
  const bool of_others = by_name && std::ranges::any_of(state_.indexes, [&](const auto& item) { return item.first != reference->text() && std::ranges::find(item.second.images, *id) != item.second.images.end(); });
  if (by_name && (of_others || references_of(*id).size() > 1)) {
    CO_TRY(co_await records_.apply(kBucket, {{.key = "ref/" + reference->text()}, {.key = "index/" + reference->text()}}, async::Lasts::kForever));
    state_.references.erase(reference->text());
    auto index = state_.indexes.extract(reference->text());
    if (!index.empty()) CO_TRY(co_await remove_others(index.mapped()));
    CO_TRY(co_await forget_digests(*id, reference->repository()));
    co_return false;
  }
  if (in_use(*id)) co_return fail(Code::kFailedPrecondition, cat("image ", name, " is used by a container"));
  std::vector<IndexRecord> indexes;
  for (const std::string& text : references_of(*id))
    if (auto index = state_.indexes.find(text); index != state_.indexes.end()) indexes.push_back(index->second);
  CO_TRY(co_await remove_image(*id));
  for (const IndexRecord& index : indexes) CO_TRY(co_await remove_others(index));
  CO_TRY(co_await sweep_if_idle());
  co_return true;
}

Task<Result<>> Store::sweep_if_idle() {
  sweep_pending_ = imports_ > 0 || sweeping_;
  if (sweep_pending_) co_return Result<>{};
  CO_TRY(co_await sweep());
  co_return Result<>{};
}

Task<Result<std::uint64_t>> Store::sweep() {
  while (sweeping_ || imports_ > 0) CO_TRY(co_await changed_.wait());  // forever: imports and sweeps end
  SweepGuard guard(*this);
  sweep_pending_ = false;
  Referenced referenced = referenced_by(state_);
  co_return co_await pool_.run([&] { return sweep_content(*content_, referenced); });
}

Task<Result<Usage>> Store::usage() {
  Usage out{.images = state_.images.size(), .snapshots = state_.snapshots.size()};
  co_await pool_.run([&] {
    for (const std::string& key : content_->list_layers()) {
      ++out.layers;
      if (auto meta = content_->find_layer(key)) out.layer_bytes += meta->disk_bytes;
    }
    for (const std::string& digest : content_->list_blobs())
      if (auto st = content_->root().lstat(Content::blob_entry(digest))) out.blob_bytes += static_cast<std::uint64_t>(st->st_size);
  });
  co_return out;
}

void Store::mark_used(std::string_view name) {
  if (auto id = find_id(name)) state_.images.at(*id).last_used = time_.wall();
}

Task<Result<GcResult>> Store::gc(GcPolicy policy) {
  GcResult out;
  std::set<std::string> keep;
  for (const std::string& name : policy.keep)
    if (auto id = find_id(name)) keep.insert(*id);
  // An index is kept, and goes, as a whole.
  for (const auto& [reference, index] : state_.indexes)
    if (std::ranges::any_of(index.images, [&keep](const std::string& id) { return keep.contains(id); })) keep.insert(index.images.begin(), index.images.end());
  CO_TRY_ASSIGN(Usage now_used, co_await usage());
  std::vector<std::pair<WallTime, std::string>> candidates;
  std::set<std::string, std::less<>> named;
  if (policy.unnamed_only)
    for (const auto& [id, record] : state_.images)
      if (is_named(id)) named.insert(id);
  auto goes = [&](const std::string& id, const ImageRecord& record) {
    if (policy.unnamed_only && (named.contains(id) || !record.stored.repo_digests.empty())) return false;
    return !keep.contains(id) && !in_use(id) && time_.wall() - record.last_used >= policy.unused_min;
  };
  for (const auto& [id, record] : state_.images)
    if (goes(id, record)) candidates.emplace_back(record.last_used, id);
  std::ranges::sort(candidates);
  std::uint64_t used = now_used.layer_bytes;
  for (const auto& [when, id] : candidates) {
    if (used <= policy.bytes_max && !(policy.unused_max && time_.wall() - when > *policy.unused_max)) break;
    auto found = state_.images.find(id);
    if (found == state_.images.end() || found->second.last_used != when || in_use(id)) continue;  // changed while an earlier one was removed
    if (policy.unnamed_only && is_named(id)) continue;
    std::vector<std::string> layers = found->second.stored.layers;
    CO_TRY(co_await remove_image(id));
    out.images_removed.push_back(id);
    Referenced left = referenced_by(state_);
    for (const std::string& key : layers)
      if (!left.layers.contains(key))
        if (auto meta = content_->find_layer(key)) used -= std::min(used, meta->disk_bytes);
  }
  CO_TRY_ASSIGN(out.bytes_freed, co_await sweep());
  co_return out;
}

Task<Result<std::unique_ptr<ImageStore>>> ImageStore::open(Options options, async::Pool& pool, async::Time& time, async::StateStore& state) {
  if (!options.data_dir.starts_with('/')) co_return fail(Code::kInvalidArgument, cat("image store: data directory \"", options.data_dir, "\" is not absolute"));
  async::Executor executor = co_await async::this_executor();
  auto content = co_await pool.run([&]() -> Result<std::unique_ptr<Content>> {
    if (::mkdir(options.data_dir.c_str(), 0700) != 0 && errno != EEXIST) return fail_errno(cat("make directory ", options.data_dir));
    return Content::open(options.data_dir + "/content", options.keep_blobs, options.form);
  });
  if (!content) co_return fail(std::move(content).error().with("image store"));
  bool drop_ins = options.import_drop_ins;
  auto store = std::make_unique<Store>(std::move(options), executor, pool, time, state, *std::move(content));
  CO_TRY(co_await store->recover_state());
  if (drop_ins) CO_TRY(co_await store->import_drop_ins());
  co_return std::unique_ptr<ImageStore>(std::move(store));
}

}  // namespace monopod::image
