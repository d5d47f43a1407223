#include "build/builder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/duration.h"
#include "base/log.h"
#include "base/strings.h"
#include "build/copy.h"
#include "build/image_state.h"
#include "build/run_step.h"
#include "build/stages.h"
#include "codec/compress.h"
#include "container/users.h"
#include "image/digest.h"
#include "image/reference.h"
#include "image/unpack.h"

namespace monopod::build {
namespace {

using async::Task;

constexpr char kBucket[] = "build";
constexpr std::string_view kSnapshotPrefix = "build-";
constexpr std::size_t kSecretBytesMax = 500U << 10;

// Whom a shell gets its proxies from: known without an ARG, and not part of what a step's cache depends on.
constexpr std::string_view kProxyArguments[] = {"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "FTP_PROXY", "ftp_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"};

class Build {
 public:
  Build(BuildParts& parts, BuildOptions options) : parts_(parts), options_(std::move(options)) {}

  Task<Result<std::string>> run();

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
  using Change = std::function<Task<Result<bool>>(const Mounted&)>;  // false: the step needs no layer whatever it did

  Task<Result<>> build_stage(const Stage& stage);
  Task<Result<>> start_stage(Current& at);
  Task<Result<>> execute(Current& at, const Instruction& instruction);
  Task<Result<>> dispatch(Current& at, const Instruction& instruction, bool& cached);
  Task<Result<>> copy(Current& at, const Instruction& instruction, bool& cached);
  Task<Result<>> add_archives(const CopySource& from, std::vector<std::string>& paths, const sys::Root& into, const CopyOptions& options);
  Task<Result<>> run_command(Current& at, const Instruction& instruction, bool& cached);
  Task<Result<>> make_work_dir(Current& at, const Instruction& instruction, bool& cached);
  Task<Result<>> layer(Current& at, std::string what, const std::string& created_by, bool& cached, Change change);
  Task<Result<std::string>> find_known(std::string key);
  Task<Result<>> finish(Current& at, std::vector<std::string> tags);

  Task<Result<Mounted>> mount(const std::string& image_id);
  Task<Result<>> unmount(const Mounted& mounted);
  Task<Result<>> unmount_kept();
  // The root of what --from= names, mounted until the end of the build.
  Task<Result<std::string>> source_root(const Current& at, const std::string& name);
  Task<Result<std::string>> find_or_pull(std::string reference, image::Platform platform);
  Result<image::Platform> platform_of(const Stage& stage) const;
  Task<Result<>> collect_mounts(Current& at, const Instruction& instruction, RunStep& step, std::string& key);

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
  std::size_t step_ = 0, steps_ = 0;
};

Task<Result<std::string>> Build::find_or_pull(std::string reference, image::Platform platform) {
  CO_TRY_ASSIGN(image::Reference parsed, image::parse_reference(reference));
  auto found = parts_.images.find(parsed.text());
  auto fits = [&] { return found && found->config.platform.os == platform.os && found->config.platform.architecture == platform.architecture; };
  if (!found || options_.pull || !fits()) {
    Result<> pulled = co_await parts_.pull(parsed.text(), platform);
    if (!pulled && found && !fits()) pulled = fail(std::move(pulled).error().with(cat(reference, " is here for ", image::format_platform(found->config.platform), ", not for ", image::format_platform(platform))));
    CO_TRY(std::move(pulled));
    found = parts_.images.find(parsed.text());
  }
  if (!found) co_return fail(Code::kNotFound, cat("image ", parsed.text(), ": not found"));
  if (!fits()) co_return fail(Code::kFailedPrecondition, cat(reference, " is for ", image::format_platform(found->config.platform), ", not for ", image::format_platform(platform)));
  co_return found->id;
}

Task<Result<Build::Mounted>> Build::mount(const std::string& image_id) {
  Mounted out;
  out.id = cat(kSnapshotPrefix, parts_.rng.uuid());
  out.path = cat(options_.work_dir, "/", out.id);
  CO_TRY_ASSIGN(image::Snapshot snapshot, co_await parts_.images.prepare_snapshot(out.id, image_id));
  out.upper = snapshot.upperdir;
  if (::mkdir(out.path.c_str(), 0700) != 0) co_return fail_errno(cat("make directory ", out.path));
  CO_TRY(co_await parts_.images.mount(out.id, out.path));
  co_return out;
}

Task<Result<>> Build::unmount(const Mounted& mounted) {
  CO_TRY(co_await parts_.images.unmount(mounted.path));
  (void)::rmdir(mounted.path.c_str());
  co_return co_await parts_.images.remove_snapshot(mounted.id);
}

Task<Result<>> Build::unmount_kept() {
  Result<> first;
  for (const auto& [id, mounted] : kept_) {
    Result<> done = co_await unmount(mounted);
    if (!done && first) first = std::move(done);
  }
  kept_.clear();
  co_return first;
}

Task<Result<std::string>> Build::source_root(const Current& at, const std::string& name) {
  int stage = find_stage(plan_.stages, name, at.stage->index);
  std::string id;
  if (stage >= 0) {
    id = built_[static_cast<std::size_t>(stage)].image_id();
  } else {
    CO_TRY_ASSIGN(id, co_await find_or_pull(name, options_.platform));
  }
  auto kept = kept_.find(id);
  if (kept == kept_.end()) {
    CO_TRY_ASSIGN(Mounted mounted, co_await mount(id));
    kept = kept_.emplace(id, std::move(mounted)).first;
  }
  co_return kept->second.path;
}

// A step that may change files. what says all that it depends on besides the layers below.
Task<Result<>> Build::layer(Current& at, std::string what, const std::string& created_by, bool& cached, Change change) {
  ImageState& image = at.image;
  if (image.image_id().empty()) {  // from scratch
    CO_TRY_ASSIGN(image::ImportedImage empty, co_await parts_.images.commit({.base_id = {}, .changes = {}, .config = image.layers_only(), .references = {}, .mtime_max_seconds = {}}));
    image.set_image(empty.id, {});
  }
  image::Platform platform = image.platform();
  std::string text = cat("1\n", join(image.diff_ids(), "\n"), "\n", platform.os, "/", platform.architecture, "/", platform.variant, "\n",
                         options_.source_date_epoch ? std::to_string(*options_.source_date_epoch) : "", "\n", what);
  std::string key = image::digest_of(text);
  if (!options_.no_cache) {
    CO_TRY_ASSIGN(std::string known, co_await find_known(key));
    if (auto found = known.empty() ? std::nullopt : parts_.images.find(known)) {
      image.add_history(created_by, found->id == image.image_id());
      image.set_image(found->id, found->config.diff_ids);
      cached = true;
      co_return Result<>{};
    }
  }
  CO_TRY_ASSIGN(Mounted mounted, co_await mount(image.image_id()));
  Result<bool> changed = co_await change(mounted);
  std::string next = image.image_id();
  if (changed) {
    Result<> gone = co_await parts_.images.unmount(mounted.path);
    if (!gone) changed = fail(std::move(gone).error());
  }
  if (changed && *changed) {
    image::CommitOptions commit{.base_id = next, .changes = mounted.upper, .config = image.layers_only(), .references = {}, .mtime_max_seconds = options_.source_date_epoch};
    Result<image::ImportedImage> made = co_await parts_.images.commit(std::move(commit));
    if (made) next = made->id;
    else changed = fail(std::move(made).error());
  }
  Result<> cleaned = co_await unmount(mounted);
  if (!changed) co_return fail(std::move(changed).error());
  CO_TRY(std::move(cleaned));
  CO_TRY(co_await parts_.state.put(kBucket, key, next));
  auto found = parts_.images.find(next);
  if (!found) co_return fail(Code::kInternal, "the step's image is gone");
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
    if (triggers_.size() <= stage.index) triggers_.resize(stage.index + 1);
    triggers_[stage.index].push_back(*std::move(parsed));
  }
  co_return Result<>{};
}

Task<Result<>> Build::build_stage(const Stage& stage) {
  Current at{.stage = &stage, .image = {}, .arguments = {}};
  CO_TRY(co_await start_stage(at));
  if (triggers_.size() > stage.index)
    for (const Instruction& trigger : triggers_[stage.index]) CO_TRY(co_await execute(at, trigger));
  for (const Instruction* instruction : stage.instructions) CO_TRY(co_await execute(at, *instruction));
  CO_TRY(co_await finish(at, stage.index == plan_.order.back() ? options_.tags : std::vector<std::string>{}));
  built_[stage.index] = std::move(at.image);
  co_return Result<>{};
}

Task<Result<>> Build::execute(Current& at, const Instruction& instruction) {
  StepReport report{.number = ++step_, .total = steps_, .stage = at.stage->title(), .text = instruction.source, .begins = true};
  if (parts_.report) parts_.report(report);
  MonoTime start = parts_.time.mono();
  bool cached = false;
  Result<> done = co_await dispatch(at, instruction, cached);
  if (!done) {
    // What the line itself says is wrong has its place already.
    Error error = std::move(done).error();
    if (!error.message().starts_with(cat(instruction.line, ":"))) error = Error(error.code(), cat(instruction.line, ":", instruction.column, ": ", error.message()));
    co_return fail(std::move(error));
  }
  report.begins = false;
  report.cached = cached;
  report.took = std::chrono::duration_cast<Duration>(parts_.time.mono() - start);
  if (parts_.report) parts_.report(report);
  co_return Result<>{};
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

// What is an archive is unpacked at the destination; paths keeps the rest.
Task<Result<>> Build::add_archives(const CopySource& from, std::vector<std::string>& paths, const sys::Root& into, const CopyOptions& options) {
  static const std::atomic<bool> kGoOn{false};
  std::vector<std::string> rest;
  for (const std::string& path : paths) {
    auto unpacked = co_await parts_.pool.run([&]() -> Result<bool> {
      TRY_ASSIGN(struct ::stat st, from.root.stat(path));
      if (!S_ISREG(st.st_mode)) return false;
      TRY_ASSIGN(sys::Fd file, from.root.open_file(path, O_RDONLY));
      struct Source final : codec::ByteSource {
        int fd;
        explicit Source(int number) : fd(number) {}
        Result<std::size_t> read(std::span<std::byte> bytes) override {
          ssize_t n = ::read(fd, bytes.data(), bytes.size());
          if (n < 0) return fail_errno("read archive");
          return static_cast<std::size_t>(n);
        }
      };
      std::array<std::byte, 512> head;
      Source raw(file.get());
      TRY_ASSIGN(std::size_t n, codec::read_full(raw, head));
      codec::Compression compression = codec::detect_compression(std::span(head).first(n));
      if (::lseek(file.get(), 0, SEEK_SET) < 0) return fail_errno(cat("rewind ", path));
      auto plain = codec::make_decompressor(compression, raw);
      // A tar says so in its first header; what is compressed and no tar is a file like any other.
      std::array<std::byte, 512> header;
      auto got = codec::read_full(*plain, header);
      if (!got || *got != header.size() || as_text(std::span(header).subspan(257, 5)) != "ustar") return false;
      if (::lseek(file.get(), 0, SEEK_SET) < 0) return fail_errno(cat("rewind ", path));
      std::string staging = cat(options_.work_dir, "/add-", parts_.rng.uuid());
      if (::mkdir(staging.c_str(), 0755) != 0) return fail_errno(cat("make directory ", staging));
      TRY_ASSIGN(sys::Root parent, sys::Root::open(options_.work_dir));
      auto work = [&]() -> Result<> {
        TRY_ASSIGN(sys::Root root, sys::Root::open(staging));
        plain = codec::make_decompressor(compression, raw);
        TRY(image::unpack_layer(*plain, root, {}, kGoOn));
        return copy_tree({.root = root, .keep_owner = true}, into, options);
      };
      Result<> done = work();
      (void)parent.remove_tree(staging.substr(options_.work_dir.size() + 1));
      if (!done) return fail(std::move(done).error().with(path));
      return true;
    });
    if (!unpacked) co_return fail(std::move(unpacked).error());
    if (!*unpacked) rest.push_back(path);
  }
  paths = std::move(rest);
  co_return Result<>{};
}

Task<Result<>> Build::copy(Current& at, const Instruction& instruction, bool& cached) {
  FindVariable find = variables(at);
  WordOptions options{.escape = file_.escape};
  std::vector<std::string> words;
  if (instruction.is_json) {
    for (const std::string& word : instruction.words) {
      CO_TRY_ASSIGN(std::string text, expand(word, find, options));
      words.push_back(std::move(text));
    }
  } else {
    CO_TRY_ASSIGN(words, expand_words(instruction.arguments, find, options));
  }
  if (words.size() < 2) co_return fail(Code::kInvalidArgument, cat(instruction.name, " requires at least two arguments, but only one was provided: destination could not be determined"));
  CopyOptions into;
  into.destination = at.image.absolute_path(words.back());
  words.pop_back();
  for (const char* flag : {"parents", "exclude", "checksum", "unpack"})
    if (instruction.find_flag(flag) != nullptr) co_return fail(Code::kUnimplemented, cat(instruction.name, " --", flag, " is not supported"));
  std::string chown, from;
  if (const Flag* flag = instruction.find_flag("chown")) {
    CO_TRY_ASSIGN(chown, expand(flag->value, find, options));
  }
  if (const Flag* flag = instruction.find_flag("from")) {
    CO_TRY_ASSIGN(from, expand(flag->value, find, options));
  }
  if (const Flag* flag = instruction.find_flag("chmod")) {
    CO_TRY_ASSIGN(std::string text, expand(flag->value, find, options));
    std::uint32_t mode = 0;
    auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), mode, 8);
    if (ec != std::errc() || end != text.data() + text.size() || mode > 07777) co_return fail(Code::kInvalidArgument, cat("--chmod=", text, ": want octal digits"));
    into.mode = mode;
  }
  // Heredocs are files of a directory of their own.
  struct Documents {
    std::string path;
    ~Documents() {
      if (path.empty()) return;
      std::size_t slash = path.rfind('/');
      if (auto root = sys::Root::open(path.substr(0, slash))) (void)root->remove_tree(path.substr(slash + 1));
    }
  } documents;
  if (!instruction.heredocs.empty()) {
    documents.path = cat(options_.work_dir, "/doc-", parts_.rng.uuid());
    if (::mkdir(documents.path.c_str(), 0700) != 0) co_return fail_errno(cat("make directory ", documents.path));
    CO_TRY_ASSIGN(sys::Root root, sys::Root::open(documents.path));
    for (const Heredoc& document : instruction.heredocs) {
      std::string content = document.content;
      if (document.expand) {
        CO_TRY_ASSIGN(content, expand(document.content, find, {.escape = file_.escape, .keep_quotes = true}));
      }
      CO_TRY(root.write_file(document.name, content, 0644));
    }
  }
  std::vector<std::string> named;
  for (const std::string& word : words) {
    if (word.starts_with("<<") && !instruction.heredocs.empty()) continue;
    if (instruction.name == "ADD" && (word.find("://") != std::string::npos || word.starts_with("git@"))) co_return fail(Code::kUnimplemented, cat("ADD ", word, ": addresses are not supported; fetch it with RUN, or beforehand"));
    named.push_back(word);
  }
  std::string root_path = options_.context;
  if (!from.empty()) {
    CO_TRY_ASSIGN(root_path, co_await source_root(at, from));
  }
  CO_TRY_ASSIGN(sys::Root root, sys::Root::open(root_path));
  CopySource source{.root = root, .ignore = from.empty() ? &ignore_ : nullptr, .keep_owner = !from.empty()};
  std::vector<std::string> paths, document_paths;
  for (const Heredoc& document : instruction.heredocs) document_paths.push_back(document.name);
  std::string content;
  CO_TRY(co_await parts_.pool.run([&]() -> Result<> {
    TRY_ASSIGN(paths, find_sources(source, named));
    TRY_ASSIGN(content, digest_sources(source, paths));
    if (document_paths.empty()) return {};
    TRY_ASSIGN(sys::Root below, sys::Root::open(documents.path));
    TRY_ASSIGN(std::string more, digest_sources({.root = below}, document_paths));
    content += more;
    return {};
  }));
  if (paths.size() + document_paths.size() > 1 && !into.destination.ends_with('/')) co_return fail(Code::kInvalidArgument, cat("when using ", instruction.name, " with more than one source file, the destination must be a directory and end with a /"));
  struct Step {
    Build& build;
    bool add;
    CopySource& source;
    std::vector<std::string>& paths;
    std::vector<std::string>& document_paths;
    const std::string& documents;
    CopyOptions& into;
    const std::string& chown;
    Task<Result<bool>> operator()(const Mounted& mounted) const {
      CO_TRY_ASSIGN(sys::Root target, sys::Root::open(mounted.path));
      if (!chown.empty()) {
        CO_TRY_ASSIGN(container::ResolvedUser user, container::resolve_user_in(target, chown));
        into.owner = {user.uid, chown.find(':') == std::string::npos ? user.uid : user.gid};
      }
      if (add) CO_TRY(co_await build.add_archives(source, paths, target, into));
      co_return co_await build.parts_.pool.run([&]() -> Result<bool> {
        if (!paths.empty()) TRY(copy_sources(source, paths, target, into));
        if (!document_paths.empty()) {
          TRY_ASSIGN(sys::Root below, sys::Root::open(documents));
          TRY(copy_sources({.root = below}, document_paths, target, into));
        }
        return true;
      });
    }
  };
  std::string what = cat(instruction.name, "\n", content, "\n", into.destination, "\n", chown, "\n", into.mode ? std::to_string(*into.mode) : "");
  co_return co_await layer(at, std::move(what), instruction.source, cached, Step{*this, instruction.name == "ADD", source, paths, document_paths, documents.path, into, chown});
}

Task<Result<>> Build::collect_mounts(Current& at, const Instruction& instruction, RunStep& step, std::string& key) {
  FindVariable find = variables(at);
  for (const Flag& flag : instruction.flags) {
    if (flag.name == "security" && flag.value != "sandbox") co_return fail(Code::kUnimplemented, cat("RUN --security=", flag.value, " is not supported"));
    if (flag.name == "network") {
      if (flag.value != "none" && flag.value != "host" && flag.value != "default") co_return fail(Code::kInvalidArgument, cat("RUN --network=", flag.value, ": want default, none or host"));
      step.network = flag.value != "none";
      key += cat("network ", flag.value, "\n");
    }
    if (flag.name != "mount") continue;
    CO_TRY_ASSIGN(std::string text, expand(flag.value, find, {.escape = file_.escape}));
    MountSource source;
    CO_TRY_ASSIGN(source.mount, parse_run_mount(text, at.image.working_dir()));
    key += cat("mount ", text, "\n");
    const RunMount& mount = source.mount;
    if (mount.type == RunMount::Type::kBind) {
      std::string root_path = options_.context;
      if (!mount.from.empty()) {
        CO_TRY_ASSIGN(root_path, co_await source_root(at, mount.from));
      }
      CO_TRY(co_await parts_.pool.run([&]() -> Result<> {
        TRY_ASSIGN(sys::Root root, sys::Root::open(root_path));
        CopySource below{.root = root, .ignore = mount.from.empty() ? &ignore_ : nullptr, .keep_owner = !mount.from.empty()};
        TRY_ASSIGN(std::vector<std::string> paths, find_sources(below, {mount.source.empty() ? "." : mount.source}));
        TRY_ASSIGN(std::string digest, digest_sources(below, paths));
        key += cat(digest, "\n");
        // Where links lead, they lead inside: the path of what was opened.
        TRY_ASSIGN(sys::Fd fd, root.open_file(paths.front(), O_PATH));
        std::string real(4096, '\0');
        ssize_t n = ::readlink(sys::fd_path(fd.get()).c_str(), real.data(), real.size());
        if (n < 0) return fail_errno("find the mount's source");
        source.host_path = real.substr(0, static_cast<std::size_t>(n));
        return {};
      }));
    } else if (mount.type == RunMount::Type::kCache) {
      if (!mount.from.empty()) co_return fail(Code::kUnimplemented, "RUN --mount=type=cache,from= is not supported");
      std::string caches = options_.work_dir + "/cache";
      source.host_path = cat(caches, "/", image::digest_hex(image::digest_of(mount.id)));
      if (::mkdir(caches.c_str(), 0700) != 0 && errno != EEXIST) co_return fail_errno(cat("make directory ", caches));
      if (::mkdir(source.host_path.c_str(), 0755) == 0) {
        if (::chmod(source.host_path.c_str(), mount.mode.value_or(0755)) != 0 || ::chown(source.host_path.c_str(), mount.uid.value_or(0), mount.gid.value_or(0)) != 0) co_return fail_errno(cat("set attributes of ", source.host_path));
      } else if (errno != EEXIST) {
        co_return fail_errno(cat("make directory ", source.host_path));
      }
    } else if (mount.type == RunMount::Type::kSecret) {
      auto given = options_.secrets.find(mount.id);
      if (given == options_.secrets.end()) {
        if (mount.required) co_return fail(Code::kInvalidArgument, cat("secret ", mount.id, ": not found: give it with --secret id=", mount.id, ",src=FILE"));
        continue;
      }
      CO_TRY_ASSIGN(std::string secret, sys::read_host_file(given->second, kSecretBytesMax));
      if (!mount.env.empty()) step.env.push_back(cat(mount.env, "=", secret));
      if (mount.target.empty()) continue;
      // On a file of its own: the mode and owner are those asked for.
      source.host_path = cat(step.bundle, ".secret-", step.mounts.size());
      sys::Fd file(::open(source.host_path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
      if (!file) co_return fail_errno(cat("create ", source.host_path));
      CO_TRY(sys::write_all(file.get(), secret));
      if (::fchown(file.get(), mount.uid.value_or(0), mount.gid.value_or(0)) != 0 || ::fchmod(file.get(), mount.mode.value_or(0400)) != 0) co_return fail_errno(cat("set attributes of ", source.host_path));
      source.mount.read_only = true;
    }
    step.mounts.push_back(std::move(source));
  }
  co_return Result<>{};
}

Task<Result<>> Build::run_command(Current& at, const Instruction& instruction, bool& cached) {
  RunStep step;
  step.id = cat(kSnapshotPrefix, parts_.rng.uuid());
  step.bundle = cat(options_.work_dir, "/bundle-", step.id);
  step.cwd = at.image.working_dir();
  step.user = at.image.user();
  if (instruction.is_json) {
    step.args = instruction.words;
  } else {
    std::string script = instruction.arguments;
    // A heredoc alone is the script; else the shell gets it with its command.
    if (instruction.heredocs.size() == 1 && script.starts_with("<<") && split_words(script, file_.escape).size() == 1) {
      script = instruction.heredocs.front().content;
      if (script.starts_with("#!")) co_return fail(Code::kUnimplemented, "a heredoc with an interpreter line is not supported; name the interpreter: RUN python3 <<EOF");
    } else if (!instruction.heredocs.empty()) {
      for (const Heredoc& document : instruction.heredocs) script += cat("\n", document.content, document.name);
      script += "\n";
    }
    step.args = at.image.shell();
    step.args.push_back(std::move(script));
  }
  for (const std::string& entry : at.image.env()) step.env.push_back(entry);
  std::string key = cat("RUN\n", join(step.args, "\n"), "\n", step.cwd, "\n", step.user, "\n", join(step.env, "\n"), "\n");
  for (const auto& [name, value] : at.arguments)
    if (!at.image.find_env(name)) {
      step.env.push_back(cat(name, "=", value));
      key += cat("ARG ", name, "=", value, "\n");
    }
  for (std::string_view name : kProxyArguments)
    if (auto given = options_.arguments.find(std::string(name)); given != options_.arguments.end() && !at.arguments.contains(given->first)) step.env.push_back(cat(name, "=", given->second));
  struct Secrets {  // files of secrets do not outlive the step
    RunStep& step;
    ~Secrets() {
      for (const MountSource& source : step.mounts)
        if (source.mount.type == RunMount::Type::kSecret) (void)::unlink(source.host_path.c_str());
    }
  } secrets{step};
  CO_TRY(co_await collect_mounts(at, instruction, step, key));
  struct Step {
    Build& build;
    RunStep& step;
    image::Platform platform;
    Task<Result<bool>> operator()(const Mounted& mounted) const {
      step.root = mounted.path;
      Result<int> code = co_await build.parts_.pool.run([&] { return run_step(step, build.parts_.run); });
      if (code && *code != 0) code = fail(Code::kAborted, cat("process \"", join(step.args, " ").substr(0, 500), "\" did not complete successfully: exit code: ", *code));
      if (!code && platform.architecture != image::host_platform().architecture)
        code = fail(std::move(code).error().with(cat("a program for ", image::format_platform(platform), ", which runs here only where binfmt_misc has an interpreter for it (Debian: qemu-user-static)")));
      CO_TRY(code);
      co_return co_await build.parts_.pool.run([&]() -> Result<bool> {
        TRY_ASSIGN(sys::Root upper, sys::Root::open(mounted.upper));
        TRY_ASSIGN(auto entries, upper.read_directory("."));
        return !entries.empty();
      });
    }
  };
  co_return co_await layer(at, std::move(key), cat("RUN ", join(step.args, " ")), cached, Step{*this, step, at.image.platform()});
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
  std::string key = image::digest_of(cat("image\n", at.image.image_id(), "\n", at.image.config(""), "\n", options_.source_date_epoch ? std::to_string(*options_.source_date_epoch) : ""));
  if (!options_.no_cache) {
    CO_TRY_ASSIGN(std::string known, co_await find_known(key));
    if (!known.empty()) {
      for (const std::string& reference : references) CO_TRY(co_await parts_.images.tag(known, reference));
      at.image.set_image(known, at.image.diff_ids());
      co_return Result<>{};
    }
  }
  CO_TRY_ASSIGN(image::ImportedImage image, co_await parts_.images.commit({.base_id = at.image.image_id(), .changes = {}, .config = at.image.config(created()), .references = std::move(references), .mtime_max_seconds = {}}));
  CO_TRY(co_await parts_.state.put(kBucket, key, image.id));
  at.image.set_image(image.id, at.image.diff_ids());
  co_return Result<>{};
}

// The image that a key stands for, where it is still here.
Task<Result<std::string>> Build::find_known(std::string key) {
  if (!known_) {
    CO_TRY_ASSIGN(auto all, co_await parts_.state.list(kBucket));
    known_.emplace(all.begin(), all.end());
    // What prune and rm took away.
    std::vector<async::StateChange> gone;
    for (const auto& [old, id] : *known_)
      if (!parts_.images.find(id)) gone.push_back({.key = old});
    for (const async::StateChange& change : gone) known_->erase(change.key);
    if (!gone.empty()) CO_TRY(co_await parts_.state.apply(kBucket, std::move(gone), async::Lasts::kForever));
  }
  auto hit = known_->find(key);
  co_return hit != known_->end() && parts_.images.find(hit->second) ? hit->second : std::string();
}

Task<Result<std::string>> Build::run() {
  CO_TRY_ASSIGN(file_, parse_dockerfile(options_.dockerfile));
  CO_TRY_ASSIGN(plan_, plan_stages(file_, options_.arguments, options_.target, options_.platform));
  for (std::size_t index : plan_.order) steps_ += plan_.stages[index].instructions.size();
  built_.resize(plan_.stages.size());
  auto ignore_text = sys::read_host_file(options_.context + "/.dockerignore");
  if (ignore_text) {
    CO_TRY_ASSIGN(ignore_, IgnoreList::parse(*ignore_text));
  } else if (ignore_text.error().code() != Code::kNotFound) {
    co_return fail(std::move(ignore_text).error());
  }
  // What a build that was killed left.
  for (const std::string& id : parts_.images.list_snapshots())
    if (id.starts_with(kSnapshotPrefix)) CO_TRY(co_await parts_.images.remove_snapshot(id));
  Result<> done;
  for (std::size_t index : plan_.order) {
    done = co_await build_stage(plan_.stages[index]);
    if (!done) break;
  }
  Result<> cleaned = co_await unmount_kept();
  if (!done) co_return fail(std::move(done).error());
  CO_TRY(std::move(cleaned));
  co_return built_[plan_.order.back()].image_id();
}

}  // namespace

Task<Result<std::string>> build_image(BuildParts& parts, BuildOptions options) {
  Build build(parts, std::move(options));
  Result<std::string> id = co_await build.run();
  if (!id) co_return fail(id.error().code(), cat("Dockerfile:", id.error().message()));
  co_return id;
}

}  // namespace monopod::build
