#include "docker/housekeeping.h"

#include <malloc.h>
#include <sys/statvfs.h>

#include <algorithm>

#include "base/log.h"

namespace monopod::docker {
namespace {

constexpr Duration kLookMax = std::chrono::minutes(10);
constexpr Duration kLookMin = std::chrono::seconds(1);
constexpr Duration kJustUsed = std::chrono::minutes(10);  // kept even where the disk is full
constexpr unsigned kTakenBelowPercent = 5;
constexpr std::uint64_t kBurst = 32;  // requests
constexpr Duration kQuiet = std::chrono::seconds(1);

struct Collecting {
  const CollectOptions& options;
  const std::string& data_dir;
  image::ImageStore& images;
  Events& events;

  async::Task<Result<>> remove(image::GcPolicy policy, std::string_view why) {
    CO_TRY_ASSIGN(image::GcResult gone, co_await images.gc(std::move(policy)));
    for (const std::string& id : gone.images_removed) events.emit("image", "delete", id, {{"name", id}});
    if (!gone.images_removed.empty()) log::info("unused images removed", {{"why", why}, {"images", gone.images_removed.size()}, {"bytes", gone.bytes_freed}});
    co_return Result<>{};
  }

  async::Task<Result<>> look() {
    if (options.unused_max > Duration(0)) CO_TRY(co_await remove({.bytes_max = UINT64_MAX, .unused_min = options.unused_max, .keep = {}, .unnamed_only = true, .unused_max = Duration(0)}, "nobody used them for long"));
    for (bool unnamed_only : {true, false}) {
      struct ::statvfs disk;
      if ((!unnamed_only && !options.named) || ::statvfs(data_dir.c_str(), &disk) != 0) break;
      CO_TRY_ASSIGN(image::Usage usage, co_await images.usage());
      auto allowed = layer_bytes_allowed(options, disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize, usage.layer_bytes);
      if (!allowed) break;
      CO_TRY(co_await remove({.bytes_max = *allowed, .unused_min = kJustUsed, .keep = {}, .unnamed_only = unnamed_only}, "the disk fills up"));
    }
    co_return Result<>{};
  }
};

}  // namespace

std::optional<std::uint64_t> layer_bytes_allowed(const CollectOptions& options, std::uint64_t disk_bytes, std::uint64_t disk_free_bytes, std::uint64_t layer_bytes) {
  const std::uint64_t used = disk_bytes - std::min(disk_bytes, disk_free_bytes);
  const std::uint64_t percent = disk_bytes / 100;
  if (options.disk_percent_max >= 100 || used <= percent * options.disk_percent_max) return std::nullopt;
  const std::uint64_t excess = used - percent * (options.disk_percent_max - std::min(options.disk_percent_max, kTakenBelowPercent));
  return layer_bytes > excess ? layer_bytes - excess : 0;
}

async::Task<Result<>> give_back_memory(Requests& requests, async::Time& time) {
  std::uint64_t done = 0;
  for (;;) {  // forever: until the engine ends
    while (requests.begun < done + kBurst) CO_TRY(co_await requests.changed.wait());
    do {
      done = requests.begun;
      CO_TRY(co_await time.sleep_for(kQuiet));
    } while (done != requests.begun);
    ::malloc_trim(0);
  }
}

async::Task<Result<>> collect_images(CollectOptions options, std::string data_dir, image::ImageStore& images, Events& events, async::Time& time, std::function<bool()> building) {
  Collecting collecting{options, data_dir, images, events};
  const Duration every = options.unused_max > Duration(0) ? std::clamp(Duration(options.unused_max / 4), kLookMin, kLookMax) : kLookMax;
  for (;;) {  // forever: until the engine ends
    CO_TRY(co_await time.sleep_for(every));
    if (building()) continue;
    if (Result<> looked = co_await collecting.look(); !looked) {
      if (looked.error().code() == Code::kCancelled) co_return looked;
      log::warn("unused images could not be removed", {{"error", looked.error()}});
    }
  }
}

}  // namespace monopod::docker
