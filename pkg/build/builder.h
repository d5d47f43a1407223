// Builds an image from a Dockerfile and a directory: README.md has the picture.
//
// Needs root: overlayfs is mounted below work_dir, in the calling process's mount namespace (a private one is the caller's business), and RUN
// makes containers.
//
// Stages that do not stand on one another are built side by side (BuildOptions::jobs). The first that fails ends the others; a caller that is cancelled
// ends all: their containers, mounts and snapshots are gone when build_image returns.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "async/pool.h"
#include "async/state_store.h"
#include "async/time.h"
#include "base/rng.h"
#include "image/store.h"

namespace monopod::build {

struct BuildOptions {
  std::string context;      // absolute directory
  std::string dockerfile;   // its text
  std::optional<std::string> ignore = {};  // text of the Dockerfile's own list of what is not part of the context (NAME.dockerignore); else the context's .dockerignore
  std::string work_dir;     // absolute: mounts, bundles and cache mounts
  std::vector<std::string> tags;
  std::string target;       // a stage's name or number; empty: the last
  std::map<std::string, std::string> arguments;  // --build-arg
  std::map<std::string, std::string> secrets;    // id -> path of a file
  std::map<std::string, std::string> ssh;        // id -> path of an agent's socket
  std::map<std::string, std::string> labels;
  bool no_cache = false;
  bool pull = false;        // base images are fetched although they are here
  std::optional<std::int64_t> source_date_epoch;
  std::vector<std::string> cache_images;  // ids or references of images that are here, with records of steps (cache.h)
  bool cache_inline = false;  // the image itself holds its records, as with --build-arg BUILDKIT_INLINE_CACHE=1
  bool cache_out = false;     // an image of the cache is made beside the built one
  bool cache_all = false;     // of all stages, not only of the target's
  std::size_t jobs = 0;       // stages that are built at once; 0: by processors and memory (limits.h)
  std::vector<image::Platform> platforms = {};  // more than one: an image for each, and one name for all; platform is not looked at
  image::Platform platform = image::host_platform();  // of stages that do not say another; programs of a foreign one need binfmt_misc
};

// What a RUN needs from above: the exit code of the container of this bundle, whose output goes to the descriptor, which stays the caller's.
// Cancelled, it ends the container before it returns.
using RunBundle = std::function<async::Task<Result<int>>(std::string bundle, std::string id, int output)>;
// By the same credentials as `image pull`.
using PullImage = std::function<async::Task<Result<>>(std::string reference, image::Platform platform)>;

struct StepReport {
  enum class Kind { kBegins, kOutput, kEnds, kFails };
  Kind kind = Kind::kBegins;
  std::size_t number = 0, total = 0;  // of the steps of all stages that are built, in the order in which they stand
  bool trigger = false;  // of the base (ONBUILD): it has no number of its own, but that of the step before it
  std::string stage;
  bool alone = true;     // no other stage may be built meanwhile
  std::string text;      // the instruction; kOutput: what its container wrote, of steps that are not alone whole lines
  bool cached = false;   // kEnds
  Duration took{};       // kEnds
};
// Slow ones hold back what they are told about.
using ReportStep = std::function<async::Task<Result<>>(StepReport)>;

struct BuildParts {
  image::ImageStore& images;
  async::StateStore& state;  // bucket "build": what a step made, by what went into it
  async::Pool& pool;
  async::Time& time;
  Rng& rng;
  RunBundle run;
  PullImage pull;
  ReportStep report;
  http::TlsClient* tls = nullptr;      // for ADD of addresses: null, https cannot be reached
  http::Resolver* resolver = nullptr;  // null: only literals and localhost
};

// Whole lines, each with a mark before it.
std::string mark_lines(std::string_view lines, std::string_view mark);

// What a build that was killed left: mounts and files of work_dir but its caches, and snapshots. While no build runs; work_dir is made where it is missing.
async::Task<Result<>> clear_work(image::ImageStore& images, async::Pool& pool, std::string work_dir);

// Ids of the images that steps made, of which the cache consists.
async::Task<Result<std::set<std::string>>> list_cached(async::StateStore& state);

struct Built {
  std::string id;        // of several platforms: this machine's, or the first
  std::string index = {};  // digest of the index over the images of several platforms, which the tags are of
  std::vector<std::string> images = {};  // their ids, in the order of the platforms
  std::string cache_id = {};  // with cache_out: an image without a name, the caller's to remove
};

// Errors of the Dockerfile are "Dockerfile:line:column: what is wrong".
async::Task<Result<Built>> build_image(BuildParts& parts, BuildOptions options);

}  // namespace monopod::build
