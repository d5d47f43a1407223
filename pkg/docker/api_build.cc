// POST /build: the classic builder's form, over pkg/build.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/strings.h"
#include "build/builder.h"
#include "build/limits.h"
#include "docker/api.h"
#include "docker/body_pipe.h"
#include "docker/names.h"
#include "docker/registry_auth.h"
#include "docker/tree_tar.h"
#include "image/fd_streams.h"
#include "image/recover.h"
#include "sys/files.h"

namespace monopod::docker {
namespace {

using async::Task;

Result<std::map<std::string, std::string>> parse_map(std::string_view text, std::string_view what) {
  std::map<std::string, std::string> out;
  if (text.empty()) return out;
  auto value = json::parse(text);
  if (!value || !(value->is_object() || value->is_null())) return fail(Code::kInvalidArgument, cat(what, ": want a JSON object"));
  if (value->is_object())
    for (const auto& [key, v] : value->get_object())
      if (v.is_string()) out[std::string(key)] = std::string(v.get_string());
  return out;
}

Result<std::vector<std::string>> parse_list(std::string_view text, std::string_view what) {
  std::vector<std::string> out;
  if (text.empty()) return out;
  auto value = json::parse(text);
  if (value && value->is_null()) return out;
  if (!value || !value->is_array()) return fail(Code::kInvalidArgument, cat(what, ": want a JSON list"));
  for (const json::Value& item : value->get_array()) {
    if (!item.is_string()) return fail(Code::kInvalidArgument, cat(what, ": want a JSON list of strings"));
    out.emplace_back(item.get_string());
  }
  return out;
}

// Refused by name rather than ignored.
Result<> check_parameters(const Call& call) {
  for (std::string_view name : {"remote", "extrahosts", "squash", "outputs", "cgroupparent"})
    if (std::string_view v = call.text(name); !v.empty() && v != "0" && v != "false" && v != "null" && v != "[]") return fail(Code::kUnimplemented, cat("build parameter ", name, " is not supported"));
  if (std::string_view version = call.text("version"); version == "2") return fail(Code::kUnimplemented, "BuildKit is not served: build with DOCKER_BUILDKIT=0");
  if (std::string_view mode = call.text("networkmode"); !mode.empty() && mode != "default" && mode != "host" && mode != "bridge") return fail(Code::kUnimplemented, cat("networkmode ", mode, " is not supported for builds"));
  return {};
}

}  // namespace

struct Api::Building {
  Api& api;
  Call& call;
  JsonLines lines;
  std::string directory;
  build::BuildOptions options{};
  async::Channel<std::string> text;
  bool quiet = false;  // the id alone
  std::string id{};
  Result<> ended{};

  image::RegistryAuth auth_for(const std::string& reference) const {
    auto header = call.exchange.request().headers.find("x-registry-config");
    auto decoded = parse_base64url(header.value_or(""));
    if (!decoded) decoded = parse_base64(header.value_or(""));
    auto value = json::parse(decoded.value_or("{}"));
    auto parsed = image::parse_reference(reference);
    image::RegistryAuth out;
    if (!value || !value->is_object() || !parsed) return out;
    std::string domain = parsed->domain == "docker.io" ? "https://index.docker.io/v1/" : parsed->domain;
    if (const json::Value* own = value->get_object().if_contains(domain)) {
      out.username = json::get_string(*own, {"username"});
      out.password = json::get_string(*own, {"password"});
    }
    return out;
  }

  Task<Result<>> pull(std::string reference, image::Platform platform) {
    image::RegistryAuth auth = auth_for(reference);
    image::PullOptions pull{.username = auth.username, .password = auth.password};
    pull.platform = std::move(platform);
    (void)text.try_push(cat("Pulling ", familiar_name(reference), "\n"));
    CO_TRY(co_await api.p_.parts.images.pull(std::move(reference), std::move(pull)));
    co_return Result<>();
  }

  // Steps are numbered as they stand; where stages are built side by side, what they say is marked with the step that says it.
  Task<Result<>> report(build::StepReport step) {
    using Kind = build::StepReport::Kind;
    const std::string place = cat(step.number, "/", step.total);
    std::string out;
    if (step.kind == Kind::kBegins) out = step.trigger ? cat("# Executing build trigger : ", step.text, "\n") : cat("Step ", place, " : ", step.text, "\n");
    else if (step.kind == Kind::kEnds && step.cached) out = step.alone ? " ---> Using cache\n" : cat(" ---> Using cache (step ", place, ")\n");
    else if (step.kind == Kind::kOutput) out = step.alone ? std::move(step.text) : build::mark_lines(step.text, cat("[", step.stage, " ", place, "] "));
    if (out.empty()) co_return Result<>();
    co_return co_await text.push(std::move(out));
  }

  Task<Result<>> work() {
    build::BuildParts parts{api.p_.parts.images, api.p_.parts.state, api.p_.parts.pool, api.p_.parts.time, api.p_.parts.rng, api.p_.run_bundle,
                            [this](std::string reference, image::Platform platform) { return pull(std::move(reference), std::move(platform)); }, [this](build::StepReport step) { return report(std::move(step)); },
                            api.p_.tls, api.p_.resolver};
    auto built = co_await build::build_image(parts, options);
    if (!built) co_return fail(std::move(built).error());
    id = built->id;
    co_return Result<>();
  }

  Task<Result<>> run_work() {
    ended = co_await work();
    text.close();
    co_return Result<>();
  }

  Task<Result<>> run(async::Scope& scope) {
    scope.spawn(run_work());
    for (;;) {
      auto line = co_await text.pop();
      if (!line) break;
      if (!quiet) CO_TRY(co_await lines.write(json::Object{{"stream", *line}}));
    }
    co_return co_await scope.join();
  }
};

Task<Result<>> Api::build(Call& call) {
  CO_TRY(check_parameters(call));
  if (!p_.run_bundle) co_return fail(Code::kUnimplemented, "this engine does not build");
  std::string work_dir = p_.data_dir + "/build";
  Building building{.api = *this, .call = call, .lines = JsonLines(call.exchange), .directory = cat(p_.data_dir, "/docker/contexts/", make_id(p_.parts.rng)), .text = {p_.parts.executor, 256}, .quiet = call.flag("q")};
  build::BuildOptions& o = building.options;
  o.context = building.directory;
  o.work_dir = work_dir;
  o.target = call.text("target");
  o.no_cache = call.flag("nocache");
  o.pull = call.flag("pull");
  CO_TRY_ASSIGN(o.arguments, parse_map(call.text("buildargs"), "buildargs"));
  CO_TRY_ASSIGN(o.labels, parse_map(call.text("labels"), "labels"));
  for (std::string_view tag : call.query.get_all("t")) {
    CO_TRY_ASSIGN(image::Reference reference, image::parse_reference(tag));
    o.tags.push_back(reference.text());
  }
  CO_TRY_ASSIGN(std::vector<std::string> cache_names, parse_list(call.text("cachefrom"), "cachefrom"));
  for (std::string_view one : split(call.text("platform"), ',')) {
    CO_TRY_ASSIGN(image::Platform platform, image::parse_platform(one));
    o.platforms.push_back(std::move(platform));
  }
  std::string file(call.text("dockerfile"));
  if (file.empty()) file = "Dockerfile";
  while (building_) CO_TRY(co_await built_.wait());  // forever: the build before it ends, or its client goes away
  building_ = true;
  struct Done {
    Api& api;
    std::string directory;
    ~Done() {
      api.building_ = false;
      api.built_.wake_all();
      // The context is ours alone, and mostly small.
      if (auto removed = sys::remove_tree(directory); !removed) log::warn("cannot remove a build's context", {{"path", directory}, {"error", removed.error()}});
    }
  } done{*this, building.directory};
  CO_TRY(co_await build::clear_work(p_.parts.images, p_.parts.pool, work_dir));
  CO_TRY(co_await p_.parts.pool.run([&] { return sys::make_directories(building.directory, 0700); }));
  CO_TRY(co_await with_body(call.exchange, [&](int fd) {
    return p_.parts.pool.run([fd, &building]() -> Result<> {
      TRY_ASSIGN(sys::Root root, sys::Root::open(building.directory));
      image::FdSource source(fd);
      return extract_tree(source, root, "/", {});
    });
  }));
  Result<std::string> text = co_await p_.parts.pool.run([&]() -> Result<std::string> {
    TRY_ASSIGN(sys::Root root, sys::Root::open(building.directory));
    return root.read_file(file, build::kDockerfileBytesMax);
  });
  if (!text) co_return fail(text.error().code() == Code::kNotFound ? Code::kInvalidArgument : text.error().code(), cat("Cannot locate specified Dockerfile: ", file));
  o.dockerfile = std::move(*text);
  CO_TRY(co_await building.lines.start());
  // As the classic builder: of images that are here, others are passed over.
  for (const std::string& name : cache_names) {
    auto found = p_.parts.images.find(name);
    if (found) o.cache_images.push_back(found->id);
    else (void)building.text.try_push(cat("Cache from ", name, ": no such image here\n"));
  }
  Building* b = &building;
  CO_TRY(co_await async::run_scoped([b](async::Scope& scope) { return b->run(scope); }));
  if (!building.ended) co_return co_await building.lines.finish(building.ended);
  CO_TRY(co_await building.lines.write(json::Object{{"aux", json::Object{{"ID", building.id}}}}));
  if (building.quiet) {
    CO_TRY(co_await building.lines.write(json::Object{{"stream", cat(building.id, "\n")}}));
    co_return co_await building.lines.finish({});
  }
  CO_TRY(co_await building.lines.write(json::Object{{"stream", cat("Successfully built ", building.id.substr(7, 12), "\n")}}));
  for (const std::string& tag : o.tags) CO_TRY(co_await building.lines.write(json::Object{{"stream", cat("Successfully tagged ", familiar_name(tag), "\n")}}));
  co_return co_await building.lines.finish({});
}

// Steps' images, of which the cache is made; all: also those of images that have a name now, and cache mounts.
Task<Result<>> Api::prune_builds(Call& call) {
  CO_TRY_ASSIGN(Filters filters, Filters::parse(call.text("filters")));
  CO_TRY(filters.only({"until", "unused-for"}));
  image::GcPolicy policy{.bytes_max = parse_int<std::uint64_t>(call.text("keep-storage")).value_or(0), .unused_min = Duration(0), .keep = {}, .unnamed_only = true};
  for (const char* name : {"until", "unused-for"})
    if (filters.has(name)) {
      CO_TRY_ASSIGN(WallTime until, parse_moment(filters.get(name).at(0), p_.parts.time.wall()));
      policy.unused_min = std::chrono::duration_cast<Duration>(p_.parts.time.wall() - until);
    }
  while (building_) CO_TRY(co_await built_.wait());  // forever: a build ends, or its client goes away
  CO_TRY_ASSIGN(std::set<std::string> made, co_await build::list_cached(p_.parts.state));
  for (const image::Image& image : p_.parts.images.list())
    if (!made.contains(image.id)) policy.keep.insert(image.id);
  CO_TRY_ASSIGN(image::GcResult gone, co_await p_.parts.images.gc(std::move(policy)));
  std::uint64_t bytes = gone.bytes_freed;
  if (call.flag("all") && !building_) {
    const std::string caches = p_.data_dir + "/build/cache";
    CO_TRY_ASSIGN(std::uint64_t freed, co_await p_.parts.pool.run([&caches]() -> Result<std::uint64_t> {
      if (!sys::path_exists(caches)) return 0;
      TRY_ASSIGN(sys::Root root, sys::Root::open(caches));
      TRY_ASSIGN(std::uint64_t used, image::tree_bytes(root, "."));
      TRY(sys::remove_tree(caches));
      return used;
    }));
    bytes += freed;
  }
  json::Array ids;
  for (const std::string& id : gone.images_removed) ids.emplace_back(id);
  co_return co_await call.answer(200, json::Object{{"CachesDeleted", ids.empty() ? json::Value(nullptr) : json::Value(std::move(ids))}, {"SpaceReclaimed", bytes}});
}

}  // namespace monopod::docker
