// The cache that other builds left, and what this one leaves to them.
#include "build/cache.h"

#include "base/duration.h"
#include "base/log.h"
#include "base/strings.h"
#include "build/build.h"
#include "build/limits.h"
#include "image/digest.h"

namespace monopod::build {

using async::Task;

namespace {

Result<> read_records(const json::Value& cache, std::string_view member, std::map<std::string, std::string>& out, bool times) {
  const json::Value* found = json::find(cache, {member});
  if (found == nullptr) return {};
  if (!found->is_object() || found->get_object().size() > kCacheRecordsMax) return fail(Code::kInvalidArgument, cat("cache: ", member, ": not an object of ", kCacheRecordsMax, " records at most"));
  for (const auto& [key, value] : found->get_object()) {
    std::string text = value.is_string() ? std::string(value.get_string()) : "?";
    const bool fits = times ? parse_rfc3339(text).has_value() : text.empty() || image::is_digest(text);
    if (!image::is_digest(key) || !fits) return fail(Code::kInvalidArgument, cat("cache: ", member, ": \"", std::string_view(key).substr(0, 100), "\" is no record"));
    out.emplace(key, std::move(text));
  }
  return {};
}

}  // namespace

Result<CacheRecords> parse_cache(std::string_view config) {
  CacheRecords out;
  TRY_ASSIGN(json::Value root, json::parse(config));
  const json::Value* cache = json::find(root, {kCacheMember});
  if (cache == nullptr) return out;
  TRY(read_records(*cache, "steps", out.steps, false));
  TRY(read_records(*cache, "images", out.images, true));
  return out;
}

json::Value format_cache(const CacheRecords& records) {
  json::Object steps, images;
  for (const auto& [key, layer] : records.steps) steps[key] = layer;
  for (const auto& [key, created] : records.images) images[key] = created;
  return json::Object{{"steps", std::move(steps)}, {"images", std::move(images)}};
}

Task<Result<>> Build::import_caches() {
  for (const std::string& name : options_.cache_images) {
    auto found = parts_.images.find(name);
    if (!found) co_return fail(Code::kNotFound, cat("cache from ", name, ": no such image"));
    parts_.images.mark_used(found->id);
    CO_TRY_ASSIGN(std::string config, co_await parts_.images.read_blob(found->id));
    Result<CacheRecords> records = parse_cache(config);
    if (!records) {
      log::warn("an image's build cache cannot be read", {{"image", name}, {"error", records.error()}});
      continue;
    }
    for (const auto& [key, layer] : records->steps) imported_.try_emplace(key, image::LayerOf{.image_id = found->id, .diff_id = layer});
    imported_times_.merge(records->images);
  }
  co_return Result<>{};
}

// The image that the step makes of this one, by somebody else's word; empty where nobody says so.
Task<Result<std::string>> Build::find_imported(const std::string& key, const ImageState& image) {
  auto hit = imported_.find(key);
  if (hit == imported_.end() || options_.no_cache) co_return std::string();
  const image::LayerOf layer = hit->second;
  if (layer.diff_id.empty()) co_return image.image_id();
  image::CommitOptions commit{.base_id = image.image_id(), .layers = {layer}, .changes = {}, .config = image.layers_only(), .references = {}, .mtime_max_seconds = {}};
  Result<image::ImportedImage> made = co_await parts_.images.commit(std::move(commit));
  if (made) co_return made->id;
  if (made.error().code() == Code::kCancelled) co_return fail(std::move(made).error());
  log::warn("a layer of a build's cache cannot be used", {{"layer", layer.diff_id}, {"error", made.error()}});
  imported_.erase(key);
  co_return std::string();
}

void Build::note_step(const Current& at, const std::string& key, const ImageState& before, const std::string& after) {
  auto found = parts_.images.find(after);
  const bool grew = found && found->config.diff_ids.size() > before.diff_ids().size();
  used_[at.stage->index].push_back({.key = key, .layer = {.image_id = after, .diff_id = grew ? found->config.diff_ids.back() : ""}});
}

// Of the target and the stages that it stands on; all: of every stage that was built.
CacheRecords Build::records(bool all) const {
  std::set<std::size_t> wanted;
  for (int stage = static_cast<int>(plan_.order.back()); stage >= 0; stage = plan_.stages[static_cast<std::size_t>(stage)].base_stage) wanted.insert(static_cast<std::size_t>(stage));
  CacheRecords out{.steps = {}, .images = target_times_};
  for (std::size_t stage = 0; stage < used_.size(); ++stage)
    for (const UsedStep& step : used_[stage])
      if (all || wanted.contains(stage)) out.steps.emplace(step.key, step.layer.diff_id);
  return out;
}

// An image without a name: the target's layers, with all those of the other stages above them.
Task<Result<std::string>> Build::make_cache_image(const std::string& target) {
  auto found = parts_.images.find(target);
  if (!found) co_return fail(Code::kInternal, "the built image is gone");
  CacheRecords out = records(options_.cache_all);
  std::set<std::string> there(found->config.diff_ids.begin(), found->config.diff_ids.end());
  std::vector<image::LayerOf> more;
  for (const std::vector<UsedStep>& stage : used_)
    for (const UsedStep& step : stage)
      if (out.steps.contains(step.key) && !step.layer.diff_id.empty() && there.insert(step.layer.diff_id).second) more.push_back(step.layer);
  json::Value config = json::Object{{"architecture", found->config.platform.architecture}, {"os", found->config.platform.os}};
  json::at_path(config, {kCacheMember}) = format_cache(out);
  CO_TRY_ASSIGN(image::ImportedImage made, co_await parts_.images.commit({.base_id = target, .layers = std::move(more), .changes = {}, .config = json::format(config), .references = {}, .mtime_max_seconds = {}}));
  co_return made.id;
}

}  // namespace monopod::build
