// Section Image, but for what moves them.
#include <algorithm>

#include "base/strings.h"
#include "docker/api.h"
#include "docker/names.h"

namespace monopod::docker {
namespace {

using async::Task;

std::int64_t created_of(const image::Image& image) {
  auto at = parse_rfc3339(image.config.created);
  return at ? std::chrono::duration_cast<std::chrono::seconds>(at->time_since_epoch()).count() : 0;
}

json::Array familiar(const std::vector<std::string>& names) {
  json::Array out;
  for (const std::string& name : names) out.emplace_back(familiar_name(name));
  return out;
}

// What a step of a build left has neither a name nor a time.
// Another platform's image of an index is neither: its name shows this machine's.
bool is_step(const image::Image& image) { return image.references.empty() && (image.config.created.empty() || !image.platform_of.empty()); }

std::string tag_or_latest(const std::string& name) {
  std::size_t slash = name.rfind('/');
  std::string_view last = std::string_view(name).substr(slash == std::string::npos ? 0 : slash + 1);
  return last.find(':') == std::string_view::npos && name.find('@') == std::string::npos ? name + ":latest" : name;
}

Result<image::Image> find_image(const image::ImageStore& images, const std::string& name) {
  auto found = images.find(name);
  if (!found) return fail(Code::kNotFound, cat("No such image: ", name.starts_with("sha256:") ? name : tag_or_latest(name)));
  return *found;
}

// "busybox", "busybox:1*", "*/app"
bool matches_reference(std::string_view pattern, std::string_view name) {
  std::size_t p = 0, n = 0, star = std::string_view::npos, mark = 0;
  while (n < name.size()) {
    if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p;
      ++n;
    } else if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      mark = n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++mark;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

bool named_like(const image::Image& image, const std::string& pattern) {
  return std::ranges::any_of(image.references, [&](const std::string& reference) {
    std::string name = familiar_name(reference);
    return matches_reference(pattern, name) || matches_reference(pattern, name.substr(0, name.rfind(':'))) || matches_reference(pattern, reference);
  });
}

}  // namespace

Task<Result<>> Api::list_images(Call& call) {
  CO_TRY_ASSIGN(Filters filters, Filters::parse(call.text("filters")));
  CO_TRY(filters.only({"dangling", "label", "label!", "before", "since", "until", "reference"}));
  bool all = call.flag("all");
  std::vector<image::Image> images = p_.parts.images.list();
  std::ranges::stable_sort(images, [](const image::Image& a, const image::Image& b) { return created_of(a) > created_of(b); });
  json::Array out;
  for (const image::Image& i : images) {
    if (!all && is_step(i)) continue;
    bool dangling = i.references.empty();
    if (filters.has("dangling") && !filters.is("dangling", dangling ? "true" : "false") && !filters.is("dangling", dangling ? "1" : "0")) continue;
    json::Object labels = object_of(i.config.labels);
    if (!filters.labels_match(&labels)) continue;
    auto patterns = filters.get("reference");
    if (!patterns.empty() && std::ranges::none_of(patterns, [&](const std::string& w) { return named_like(i, w); })) continue;
    bool in_time = true;
    for (auto [key, before] : {std::pair("before", true), {"since", false}})
      for (const std::string& name : filters.get(key)) {
        CO_TRY_ASSIGN(image::Image other, find_image(p_.parts.images, name));
        in_time = in_time && (before ? created_of(i) < created_of(other) : created_of(i) > created_of(other));
      }
    if (!in_time) continue;
    out.push_back(json::Object{{"Id", i.id}, {"ParentId", ""}, {"RepoTags", familiar(i.references)}, {"RepoDigests", familiar(i.repo_digests)}, {"Created", created_of(i)}, {"Size", i.size_bytes},
                               {"VirtualSize", i.size_bytes}, {"SharedSize", -1}, {"Labels", std::move(labels)}, {"Containers", -1}});
  }
  co_return co_await call.answer(200, std::move(out));
}

json::Value Api::describe_image(const image::Image& image, const std::string& raw_config) const {
  json::Value config = json::Object{};
  if (auto parsed = json::parse(raw_config))
    if (const json::Object* own = json::get_object(*parsed, {"config"})) config = *own;
  const image::ImageConfig& c = image.config;
  for (std::string_view key : {"Env", "Cmd", "Entrypoint", "Volumes", "Labels", "OnBuild"})
    if (!config.get_object().contains(key)) config.get_object()[key] = nullptr;
  for (std::string_view key : {"User", "WorkingDir"})
    if (!config.get_object().contains(key)) config.get_object()[key] = "";
  return json::Object{{"Id", image.id}, {"RepoTags", familiar(image.references)}, {"RepoDigests", familiar(image.repo_digests)}, {"Parent", ""}, {"Comment", ""}, {"Created", c.created.empty() ? "0001-01-01T00:00:00Z" : c.created},
                      {"DockerVersion", ""}, {"Author", c.author}, {"Config", std::move(config)}, {"Architecture", c.platform.architecture}, {"Variant", c.platform.variant}, {"Os", c.platform.os},
                      {"Size", image.size_bytes}, {"VirtualSize", image.size_bytes}, {"GraphDriver", json::Object{{"Name", "overlay2"}, {"Data", nullptr}}},
                      {"RootFS", json::Object{{"Type", "layers"}, {"Layers", array_of(c.diff_ids)}}}, {"Metadata", json::Object{{"LastTagTime", format_rfc3339_nano(image.imported)}}}};
}

Task<Result<>> Api::inspect_image(Call& call) {
  CO_TRY_ASSIGN(image::Image image, find_image(p_.parts.images, call.name));
  CO_TRY_ASSIGN(std::string raw, co_await p_.parts.images.read_blob(image.id));
  json::Value described = describe_image(image, raw);
  // Gone since 1.45, but docker-compose 1.29 looks for volumes there, whatever version it speaks.
  described.get_object()["ContainerConfig"] = described.get_object()["Config"];
  co_return co_await call.answer(200, described);
}

Task<Result<>> Api::image_history(Call& call) {
  CO_TRY_ASSIGN(image::Image image, find_image(p_.parts.images, call.name));
  CO_TRY_ASSIGN(std::string raw, co_await p_.parts.images.read_blob(image.id));
  CO_TRY_ASSIGN(json::Value config, json::parse(raw));
  json::Array out;
  if (const json::Array* history = json::get_array(config, {"history"})) {
    for (std::size_t i = history->size(); i-- > 0;) {
      const json::Value& h = (*history)[i];
      auto at = parse_rfc3339(json::get_string(h, {"created"}));
      bool top = out.empty();
      out.push_back(json::Object{{"Id", top ? image.id : "<missing>"}, {"Created", at ? std::chrono::duration_cast<std::chrono::seconds>(at->time_since_epoch()).count() : 0}, {"CreatedBy", json::get_string(h, {"created_by"})},
                                 {"Tags", top ? json::Value(familiar(image.references)) : json::Value(nullptr)}, {"Size", json::get_bool(h, {"empty_layer"}) || history->size() > 1 ? 0 : static_cast<std::int64_t>(image.size_bytes)},
                                 {"Comment", json::get_string(h, {"comment"})}});
    }
  }
  if (out.empty())
    out.push_back(json::Object{{"Id", image.id}, {"Created", created_of(image)}, {"CreatedBy", ""}, {"Tags", familiar(image.references)}, {"Size", image.size_bytes}, {"Comment", ""}});
  co_return co_await call.answer(200, std::move(out));
}

Task<Result<>> Api::tag_image(Call& call) {
  CO_TRY_ASSIGN(image::Image image, find_image(p_.parts.images, call.name));
  std::string reference(call.text("repo"));
  if (std::string_view tag = call.text("tag"); !tag.empty()) reference += cat(":", tag);
  CO_TRY(co_await p_.parts.images.tag(image.id, reference));
  p_.events.emit("image", "tag", image.id, {{"name", familiar_name(reference)}});
  co_return co_await call.answer(201);
}

Task<Result<>> Api::remove_image(Call& call) {
  CO_TRY_ASSIGN(image::Image image, find_image(p_.parts.images, call.name));
  bool force = call.flag("force");
  auto reference = image::parse_reference(call.name);
  bool by_name = reference && std::ranges::find(image.references, reference->text()) != image.references.end();
  auto users = p_.containers.users_of_image(image.id);
  std::string short_id = image.id.substr(7, 12);
  if (!by_name && image.references.size() > 1 && !force)
    co_return fail(Code::kFailedPrecondition, cat("conflict: unable to delete ", short_id, " (must be forced) - image is referenced in multiple repositories"));
  bool last = !by_name || image.references.size() == 1;
  if (last && !users.empty()) {
    const Container& c = *users.front();
    std::string who = cat("container ", c.id.substr(0, 12));
    if (c.phase == Phase::kRunning) co_return fail(Code::kFailedPrecondition, cat("conflict: unable to ", by_name ? cat("remove repository reference \"", call.name, "\"") : cat("delete ", short_id), by_name ? " (cannot be forced) - " : " (cannot be forced) - image is being used by running ", who, by_name ? cat(" is using its referenced image ", short_id) : ""));
    co_return fail(Code::kFailedPrecondition, by_name ? cat("conflict: unable to remove repository reference \"", call.name, "\" (must force) - ", who, " is using its referenced image ", short_id)
                                                      : cat("conflict: unable to delete ", short_id, " (must be forced) - image is being used by stopped ", who));
  }
  std::vector<std::string> untagged = by_name ? std::vector<std::string>{reference->text()} : image.references;
  std::vector<std::string> digests = last ? image.repo_digests : std::vector<std::string>();
  CO_TRY_ASSIGN(bool gone, co_await p_.parts.images.remove(by_name ? reference->text() : image.id));
  json::Array out;
  for (const auto* list : {&untagged, &digests})
    for (const std::string& name : *list) out.push_back(json::Object{{"Untagged", familiar_name(name)}});
  for (const std::string& name : untagged) p_.events.emit("image", "untag", image.id, {{"name", familiar_name(name)}});
  if (gone) {
    out.push_back(json::Object{{"Deleted", image.id}});
    p_.events.emit("image", "delete", image.id, {{"name", image.id}});
  }
  co_return co_await call.answer(200, std::move(out));
}

Task<Result<>> Api::prune_images(Call& call) {
  CO_TRY_ASSIGN(Filters filters, Filters::parse(call.text("filters")));
  CO_TRY(filters.only({"dangling", "label", "label!", "until"}));
  bool dangling_only = !(filters.has("dangling") && (filters.is("dangling", "false") || filters.is("dangling", "0")));
  std::optional<WallTime> until;
  if (filters.has("until")) {
    CO_TRY_ASSIGN(until, parse_moment(filters.get("until").at(0), p_.parts.time.wall()));
  }
  CO_TRY_ASSIGN(image::Usage before, co_await p_.parts.images.usage());
  json::Array out;
  for (const image::Image& i : p_.parts.images.list()) {
    json::Object labels = object_of(i.config.labels);
    if ((dangling_only && !i.references.empty()) || (i.references.empty() && !i.platform_of.empty()) || !p_.containers.users_of_image(i.id).empty() || !filters.labels_match(&labels) || (until && i.imported > *until)) continue;
    for (const std::string& name : i.references) out.push_back(json::Object{{"Untagged", familiar_name(name)}});
    auto gone = co_await p_.parts.images.remove(i.id);
    if (gone && *gone) out.push_back(json::Object{{"Deleted", i.id}});
  }
  CO_TRY_ASSIGN(image::Usage after, co_await p_.parts.images.usage());
  std::uint64_t was = before.layer_bytes + before.blob_bytes;
  std::uint64_t is = after.layer_bytes + after.blob_bytes;
  co_return co_await call.answer(200, json::Object{{"ImagesDeleted", out.empty() ? json::Value(nullptr) : json::Value(std::move(out))}, {"SpaceReclaimed", was > is ? was - is : 0}});
}

Task<Result<>> Api::search_images(Call&) { co_return fail(Code::kUnimplemented, "searching a registry is not supported"); }

}  // namespace monopod::docker
