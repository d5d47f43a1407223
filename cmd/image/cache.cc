#include "cmd/image/cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "async/scope.h"
#include "base/log.h"
#include "base/strings.h"
#include "docker/tree_tar.h"
#include "image/fd_streams.h"
#include "image/reference.h"
#include "sys/files.h"
#include "sys/root.h"
#include "sys/stream.h"

namespace monopod::cmd {
namespace {

using async::Task;

std::unexpected<Error> wrong(std::string_view text, std::string_view why) { return fail(Code::kInvalidArgument, cat("cache ", text, ": ", why)); }

Result<> set_attribute(CachePlace& place, std::string_view key, std::string_view value, bool to) {
  if (key == "ref") {
    place.reference = value;
  } else if (key == (to ? "dest" : "src")) {
    place.directory = value;
  } else if (to && key == "mode") {
    if (value != "min" && value != "max") return wrong(place.text, "mode: want min or max");
    place.all_stages = value == "max";
  } else if (to && (key == "ignore-error" || key == "oci-mediatypes" || key == "image-manifest")) {
    if (value != "true" && value != "false") return wrong(place.text, cat(key, ": want true or false"));
    if (key == "ignore-error") place.may_fail = value == "true";
    else if (value != "true") return fail(Code::kUnimplemented, cat("cache ", place.text, ": ", key, "=false is not supported"));
  } else {
    return fail(Code::kUnimplemented, cat("cache ", place.text, ": ", key, " is not supported"));
  }
  return {};
}

// All of a tar's bytes from one end of a pipe to the other.
Task<Result<>> pass(LocalStore& store, std::function<Task<Result<>>(int to)> write, std::function<Task<Result<>>(int from)> use) {
  CO_TRY_ASSIGN(sys::Pipe pipe, sys::make_pipe());
  struct Body {
    LocalStore& store;
    std::function<Task<Result<>>(int to)>& write;
    std::function<Task<Result<>>(int from)>& use;
    sys::Pipe& pipe;
    Result<> written{};
    Task<Result<>> feed() {
      written = co_await write(pipe.write.get());
      pipe.write.reset();
      co_return Result<>{};
    }
    Task<Result<>> run(async::Scope& scope) {
      scope.spawn(feed());
      Result<> used = co_await use(pipe.read.get());
      // The writer ends whatever the reader thinks of it.
      co_await store.pool.run([this] {
        std::array<std::byte, 4096> rest;
        image::FdSource source(pipe.read.get());
        while (source.read(rest).value_or(0) > 0) continue;
      });
      CO_TRY(co_await scope.join());
      if (!written) co_return fail(std::move(written).error());
      co_return used;
    }
  } body{store, write, use, pipe};
  Body* b = &body;
  co_return co_await async::run_scoped([b](async::Scope& scope) { return b->run(scope); });
}

struct ReadLayout {
  LocalStore& store;
  std::string directory;
  Task<Result<>> operator()(int to) const {
    co_return co_await store.pool.run([&]() -> Result<> {
      TRY_ASSIGN(sys::Root root, sys::Root::open(directory));
      image::FdSink sink(to);
      return docker::write_tree(root, "/", ".", sink);
    });
  }
};

Task<Result<std::string>> import_layout(LocalStore& store, std::string directory) {
  std::string id;
  struct Import {
    LocalStore& store;
    std::string& id;
    Task<Result<>> operator()(int from) const {
      CO_TRY_ASSIGN(std::vector<image::ImportedImage> images, co_await store.images.import_fd(from, {}));
      if (images.size() != 1) co_return fail(Code::kInvalidArgument, "not a cache: want one image");
      id = images.front().id;
      co_return Result<>{};
    }
  };
  CO_TRY(co_await pass(store, ReadLayout{store, std::move(directory)}, Import{store, id}));
  co_return id;
}

// Beside its place, then in it: what is there stays whole until all is written. Only a layout, or an empty directory, is replaced.
Task<Result<>> export_layout(LocalStore& store, std::string directory, std::string id) {
  const std::string fresh = cat(directory, ".new-", ::getpid()), old = cat(directory, ".old-", ::getpid());
  CO_TRY(co_await store.pool.run([&]() -> Result<> {
    if (sys::path_exists(directory) && !sys::path_exists(directory + "/oci-layout") && !sys::list_directory(directory).empty()) return fail(Code::kFailedPrecondition, cat(directory, " holds something else than a cache: give another directory, or empty it"));
    return sys::make_directories(fresh, 0755);
  }));
  struct Save {
    LocalStore& store;
    std::string id;
    Task<Result<>> operator()(int to) const { return store.images.save({id}, to); }
  };
  struct Extract {
    LocalStore& store;
    std::string to;
    Task<Result<>> operator()(int from) const {
      co_return co_await store.pool.run([&]() -> Result<> {
        TRY_ASSIGN(sys::Root root, sys::Root::open(to));
        image::FdSource source(from);
        return docker::extract_tree(source, root, "/", {.keep_owner = false});
      });
    }
  };
  Result<> done = co_await pass(store, Save{store, std::move(id)}, Extract{store, fresh});
  co_return co_await store.pool.run([&]() -> Result<> {
    if (done && sys::path_exists(directory) && ::rename(directory.c_str(), old.c_str()) != 0) done = fail_errno(cat("replace ", directory));
    if (done && ::rename(fresh.c_str(), directory.c_str()) != 0) done = fail_errno(cat("rename to ", directory));
    for (const std::string& path : {fresh, old}) {
      Result<> removed = sys::remove_tree(path);
      if (done) done = std::move(removed);
    }
    return done;
  });
}

}  // namespace

Result<CachePlace> parse_cache_place(std::string_view text, bool to) {
  CachePlace out;
  out.text = text;
  if (text.find('=') == std::string_view::npos) {
    out.plain = true;
    out.reference = text;
  } else {
    std::string_view type;
    for (std::string_view part : split(text, ',')) {
      auto [key, value] = split_once(part, '=');
      if (!value) return wrong(text, cat("\"", part, "\": want key=value"));
      if (key == "type") type = *value;
    }
    if (type == "registry") out.type = CachePlace::Type::kRegistry;
    else if (type == "local") out.type = CachePlace::Type::kLocal;
    else if (type == "inline" && to) out.type = CachePlace::Type::kInline;
    else return fail(Code::kUnimplemented, cat("cache type \"", type, "\" is not supported: want registry", to ? ", local or inline" : " or local"));
    for (std::string_view part : split(text, ',')) {
      auto [key, value] = split_once(part, '=');
      if (key != "type") TRY(set_attribute(out, key, *value, to));
    }
  }
  if (out.type == CachePlace::Type::kRegistry) {
    if (out.reference.empty()) return wrong(text, "ref is missing");
    TRY(image::parse_reference(out.reference));
  }
  if (out.type == CachePlace::Type::kLocal) {
    if (out.directory.empty()) return wrong(text, to ? "dest is missing" : "src is missing");
    out.directory = std::filesystem::absolute(out.directory).lexically_normal().string();
    if (out.directory.size() > 1 && out.directory.ends_with('/')) out.directory.pop_back();
  }
  if (out.type == CachePlace::Type::kInline && out.all_stages) return wrong(text, "an image holds the cache of its own stage alone: mode=max is for registry and local");
  return out;
}

Task<Result<std::string>> ImportedCaches::fetch_one(LocalStore& store, const ImageOptions& image, const CachePlace& place) {
  std::set<std::string> before;
  for (const image::Image& known : store.images.list()) before.insert(known.id);
  std::string id;
  if (place.type == CachePlace::Type::kLocal) {
    CO_TRY_ASSIGN(id, co_await import_layout(store, place.directory));
  } else {
    auto here = store.images.find(place.reference);
    if (here && place.plain) co_return here->id;
    CO_TRY_ASSIGN(image::ImportedImage pulled, co_await pull_one(store.images, image, place.reference));
    id = pulled.id;
    // The name stays with whom it had.
    if (here && here->id != id) CO_TRY(co_await store.images.tag(here->id, place.reference));
  }
  if (!before.contains(id)) borrowed_.emplace_back(id, place.reference);
  co_return id;
}

Task<Result<>> ImportedCaches::fetch(LocalStore& store, const ImageOptions& image, const std::vector<CachePlace>& places) {
  for (const CachePlace& place : places) {
    Result<std::string> id = co_await fetch_one(store, image, place);
    if (!id && id.error().code() == Code::kCancelled) co_return fail(std::move(id).error());
    if (id) images_.push_back(*std::move(id));
    else log::warn("a build goes on without a cache", {{"cache", place.text}, {"error", id.error()}});
  }
  co_return Result<>{};
}

Task<Result<>> ImportedCaches::release(LocalStore& store, std::string built) {
  for (const auto& [id, name] : std::exchange(borrowed_, {})) {
    auto found = store.images.find(id);
    if (!found) continue;
    if (id != built) CO_TRY(co_await store.images.remove(id));
    else if (!name.empty() && found->references.size() > 1) CO_TRY(co_await store.images.remove(name));
  }
  co_return Result<>{};
}

Task<Result<>> export_cache(LocalStore& store, const ImageOptions& image, const CachePlace& place, std::string cache_id) {
  Result<> done;
  if (place.type == CachePlace::Type::kLocal) done = co_await export_layout(store, place.directory, std::move(cache_id));
  else if (place.type == CachePlace::Type::kRegistry) done = co_await push_one(store.images, image, std::move(cache_id), place.reference);
  if (done) co_return done;
  done = fail(std::move(done).error().with(cat("cache to ", place.text)));
  if (!place.may_fail || done.error().code() == Code::kCancelled) co_return done;
  log::warn("a build's cache was not written", {{"error", done.error()}});
  co_return Result<>{};
}

}  // namespace monopod::cmd
