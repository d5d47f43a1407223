// Images in and out: load, save, pull, push.
#include <algorithm>

#include "base/strings.h"
#include "docker/api.h"
#include "docker/body_pipe.h"
#include "docker/names.h"
#include "docker/registry_auth.h"
#include "docker/tree_tar.h"
#include "image/fd_streams.h"
#include "sys/files.h"
#include "sys/text_pages.h"

namespace monopod::docker {
namespace {

using async::Task;

std::string short_digest(const std::string& step) {
  std::size_t at = step.find("sha256:");
  return at == std::string::npos ? std::string() : step.substr(at + 7, 12);
}

// Progress of the store as lines; the newest wins where the client reads slowly.
class ProgressLines {
 public:
  ProgressLines(async::Executor executor, JsonLines& lines) : lines_(lines), queue_(executor, 64) {}
  image::ProgressCallback callback(std::string word) {
    return [this, word = std::move(word)](const image::ImportProgress& p) {
      json::Object detail;
      if (p.bytes_total > 0) detail = json::Object{{"current", p.bytes_done}, {"total", p.bytes_total}};
      std::string id = short_digest(p.step);
      (void)queue_.try_push(json::Object{{"status", word}, {"progressDetail", std::move(detail)}, {"id", id.empty() ? p.step : id}});
    };
  }
  Task<Result<>> run() {
    for (;;) {
      auto line = co_await queue_.pop();
      if (!line) co_return Result<>();
      CO_TRY(co_await lines_.write(*line));
    }
  }
  void end() { queue_.close(); }

 private:
  JsonLines& lines_;
  async::Channel<json::Value> queue_;
};

struct Pull {
  image::ImageStore& images;
  ProgressLines& progress;
  std::string reference;
  image::PullOptions options;
  Result<image::ImportedImage> pulled = fail(Code::kCancelled, "cancelled");

  Task<Result<>> pull() {
    options.progress = progress.callback("Downloading");
    pulled = co_await images.pull(reference, options);
    progress.end();
    co_return Result<>();
  }
  Task<Result<>> run(async::Scope& scope) {
    scope.spawn(pull());
    CO_TRY(co_await progress.run());
    co_return co_await scope.join();
  }
};

struct Push {
  image::ImageStore& images;
  ProgressLines& progress;
  std::string reference;
  image::PushOptions options;
  Result<> pushed{};

  Task<Result<>> push() {
    options.progress = progress.callback("Pushing");
    pushed = co_await images.push(reference, reference, options);
    progress.end();
    co_return Result<>();
  }
  Task<Result<>> run(async::Scope& scope) {
    scope.spawn(push());
    CO_TRY(co_await progress.run());
    co_return co_await scope.join();
  }
};

}  // namespace

Task<Result<>> Api::load_images(Call& call) {
  std::vector<image::ImportedImage> loaded;
  struct Load {
    static Task<Result<>> from(image::ImageStore& images, int fd, std::vector<image::ImportedImage>& out) {
      CO_TRY_ASSIGN(out, co_await images.import_fd(fd, {}));
      co_return Result<>();
    }
  };
  CO_TRY(co_await with_body(call.exchange, [this, &loaded](int fd) { return Load::from(p_.parts.images, fd, loaded); }));
  sys::forget_program_pages();  // decompression and unpacking are rarely run, and 4 MB
  JsonLines lines(call.exchange);
  CO_TRY(co_await lines.start());
  for (const image::ImportedImage& image : loaded) {
    p_.events.emit("image", "load", image.id, {{"name", image.references.empty() ? image.id : familiar_name(image.references.front())}});
    if (image.references.empty()) CO_TRY(co_await lines.write(json::Object{{"stream", cat("Loaded image ID: ", image.id, "\n")}}));
    for (const std::string& name : image.references) CO_TRY(co_await lines.write(json::Object{{"stream", cat("Loaded image: ", familiar_name(name), "\n")}}));
  }
  co_return co_await lines.finish({});
}

Task<Result<>> Api::send_saved(Call& call, std::vector<std::string> names) {
  if (names.empty()) co_return fail(Code::kInvalidArgument, "names: no image is named");
  for (const std::string& name : names)
    if (!p_.parts.images.find(name)) co_return fail(Code::kNotFound, cat("reference does not exist: No such image: ", name));
  CO_TRY(co_await call.exchange.start(200, {{"Content-Type", "application/x-tar"}}));
  CO_TRY(co_await send_body(call.exchange, [this, &names](int fd) { return p_.parts.images.save(names, fd); }));
  co_return co_await call.exchange.finish();
}

Task<Result<>> Api::save_image(Call& call) { co_return co_await send_saved(call, {call.name}); }

Task<Result<>> Api::save_images(Call& call) {
  std::vector<std::string> names;
  for (std::string_view name : call.query.get_all("names")) names.emplace_back(name);
  co_return co_await send_saved(call, std::move(names));
}

Task<Result<>> Api::pull_image(Call& call) {
  if (!call.text("fromSrc").empty()) co_return co_await import_image(call);
  std::string name(call.text("fromImage"));
  std::string tag(call.text("tag"));
  if (name.empty()) co_return fail(Code::kInvalidArgument, "fromImage: no image is named");
  std::string text = tag.empty() ? name : tag.find(':') != std::string::npos ? cat(name, "@", tag) : cat(name, ":", tag);
  CO_TRY_ASSIGN(image::Reference reference, image::parse_reference(text));
  image::PullOptions options;
  CO_TRY_ASSIGN(options.platform, image::parse_platform(call.text("platform")));
  CO_TRY_ASSIGN(image::RegistryAuth auth, parse_registry_auth(call.exchange.request().headers.find("x-registry-auth").value_or("")));
  options.username = auth.username;
  options.password = auth.password;
  options.token = auth.token;
  auto before = p_.parts.images.find(reference.text());
  JsonLines lines(call.exchange);
  CO_TRY(co_await lines.start());
  CO_TRY(co_await lines.write(json::Object{{"status", cat("Pulling from ", reference.domain == "docker.io" ? reference.path : reference.path)}, {"id", reference.digest.empty() ? reference.tag : reference.digest}}));
  ProgressLines progress(p_.parts.executor, lines);
  Pull pull{p_.parts.images, progress, reference.text(), std::move(options)};
  Pull* p = &pull;
  CO_TRY(co_await async::run_scoped([p](async::Scope& scope) { return p->run(scope); }));
  sys::forget_program_pages();
  if (!pull.pulled) co_return co_await lines.finish(fail(std::move(pull.pulled).error()));
  auto after = p_.parts.images.find(pull.pulled->id);
  if (after) CO_TRY(co_await lines.write(json::Object{{"status", cat("Digest: ", after->manifest_digest)}}));
  bool same = before && before->id == pull.pulled->id;
  CO_TRY(co_await lines.write(json::Object{{"status", cat("Status: ", same ? "Image is up to date for " : "Downloaded newer image for ", familiar_name(reference.text()))}}));
  p_.events.emit("image", "pull", familiar_name(reference.text()), {{"name", familiar_name(reference.repository())}});
  co_return co_await lines.finish({});
}

// A tar of files becomes an image of one layer, without history.
Task<Result<>> Api::import_image(Call& call) {
  if (call.text("fromSrc") != "-") co_return fail(Code::kUnimplemented, "import of an address is not supported: fetch it and import the file");
  if (!call.text("changes").empty()) co_return fail(Code::kUnimplemented, "changes are not supported: build FROM the image instead");
  CO_TRY_ASSIGN(image::Platform platform, image::parse_platform(call.text("platform")));
  std::vector<std::string> references;
  if (std::string repo(call.text("repo")); !repo.empty()) {
    if (std::string_view tag = call.text("tag"); !tag.empty()) repo += cat(":", tag);
    CO_TRY_ASSIGN(image::Reference reference, image::parse_reference(repo));
    references.push_back(reference.text());
  }
  std::string now = format_rfc3339_nano(p_.parts.time.wall());
  std::string_view message = call.text("message");
  json::Object config{{"created", now}, {"architecture", platform.architecture}, {"os", "linux"}, {"config", json::Object{}},
                      {"history", json::Array{json::Object{{"created", now}, {"comment", message.empty() ? "Imported from -" : message}}}}};
  if (!platform.variant.empty()) config["variant"] = platform.variant;
  std::string directory = cat(p_.data_dir, "/docker/contexts/", make_id(p_.parts.rng));  // what a death leaves there is swept
  Result<> unpacked = co_await with_body(call.exchange, [this, &directory](int fd) {
    return p_.parts.pool.run([&directory, fd]() -> Result<> {
      TRY(sys::make_directories(directory, 0755));
      TRY_ASSIGN(sys::Root root, sys::Root::open(directory));
      image::FdSource source(fd);
      return extract_tree(source, root, "/", {});
    });
  });
  Result<image::ImportedImage> made = fail(Code::kCancelled, "cancelled");
  if (unpacked) made = co_await p_.parts.images.commit({.changes = directory, .config = json::format(json::Value(std::move(config))), .references = references});
  co_await p_.parts.pool.run([&directory] { (void)sys::remove_tree(directory); });
  if (!unpacked) co_return fail(std::move(unpacked).error());
  if (!made) co_return fail(std::move(made).error());
  p_.events.emit("image", "import", made->id, {{"name", references.empty() ? made->id : familiar_name(references.front())}});
  JsonLines lines(call.exchange);
  CO_TRY(co_await lines.start());
  CO_TRY(co_await lines.write(json::Object{{"status", made->id}}));
  co_return co_await lines.finish({});
}

Task<Result<>> Api::push_image(Call& call) {
  std::string tag(call.text("tag"));
  std::string text = tag.empty() ? call.name : cat(call.name, ":", tag);
  CO_TRY_ASSIGN(image::Reference reference, image::parse_reference(text));
  if (!p_.parts.images.find(reference.text())) co_return fail(Code::kNotFound, cat("An image does not exist locally with the tag: ", familiar_name(reference.repository())));
  CO_TRY_ASSIGN(image::RegistryAuth auth, parse_registry_auth(call.exchange.request().headers.find("x-registry-auth").value_or("")));
  image::PushOptions options{.username = auth.username, .password = auth.password, .token = auth.token};
  JsonLines lines(call.exchange);
  CO_TRY(co_await lines.start());
  CO_TRY(co_await lines.write(json::Object{{"status", cat("The push refers to repository [", reference.repository(), "]")}}));
  ProgressLines progress(p_.parts.executor, lines);
  Push push{p_.parts.images, progress, reference.text(), std::move(options)};
  Push* p = &push;
  CO_TRY(co_await async::run_scoped([p](async::Scope& scope) { return p->run(scope); }));
  if (!push.pushed) co_return co_await lines.finish(push.pushed);
  auto image = p_.parts.images.find(reference.text());
  std::string digest = image ? image->manifest_digest : "";
  Result<std::string> manifest = co_await p_.parts.images.read_blob(digest);
  std::size_t size = manifest ? manifest->size() : 0;
  CO_TRY(co_await lines.write(json::Object{{"status", cat(reference.tag, ": digest: ", digest, " size: ", size)}}));
  CO_TRY(co_await lines.write(json::Object{{"progressDetail", json::Object{}}, {"aux", json::Object{{"Tag", reference.tag}, {"Digest", digest}, {"Size", size}}}}));
  p_.events.emit("image", "push", familiar_name(reference.text()), {{"name", familiar_name(reference.repository())}});
  co_return co_await lines.finish({});
}

Task<Result<>> Api::inspect_distribution(Call&) { co_return fail(Code::kUnimplemented, "asking a registry about an image without pulling it is not supported"); }

}  // namespace monopod::docker
