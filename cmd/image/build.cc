// `monopod image build`: a Dockerfile and a directory become an image of a data directory that no node has open.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "base/duration.h"
#include "base/strings.h"
#include "build/builder.h"
#include "build/limits.h"
#include "cmd/commands.h"
#include "cmd/engine/run_bundle.h"
#include "cmd/image/cache.h"
#include "cmd/image/local.h"
#include "cmd/image/progress.h"
#include "cmd/until_signal.h"
#include "sys/fd.h"
#include "sys/root.h"
#include "sys/terminal.h"

namespace monopod::cmd {
namespace {

using async::Task;

struct BuildCommand {
  ImageOptions image;
  std::string context = ".";
  std::string file;
  std::vector<std::string> tags, arguments, secrets, ssh, labels;
  std::string target, epoch, id_file;
  std::vector<std::string> cache_from, cache_to;
  std::vector<CachePlace> from, to;
  std::size_t jobs = 0;
  std::string output = "text";
  bool no_cache = false, pull = false, quiet = false;
};

// NAME=value, or NAME alone for what the environment has.
Result<std::map<std::string, std::string>> parse_arguments(const std::vector<std::string>& words) {
  std::map<std::string, std::string> out;
  for (const std::string& word : words) {
    auto [name, value] = split_once(word, '=');
    if (name.empty()) return fail(Code::kInvalidArgument, cat("--build-arg ", word, ": want NAME=value"));
    const char* own = value ? nullptr : std::getenv(std::string(name).c_str());
    if (value || own != nullptr) out[std::string(name)] = value ? std::string(*value) : std::string(own);
  }
  return out;
}

// id=ID,src=FILE
Result<std::map<std::string, std::string>> parse_secrets(const std::vector<std::string>& words) {
  std::map<std::string, std::string> out;
  for (const std::string& word : words) {
    std::string id, path;
    for (std::string_view part : split(word, ',')) {
      auto [key, value] = split_once(part, '=');
      if (key == "id") id = value.value_or("");
      else if (key == "src" || key == "source") path = value.value_or("");
      else if (key != "type" || value != "file") return fail(Code::kInvalidArgument, cat("--secret ", word, ": want id=ID,src=FILE"));
    }
    if (id.empty() || path.empty()) return fail(Code::kInvalidArgument, cat("--secret ", word, ": want id=ID,src=FILE"));
    out[id] = path;
  }
  return out;
}

// ID or ID=SOCKET; without one the agent of who builds.
Result<std::map<std::string, std::string>> parse_agents(const std::vector<std::string>& words) {
  std::map<std::string, std::string> out;
  for (const std::string& word : words) {
    auto [id, path] = split_once(word, '=');
    const char* own = std::getenv("SSH_AUTH_SOCK");
    std::string socket = path ? std::string(*path) : own != nullptr ? own : "";
    struct ::stat st;
    if (id.empty() || socket.empty()) return fail(Code::kInvalidArgument, cat("--ssh ", word, ": want ID[=SOCKET], or SSH_AUTH_SOCK in the environment"));
    if (::stat(socket.c_str(), &st) != 0) return fail_errno(cat("--ssh ", word, ": ", socket));
    if (!S_ISSOCK(st.st_mode)) return fail(Code::kInvalidArgument, cat("--ssh ", word, ": ", socket, " is not a socket of an agent; keys are not read, add them to one"));
    out[std::string(id)] = std::filesystem::absolute(socket).string();
  }
  return out;
}


json::Object describe_result(const image::ImageStore& images, const build::Built& built, json::Array steps) {
  json::Array references, made;
  if (auto found = images.find(built.id))
    for (const std::string& reference : found->references) references.emplace_back(reference);
  for (const std::string& id : built.images.empty() ? std::vector{built.id} : built.images)
    if (auto found = images.find(id)) made.push_back(json::Object{{"id", id}, {"manifestDigest", found->manifest_digest}, {"platform", image::format_platform(found->config.platform)}});
  json::Object out{{"id", built.id}, {"references", std::move(references)}, {"images", std::move(made)}, {"steps", std::move(steps)}};
  if (!built.index.empty()) out["index"] = built.index;
  return out;
}

// Ctrl-C ends the build's containers, and takes its mounts away.
Task<Result<build::Built>> build_until_signal(build::BuildParts& parts, const build::BuildOptions& options) {
  struct Body {
    build::BuildParts& parts;
    const build::BuildOptions& options;
    Result<build::Built> built = fail(Code::kCancelled, "stopped");
    Task<Result<>> run(async::Scope& scope) {
      built = co_await build::build_image(parts, options);
      scope.cancel();
      co_return Result<>();
    }
  } body{parts, options};
  bool stopped = false;
  async::Scope scope(co_await async::this_executor());
  scope.spawn(body.run(scope));
  scope.spawn(until_signal(scope, stopped));
  CO_TRY(co_await scope.join());
  if (stopped) co_return fail(Code::kCancelled, "stopped");
  co_return std::move(body.built);
}

Result<> build(BuildCommand command) {
  build::BuildOptions options{.target = command.target, .no_cache = command.no_cache, .pull = command.pull, .jobs = command.jobs};
  options.context = std::filesystem::absolute(command.context).lexically_normal().string();
  if (options.context.size() > 1 && options.context.ends_with('/')) options.context.pop_back();
  struct ::stat st;
  if (::stat(options.context.c_str(), &st) != 0) return fail_errno(cat("build context ", command.context));
  if (!S_ISDIR(st.st_mode)) return fail(Code::kInvalidArgument, cat("build context ", command.context, ": not a directory"));
  if (command.file == "-") {
    TRY_ASSIGN(options.dockerfile, sys::read_all(STDIN_FILENO, build::kDockerfileBytesMax));
  } else {
    std::string path = command.file;
    if (path.empty()) path = cat(options.context, ::access(cat(options.context, "/Dockerfile").c_str(), F_OK) != 0 && ::access(cat(options.context, "/Containerfile").c_str(), F_OK) == 0 ? "/Containerfile" : "/Dockerfile");
    TRY_ASSIGN(options.dockerfile, sys::read_host_file(path, build::kDockerfileBytesMax));
    if (const std::string own = path + ".dockerignore"; ::access(own.c_str(), F_OK) == 0) {
      TRY_ASSIGN(options.ignore, sys::read_host_file(own, build::kDockerfileBytesMax));
    }
  }
  options.tags = command.tags;
  TRY_ASSIGN(options.arguments, parse_arguments(command.arguments));
  TRY_ASSIGN(options.secrets, parse_secrets(command.secrets));
  TRY_ASSIGN(options.ssh, parse_agents(command.ssh));
  TRY_ASSIGN(options.labels, parse_arguments(command.labels));
  for (std::string_view text : split(command.image.platform, ',')) {
    TRY_ASSIGN(image::Platform platform, image::parse_platform(text));
    if (std::ranges::find(options.platforms, platform) == options.platforms.end()) options.platforms.push_back(std::move(platform));
  }
  if (auto given = options.arguments.find("SOURCE_DATE_EPOCH"); command.epoch.empty() && given != options.arguments.end()) command.epoch = given->second;
  if (const char* own = std::getenv("SOURCE_DATE_EPOCH"); command.epoch.empty() && own != nullptr) command.epoch = own;
  if (!command.epoch.empty()) {
    options.source_date_epoch = parse_int<std::int64_t>(command.epoch);
    if (!options.source_date_epoch || *options.source_date_epoch < 0) return fail(Code::kInvalidArgument, cat("SOURCE_DATE_EPOCH ", command.epoch, ": want seconds since 1970"));
  }
  for (const std::string& text : command.cache_from) {
    TRY_ASSIGN(CachePlace place, parse_cache_place(text, false));
    command.from.push_back(std::move(place));
  }
  for (const std::string& text : command.cache_to) {
    TRY_ASSIGN(CachePlace place, parse_cache_place(text, true));
    if (place.type == CachePlace::Type::kInline) options.cache_inline = true;
    else options.cache_out = true;
    options.cache_all = options.cache_all || place.all_stages;
    command.to.push_back(std::move(place));
  }
  TRY(own_mounts());
  command.image.data_dir = std::filesystem::absolute(command.image.data_dir).string();
  options.work_dir = command.image.data_dir + "/build";
  std::string id;
  json::Object result;
  TRY(with_local_store(command.image, [&](LocalStore& store, const ImageOptions& image) -> Task<Result<>> {
    struct Body {
      LocalStore& store;
      const ImageOptions& image;
      BuildCommand& command;
      build::BuildOptions& options;
      std::string& id;
      json::Object& result;
      Task<Result<>> operator()() {
        // The store's lock says that no build runs now.
        const std::string run = options.work_dir + "/run";
        co_await store.pool.run([&run] { end_bundles(run); });
        CO_TRY(co_await build::clear_work(store.images, store.pool, options.work_dir));
        BuildProgress progress(command.quiet);
        build::BuildParts parts{store.images, store.state, store.pool, store.time, store.rng,
                                [root = run](std::string bundle, std::string container, int output) { return run_bundle(root, std::move(bundle), std::move(container), output); },
                                [this](std::string reference, image::Platform platform) -> Task<Result<>> { return pull(std::move(reference), std::move(platform)); },
                                [&progress](build::StepReport step) { return progress.report(std::move(step)); },
                                store.tls, store.resolver};
        ImportedCaches caches;
        CO_TRY(co_await caches.fetch(store, image, command.from));
        options.cache_images = caches.images();
        Result<build::Built> built = co_await build_until_signal(parts, options);
        Result<> exported;
        if (built) {
          id = built->index.empty() ? built->id : built->index;
          result = describe_result(store.images, *built, progress.take_steps());
          for (const CachePlace& place : command.to)
            if (exported) exported = co_await export_cache(store, image, place, built->cache_id);
        }
        CO_TRY(co_await caches.release(store, built ? built->id : id));
        CO_TRY(built);
        // An image of the same records may have been here under a name.
        if (auto made = store.images.find(built->cache_id); made && made->references.empty()) CO_TRY(co_await store.images.remove(built->cache_id));
        co_return exported;
      }
      Task<Result<>> pull(std::string reference, image::Platform platform) {
        ImageOptions own = image;
        own.platform = image::format_platform(platform);
        CO_TRY(co_await pull_one(store.images, own, std::move(reference)));
        co_return Result<>();
      }
    };
    auto body = std::make_shared<Body>(Body{store, image, command, options, id, result});
    return [](std::shared_ptr<Body> held) -> Task<Result<>> { co_return co_await (*held)(); }(body);
  }));
  if (!command.id_file.empty()) {
    sys::Fd file(::open(command.id_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (!file) return fail_errno(cat("create ", command.id_file));
    TRY(sys::write_all(file.get(), id));
  }
  std::printf("%s\n", command.output == "json" ? json::format(json::Value(std::move(result))).c_str() : id.c_str());
  return {};
}

}  // namespace

void add_image_build(CLI::App& image, Invocation& invocation) {
  CLI::App* app = image.add_subcommand("build", "Build an image from a Dockerfile; needs root");
  auto command = std::make_shared<BuildCommand>();
  app->add_option("context", command->context, "Directory that COPY and ADD take from")->capture_default_str();
  app->add_option("--data-dir", command->image.data_dir, "Where images are kept")->envname("MONOPOD_DATA_DIR")->capture_default_str();
  app->add_option("-f,--file", command->file, "The Dockerfile (context/Dockerfile); - for standard input");
  app->add_option("-t,--tag", command->tags, "Name of the image; may be repeated")->allow_extra_args(false);
  app->add_option("--target", command->target, "Stage to build");
  app->add_option("--build-arg", command->arguments, "NAME=value for an ARG; may be repeated")->allow_extra_args(false);
  app->add_option("--secret", command->secrets, "id=ID,src=FILE for RUN --mount=type=secret; may be repeated")->allow_extra_args(false);
  app->add_option("--ssh", command->ssh, "ID[=SOCKET] of an agent for RUN --mount=type=ssh; SSH_AUTH_SOCK by default; may be repeated")->allow_extra_args(false);
  app->add_option("--label", command->labels, "NAME=value; may be repeated")->allow_extra_args(false);
  app->add_option("--platform", command->image.platform, "os/architecture[/variant] of the base images, this machine's by default; several, with commas: an image for each under one name");
  app->add_option("--source-date-epoch", command->epoch, "Seconds since 1970: the image's time, and the latest of its files; from SOURCE_DATE_EPOCH");
  app->add_option("--iidfile", command->id_file, "File that gets the image's id, or the digest of the index of several platforms");
  app->add_option("--creds", command->image.credentials, "user:password for the registry of base images");
  app->add_option("--authfile", command->image.auth_file, "A config.json of docker, or auth.json of podman");
  app->add_option("--hosts-dir", command->image.hosts_dir, "Mirrors and trust: HOST/hosts.toml")->capture_default_str();
  app->add_option("--cache-from", command->cache_from, "Steps built elsewhere, trusted as FROM is: IMAGE, type=registry,ref=IMAGE or type=local,src=DIR; may be repeated")->allow_extra_args(false);
  app->add_option("--cache-to", command->cache_to, "type=registry,ref=IMAGE[,mode=max], type=local,dest=DIR[,mode=max] or type=inline: for --cache-from; may be repeated")->allow_extra_args(false);
  add_layers_option(*app, command->image.layers);
  app->add_option("--jobs", command->jobs, "Stages that are built at once; by processors and memory by default")->check(CLI::Range(1, 200));
  app->add_flag("--no-cache", command->no_cache, "Do every step anew");
  app->add_flag("--pull", command->pull, "Fetch base images although they are here");
  app->add_option("-o,--output", command->output, "text: the image's id; json: the images, their names, and what each step took")->check(CLI::IsMember({"text", "json"}));
  app->add_flag("-q,--quiet", command->quiet, "Only the image's id");
  app->callback([command, &invocation] {
    invocation.run = [command] {
      configure_logging();
      return report(build(*command));
    };
  });
}

}  // namespace monopod::cmd
