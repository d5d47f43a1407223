// What leaves the store, and what is made from it: blobs, commits, pushes, archives.
#include <algorithm>

#include "base/strings.h"
#include "image/archive_writer.h"
#include "image/commit.h"
#include "image/push.h"
#include "image/reference.h"
#include "image/sources.h"
#include "image/store_impl.h"

namespace monopod::image {

using async::Task;

Task<Result<std::string>> Store::read_blob(std::string digest) {
  co_return co_await pool_.run([&] { return content_->read_blob(digest, options_.limits.document_bytes_max); });
}

Task<Result<ImportedImage>> Store::commit(CommitOptions options) {
  while (sweeping_) CO_TRY(co_await changed_.wait());  // forever: a sweep ends
  std::vector<ImportedImage> out;
  {
    ImportGuard guard(*this);
    std::optional<StoredImage> base;
    if (!options.base_id.empty()) {
      auto found = state_.images.find(options.base_id);
      if (found == state_.images.end()) co_return fail(Code::kNotFound, cat("commit: image ", options.base_id, ": not found"));
      base = found->second.stored;
    }
    std::vector<StoredImage> sources;
    for (const LayerOf& layer : options.layers) {
      auto found = state_.images.find(layer.image_id);
      if (found == state_.images.end()) co_return fail(Code::kNotFound, cat("commit: image ", layer.image_id, ": not found"));
      sources.push_back(found->second.stored);
    }
    auto image = co_await pool_.run([&] { return commit_image(*content_, options_.limits, base, sources, options, stop_); });
    if (!image) co_return fail(std::move(image).error().with("commit"));
    image->references = options.references;
    std::vector<StoredImage> images;
    images.push_back(*std::move(image));
    CO_TRY_ASSIGN(out, co_await record(std::move(images)));
  }
  if (sweep_pending_) CO_TRY(co_await sweep_if_idle());
  co_return std::move(out.front());
}

// As an import: no sweep takes what is being read.
Task<Result<>> Store::check_login(std::string domain, std::string username, std::string password) {
  CO_TRY_ASSIGN(Reference reference, parse_reference(cat(domain, "/login")));
  RegistryOptions options{.tls = options_.tls, .resolver = options_.resolver, .auth = {.username = std::move(username), .password = std::move(password)}};
  struct Ask {
    async::Executor executor;
    async::Time& time;
    Reference& reference;
    RegistryOptions& options;
    Task<Result<>> run(async::Scope& scope) {
      RegistryClient client(scope, executor, time, reference, options);
      co_return co_await client.check_access();
    }
  } ask{executor_, time_, reference, options};
  Ask* a = &ask;
  Result<> done = co_await async::run_scoped([a](async::Scope& scope) { return a->run(scope); });
  if (!done) co_return fail(std::move(done).error().with(cat("login ", domain)));
  co_return done;
}

Task<Result<>> Store::push(std::string name, std::string text, PushOptions options) {
  CO_TRY_ASSIGN(Reference reference, parse_reference(text));
  if (!reference.digest.empty()) co_return fail(Code::kInvalidArgument, "push: want a name with a tag, not a digest");
  while (sweeping_) CO_TRY(co_await changed_.wait());  // forever: a sweep ends
  auto id = find_id(name);
  if (!id) co_return fail(Code::kNotFound, cat("image ", name, ": not found"));
  Result<> pushed;
  {
    ImportGuard guard(*this);
    StoredImage image = state_.images.at(*id).stored;
    RegistryOptions registry{.tls = options_.tls, .resolver = options_.resolver, .auth = {.username = options.username, .password = options.password, .token = options.token}, .plain_http = options.plain_http, .stall_timeout = options.stall_timeout};
    for (const std::string& other : references_of(*id))
      if (auto from = parse_reference(other); from && from->domain == reference.domain && from->path != reference.path) registry.mount_from = from->path;
    PushContext context{.content = *content_, .limits = options_.limits, .pool = pool_, .time = time_, .progress = ProgressRelay(executor_, options.progress)};
    CO_TRY_ASSIGN(std::vector<Source> sources, co_await pool_.run([&] { return find_sources(options_.hosts_dir, reference, registry, true); }));
    const auto* named = find_index(name);
    const std::optional<IndexRecord> index = named == nullptr ? std::nullopt : std::optional(named->second);
    if (index) {
      Reference untagged = reference;  // images of an index are pushed by their digests
      untagged.tag.clear();
      for (const std::string& one : index->images)
        if (auto found = state_.images.find(one); pushed && found != state_.images.end()) pushed = co_await push_image(context, StoredImage(found->second.stored), untagged, sources.front().options);
      if (pushed) pushed = co_await push_index(context, index->document, reference, sources.front().options);
    } else {
      pushed = co_await push_image(context, image, reference, sources.front().options);
    }
  }
  if (sweep_pending_) CO_TRY(co_await sweep_if_idle());
  if (!pushed) co_return fail(std::move(pushed).error().with(cat("push ", reference.text())));
  co_return Result<>{};
}

Task<Result<>> Store::save(std::vector<std::string> names, int fd, SaveOptions options) {
  while (sweeping_) CO_TRY(co_await changed_.wait());  // forever: a sweep ends
  std::vector<ImageToSave> images;
  std::vector<IndexToSave> indexes;
  for (const std::string& name : names) {
    auto id = find_id(name);
    if (!id) co_return fail(Code::kNotFound, cat("image ", name, ": not found"));
    if (const auto* index = find_index(name)) {
      indexes.push_back({.document = index->second.document, .reference = index->first});
      for (const std::string& one : index->second.images) images.push_back({.image = state_.images.at(one).stored, .references = one == *id ? std::vector{index->first} : std::vector<std::string>{}, .by_index = true});
      continue;
    }
    // By name: under that name alone. By id: under all of its names.
    std::vector<std::string> references = references_of(*id);
    if (auto reference = parse_reference(name); reference && std::ranges::find(references, reference->text()) != references.end()) references = {reference->text()};
    images.push_back({.image = state_.images.at(*id).stored, .references = std::move(references)});
  }
  Result<> saved;
  {
    ImportGuard guard(*this);
    saved = co_await pool_.run([&] { return save_archive(*content_, options_.limits, images, indexes, options.bundle ? SaveForm::kBundle : SaveForm::kAsItCame, fd); });
  }
  if (sweep_pending_) CO_TRY(co_await sweep_if_idle());
  if (!saved) co_return fail(std::move(saved).error().with("save"));
  co_return Result<>{};
}

}  // namespace monopod::image
