// COPY --link and ADD --link: a layer of its own, made over nothing. What it depends on is what is copied and where to, not the layers below, so that it stays when they change.
// Links of the base at the destination are not followed, and directories on the way to it stay as the base has them.
#include "base/strings.h"
#include "build/build.h"
#include "build/copying.h"
#include "container/users.h"
#include "image/digest.h"

namespace monopod::build {

using async::Task;

// Names are the base's; numbers need no base.
Task<Result<>> Build::resolve_owner(const Current& at, Copying& copying) {
  if (copying.chown.empty()) co_return Result<>{};
  auto [user, group] = split_once(copying.chown, ':');
  auto uid = parse_int<std::uint32_t>(user), gid = group ? parse_int<std::uint32_t>(*group) : uid;
  if (uid && gid) {
    copying.into.owner = {*uid, *gid};
    co_return Result<>{};
  }
  if (at.image.image_id().empty()) co_return fail(Code::kInvalidArgument, cat("--chown=", copying.chown.substr(0, 100), ": an image from scratch has no names"));
  CO_TRY_ASSIGN(std::string path, co_await mount_kept(at.image.image_id()));
  CO_TRY_ASSIGN(sys::Root root, sys::Root::open(path));
  CO_TRY_ASSIGN(container::ResolvedUser found, container::resolve_user_in(root, copying.chown));
  copying.into.owner = {found.uid, group ? found.gid : found.uid};
  co_return Result<>{};
}

// The copy over an empty image.
Task<Result<std::string>> Build::make_link_image(const Current& at, Copying& copying) {
  ImageState empty = ImageState::scratch(at.image.platform());
  CO_TRY_ASSIGN(image::ImportedImage nothing, co_await parts_.images.commit({.base_id = {}, .changes = {}, .config = empty.layers_only(), .references = {}, .mtime_max_seconds = {}}));
  empty.set_image(nothing.id, {});
  CO_TRY(co_await open_sources(copying));
  bool directory = copying.into.owner.has_value();
  for (const std::string& path : copying.paths)
    if (auto st = copying.root->stat(path); st && S_ISDIR(st->st_mode)) directory = true;
  // The destination itself is described where the copy says what it is; what leads to it is not.
  std::string to = copying.into.destination;
  const bool below = to.ends_with('/') || copying.count > 1;
  std::string clean = clean_path(to).substr(1);
  std::set<std::string> passed;
  if (below && !directory) passed.insert(clean);
  for (std::size_t slash = clean.rfind('/'); slash != std::string::npos; slash = clean.rfind('/', slash - 1)) {
    passed.insert(clean.substr(0, slash));
    if (slash == 0) break;
  }
  struct Step {
    Build& build;
    Copying& copying;
    Task<Result<bool>> operator()(const Mounted& mounted) const { return build.copy_into(copying, mounted); }
  };
  co_return co_await change_image(empty, Step{*this, copying}, std::move(passed));
}

Task<Result<>> Build::link_layer(Current& at, Copying& copying, std::string what, bool& cached) {
  CO_TRY(co_await resolve_owner(at, copying));
  image::Platform platform = at.image.platform();
  const auto owner = copying.into.owner.value_or(std::pair<std::uint32_t, std::uint32_t>{});
  std::string key = image::digest_of(cat("link\n", platform.os, "/", platform.architecture, "/", platform.variant, "\n", options_.source_date_epoch ? std::to_string(*options_.source_date_epoch) : "", "\n",
                                         copying.into.owner ? cat(owner.first, ":", owner.second) : "", "\n", what));
  struct Step {
    Build& build;
    Current& at;
    Copying& copying;
    std::string key;
    Task<Result<std::string>> operator()(bool& cached) const {
      CO_TRY(co_await build.enter(key));
      Turn turn(build, key);
      std::string link = build.options_.no_cache ? std::string() : build.find_known(key);
      cached = !link.empty();
      if (!cached) {
        CO_TRY_ASSIGN(link, co_await build.make_link_image(at, copying));
        CO_TRY(co_await build.remember(key, link));
      }
      auto found = build.parts_.images.find(link);
      if (!found) co_return fail(Code::kInternal, "the linked layer's image is gone");
      if (found->config.diff_ids.empty()) co_return at.image.image_id();
      image::CommitOptions commit{.base_id = at.image.image_id(), .layers = {{.image_id = link, .diff_id = found->config.diff_ids.back()}}, .changes = {}, .config = at.image.layers_only(), .references = {}, .mtime_max_seconds = {}};
      CO_TRY_ASSIGN(image::ImportedImage made, co_await build.parts_.images.commit(std::move(commit)));
      co_return made.id;
    }
  };
  co_return co_await make_step(at, cat("link\n", key), copying.instruction.source, cached, Step{*this, at, copying, key});
}

}  // namespace monopod::build
