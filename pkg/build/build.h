// One build, step by step (builder.h is the door): stages in builder.cc, COPY and ADD in copy_command.cc, RUN in run_command.cc.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/duration.h"
#include "build/builder.h"
#include "build/cache.h"
#include "build/copy.h"
#include "build/image_state.h"
#include "build/run_step.h"
#include "build/stages.h"

namespace monopod::build {

inline constexpr std::string_view kSnapshotPrefix = "build-";

// Whom a shell gets its proxies from: known without an ARG, and not part of what a step's cache depends on.
inline constexpr std::string_view kProxyArguments[] = {"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "FTP_PROXY", "ftp_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"};

class Build {
 public:
  Build(BuildParts& parts, BuildOptions options) : parts_(parts), options_(std::move(options)) {}

  async::Task<Result<Built>> run();

 private:
  // A snapshot of an image, mounted below work_dir until the step is over.
  struct Mounted {
    std::string id;
    std::string path;
    std::string upper;
  };
  struct Current {
    const Stage* stage = nullptr;
    ImageState image;
    std::map<std::string, std::string> arguments;  // declared in this stage
  };
  using Change = std::function<async::Task<Result<bool>>(const Mounted&)>;  // false: the step needs no layer whatever it did
  using Make = std::function<async::Task<Result<std::string>>(bool& cached)>;  // the image that a step makes

  async::Task<Result<>> build_stage(const Stage& stage);
  async::Task<Result<>> start_stage(Current& at);
  async::Task<Result<>> execute(Current& at, const Instruction& instruction);
  async::Task<Result<>> dispatch(Current& at, const Instruction& instruction, bool& cached);
  async::Task<Result<>> copy(Current& at, const Instruction& instruction, bool& cached);
  class Extras;
  struct Copying;
  Result<> read_copy_flags(Copying& copying, const FindVariable& find, const WordOptions& options) const;
  Result<> read_copy_words(Current& at, Copying& copying, const FindVariable& find, const WordOptions& options);
  async::Task<Result<>> fetch_addresses(Copying& copying);
  async::Task<Result<>> open_sources(Copying& copying);
  CopySource source_of(const Copying& copying) const;
  async::Task<Result<>> digest_content(Copying& copying);
  async::Task<Result<bool>> copy_into(Copying& copying, const Mounted& mounted);
  async::Task<Result<>> add_archives(const CopySource& from, std::vector<std::string>& paths, const sys::Root& into, const CopyOptions& options);
  async::Task<Result<>> link_layer(Current& at, Copying& copying, std::string what, bool& cached);
  async::Task<Result<std::string>> make_link_image(const Current& at, Copying& copying);
  async::Task<Result<>> resolve_owner(const Current& at, Copying& copying);
  async::Task<Result<>> run_command(Current& at, const Instruction& instruction, bool& cached);
  async::Task<Result<>> make_work_dir(Current& at, const Instruction& instruction, bool& cached);
  async::Task<Result<>> layer(Current& at, std::string what, const std::string& created_by, bool& cached, Change change);
  async::Task<Result<>> make_step(Current& at, std::string what, const std::string& created_by, bool& cached, Make make);
  async::Task<Result<std::string>> change_image(const ImageState& image, Change change, std::set<std::string> undescribed = {});
  // What is remembered under a key: an image's id, and what may follow it after a space; empty where there is none, or the image is gone.
  async::Task<Result<std::string>> find_known(std::string key);
  async::Task<Result<>> remember(std::string key, std::string value, async::Lasts lasts = async::Lasts::kForever);
  async::Task<Result<>> import_caches();
  async::Task<Result<std::string>> find_imported(const std::string& key, const ImageState& image);
  void note_step(const Current& at, const std::string& key, const ImageState& before, const std::string& after);
  CacheRecords records(bool all) const;
  async::Task<Result<std::string>> make_cache_image(const std::string& target);
  async::Task<Result<>> finish(Current& at, std::vector<std::string> tags);

  async::Task<Result<Mounted>> mount(const std::string& image_id);
  async::Task<Result<>> unmount(const Mounted& mounted);
  async::Task<Result<>> unmount_kept();
  // The image that --from= names; its root, mounted until the end of the build.
  async::Task<Result<std::string>> source_image(const Current& at, const std::string& name);
  async::Task<Result<std::string>> mount_kept(const std::string& image_id);
  async::Task<Result<std::string>> find_or_pull(std::string reference, image::Platform platform);
  Result<image::Platform> platform_of(const Stage& stage) const;
  async::Task<Result<>> collect_mounts(Current& at, const Instruction& instruction, RunStep& step, std::string& key);

  FindVariable variables(const Current& at) const {
    return [this, &at](std::string_view name) -> std::optional<std::string> {
      if (auto set = at.image.find_env(name)) return set;
      auto found = at.arguments.find(std::string(name));
      if (found != at.arguments.end()) return found->second;
      auto given = options_.arguments.find(std::string(name));
      return given != options_.arguments.end() && std::ranges::find(kProxyArguments, name) != std::end(kProxyArguments) ? std::optional(given->second) : std::nullopt;
    };
  }
  std::string created() const {
    return format_rfc3339(options_.source_date_epoch ? WallTime(std::chrono::seconds(*options_.source_date_epoch)) : parts_.time.wall());
  }

  BuildParts& parts_;
  BuildOptions options_;
  Dockerfile file_;
  Plan plan_;
  IgnoreList ignore_;
  std::vector<ImageState> built_;                       // by stage
  std::map<std::string, Mounted> kept_;                 // mounted image roots, by image id
  std::vector<std::vector<Instruction>> triggers_;      // ONBUILD of bases: they outlive their stage
  std::optional<std::map<std::string, std::string>> known_;  // bucket "build"
  struct UsedStep {
    std::size_t stage = 0;
    std::string key;
    image::LayerOf layer;  // that the step added, with an image that has it; no diff id: none
  };
  std::map<std::string, image::LayerOf> imported_;      // what caches that were named say: by key
  std::map<std::string, std::string> imported_times_;   // of images, by key
  std::vector<UsedStep> used_;                          // this build's steps, in order
  std::map<std::string, std::string> target_times_;     // of the built image
  std::size_t step_ = 0, steps_ = 0;
};

}  // namespace monopod::build
