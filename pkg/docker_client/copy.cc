// cp and export: files between here and a container, as tar streams.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <cstdio>
#include <cstdlib>

#include "async/broken_pipe.h"
#include "base/strings.h"
#include "codec/json.h"
#include "docker/tree_tar.h"
#include "docker_client/transfer.h"
#include "docker_client/values.h"
#include "docker_client/verbs.h"
#include "http/query.h"
#include "image/fd_streams.h"
#include "sys/files.h"

namespace monopod::docker_client {
namespace {

using async::Task;

// CONTAINER:PATH; a path of ours begins with / or . or has no colon.
std::optional<std::pair<std::string, std::string>> container_side(const std::string& text) {
  if (text.starts_with('/') || text.starts_with('.')) return std::nullopt;
  auto [name, path] = split_once(text, ':');
  if (!path || name.empty()) return std::nullopt;
  return std::pair(std::string(name), path->empty() ? std::string("/") : std::string(*path));
}

bool names_directory(std::string_view path) { return path.ends_with('/') || path.ends_with("/.") || path == "."; }
bool names_content(std::string_view path) { return path.ends_with("/.") || path == "."; }

// Of a cleaned absolute path.
std::pair<std::string, std::string> split_path(const std::string& path) {
  std::size_t slash = path.rfind('/');
  return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

std::string archive_of(const std::string& container, std::string_view path) { return path_of("containers", container, "/archive?path=" + http::encode_query_component(path)); }

// What is at a path of a container: mode as Go's os.FileMode; null where there is nothing.
Task<Result<>> look(EngineClient& client, std::string target, json::Value& stat) {
  auto response = co_await client.send("HEAD", std::move(target));
  if (!response && response.error().code() == Code::kNotFound) co_return Result<>();
  if (!response) co_return fail(response.error());
  auto text = parse_base64(response->headers.find("x-docker-container-path-stat").value_or(""));
  if (!text) co_return fail(Code::kDataLoss, "the engine says nothing of the path");
  CO_TRY_ASSIGN(stat, json::parse(*text));
  co_return Result<>();
}

Result<json::Value> look_at(EngineClient& client, const std::string& container, const std::string& path) {
  TRY(client.get(path_of("containers", container, "/json")));  // so that a missing container is called that
  json::Value stat;
  TRY(client.run(look(client, archive_of(container, path), stat)));
  return stat;
}

constexpr std::int64_t kGoDirectory = std::int64_t{1} << 31, kGoSymlink = std::int64_t{1} << 27;
bool has_mode(const json::Value& stat, std::int64_t bit) { return (json::get_int(stat, {"mode"}) & bit) != 0; }

Result<> extract_into(int from, const std::string& directory) {
  TRY_ASSIGN(sys::Root root, sys::Root::open(directory));
  image::FdSource source(from);
  return docker::extract_tree(source, root, "/", {.keep_kinds = true, .keep_owner = ::geteuid() == 0});
}

// Under a name of its own: unpacked beside it, then renamed.
Result<> extract_as(int from, const std::string& path) {
  auto [parent, name] = split_path(path);
  std::string place = cat(parent == "/" ? "" : parent, "/.monopod-cp-", ::getpid());
  if (::mkdir(place.c_str(), 0700) != 0) return fail_errno(cat("make ", place));
  Result<> done = extract_into(from, place);
  TRY_ASSIGN(sys::Root root, sys::Root::open(parent));
  if (done) {
    std::vector<std::string> names = sys::list_directory(place);
    if (names.size() != 1) done = fail(Code::kDataLoss, "the archive holds other than one file");
    else if (::rename(cat(place, "/", names[0]).c_str(), path.c_str()) != 0) done = fail_errno(cat("rename to ", path));
  }
  Result<> cleaned = root.remove_tree(split_path(place).second);
  return done ? cleaned : done;
}

Result<> from_container(Command& c, const std::string& container, std::string path, const std::string& to) {
  TRY_ASSIGN(json::Value stat, look_at(c.client, container, path));
  if (stat.is_null()) return fail(Code::kNotFound, cat("Could not find the file ", path, " in container ", container));
  if (c.flags.on("follow-link") && has_mode(stat, kGoSymlink)) {
    path = json::get_string(stat, {"linkTarget"});
    TRY_ASSIGN(stat, look_at(c.client, container, path));
  }
  if (to == "-") return c.client.run(c.client.download(archive_of(container, path), 1));
  std::string target = absolute_path(to, "");
  struct ::stat own {};
  bool there = ::stat(target.c_str(), &own) == 0, directory = there && S_ISDIR(own.st_mode);
  bool source_directory = has_mode(stat, kGoDirectory);
  if (!there && names_directory(to) && !source_directory) return fail(Code::kNotFound, cat("no such directory: ", to));
  if (there && !directory && source_directory) return fail(Code::kInvalidArgument, cat("cannot copy a directory to a file: ", to));
  bool content = names_content(path) && source_directory;
  if (!there && content) {
    if (::mkdir(target.c_str(), 0755) != 0) return fail_errno(cat("make ", target));
    directory = true;
  }
  return download_into(c.client, archive_of(container, path), [&](int fd) { return directory ? extract_into(fd, target) : extract_as(fd, target); });
}

Result<> to_container(Command& c, const std::string& from, const std::string& container, const std::string& path) {
  if (from == "-") {
    auto sent = [](EngineClient& client, std::string target) -> Task<Result<>> {
      CO_TRY(co_await client.upload("PUT", target, 0));
      co_return Result<>();
    };
    return c.client.run(sent(c.client, archive_of(container, path)));
  }
  std::string source = absolute_path(from, "");
  if (char resolved[PATH_MAX]; c.flags.on("follow-link") && ::realpath(source.c_str(), resolved) != nullptr) source = resolved;
  struct ::stat own {};
  if (::lstat(source.c_str(), &own) != 0) return fail_errno(cat("copy ", from));
  TRY_ASSIGN(json::Value stat, look_at(c.client, container, path));
  if (!stat.is_null() && has_mode(stat, kGoSymlink)) {
    TRY_ASSIGN(json::Value behind, look_at(c.client, container, path + "/"));
    if (!behind.is_null()) stat = std::move(behind);
  }
  bool directory = !stat.is_null() && has_mode(stat, kGoDirectory), source_directory = S_ISDIR(own.st_mode);
  auto [parent, name] = split_path(source);
  std::string into = path, base = source_directory && names_content(from) ? "." : name;
  if (!directory) {
    if (!stat.is_null() && source_directory) return fail(Code::kInvalidArgument, cat("cannot copy a directory to a file: ", path));
    if (stat.is_null() && names_directory(path) && !source_directory) return fail(Code::kNotFound, cat("no such directory: ", container, ":", path));
    std::tie(into, base) = split_path(absolute_path(path, "/"));
  }
  TRY(upload_tree(c.client, "PUT", archive_of(container, into) + "&noOverwriteDirNonDir=true", parent, name.empty() ? "/" : name, base));
  return {};
}

}  // namespace

Result<int> copy_files(Command& c) {
  async::ignore_broken_pipes();
  auto from = container_side(c.words[0]), to = container_side(c.words[1]);
  if (from && to) return fail(Code::kInvalidArgument, "copying between containers is not supported: go through a file or a pipe");
  if (!from && !to) return fail(Code::kInvalidArgument, "neither is in a container: say CONTAINER:PATH");
  if (from) TRY(from_container(c, from->first, from->second, c.words[1]));
  else TRY(to_container(c, c.words[0], to->first, to->second));
  return 0;
}

Result<int> export_container(Command& c) {
  async::ignore_broken_pipes();
  sys::Fd file;
  std::string path = c.flags.text("output");
  if (!path.empty()) {
    file = sys::Fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!file) return fail_errno(cat("write ", path));
  } else if (::isatty(1) != 0) {
    return fail(Code::kInvalidArgument, "standard output is a terminal: say -o FILE, or redirect it");
  }
  TRY(c.client.run(c.client.download(path_of("containers", c.words[0], "/export"), file ? file.get() : 1)));
  return 0;
}

}  // namespace monopod::docker_client
