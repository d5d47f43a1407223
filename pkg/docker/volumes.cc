#include "docker/volumes.h"

#include "base/strings.h"
#include "docker/call.h"
#include "docker/limits.h"
#include "docker/names.h"
#include "docker/networks.h"
#include "image/recover.h"
#include "sys/files.h"
#include "sys/root.h"

namespace monopod::docker {
namespace {
constexpr const char* kBucket = "docker";
constexpr std::string_view kKeyPrefix = "volume/";
}  // namespace

std::string Volumes::path(std::string_view name) const { return cat(directory_, "/", name, "/_data"); }

const Volume* Volumes::find(std::string_view name) const {
  auto found = all_.find(name);
  return found == all_.end() ? nullptr : &found->second;
}

async::Task<Result<>> Volumes::open() {
  CO_TRY_ASSIGN(auto pairs, co_await state_.list(kBucket));
  for (const auto& [key, text] : pairs) {
    if (!key.starts_with(kKeyPrefix)) continue;
    CO_TRY_ASSIGN(json::Value value, json::parse(text));
    Volume volume{.name = key.substr(kKeyPrefix.size()), .labels = string_map_of(value, {"labels"}), .options = string_map_of(value, {"options"}), .anonymous = json::get_bool(value, {"anonymous"}), .goes_with = std::string(json::get_string(value, {"goes_with"}))};
    if (auto at = parse_rfc3339(json::get_string(value, {"created"}))) volume.created = *at;
    all_[volume.name] = std::move(volume);
  }
  // A directory without a record was being made, or removed, when the engine died.
  co_await pool_.run([&] {
    for (const std::string& name : sys::list_directory(directory_))
      if (!all_.contains(name)) (void)sys::remove_tree(cat(directory_, "/", name));
  });
  co_return co_await pool_.run([&] { return sys::make_directories(directory_, 0711); });
}

async::Task<Result<const Volume*>> Volumes::create(json::Value request, std::string goes_with) {
  Volume volume{.name = std::string(json::get_string(request, {"Name"})), .created = time_.wall(), .labels = string_map_of(request, {"Labels"}), .options = string_map_of(request, {"DriverOpts"})};
  std::string_view driver = json::get_string(request, {"Driver"});
  if (!driver.empty() && driver != "local") co_return fail(Code::kNotFound, cat("error looking up volume plugin ", driver, ": plugin \"", driver, "\" not found"));
  if (!volume.options.empty()) co_return fail(Code::kUnimplemented, "driver options of volumes are not supported: bind-mount the directory instead");
  volume.anonymous = volume.name.empty();
  if (volume.anonymous) {
    volume.name = make_id(rng_);
    volume.goes_with = std::move(goes_with);
  }
  CO_TRY(check_object_name(volume.name, "volume"));
  if (const Volume* there = find(volume.name)) co_return there;
  if (all_.size() >= kVolumesMax) co_return fail(Code::kResourceExhausted, cat("more than ", kVolumesMax, " volumes"));
  std::string name = volume.name;
  const Volume* out = &(all_[name] = std::move(volume));
  Result<> made = co_await pool_.run([&]() -> Result<> { return sys::make_directories(path(name)); });
  json::Object record{{"created", format_rfc3339_nano(out->created)}, {"labels", object_of(out->labels)}, {"options", object_of(out->options)}, {"anonymous", out->anonymous}};
  if (!out->goes_with.empty()) record["goes_with"] = out->goes_with;
  if (made) made = co_await state_.put(kBucket, cat(kKeyPrefix, name), json::format(record));
  if (!made) {
    all_.erase(name);
    co_return fail(std::move(made).error());
  }
  co_return out;
}

async::Task<std::int64_t> Volumes::bytes(std::string name) {
  std::string directory = path(name);
  co_return co_await pool_.run([&]() -> std::int64_t {
    auto root = sys::Root::open(directory);
    auto bytes = root ? image::tree_bytes(*root, ".") : Result<std::uint64_t>(fail(root.error()));
    return bytes ? static_cast<std::int64_t>(*bytes) : -1;
  });
}

async::Task<Result<>> Volumes::remove(std::string name) {
  if (!all_.contains(name)) co_return fail(Code::kNotFound, cat("get ", name, ": no such volume"));
  CO_TRY(co_await state_.remove(kBucket, cat(kKeyPrefix, name)));
  all_.erase(name);
  co_return co_await pool_.run([&] { return sys::remove_tree(cat(directory_, "/", name)); });
}

json::Object Volumes::describe(const Volume& volume) const {
  json::Object labels = object_of(volume.labels);
  if (volume.anonymous) labels["com.docker.volume.anonymous"] = "";
  return json::Object{{"CreatedAt", format_rfc3339(volume.created)}, {"Driver", "local"}, {"Labels", std::move(labels)}, {"Mountpoint", path(volume.name)}, {"Name", volume.name},
                      {"Options", volume.options.empty() ? json::Value(nullptr) : json::Value(object_of(volume.options))}, {"Scope", "local"}};
}

}  // namespace monopod::docker
