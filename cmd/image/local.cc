#include "cmd/image/local.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "async/broken_pipe.h"
#include "async/loop.h"
#include "base/duration.h"
#include "base/strings.h"
#include "cmd/host.h"
#include "cmd/image/output.h"
#include "cmd/node/admin.h"
#include "cmd/resolver.h"
#include "docker/tree_tar.h"
#include "http/tls.h"
#include "image/docker_config.h"
#include "image/fd_streams.h"
#include "image/store.h"
#include "pki/random.h"
#include "store/sqlite_backend.h"
#include "sys/files.h"
#include "sys/terminal.h"

namespace monopod::cmd {
namespace {

using async::Task;
using StoreVerb = Task<Result<>> (*)(image::ImageStore&, const ImageOptions&);

constexpr std::size_t kPoolThreads = 3;  // one unpacks, one reads, one commits

struct Session {
  const ImageOptions& options;
  std::function<Task<Result<>>(LocalStore&, const ImageOptions&)> body;
  async::RealTime time{};
  SystemRng rng{};
  async::Pool pool{kPoolThreads};
  HostResolver resolver{time, rng};
  std::unique_ptr<http::TlsClient> tls{};

  Task<Result<>> use(async::StateStore& state) {
    image::ImageStore::Options open{.data_dir = options.data_dir, .import_drop_ins = false, .keep_blobs = true, .limits = {}, .tls = tls.get(), .resolver = &resolver, .hosts_dir = options.hosts_dir};
    CO_TRY_ASSIGN(open.form, image::parse_layer_form(options.layers));
    CO_TRY_ASSIGN(auto images, co_await image::ImageStore::open(std::move(open), pool, time, state));
    LocalStore store{*images, state, pool, time, rng, tls.get(), &resolver};
    co_return co_await body(store, options);
  }

  Task<Result<>> run() {
    Result<std::unique_ptr<store::SqliteBackend>> database = co_await store::SqliteBackend::open({.path = options.data_dir + "/state.db", .brief = true}, pool, time, rng);
    if (!database) co_return fail(std::move(database).error());
    Result<> done = co_await use((*database)->state());
    Result<> closed = co_await (*database)->close();
    co_return done ? closed : done;
  }
};

}  // namespace

Result<> own_mounts() {
  if (::unshare(CLONE_NEWNS) != 0) return fail_errno("make a mount namespace (this needs root)");
  if (::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return fail_errno("make mounts private");
  return {};
}

Result<> with_local_store(ImageOptions options, std::function<Task<Result<>>(LocalStore&, const ImageOptions&)> use) {
  pki::initialise();
  async::ignore_broken_pipes();
  options.data_dir = std::filesystem::absolute(options.data_dir).string();
  async::Loop loop;
  Session session{options, std::move(use)};
  if (auto tls = http::TlsClient::make({})) session.tls = *std::move(tls);  // without roots https fails when it is needed, and says so
  return loop.run(session.run());
}

namespace {

Result<> run(StoreVerb verb, const ImageOptions& options) {
  return with_local_store(options, [verb](LocalStore& store, const ImageOptions& o) { return verb(store.images, o); });
}

image::ProgressCallback show(sys::ProgressBar& bar) {
  return [&bar](const image::ImportProgress& p) { bar.update(static_cast<std::int64_t>(p.bytes_done), static_cast<std::int64_t>(p.bytes_total), p.step); };
}

void print_names(const char* what, const image::ImportedImage& image) {
  if (image.references.empty()) std::printf("%s %s\n", what, image.id.c_str());
  for (const std::string& reference : image.references) std::printf("%s %s\n", what, reference.c_str());
}

std::unexpected<Error> no_image(const std::string& name) { return fail(Code::kNotFound, cat("image ", name, " not found: monopod image ls shows what is there")); }

Task<Result<>> load(image::ImageStore& images, const ImageOptions& options) {
  for (const std::string& file : options.files) {
    sys::ProgressBar bar(file);
    std::string path = std::filesystem::absolute(file).string();
    Result<std::vector<image::ImportedImage>> loaded = co_await images.import_file(path, {.reference = options.reference, .progress = show(bar), .all_platforms = options.all});
    bar.finish();
    if (!loaded) co_return fail(std::move(loaded).error().with("load"));
    for (const image::ImportedImage& image : *loaded) print_names("loaded", image);
  }
  co_return Result<>();
}

// With what its names are the indexes of.
json::Value describe_whole(const image::ImageStore& images, const image::Image& image) {
  json::Value out = describe_image(image);
  json::Array indexes;
  for (const image::NamedIndex& index : image.indexes) {
    json::Array members;
    for (const std::string& id : index.images)
      if (auto one = images.find(id))
        members.push_back(json::Object{{"id", id}, {"platform", image::format_platform(one->config.platform)}, {"manifest_digest", one->manifest_digest}, {"size_bytes", one->size_bytes}, {"layer_count", one->layers.size()}});
    indexes.push_back(json::Object{{"reference", index.reference}, {"digest", index.digest}, {"images", std::move(members)}});
  }
  if (!indexes.empty()) out.get_object()["indexes"] = std::move(indexes);
  return out;
}

// What steps of builds left has neither a name nor a time; what an index holds is listed by its name.
json::Value describe_all(const image::ImageStore& images, bool steps) {
  json::Array all;
  for (const image::Image& image : images.list())
    if (steps || !image.references.empty() || (!image.config.created.empty() && image.platform_of.empty())) all.push_back(describe_whole(images, image));
  return json::Object{{"images", std::move(all)}};
}

Task<Result<>> list(image::ImageStore& images, const ImageOptions& options) {
  print_images(describe_all(images, options.all), options.output == "json");
  co_return Result<>();
}

Task<Result<>> inspect(image::ImageStore& images, const ImageOptions& options) {
  std::optional<image::Image> found = images.find(options.name);
  if (!found) co_return no_image(options.name);
  std::printf("%s\n", json::format(describe_whole(images, *found)).c_str());
  co_return Result<>();
}

Task<Result<>> remove(image::ImageStore& images, const ImageOptions& options) {
  for (const std::string& name : options.files) {
    if (!images.find(name)) co_return no_image(name);
    CO_TRY_ASSIGN(bool gone, co_await images.remove(name));
    std::printf(gone ? "removed %s\n" : "untagged %s\n", name.c_str());
  }
  co_return Result<>();
}

Task<Result<>> tag(image::ImageStore& images, const ImageOptions& options) {
  if (!images.find(options.name)) co_return no_image(options.name);
  co_return co_await images.tag(options.name, options.reference);
}

// --creds, --authfile, or where docker and podman keep theirs.
Result<image::RegistryAuth> find_credentials(const ImageOptions& options, const std::string& name) {
  if (!options.credentials.empty()) {
    auto [user, password] = split_once(options.credentials, ':');
    if (!password) return fail(Code::kInvalidArgument, "--creds: want user:password");
    return image::RegistryAuth{.username = std::string(user), .password = std::string(*password), .token = {}};
  }
  TRY_ASSIGN(image::Reference reference, image::parse_reference(name));
  return image::find_kept_login(reference, options.auth_file);
}

}  // namespace

Task<Result<image::ImportedImage>> pull_one(image::ImageStore& images, const ImageOptions& options, std::string name) {
  CO_TRY_ASSIGN(image::RegistryAuth auth, find_credentials(options, name));
  CO_TRY_ASSIGN(image::Platform platform, image::parse_platform(options.platform));
  CO_TRY_ASSIGN(Duration stall, parse_duration(options.stall_timeout));
  sys::ProgressBar bar(name);
  Result<image::ImportedImage> pulled = co_await images.pull(
      name, {.username = auth.username, .password = auth.password, .token = auth.token, .plain_http = options.plain_http, .stall_timeout = stall, .platform = platform, .progress = show(bar)});
  bar.finish();
  co_return pulled;
}

Task<Result<>> push_one(image::ImageStore& images, const ImageOptions& options, std::string name, std::string target) {
  CO_TRY_ASSIGN(image::RegistryAuth auth, find_credentials(options, target));
  CO_TRY_ASSIGN(Duration stall, parse_duration(options.stall_timeout));
  sys::ProgressBar bar(target);
  Result<> pushed = co_await images.push(std::move(name), target, {.username = auth.username, .password = auth.password, .token = auth.token, .plain_http = options.plain_http, .stall_timeout = stall, .progress = show(bar)});
  bar.finish();
  co_return pushed;
}

namespace {

Task<Result<>> pull(image::ImageStore& images, const ImageOptions& options) {
  for (const std::string& name : options.files) {
    CO_TRY_ASSIGN(image::ImportedImage pulled, co_await pull_one(images, options, name));
    print_names("pulled", pulled);
  }
  co_return Result<>();
}

Task<Result<>> push(image::ImageStore& images, const ImageOptions& options) {
  if (!images.find(options.name)) co_return no_image(options.name);
  const std::string& target = options.reference.empty() ? options.name : options.reference;
  CO_TRY(co_await push_one(images, options, options.name, target));
  std::printf("pushed %s\n", target.c_str());
  co_return Result<>();
}

// A tar of files becomes an image of one layer.
Task<Result<>> import_tar(LocalStore& store, const ImageOptions& options) {
  std::vector<std::string> references;
  if (!options.reference.empty()) {
    CO_TRY_ASSIGN(image::Reference reference, image::parse_reference(options.reference));
    references.push_back(reference.text());
  }
  CO_TRY_ASSIGN(image::Platform platform, image::parse_platform(options.platform));
  std::string now = format_rfc3339_nano(store.time.wall()), directory = cat(options.data_dir, "/import-", ::getpid());
  json::Object config{{"created", now}, {"architecture", platform.architecture}, {"os", platform.os}, {"config", json::Object{}}, {"history", json::Array{json::Object{{"created", now}, {"comment", cat("Imported from ", options.archive)}}}}};
  Result<> unpacked = co_await store.pool.run([&]() -> Result<> {
    sys::Fd file(options.archive == "-" ? ::dup(STDIN_FILENO) : ::open(options.archive.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) return fail_errno(cat("import ", options.archive));
    TRY(sys::make_directories(directory, 0755));
    TRY_ASSIGN(sys::Root root, sys::Root::open(directory));
    image::FdSource source(file.get());
    return docker::extract_tree(source, root, "/", {});
  });
  Result<image::ImportedImage> made = fail(Code::kCancelled, "cancelled");
  if (unpacked) made = co_await store.images.commit({.changes = directory, .config = json::format(json::Value(std::move(config))), .references = std::move(references)});
  Result<> cleared = co_await store.pool.run([&] { return sys::remove_tree(directory); });
  CO_TRY(std::move(unpacked));
  if (!made) co_return fail(std::move(made).error());
  std::printf("imported %s\n", options.reference.empty() ? made->id.c_str() : options.reference.c_str());
  co_return cleared;
}

// An image's files as one tar: the way back of import.
Task<Result<>> export_tar(LocalStore& store, const ImageOptions& options) {
  // What a kill leaves, the next build or engine clears.
  const std::string id = cat("build-export-", ::getpid()), at = cat(options.data_dir, "/build/", id);
  std::optional<image::Image> found = store.images.find(options.name);
  if (!found) co_return no_image(options.name);
  CO_TRY(co_await store.images.prepare_snapshot(id, found->id));
  Result<> done = co_await store.pool.run([&at] { return sys::make_directories(at, 0700); });
  if (done) done = co_await store.images.mount(id, at);
  if (done) {
    done = co_await store.pool.run([&] {
      return write_archive(options.archive, [&at](int to) -> Result<> {
        TRY_ASSIGN(sys::Root root, sys::Root::open(at));
        image::FdSink sink(to);
        return docker::write_tree(root, "/", ".", sink);
      });
    });
    Result<> unmounted = co_await store.images.unmount(at);
    if (done) done = std::move(unmounted);
  }
  Result<> cleared = co_await store.pool.run([&at] { return sys::remove_tree(at); });
  Result<> removed = co_await store.images.remove_snapshot(id);
  CO_TRY(std::move(done));
  CO_TRY(std::move(cleared));
  co_return removed;
}

struct Archive {
  std::string temporary;
  sys::Fd file;
};
// Beside the file that it becomes; standard output as it is.
Result<Archive> begin_archive(const std::string& path) {
  if (path == "-") {
    Archive out{"", sys::Fd(::dup(STDOUT_FILENO))};
    if (!out.file) return fail_errno("standard output");
    return out;
  }
  Archive out{cat(path, ".tmp-", ::getpid()), {}};
  out.file = sys::Fd(::open(out.temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!out.file) return fail_errno(cat("create ", out.temporary));
  return out;
}
Result<> finish_archive(const Archive& archive, const std::string& path, Result<> written) {
  if (archive.temporary.empty()) return written;
  if (written && ::fsync(archive.file.get()) != 0) written = fail_errno(cat("sync ", archive.temporary));
  if (written && ::rename(archive.temporary.c_str(), path.c_str()) != 0) written = fail_errno(cat("rename to ", path));
  if (!written) (void)::unlink(archive.temporary.c_str());
  return written;
}

Task<Result<>> save(image::ImageStore& images, const ImageOptions& options) {
  CO_TRY_ASSIGN(Archive archive, begin_archive(options.archive));
  Result<> saved = co_await images.save(options.files, archive.file.get(), {.bundle = options.bundle});
  co_return finish_archive(archive, options.archive, std::move(saved));
}

Task<Result<>> history(image::ImageStore& images, const ImageOptions& options) {
  std::optional<image::Image> found = images.find(options.name);
  if (!found) co_return no_image(options.name);
  CO_TRY_ASSIGN(std::string text, co_await images.read_blob(found->id));
  CO_TRY_ASSIGN(json::Value config, json::parse(text));
  const json::Array* steps = json::get_array(config, {"history"});
  if (options.output == "json") {
    std::printf("%s\n", json::format(steps == nullptr ? json::Value(json::Array()) : json::Value(*steps)).c_str());
    co_return Result<>();
  }
  sys::Table table({"CREATED", "LAYER", "CREATED BY", "COMMENT"});
  std::size_t layer = found->config.diff_ids.size();
  for (std::size_t i = steps == nullptr ? 0 : steps->size(); i-- > 0;) {  // newest first
    const json::Value& step = (*steps)[i];
    bool empty = json::get_bool(step, {"empty_layer"});
    std::string diff = empty || layer == 0 ? "" : found->config.diff_ids[--layer].substr(0, 19);
    table.add({std::string(json::get_string(step, {"created"})), diff, std::string(json::get_string(step, {"created_by"})), std::string(json::get_string(step, {"comment"}))});
  }
  table.print();
  co_return Result<>();
}

Task<Result<>> prune(image::ImageStore& images, const ImageOptions& options) {
  image::GcPolicy policy{.bytes_max = 0, .unused_min = {}, .keep = {}};
  for (const image::Image& image : images.list())
    if (!options.all && !image.references.empty()) policy.keep.insert(image.id);
  CO_TRY_ASSIGN(image::GcResult done, co_await images.gc(std::move(policy)));
  for (const std::string& id : done.images_removed) std::printf("removed %s\n", id.c_str());
  std::printf("freed %s\n", sys::format_size(static_cast<std::int64_t>(done.bytes_freed)).c_str());
  co_return Result<>();
}

}  // namespace

Result<> write_archive(const std::string& path, const std::function<Result<>(int to)>& write) {
  TRY_ASSIGN(Archive archive, begin_archive(path));
  Result<> written = write(archive.file.get());
  return finish_archive(archive, path, std::move(written));
}

Result<> local_load(const ImageOptions& options) { return run(load, options); }
Result<> local_list(const ImageOptions& options) { return run(list, options); }
Result<> local_inspect(const ImageOptions& options) { return run(inspect, options); }
Result<> local_remove(const ImageOptions& options) { return run(remove, options); }
Result<> local_tag(const ImageOptions& options) { return run(tag, options); }
Result<> local_pull(const ImageOptions& options) { return run(pull, options); }
Result<> local_push(const ImageOptions& options) { return run(push, options); }
Result<> local_save(const ImageOptions& options) { return run(save, options); }
Result<> local_bundle(const ImageOptions& options) {
  ImageOptions bundled = options;
  bundled.bundle = true;
  return run(save, bundled);
}
Result<> local_history(const ImageOptions& options) { return run(history, options); }
Result<> local_import(const ImageOptions& options) { return with_local_store(options, import_tar); }
Result<> local_export(const ImageOptions& options) {
  TRY(own_mounts());
  return with_local_store(options, export_tar);
}
Result<> local_prune(const ImageOptions& options) { return run(prune, options); }

}  // namespace monopod::cmd
