// Files of containers: cp, export, diff, commit.
#include "base/strings.h"
#include "docker/api.h"
#include "docker/body_pipe.h"
#include "docker/names.h"
#include "docker/tree_tar.h"
#include "image/fd_streams.h"

namespace monopod::docker {
namespace {

using async::Task;

Result<std::string> path_of(const Call& call) {
  std::string path(call.text("path"));
  if (path.empty()) return fail(Code::kInvalidArgument, "missing parameter in request: path");
  if (!path.starts_with('/')) path.insert(0, "/");
  return path;
}

Error no_file(const Error& error, const std::string& path, const Container& c) {
  if (error.code() == Code::kNotFound) return Error(Code::kNotFound, cat("Could not find the file ", path, " in container ", c.name));
  return error;
}

std::string base_of(std::string path) {
  if (path.ends_with("/.")) return ".";
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path == "/" ? "/" : path.substr(path.rfind('/') + 1);
}

std::string stat_header(const json::Value& stat) { return format_base64(json::format(stat)); }

// What the runtime makes in a container's root for what it mounts there.
std::vector<std::string> mount_points_of(const Container& c) {
  std::vector<std::string> out{"/dev", "/proc", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"};
  for (const MountPoint& m : c.mounts) out.push_back(m.destination);
  return out;
}

Task<Result<json::Value>> look_at(Containers& containers, ContainerPtr c, std::string path) {
  json::Value stat;
  Result<> looked = co_await containers.with_path(c, path, false, [&](const sys::Root& root, const std::string& at) -> Result<> {
    TRY_ASSIGN(stat, describe_path(root, at));
    return {};
  });
  if (!looked) co_return fail(no_file(looked.error(), path, *c));
  co_return stat;
}

}  // namespace

Task<Result<>> Api::stat_path(Call& call) {
  CO_TRY_ASSIGN(ContainerPtr c, p_.containers.find(call.name));
  CO_TRY_ASSIGN(std::string path, path_of(call));
  CO_TRY_ASSIGN(json::Value stat, co_await look_at(p_.containers, c, path));
  co_return co_await call.exchange.respond(200, {{"X-Docker-Container-Path-Stat", stat_header(stat)}, {"Content-Type", "application/json"}}, std::string());
}

Task<Result<>> Api::get_archive(Call& call) {
  CO_TRY_ASSIGN(ContainerPtr c, p_.containers.find(call.name));
  CO_TRY_ASSIGN(std::string path, path_of(call));
  CO_TRY_ASSIGN(json::Value stat, co_await look_at(p_.containers, c, path));
  CO_TRY(co_await call.exchange.start(200, {{"X-Docker-Container-Path-Stat", stat_header(stat)}, {"Content-Type", "application/x-tar"}}));
  std::string base = base_of(path);
  CO_TRY(co_await send_body(call.exchange, [&](int fd) {
    return p_.containers.with_path(c, path, false, [&base, fd](const sys::Root& root, const std::string& at) -> Result<> {
      image::FdSink sink(fd);
      return write_tree(root, at, base, sink);
    });
  }));
  p_.containers.emit(*c, "archive-path");
  co_return co_await call.exchange.finish();
}

Task<Result<>> Api::put_archive(Call& call) {
  CO_TRY_ASSIGN(ContainerPtr c, p_.containers.find(call.name));
  CO_TRY_ASSIGN(std::string path, path_of(call));
  ExtractOptions options{.keep_kinds = call.flag("noOverwriteDirNonDir")};
  Result<> done = co_await with_body(call.exchange, [&](int fd) {
    return p_.containers.with_path(c, path, true, [&options, fd](const sys::Root& root, const std::string& at) -> Result<> {
      image::FdSource source(fd);
      return extract_tree(source, root, at, options);
    });
  });
  if (!done) co_return fail(no_file(done.error(), path, *c));
  p_.containers.emit(*c, "extract-to-dir");
  co_return co_await call.answer(200);
}

Task<Result<>> Api::export_container(Call& call) {
  CO_TRY_ASSIGN(ContainerPtr c, p_.containers.find(call.name));
  CO_TRY(co_await call.exchange.start(200, {{"Content-Type", "application/octet-stream"}}));
  // Below the root itself, not volumes.
  CO_TRY(co_await send_body(call.exchange, [&](int fd) {
    return p_.containers.with_path(c, "/", false, [fd](const sys::Root& root, const std::string&) -> Result<> {
      image::FdSink sink(fd);
      return write_tree(root, "/", ".", sink);
    });
  }));
  p_.containers.emit(*c, "export");
  co_return co_await call.exchange.finish();
}

Task<Result<>> Api::changes(Call& call) {
  CO_TRY_ASSIGN(ContainerPtr c, p_.containers.find(call.name));
  auto snapshot = p_.parts.images.find_snapshot(c->id);
  if (!snapshot) co_return fail(Code::kNotFound, cat("No such container: ", call.name));
  std::vector<std::string> mounts = mount_points_of(*c);
  CO_TRY_ASSIGN(json::Array found, co_await p_.parts.pool.run([&] { return find_changes(snapshot->upperdir, snapshot->lowerdirs, mounts); }));
  co_return co_await call.answer(200, found.empty() ? json::Value(nullptr) : json::Value(std::move(found)));
}

Task<Result<>> Api::commit(Call& call) {
  CO_TRY_ASSIGN(ContainerPtr c, p_.containers.find(call.text("container")));
  CO_TRY_ASSIGN(json::Value body, co_await call.read_json(false));
  if (!call.query.get_all("changes").empty() && !call.text("changes").empty()) co_return fail(Code::kUnimplemented, "changes are not supported: build FROM the image instead");
  std::vector<std::string> references;
  if (std::string repo(call.text("repo")); !repo.empty()) {
    if (std::string_view tag = call.text("tag"); !tag.empty()) repo += cat(":", tag);
    CO_TRY_ASSIGN(image::Reference reference, image::parse_reference(repo));
    references.push_back(reference.text());
  }
  auto snapshot = p_.parts.images.find_snapshot(c->id);
  if (!snapshot) co_return fail(Code::kNotFound, cat("No such container: ", call.text("container")));
  CO_TRY_ASSIGN(std::string raw, co_await p_.parts.images.read_blob(c->image_id));
  CO_TRY_ASSIGN(json::Value config, json::parse(raw));
  json::Object own;
  static constexpr std::string_view kKept[] = {"User", "Env", "Cmd", "Entrypoint", "Volumes", "WorkingDir", "Labels", "StopSignal", "Healthcheck", "ExposedPorts"};
  for (std::string_view key : kKept) {
    const json::Value* given = body.get_object().if_contains(key);
    if (given == nullptr || given->is_null()) given = c->config.get_object().if_contains(key);
    if (given != nullptr && !given->is_null() && !(given->is_string() && given->get_string().empty())) own[key] = *given;
  }
  std::string now = format_rfc3339_nano(p_.parts.time.wall());
  config.get_object()["config"] = std::move(own);
  config.get_object()["created"] = now;
  if (std::string_view author = call.text("author"); !author.empty()) config.get_object()["author"] = author;
  image::fit_history(config);
  json::Value& history = config.get_object()["history"];
  json::Object line{{"created", now}, {"created_by", join(strings_of(c->config, {"Cmd"}), " ")}};
  if (std::string_view comment = call.text("comment"); !comment.empty()) line["comment"] = comment;
  history.get_array().push_back(std::move(line));
  bool pauses = call.flag("pause", true) && c->phase == Phase::kRunning && !c->paused;
  if (pauses) CO_TRY(co_await p_.containers.pause(c, true));
  image::CommitOptions options{.base_id = c->image_id, .changes = snapshot->upperdir, .config = json::format(config), .references = std::move(references)};
  co_await async::asio::this_coro::throw_if_cancelled(false);  // a client that goes away leaves nothing paused
  auto made = co_await p_.parts.images.commit(std::move(options));
  if (pauses) (void)co_await p_.containers.pause(c, false);
  co_await async::asio::this_coro::throw_if_cancelled(true);
  if (!made) co_return fail(std::move(made).error());
  p_.containers.emit(*c, "commit", {{"comment", std::string(call.text("comment"))}, {"imageID", made->id}});
  co_return co_await call.answer(201, json::Object{{"Id", made->id}});
}

}  // namespace monopod::docker
