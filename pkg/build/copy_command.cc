// COPY and ADD.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/strings.h"
#include "build/build.h"
#include "build/copying.h"
#include "build/fetch.h"
#include "codec/compress.h"
#include "container/users.h"
#include "image/digest.h"
#include "image/unpack.h"

namespace monopod::build {

using async::Task;

namespace {

// By magic and by name: what is no tar is a file like any other, but that cannot be known without its decompressor.
Result<> refuse_foreign_archive(std::string_view path, std::span<const std::byte> head) {
  for (auto [name, magic, endings] : {std::tuple{"xz", std::string_view("\xfd" "7zXZ"), ".tar.xz .txz"}, {"bzip2", "BZh", ".tar.bz2 .tbz2 .tbz .tar.bz"}})
    if (as_text(head).starts_with(magic))
      for (std::string_view ending : split(endings, ' '))
        if (path.ends_with(ending)) return fail(Code::kUnimplemented, cat(path, ": archives in ", name, " are not unpacked: use gzip or zstd, RUN tar, or --unpack=false to take it as it is"));
  return {};
}

}  // namespace

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
      TRY(refuse_foreign_archive(path, std::span(head).first(n)));
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

Result<> Build::read_copy_flags(Copying& copying, const FindVariable& find, const WordOptions& options) const {
  const Instruction& instruction = copying.instruction;
  auto read_switch = [&instruction](std::string_view name) -> Result<std::optional<bool>> {
    const Flag* flag = instruction.find_flag(name);
    if (flag == nullptr) return std::nullopt;
    if (flag->has_value && flag->value != "true" && flag->value != "false") return fail(Code::kInvalidArgument, cat("--", name, "=", flag->value.substr(0, 50), ": want true or false"));
    return !flag->has_value || flag->value == "true";
  };
  TRY_ASSIGN(std::optional<bool> link, read_switch("link"));
  TRY_ASSIGN(std::optional<bool> parents, read_switch("parents"));
  TRY_ASSIGN(copying.unpack, read_switch("unpack"));
  TRY(read_switch("keep-git-dir"));
  copying.link = link.value_or(false);
  copying.parents = parents.value_or(false);
  for (auto [name, value] : {std::pair{"chown", &copying.chown}, {"from", &copying.from}, {"checksum", &copying.checksum}})
    if (const Flag* flag = instruction.find_flag(name)) {
      TRY_ASSIGN(*value, expand(flag->value, find, options));
    }
  for (const Flag& flag : instruction.flags) {
    if (flag.name != "exclude") continue;
    TRY_ASSIGN(std::string pattern, expand(flag.value, find, options));
    copying.exclude_text += cat(pattern, "\n");
  }
  TRY_ASSIGN(copying.exclude, IgnoreList::parse(copying.exclude_text));
  if (!copying.checksum.empty() && !image::is_digest(copying.checksum)) return fail(Code::kInvalidArgument, cat("--checksum=", copying.checksum.substr(0, 200), ": want sha256: and 64 hex digits"));
  if (const Flag* flag = instruction.find_flag("chmod")) {
    TRY_ASSIGN(std::string text, expand(flag->value, find, options));
    TRY_ASSIGN(copying.into.mode, FileMode::parse(text));
    copying.chmod = copying.into.mode->octal() ? std::to_string(*copying.into.mode->octal()) : text;
  }
  return {};
}

// Its words: the last is the destination.
Result<> Build::read_copy_words(Current& at, Copying& copying, const FindVariable& find, const WordOptions& options) {
  const Instruction& instruction = copying.instruction;
  std::vector<std::string> words;
  if (instruction.is_json) {
    for (const std::string& word : instruction.words) {
      TRY_ASSIGN(std::string text, expand(word, find, options));
      words.push_back(std::move(text));
    }
  } else {
    TRY_ASSIGN(words, expand_words(instruction.arguments, find, options));
  }
  if (words.size() < 2) return fail(Code::kInvalidArgument, cat(instruction.name, " requires at least two arguments, but only one was provided: destination could not be determined"));
  copying.into.destination = at.image.absolute_path(words.back());
  words.pop_back();
  for (const std::string& word : words) {
    if (word.starts_with("<<") && !instruction.heredocs.empty()) continue;
    if (instruction.name == "ADD" && is_git(word)) return fail(Code::kUnimplemented, cat("ADD ", word, ": repositories of git are not supported; clone it with RUN, or beforehand"));
    (instruction.name == "ADD" && is_address(word) ? copying.addresses : copying.named).push_back(word);
  }
  if (!copying.checksum.empty() && (copying.addresses.size() != 1 || !copying.named.empty() || !instruction.heredocs.empty()))
    return fail(Code::kInvalidArgument, "--checksum is for one address and nothing beside it");
  for (const Heredoc& document : instruction.heredocs) {
    std::string content = document.content;
    if (document.expand) {
      TRY_ASSIGN(content, expand(document.content, find, {.escape = file_.escape, .keep_quotes = true}));
    }
    TRY_ASSIGN(sys::Root root, copying.extras.open(options_, parts_.rng));
    TRY(root.write_file(document.name, content, 0644));
    copying.extras.names.push_back(document.name);
  }
  return {};
}

// With a checksum nothing need be fetched to know what it is.
Task<Result<>> Build::fetch_addresses(Copying& copying) {
  for (const std::string& url : std::exchange(copying.addresses, {})) {
    CO_TRY_ASSIGN(std::string name, address_file_name(url));
    CO_TRY_ASSIGN(sys::Root root, copying.extras.open(options_, parts_.rng));
    CO_TRY_ASSIGN(sys::Fd file, root.open_no_symlinks(name, O_WRONLY | O_CREAT | O_EXCL, 0600));
    CO_TRY_ASSIGN(std::string digest, co_await fetch({.time = parts_.time, .tls = parts_.tls, .resolver = parts_.resolver}, url, file.get()));
    if (!copying.checksum.empty() && digest != copying.checksum) co_return fail(Code::kDataLoss, cat(url, ": its content is ", digest, ", not ", copying.checksum));
    copying.extras.names.push_back(std::move(name));
  }
  co_return Result<>{};
}

Task<Result<>> Build::open_sources(Copying& copying) {
  if (copying.root) co_return Result<>{};
  std::string path = options_.context;
  if (!copying.image.empty()) {
    CO_TRY_ASSIGN(path, co_await mount_kept(copying.image));
  }
  CO_TRY_ASSIGN(sys::Root root, sys::Root::open(path));
  copying.root = std::move(root);
  co_return co_await parts_.pool.run([&]() -> Result<> {
    TRY_ASSIGN(copying.paths, find_sources(source_of(copying), copying.named));
    if (copying.parents) {
      TRY_ASSIGN(copying.into.cuts, find_cuts(source_of(copying), copying.named));
    }
    copying.count = copying.paths.size();
    return {};
  });
}

CopySource Build::source_of(const Copying& copying) const {
  return {.root = *copying.root, .ignore = copying.image.empty() ? &ignore_ : nullptr, .keep_owner = !copying.image.empty(), .exclude = copying.exclude_text.empty() ? nullptr : &copying.exclude};
}

// What is copied, by content. An image does not change: what of it was found once is remembered, and it need not be mounted for a step that is known.
Task<Result<>> Build::digest_content(Copying& copying) {
  std::string note;
  if (!copying.image.empty()) {
    note = image::digest_of(cat("sources\n", copying.image, "\n", join(copying.named, "\n"), "\n\n", copying.exclude_text, copying.parents ? "\nparents" : ""));
    std::string known = find_known(note);
    std::vector<std::string_view> words = split(known, ' ');
    if (auto count = words.size() == 3 ? parse_int<std::size_t>(words[1]) : std::nullopt; count && !options_.no_cache) {
      copying.count = *count;
      copying.content = words[2];
      note.clear();
    }
  }
  if (copying.content.empty()) {
    CO_TRY(co_await open_sources(copying));
    CO_TRY_ASSIGN(copying.content, co_await parts_.pool.run([&] { return digest_sources(source_of(copying), copying.paths); }));
    if (copying.parents) {  // the whole of a path counts
      std::string all = copying.content;
      for (std::size_t i = 0; i < copying.paths.size(); ++i) all += cat("\n", copying.into.cuts.at(i), " ", copying.paths[i]);
      copying.content = image::digest_of(all);
    }
    if (!note.empty()) CO_TRY(co_await remember(note, cat(copying.image, " ", copying.count, " ", copying.content), async::Lasts::kUntilReboot));
  }
  if (!copying.checksum.empty()) {
    CO_TRY_ASSIGN(std::string name, address_file_name(copying.addresses.front()));
    copying.content += cat("\n", name, "\n", copying.checksum);
    ++copying.count;
    co_return Result<>{};
  }
  CO_TRY(co_await fetch_addresses(copying));
  if (copying.extras.names.empty()) co_return Result<>{};
  copying.count += copying.extras.names.size();
  CO_TRY_ASSIGN(std::string more, co_await parts_.pool.run([&]() -> Result<std::string> {
    TRY_ASSIGN(sys::Root below, copying.extras.open(options_, parts_.rng));
    return digest_sources({.root = below}, copying.extras.names);
  }));
  copying.content += more;
  co_return Result<>{};
}

Task<Result<bool>> Build::copy_into(Copying& copying, const Mounted& mounted) {
  CO_TRY_ASSIGN(sys::Root target, sys::Root::open(mounted.path));
  if (!copying.chown.empty() && !copying.into.owner) {
    CO_TRY_ASSIGN(container::ResolvedUser user, container::resolve_user_in(target, copying.chown));
    copying.into.owner = {user.uid, copying.chown.find(':') == std::string::npos ? user.uid : user.gid};
  }
  CO_TRY(co_await open_sources(copying));
  CO_TRY(co_await fetch_addresses(copying));
  CopySource source = source_of(copying);
  if (copying.instruction.name == "ADD" && copying.unpack.value_or(true)) CO_TRY(co_await add_archives(source, copying.paths, target, copying.into));
  std::vector<std::string> extras = copying.extras.names;
  if (copying.unpack.value_or(false) && !extras.empty()) {
    CO_TRY_ASSIGN(sys::Root fetched, copying.extras.open(options_, parts_.rng));
    CO_TRY(co_await add_archives({.root = fetched}, extras, target, copying.into));
  }
  co_return co_await parts_.pool.run([&]() -> Result<bool> {
    if (!copying.paths.empty()) TRY(copy_sources(source, copying.paths, target, copying.into));
    if (!extras.empty()) {
      TRY_ASSIGN(sys::Root below, copying.extras.open(options_, parts_.rng));
      CopyOptions plain = copying.into;
      plain.cuts.clear();
      TRY(copy_sources({.root = below}, extras, target, plain));
    }
    return true;
  });
}

Task<Result<>> Build::copy(Current& at, const Instruction& instruction, bool& cached) {
  FindVariable find = variables(at);
  WordOptions options{.escape = file_.escape};
  Copying copying{.instruction = instruction};
  CO_TRY(read_copy_flags(copying, find, options));
  CO_TRY(read_copy_words(at, copying, find, options));
  if (!copying.from.empty()) {
    CO_TRY_ASSIGN(copying.image, co_await source_image(at, copying.from));
    if (copying.image.empty()) co_return fail(Code::kInternal, cat("--from=", copying.from, ": has no image"));
  }
  CO_TRY(co_await digest_content(copying));
  if (copying.count > 1 && !copying.into.destination.ends_with('/'))
    co_return fail(Code::kInvalidArgument, cat("when using ", instruction.name, " with more than one source file, the destination must be a directory and end with a /"));
  struct Step {
    Build& build;
    Copying& copying;
    Task<Result<bool>> operator()(const Mounted& mounted) const { return build.copy_into(copying, mounted); }
  };
  std::string what = cat(instruction.name, "\n", copying.content, "\n", copying.into.destination, "\n", copying.chown, "\n", copying.chmod, copying.unpack ? cat("\nunpack ", *copying.unpack) : "");
  if (copying.link) co_return co_await link_layer(at, copying, std::move(what), cached);
  co_return co_await layer(at, std::move(what), instruction.source, cached, Step{*this, copying});
}

}  // namespace monopod::build
