#include "build/builder.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "base/strings.h"
#include "build/build.h"
#include "image/digest.h"
#include "image/reference.h"
#include "sys/files.h"

namespace monopod::build {
namespace {

constexpr char kBucket[] = "build";

}  // namespace

using async::Task;

Task<Result<std::string>> Build::find_or_pull(std::string reference, image::Platform platform) {
  CO_TRY_ASSIGN(image::Reference parsed, image::parse_reference(reference));
  const std::string name = cat(parsed.text(), " ", image::format_platform(platform));
  CO_TRY(co_await enter(name));
  Turn turn(*this, name);
  if (auto known = found_.find(name); known != found_.end()) co_return known->second;  // one build, one image of a name
  parts_.images.mark_used(parsed.text());
  auto look_up = [&] {
    auto own = parts_.images.find_for(parsed.text(), platform);
    return own ? own : parts_.images.find(parsed.text());
  };
  auto found = look_up();
  auto fits = [&] { return found && found->config.platform.os == platform.os && found->config.platform.architecture == platform.architecture; };
  if (!found || options_.pull || !fits()) {
    Result<> pulled = co_await parts_.pull(parsed.text(), platform);
    if (!pulled && found && !fits()) pulled = fail(std::move(pulled).error().with(cat(reference, " is here for ", image::format_platform(found->config.platform), ", not for ", image::format_platform(platform))));
    CO_TRY(std::move(pulled));
    found = look_up();
  }
  if (!found) co_return fail(Code::kNotFound, cat("image ", parsed.text(), ": not found"));
  if (!fits()) co_return fail(Code::kFailedPrecondition, cat(reference, " is for ", image::format_platform(found->config.platform), ", not for ", image::format_platform(platform)));
  found_[name] = found->id;
  co_return found->id;
}

// Not cut off in the middle: what is mounted is known, and so taken away again.
Task<Result<Build::Mounted>> Build::mount(const std::string& image_id) {
  Result<Mounted> out = fail(Code::kCancelled, "cancelled");
  struct Work {
    Build& build;
    const std::string& image_id;
    Result<Mounted>& out;
    Task<> run() { out = co_await build.prepare_and_mount(image_id); }
  } work{*this, image_id, out};
  co_await async::shielded(work.run());
  co_return out;
}

Task<Result<Build::Mounted>> Build::prepare_and_mount(const std::string& image_id) {
  Mounted out;
  out.id = cat(kSnapshotPrefix, parts_.rng.uuid());
  out.path = cat(options_.work_dir, "/", out.id);
  mounted_[out.id] = out.path;  // and known to clean() whatever comes
  CO_TRY_ASSIGN(image::Snapshot snapshot, co_await parts_.images.prepare_snapshot(out.id, image_id));
  out.upper = snapshot.upperdir;
  if (::mkdir(out.path.c_str(), 0700) != 0) co_return fail_errno(cat("make directory ", out.path));
  CO_TRY(co_await parts_.images.mount(out.id, out.path));
  co_return out;
}

Task<Result<>> Build::unmount(const Mounted& mounted) {
  Result<> out;
  struct Work {
    Build& build;
    const Mounted& mounted;
    Result<>& out;
    Task<> run() { out = co_await build.take_away(mounted); }
  } work{*this, mounted, out};
  co_await async::shielded(work.run());
  co_return out;
}

Task<Result<>> Build::take_away(const Mounted& mounted) {
  CO_TRY(co_await parts_.images.unmount(mounted.path));
  (void)::rmdir(mounted.path.c_str());
  CO_TRY(co_await parts_.images.remove_snapshot(mounted.id));
  mounted_.erase(mounted.id);
  co_return Result<>{};
}

Task<> Build::clean() {
  for (const auto& [id, path] : mounted_) {
    Result<> done = co_await parts_.pool.run([&path]() -> Result<> {
      TRY(sys::unmount_all(path));
      if (::rmdir(path.c_str()) != 0 && errno != ENOENT) return fail_errno(cat("remove ", path));
      return {};
    });
    if (done) done = co_await parts_.images.remove_snapshot(id);
    if (!done) log::warn("a build's snapshot could not be removed: the next build does it", {{"snapshot", id}, {"error", done.error()}});
  }
  mounted_.clear();
  kept_.clear();
}

Task<Result<std::string>> Build::source_image(const Current& at, const std::string& name) {
  int stage = find_stage(plan_.stages, name, at.stage->index);
  if (stage >= 0) co_return built_[static_cast<std::size_t>(stage)].image_id();
  co_return co_await find_or_pull(name, options_.platform);
}

Task<Result<std::string>> Build::mount_kept(const std::string& id) {
  const std::string name = "mount " + id;
  CO_TRY(co_await enter(name));
  Turn turn(*this, name);
  if (auto kept = kept_.find(id); kept != kept_.end()) co_return kept->second;
  CO_TRY_ASSIGN(Mounted mounted, co_await mount(id));
  kept_[id] = mounted.path;
  co_return mounted.path;
}

// The image with what a change does to its files as one more layer; the image itself where that is nothing.
Task<Result<std::string>> Build::change_image(const ImageState& image, Change change, std::set<std::string> undescribed) {
  CO_TRY_ASSIGN(Mounted mounted, co_await mount(image.image_id()));
  Result<bool> changed = co_await change(mounted);
  std::string next = image.image_id();
  if (changed) {
    Result<> gone = co_await parts_.images.unmount(mounted.path);
    if (!gone) changed = fail(std::move(gone).error());
  }
  if (changed && *changed) {
    image::CommitOptions commit{.base_id = next, .changes = mounted.upper, .config = image.layers_only(), .references = {}, .mtime_max_seconds = options_.source_date_epoch, .undescribed = std::move(undescribed)};
    Result<image::ImportedImage> made = co_await parts_.images.commit(std::move(commit));
    if (made) next = made->id;
    else changed = fail(std::move(made).error());
  }
  Result<> cleaned = co_await unmount(mounted);
  if (!changed) co_return fail(std::move(changed).error());
  CO_TRY(std::move(cleaned));
  co_return next;
}

// A step that may change files. what says all that it depends on besides the layers below.
Task<Result<>> Build::layer(Current& at, std::string what, const std::string& created_by, bool& cached, Change change) {
  struct Step {
    Build& build;
    Current& at;
    Change change;
    Task<Result<std::string>> operator()(bool&) const { return build.change_image(at.image, change); }
  };
  return make_step(at, std::move(what), created_by, cached, Step{*this, at, std::move(change)});
}

// Where it is not known what the step makes, make says it.
Task<Result<>> Build::make_step(Current& at, std::string what, const std::string& created_by, bool& cached, Make make) {
  ImageState& image = at.image;
  if (image.image_id().empty()) {  // from scratch
    CO_TRY_ASSIGN(image::ImportedImage empty, co_await parts_.images.commit({.base_id = {}, .changes = {}, .config = image.layers_only(), .references = {}, .mtime_max_seconds = {}}));
    image.set_image(empty.id, {});
  }
  image::Platform platform = image.platform();
  std::string text = cat("1\n", join(image.diff_ids(), "\n"), "\n", platform.os, "/", platform.architecture, "/", platform.variant, "\n",
                         options_.source_date_epoch ? std::to_string(*options_.source_date_epoch) : "", "\n", what);
  std::string key = image::digest_of(text);
  // The same step of another stage is done once.
  CO_TRY(co_await enter(key));
  Turn turn(*this, key);
  std::string next;
  if (auto own = made_.find(key); own != made_.end()) next = own->second;
  if (next.empty() && !options_.no_cache) {
    next = find_known(key);
  }
  if (next.empty()) {
    CO_TRY_ASSIGN(next, co_await find_imported(key, image));
  }
  cached = !next.empty();
  if (!cached) {
    CO_TRY_ASSIGN(next, co_await make(cached));
    CO_TRY(co_await remember(key, next));
  }
  made_[key] = next;
  auto found = parts_.images.find(next);
  if (!found) co_return fail(Code::kInternal, "the step's image is gone");
  note_step(at, key, image, next);
  image.add_history(created_by, next == image.image_id());
  image.set_image(next, found->config.diff_ids);
  co_return Result<>{};
}

// FROM --platform=, else the build's.
Result<image::Platform> Build::platform_of(const Stage& stage) const {
  const Flag* flag = stage.from->find_flag("platform");
  if (flag == nullptr) return options_.platform;
  FindVariable find = [this](std::string_view name) -> std::optional<std::string> {
    auto found = plan_.global_arguments.find(std::string(name));
    return found == plan_.global_arguments.end() ? std::nullopt : std::optional(found->second);
  };
  TRY_ASSIGN(std::string text, expand(flag->value, find, {.escape = file_.escape}));
  auto platform = image::parse_platform(text);
  if (!platform) return fail(error_at(*stage.from, cat("--platform=", platform.error().message())));
  return platform;
}

Task<Result<>> Build::start_stage(Current& at) {
  const Stage& stage = *at.stage;
  CO_TRY_ASSIGN(image::Platform platform, platform_of(stage));
  if (stage.base_stage >= 0) {
    at.image = built_[static_cast<std::size_t>(stage.base_stage)];
    co_return Result<>{};
  }
  if (stage.base == "scratch") {
    at.image = ImageState::scratch(platform);
    co_return Result<>{};
  }
  Result<std::string> id = co_await find_or_pull(stage.base, platform);
  if (!id) co_return fail(error_at(*stage.from, id.error().message()));
  auto base = parts_.images.find(*id);
  CO_TRY_ASSIGN(std::string text, co_await parts_.images.read_blob(*id));
  CO_TRY_ASSIGN(at.image, ImageState::from_config(text));
  at.image.set_image(*id, base->config.diff_ids);
  for (const std::string& trigger : at.image.take_triggers()) {
    Result<Instruction> parsed = parse_trigger(trigger, stage.from->line, file_.escape);
    if (!parsed) co_return fail(std::move(parsed).error().with("ONBUILD of the base"));
    triggers_[stage.index].push_back(*std::move(parsed));
  }
  co_return Result<>{};
}

Task<Result<>> Build::build_stage(const Stage& stage) {
  Current at{.stage = &stage, .image = {}, .arguments = {}};
  CO_TRY(co_await start_stage(at));
  std::size_t number = first_step_[stage.index];
  for (const Instruction& trigger : triggers_[stage.index]) {
    for (const std::string& source : sources_of(trigger))
      if (int needed = find_stage(plan_.stages, source, stage.index); needed >= 0) CO_TRY(co_await build_once(static_cast<std::size_t>(needed)));
    CO_TRY(co_await execute(at, trigger, {}));
  }
  for (const Instruction* instruction : stage.instructions) CO_TRY(co_await execute(at, *instruction, number++));
  CO_TRY(co_await finish(at, stage.index == plan_.order.back() ? options_.tags : std::vector<std::string>{}));
  built_[stage.index] = std::move(at.image);
  co_return Result<>{};
}

Task<Result<>> Build::tell(StepReport report) {
  if (!parts_.report) co_return Result<>{};
  co_return co_await parts_.report(std::move(report));
}

Task<Result<>> Build::execute(Current& at, const Instruction& instruction, std::optional<std::size_t> number) {
  at.step = {.number = number.value_or(first_step_[at.stage->index] - 1), .total = steps_, .trigger = !number, .stage = at.stage->title(), .alone = alone_, .text = instruction.source};
  CO_TRY(co_await tell(at.step));
  MonoTime start = parts_.time.mono();
  bool cached = false;
  Result<> done = co_await dispatch(at, instruction, cached);
  if (!done) {
    // What the line itself says is wrong has its place already.
    Error error = std::move(done).error();
    if (!error.message().starts_with(cat(instruction.line, ":"))) error = Error(error.code(), cat(instruction.line, ":", instruction.column, ": ", error.message()));
    at.step.kind = StepReport::Kind::kFails;
    if (error.code() != Code::kCancelled) CO_TRY(co_await tell(at.step));
    co_return fail(std::move(error));
  }
  at.step.kind = StepReport::Kind::kEnds;
  at.step.cached = cached;
  at.step.took = std::chrono::duration_cast<Duration>(parts_.time.mono() - start);
  co_return co_await tell(at.step);
}

Task<Result<>> Build::dispatch(Current& at, const Instruction& instruction, bool& cached) {
  const std::string& name = instruction.name;
  if (name == "RUN") co_return co_await run_command(at, instruction, cached);
  if (name == "COPY" || name == "ADD") co_return co_await copy(at, instruction, cached);
  if (name == "WORKDIR") co_return co_await make_work_dir(at, instruction, cached);
  FindVariable find = variables(at);
  WordOptions words{.escape = file_.escape};
  if (name == "ARG") {
    for (const std::string& word : split_words(instruction.arguments, file_.escape)) {
      auto [key, value] = split_once(word, '=');
      std::string argument(key);
      auto given = options_.arguments.find(argument);
      auto global = plan_.global_arguments.find(argument);
      if (given != options_.arguments.end()) {
        at.arguments[argument] = given->second;
      } else if (value) {
        CO_TRY_ASSIGN(at.arguments[argument], expand(*value, find, words));
      } else if (global != plan_.global_arguments.end()) {
        at.arguments[argument] = global->second;
      }
    }
    co_return Result<>{};
  }
  CO_TRY(at.image.apply(instruction, find, words));
  at.image.add_history(cat(name, " ", instruction.arguments), true);
  co_return Result<>{};
}

Task<Result<>> Build::make_work_dir(Current& at, const Instruction& instruction, bool& cached) {
  CO_TRY_ASSIGN(std::string path, expand(instruction.arguments, variables(at), {.escape = file_.escape}));
  CO_TRY_ASSIGN(std::string absolute, at.image.set_working_dir(path));
  struct Step {
    Build& build;
    std::string path;
    Task<Result<bool>> operator()(const Mounted& mounted) const {
      co_return co_await build.parts_.pool.run([&]() -> Result<bool> {
        TRY_ASSIGN(sys::Root root, sys::Root::open(mounted.path));
        auto there = root.stat(path);
        if (there && !S_ISDIR(there->st_mode)) return fail(Code::kInvalidArgument, cat("WORKDIR ", path, ": not a directory"));
        if (there) return false;
        TRY(root.make_directories(path, 0755));
        return true;
      });
    }
  };
  co_return co_await layer(at, cat("WORKDIR\n", absolute), cat("WORKDIR ", absolute), cached, Step{*this, absolute});
}

// The stage's image: its layers under its own configuration.
Task<Result<>> Build::finish(Current& at, std::vector<std::string> tags) {
  const bool target = at.stage->index == plan_.order.back();
  if (target)
    for (const auto& [name, value] : options_.labels) at.image.set_label(name, value);
  std::vector<std::string> references;
  for (const std::string& tag : tags) {
    CO_TRY_ASSIGN(image::Reference reference, image::parse_reference(tag));
    references.push_back(reference.text());
  }
  // Of another stage the layers are enough, where it has any.
  if (!target && !at.image.image_id().empty()) co_return Result<>{};
  // Nothing has changed since it was last built: it keeps its times, and so its id.
  std::string key = image::digest_of(cat("image\n", at.image.image_id(), "\n", at.image.config(""), "\n", options_.source_date_epoch ? std::to_string(*options_.source_date_epoch) : "", options_.cache_inline && target ? "\ninline" : ""));
  std::string now = created();
  if (!options_.no_cache) {
    std::string known = find_known(key);
    if (auto found = known.empty() ? std::nullopt : parts_.images.find(known)) {
      if (target && !found->config.created.empty()) target_times_.emplace(key, found->config.created);
      for (const std::string& reference : references) CO_TRY(co_await parts_.images.tag(known, reference));
      at.image.set_image(known, at.image.diff_ids());
      co_return Result<>{};
    }
  }
  // Made elsewhere of the same: it has its time from there.
  if (auto made = imported_times_.find(key); made != imported_times_.end() && !options_.no_cache) now = made->second;
  if (target) target_times_.emplace(key, now);
  std::string config = at.image.config(now);
  if (options_.cache_inline && target) {
    CO_TRY_ASSIGN(json::Value with, json::parse(config));
    json::at_path(with, {kCacheMember}) = format_cache(records(false));
    config = json::format(with);
  }
  CO_TRY_ASSIGN(image::ImportedImage image, co_await parts_.images.commit({.base_id = at.image.image_id(), .changes = {}, .config = std::move(config), .references = std::move(references), .mtime_max_seconds = {}}));
  CO_TRY(co_await remember(key, image.id));
  at.image.set_image(image.id, at.image.diff_ids());
  co_return Result<>{};
}

namespace {
std::string_view image_of(std::string_view value) { return value.substr(0, value.find(' ')); }
}  // namespace

Task<Result<>> Build::remember(std::string key, std::string value, async::Lasts lasts) {
  known_[key] = value;
  co_return co_await parts_.state.put(kBucket, std::move(key), std::move(value), lasts);
}

std::string Build::find_known(const std::string& key) const {
  auto hit = known_.find(key);
  if (hit == known_.end() || !parts_.images.find(image_of(hit->second))) return {};
  parts_.images.mark_used(image_of(hit->second));
  return hit->second;
}

Task<Result<>> Build::read_known() {
  CO_TRY_ASSIGN(auto all, co_await parts_.state.list(kBucket));
  known_ = std::map<std::string, std::string>(all.begin(), all.end());
  // What prune and rm took away.
  std::vector<async::StateChange> gone;
  for (const auto& [old, value] : known_)
    if (!parts_.images.find(image_of(value))) gone.push_back({.key = old});
  for (const async::StateChange& change : gone) known_.erase(change.key);
  if (!gone.empty()) CO_TRY(co_await parts_.state.apply(kBucket, std::move(gone), async::Lasts::kForever));
  co_return Result<>{};
}

Task<Result<Built>> Build::run() {
  if (auto given = options_.arguments.find("BUILDKIT_INLINE_CACHE"); given != options_.arguments.end() && (given->second == "1" || given->second == "true")) options_.cache_inline = true;
  CO_TRY_ASSIGN(file_, parse_dockerfile(options_.dockerfile));
  CO_TRY_ASSIGN(plan_, plan_stages(file_, options_.arguments, options_.target, options_.platform));
  built_.resize(plan_.stages.size());
  done_.resize(plan_.stages.size());
  triggers_.resize(plan_.stages.size());
  used_.resize(plan_.stages.size());
  first_step_.resize(plan_.stages.size());
  for (std::size_t index : plan_.order) {
    first_step_[index] = steps_ + 1;
    steps_ += plan_.stages[index].instructions.size();
  }
  auto ignore_text = options_.ignore ? Result<std::string>(*options_.ignore) : sys::read_host_file(options_.context + "/.dockerignore");
  if (ignore_text) {
    CO_TRY_ASSIGN(ignore_, IgnoreList::parse(*ignore_text));
  } else if (ignore_text.error().code() != Code::kNotFound) {
    co_return fail(std::move(ignore_text).error());
  }
  CO_TRY(co_await read_known());
  CO_TRY(co_await import_caches());
  CO_TRY(co_await build_stages());
  Built out{.id = built_[plan_.order.back()].image_id()};
  if (options_.cache_out) {
    CO_TRY_ASSIGN(out.cache_id, co_await make_cache_image(out.id));
  }
  co_return out;
}

Task<Result<std::set<std::string>>> list_cached(async::StateStore& state) {
  CO_TRY_ASSIGN(auto all, co_await state.list(kBucket));
  std::set<std::string> out;
  for (const auto& [key, value] : all) out.emplace(image_of(value));
  co_return out;
}

Task<Result<>> clear_work(image::ImageStore& images, async::Pool& pool, std::string work_dir) {
  CO_TRY(co_await pool.run([&]() -> Result<> {
    for (const std::string& name : sys::list_directory(work_dir)) {
      if (name == "cache") continue;
      const std::string path = cat(work_dir, "/", name);
      TRY(sys::unmount_all(path));
      TRY(sys::remove_tree(path));
    }
    return sys::make_directories(work_dir, 0700);
  }));
  for (const std::string& id : images.list_snapshots())
    if (id.starts_with(kSnapshotPrefix)) CO_TRY(co_await images.remove_snapshot(id));
  co_return Result<>{};
}

namespace {

Task<Result<>> nothing() { co_return Result<>{}; }

Task<Result<Built>> build_one(BuildParts& parts, BuildOptions options) {
  Build build(parts, std::move(options));
  Result<Built> built = fail(Code::kCancelled, "cancelled");
  std::exception_ptr thrown;  // a cancelled build unwinds that way, and is cleaned up after as any
  try {
    built = co_await build.run();
  } catch (...) {
    thrown = std::current_exception();
  }
  co_await async::asio::this_coro::throw_if_cancelled(false);
  co_await async::shielded(build.clean());
  co_await async::asio::this_coro::throw_if_cancelled(true);
  if (thrown) std::rethrow_exception(thrown);
  if (!built) co_return fail(built.error().code(), cat("Dockerfile:", built.error().message()));
  co_return built;
}

}  // namespace

// One after the other: what stages of this machine's platform make is known the second time. The names appear with the last.
Task<Result<Built>> build_image(BuildParts& parts, BuildOptions options) {
  if (options.platforms.size() < 2) {
    if (options.platforms.size() == 1) options.platform = options.platforms.front();
    co_return co_await build_one(parts, std::move(options));
  }
  if (options.cache_out) co_return fail(Code::kUnimplemented, "a cache of builds for several platforms is not supported: build for each by itself, or with type=inline");
  if (options.tags.empty()) co_return fail(Code::kInvalidArgument, "images for several platforms are found by their name: want a tag");
  Built out;
  for (const std::string& tag : options.tags) CO_TRY(image::parse_reference(tag));
  for (const image::Platform& platform : options.platforms) {
    BuildOptions own = options;
    own.platform = platform;
    own.tags.clear();
    BuildParts marked = parts;
    marked.report = [&parts, name = image::format_platform(platform)](StepReport step) {
      step.stage = cat(name, " ", step.stage);
      return parts.report ? parts.report(std::move(step)) : nothing();
    };
    Result<Built> built = co_await build_one(marked, std::move(own));
    if (!built) co_return fail(std::move(built).error().with(image::format_platform(platform)));
    out.images.push_back(built->id);
  }
  CO_TRY_ASSIGN(out.index, co_await parts.images.group(out.images, options.tags));
  out.id = out.images.front();
  for (const std::string& id : out.images)
    if (auto found = parts.images.find(id); found && found->config.platform.architecture == image::host_platform().architecture) out.id = id;
  co_return out;
}

}  // namespace monopod::build
