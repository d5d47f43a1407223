// One build, step by step (builder.h is the door): stages in builder.cc and side_by_side.cc, COPY and ADD in copy_command.cc, RUN in run_command.cc.
//
// Stages run as coroutines of one loop: between two awaits nothing else happens; what must not be done twice at once is done in turn (Turn).
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "async/event.h"
#include "async/scope.h"
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
  // However run ended: what is still mounted goes.
  async::Task<> clean();

 private:
  // A snapshot of an image, mounted below work_dir until the step is over.
  struct Mounted {
    std::string id;
    std::string path;
    std::string upper;
  };
  // Held while something is done that others would do too: they wait, and find it done.
  struct [[nodiscard]] Turn {
    Turn(Build& b, std::string n) : build(b), name(std::move(n)) {}
    Turn(const Turn&) = delete;
    ~Turn() { build.leave(name); }
    Build& build;
    std::string name;
  };
  // Of a cache mount's directory.
  struct CacheUse {
    std::size_t users = 0;
    bool locked = false;  // by its only user
  };
  class Caches;
  // One of the stages that are built at once.
  struct [[nodiscard]] Slot {
    explicit Slot(Build& b) : build(b) { ++build.building_; }
    Slot(const Slot&) = delete;
    ~Slot() {
      --build.building_;
      build.changed_->wake_all();
    }
    Build& build;
  };
  struct Current {
    const Stage* stage = nullptr;
    ImageState image;
    std::map<std::string, std::string> arguments;  // declared in this stage
    StepReport step{};                             // the one that is being done
  };
  using Change = std::function<async::Task<Result<bool>>(const Mounted&)>;  // false: the step needs no layer whatever it did
  using Make = std::function<async::Task<Result<std::string>>(bool& cached)>;  // the image that a step makes

  // side_by_side.cc
  async::Task<Result<>> build_stages();
  async::Task<Result<>> build_in_turn(std::size_t index);
  async::Task<Result<>> build_once(std::size_t index);
  async::Task<Result<>> enter(std::string name);  // then make the Turn
  void leave(const std::string& name);
  async::Task<Result<>> relay_output(const Current& at, sys::Fd pipe);
  async::Task<Result<int>> run_container(const Current& at, const RunStep& step);
  async::Task<Result<>> build_stage(const Stage& stage);
  async::Task<Result<>> start_stage(Current& at);
  async::Task<Result<>> execute(Current& at, const Instruction& instruction, std::optional<std::size_t> number);  // none: a trigger's
  async::Task<Result<>> tell(StepReport report);
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
  std::string find_known(const std::string& key) const;
  async::Task<Result<>> read_known();
  async::Task<Result<>> remember(std::string key, std::string value, async::Lasts lasts = async::Lasts::kForever);
  async::Task<Result<>> import_caches();
  async::Task<Result<std::string>> find_imported(const std::string& key, const ImageState& image);
  void note_step(const Current& at, const std::string& key, const ImageState& before, const std::string& after);
  CacheRecords records(bool all) const;
  async::Task<Result<std::string>> make_cache_image(const std::string& target);
  async::Task<Result<>> finish(Current& at, std::vector<std::string> tags);

  async::Task<Result<Mounted>> mount(const std::string& image_id);
  async::Task<Result<Mounted>> prepare_and_mount(const std::string& image_id);
  async::Task<Result<>> unmount(const Mounted& mounted);
  async::Task<Result<>> take_away(const Mounted& mounted);
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
  std::vector<bool> done_;                              // by stage
  std::map<std::string, std::string> mounted_;          // paths, by the snapshot's id: all that is not unmounted again
  std::map<std::string, std::string> kept_;             // mounted image roots, by image id
  std::map<std::string, std::string> found_;            // images by reference and platform
  std::vector<std::vector<Instruction>> triggers_;      // ONBUILD of bases, by stage: they outlive it
  std::map<std::string, std::string> known_;            // bucket "build"
  std::map<std::string, std::string> made_;             // of those this build's own
  std::set<std::string> turns_;                         // names of what is being done
  std::optional<async::Notify> changed_;                // of turns_, done_, building_ or caches_
  std::map<std::string, CacheUse> caches_;              // cache mounts in use, by path
  std::size_t building_ = 0, jobs_ = 1;
  bool alone_ = true;                                   // stages follow one another whatever jobs_ is
  struct UsedStep {
    std::string key;
    image::LayerOf layer;  // that the step added, with an image that has it; no diff id: none
  };
  std::map<std::string, image::LayerOf> imported_;      // what caches that were named say: by key
  std::map<std::string, std::string> imported_times_;   // of images, by key
  std::vector<std::vector<UsedStep>> used_;             // this build's steps, by stage
  std::map<std::string, std::string> target_times_;     // of the built image
  std::vector<std::size_t> first_step_;                 // by stage: the number of its first step, from 1
  std::size_t steps_ = 0;
};

}  // namespace monopod::build
