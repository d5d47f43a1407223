#include "cmd/image/engine.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "base/strings.h"
#include "cmd/engine/engine.h"
#include "cmd/engine/on_demand.h"
#include "cmd/image/output.h"
#include "cmd/node/admin.h"
#include "docker_client/images.h"
#include "docker_client/verbs.h"
#include "sys/terminal.h"

namespace monopod::cmd {
namespace {

using docker_client::EngineClient;

std::string setting(const char* variable, const std::string& otherwise) {
  const char* own = std::getenv(variable);
  return own != nullptr && *own != 0 ? own : otherwise;
}
std::string engine_directory() { return setting("MONOPOD_ENGINE_DATA_DIR", EngineCommand().data_dir); }
std::string engine_socket() { return setting("MONOPOD_ENGINE_DOCKER_SOCKET", EngineCommand().docker_socket); }

Result<sys::Fd> open_archive(const std::string& path) {
  sys::Fd file(path == "-" ? ::dup(STDIN_FILENO) : ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return fail_errno(cat("open ", path));
  return file;
}

Result<> list(EngineClient& client, const ImageOptions& o) {
  TRY_ASSIGN(json::Array images, docker_client::describe_images(client, o.all));
  print_images(json::Object{{"images", std::move(images)}}, o.output == "json");
  return {};
}
Result<> inspect(EngineClient& client, const ImageOptions& o) {
  TRY_ASSIGN(json::Value image, docker_client::describe_image(client, o.name));
  std::printf("%s\n", json::format(image).c_str());
  return {};
}
Result<> remove(EngineClient& client, const ImageOptions& o) {
  for (const std::string& name : o.files) {
    TRY_ASSIGN(bool gone, docker_client::remove_image(client, name));
    std::printf(gone ? "removed %s\n" : "untagged %s\n", name.c_str());
  }
  return {};
}
Result<> tag(EngineClient& client, const ImageOptions& o) { return docker_client::tag_image(client, o.name, o.reference); }
Result<> pull(EngineClient& client, const ImageOptions& o) {
  for (const std::string& name : o.files) {
    TRY(docker_client::pull_image(client, name, o.platform, false));
    std::printf("pulled %s\n", name.c_str());
  }
  return {};
}
Result<> push(EngineClient& client, const ImageOptions& o) {
  const std::string& target = o.reference.empty() ? o.name : o.reference;
  TRY(docker_client::push_image(client, o.name, target));
  std::printf("pushed %s\n", target.c_str());
  return {};
}
Result<> load(EngineClient& client, const ImageOptions& o) {
  if (o.all) return fail(Code::kUnimplemented, "--all-platforms: an engine loads images for its own platform");
  for (const std::string& path : o.files) {
    TRY_ASSIGN(sys::Fd file, open_archive(path));
    TRY_ASSIGN(std::vector<std::string> names, docker_client::load_images(client, file.get()));
    for (const std::string& name : names) {
      std::printf("loaded %s\n", sys::printable(name).c_str());
      if (!o.reference.empty()) TRY(docker_client::tag_image(client, name, o.reference));
    }
  }
  return {};
}
Result<> import(EngineClient& client, const ImageOptions& o) {
  TRY_ASSIGN(sys::Fd file, open_archive(o.archive));
  TRY_ASSIGN(std::string id, docker_client::import_image(client, file.get(), o.reference));
  std::printf("imported %s\n", o.reference.empty() ? id.c_str() : o.reference.c_str());
  return {};
}
Result<> export_files(EngineClient& client, const ImageOptions& o) {
  return write_archive(o.archive, [&](int to) { return docker_client::export_image(client, o.name, to); });
}
Result<> save(EngineClient& client, const ImageOptions& o) {
  return write_archive(o.archive, [&](int to) { return docker_client::save_images(client, o.files, to); });
}
Result<> history(EngineClient& client, const ImageOptions& o) {
  TRY_ASSIGN(json::Value steps, docker_client::history_of_image(client, o.name));
  if (o.output == "json") {
    std::printf("%s\n", json::format(steps).c_str());
    return {};
  }
  sys::Table table({"CREATED", "CREATED BY", "COMMENT"});
  if (steps.is_array())
    for (const json::Value& step : steps.get_array())
      table.add({format_rfc3339(WallTime(std::chrono::seconds(json::get_int(step, {"Created"})))), std::string(json::get_string(step, {"CreatedBy"})), std::string(json::get_string(step, {"Comment"}))});
  table.print();
  return {};
}
Result<> prune(EngineClient& client, const ImageOptions& o) {
  std::vector<std::string> removed;
  TRY_ASSIGN(std::int64_t bytes, docker_client::prune_images(client, o.all, removed));
  for (const std::string& id : removed) std::printf("removed %s\n", id.c_str());
  std::printf("freed %s\n", sys::format_size(bytes).c_str());
  return {};
}

}  // namespace

Result<> engine_save(const std::vector<std::string>& names, int to) {
  EngineClient client(engine_socket());
  return docker_client::save_images(client, names, to);
}

std::string choose_image_directory(const std::string& data_dir, bool said) {
  std::string engine = engine_directory();
  return !said && ::access(cat(data_dir, "/state.db").c_str(), F_OK) != 0 && ::access(cat(engine, "/state.db").c_str(), F_OK) == 0 ? engine : data_dir;
}

bool node_runs(const std::string& data_dir) {
  std::string path = admin_socket_path(data_dir);
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  if (path.size() >= sizeof address.sun_path) return false;
  path.copy(address.sun_path, path.size());
  sys::Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return socket && ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

bool engine_serves(const std::string& data_dir) { return data_dir == engine_directory() && engine_listens(engine_socket()); }

Result<> engine_images(Result<> (*local)(const ImageOptions& options), const ImageOptions& options) {
  struct Row {
    Result<> (*local)(const ImageOptions& options);
    Result<> (*over_api)(EngineClient& client, const ImageOptions& options);
  };
  static constexpr Row kRows[] = {{local_list, list}, {local_inspect, inspect}, {local_remove, remove}, {local_tag, tag}, {local_pull, pull}, {local_push, push}, {local_load, load}, {local_import, import}, {local_export, export_files}, {local_save, save}, {local_history, history}, {local_prune, prune}};
  for (const Row& row : kRows)
    if (row.local == local) {
      EngineClient client(engine_socket());
      return row.over_api(client, options);
    }
  return fail(Code::kUnimplemented, "the engine that runs here does not do this: stop it, or give another --data-dir");
}

}  // namespace monopod::cmd
