// What the engine takes away by itself: images that have no name (a build's steps, what a newer build took the name of), once nobody used them for long,
// and the least recently used first where the disk fills up. Images with a name are people's: they go only where that is asked for.
#pragma once

#include <functional>
#include <set>
#include <string>

#include "async/event.h"
#include "async/time.h"
#include "docker/events.h"
#include "image/store.h"

namespace monopod::docker {

struct CollectOptions {
  Duration unused_max = std::chrono::hours(24 * 7);  // zero: for ever
  unsigned disk_percent_max = 85;                    // of the data directory's file system, used; 100: never too much
  bool named = false;                                // where the disk is too full, images with a name too, that no container has
};

// How many bytes of layers may stay, where so much of the disk is used; nullopt: all. Five percent more than what is too much goes.
std::optional<std::uint64_t> layer_bytes_allowed(const CollectOptions& options, std::uint64_t disk_bytes, std::uint64_t disk_free_bytes, std::uint64_t layer_bytes);

// What the API was asked for.
struct Requests {
  std::uint64_t begun = 0;
  async::Notify changed;
};

// After a burst of requests, once none has come for a second, pages that hold nothing any more go back to the system: what fifty starts at once take for a
// moment lies between what stays of them. Forever.
async::Task<Result<>> give_back_memory(Requests& requests, async::Time& time);

// Looks from time to time, forever. Not while building() says that a build runs.
async::Task<Result<>> collect_images(CollectOptions options, std::string data_dir, image::ImageStore& images, Events& events, async::Time& time, std::function<bool()> building);

}  // namespace monopod::docker
