// `monopod image`: images of the running node, over its socket, or of a data directory that no node has open (image_local.h); pack makes a
// small image from files.
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "async/loop.h"
#include "base/strings.h"
#include "cmd/commands.h"
#include "cmd/image/engine.h"
#include "cmd/image/local.h"
#include "cmd/image/output.h"
#include "cmd/node/admin.h"
#include "http/client.h"
#include "http/query.h"
#include "image/archive_builder.h"
#include "sys/terminal.h"

namespace monopod::cmd {
namespace {

using async::Task;

// Calls the node; answers come line by line.
class NodeCall {
 public:
  NodeCall(async::Scope& scope, async::Executor executor, async::Time& time, const std::string& data_dir)
      : client_(scope, executor, time, {.endpoint = {.unix_path = admin_socket_path(data_dir)}, .response_timeout = std::chrono::minutes(30)}) {}

  Task<Result<http::Response>> send(std::string method, std::string target) {
    Result<http::Response> response = co_await client_.request({.method = std::move(method), .target = std::move(target)});
    if (!response) co_return fail(std::move(response).error().with("talk to the node (is monopod server running?)"));
    if (response->status < 400) co_return response;
    CO_TRY_ASSIGN(std::string text, co_await response->body->read_all(64U << 10));
    co_return fail(code_of_http_status(response->status), std::string(trim(text)));
  }

 private:
  http::Client client_;
};

// Next line of a body; nullopt at its end.
class Lines {
 public:
  explicit Lines(http::Body& body) : body_(body) {}
  Task<Result<std::optional<json::Value>>> next() {
    for (;;) {
      if (std::size_t end = buffer_.find('\n'); end != std::string::npos) {
        CO_TRY_ASSIGN(json::Value value, json::parse(std::string_view(buffer_).substr(0, end)));
        buffer_.erase(0, end + 1);
        co_return std::optional<json::Value>(std::move(value));
      }
      CO_TRY_ASSIGN(SharedBytes chunk, co_await body_.read_chunk());
      if (!chunk) co_return std::optional<json::Value>();
      buffer_ += *chunk;
    }
  }

 private:
  http::Body& body_;
  std::string buffer_;
};

Task<Result<>> load_one(NodeCall& node, std::string file, const ImageOptions& options) {
  std::error_code ec;
  std::string path = std::filesystem::absolute(file, ec);
  if (::access(path.c_str(), R_OK) != 0) co_return fail_errno("read " + path);
  std::string target = "/v1/images/load?path=" + http::encode_query_component(path);
  if (!options.reference.empty()) target += "&reference=" + http::encode_query_component(options.reference);
  CO_TRY_ASSIGN(http::Response response, co_await node.send("POST", std::move(target)));
  Lines lines(*response.body);
  sys::ProgressBar bar(file);
  for (;;) {
    CO_TRY_ASSIGN(std::optional<json::Value> report, co_await lines.next());
    if (!report) co_return fail(Code::kUnavailable, "load " + file + ": the node went away");
    if (std::string_view error = json::get_string(*report, {"error"}); !error.empty()) co_return fail(Code::kInvalidArgument, cat("load ", file, ": ", error));
    const json::Array* images = json::get_array(*report, {"images"});
    if (images == nullptr) {
      bar.update(json::get_int(*report, {"bytes_done"}), json::get_int(*report, {"bytes_total"}), json::get_string(*report, {"step"}));
      continue;
    }
    bar.finish();
    for (const json::Value& image : *images) {
      const json::Array* references = json::get_array(image, {"references"});
      if (references == nullptr || references->empty()) std::printf("loaded %s\n", std::string(json::get_string(image, {"id"})).c_str());
      else
        for (const json::Value& r : *references) std::printf("loaded %s\n", r.get_string().c_str());
    }
    co_return Result<>();
  }
}

Task<Result<>> load(NodeCall& node, const ImageOptions& options) {
  if (options.all) co_return fail(Code::kUnimplemented, "--all-platforms: a node keeps images for its own platform");
  for (const std::string& file : options.files) CO_TRY(co_await load_one(node, file, options));
  co_return Result<>();
}

Task<Result<json::Value>> fetch_list(NodeCall& node) {
  CO_TRY_ASSIGN(http::Response response, co_await node.send("GET", "/v1/images"));
  CO_TRY_ASSIGN(std::string text, co_await response.body->read_all(16U << 20));
  co_return json::parse(trim(text));
}

Task<Result<>> list(NodeCall& node, const ImageOptions& options) {
  CO_TRY_ASSIGN(json::Value answer, co_await fetch_list(node));
  print_images(answer, options.output == "json");
  co_return Result<>();
}

Task<Result<>> inspect(NodeCall& node, const ImageOptions& options) {
  CO_TRY_ASSIGN(json::Value answer, co_await fetch_list(node));
  if (const json::Array* images = json::get_array(answer, {"images"}))
    for (const json::Value& image : *images) {
      bool match = json::get_string(image, {"id"}).find(options.name) != std::string_view::npos;
      if (const json::Array* references = json::get_array(image, {"references"}))
        for (const json::Value& r : *references) match = match || std::string_view(r.get_string()).find(options.name) != std::string_view::npos;
      if (match) {
        std::printf("%s\n", json::format(image).c_str());
        co_return Result<>();
      }
    }
  co_return fail(Code::kNotFound, cat("image ", options.name, " not found: monopod image ls shows what is there"));
}

Task<Result<>> remove(NodeCall& node, const ImageOptions& options) {
  for (const std::string& name : options.files) {
    CO_TRY_ASSIGN(http::Response response, co_await node.send("DELETE", "/v1/images?name=" + http::encode_query_component(name)));
    CO_TRY_ASSIGN(std::string text, co_await response.body->read_all(64U << 10));
    CO_TRY_ASSIGN(json::Value answer, json::parse(trim(text)));
    std::printf(json::get_bool(answer, {"removed"}) ? "removed %s\n" : "untagged %s\n", name.c_str());
  }
  co_return Result<>();
}

using Verb = Task<Result<>> (*)(NodeCall&, const ImageOptions&);

Task<Result<>> with_node(async::Loop& loop, Verb verb, const ImageOptions& options) {
  struct Body {
    async::Loop& loop;
    Verb verb;
    const ImageOptions& options;
    Task<Result<>> operator()(async::Scope& scope) {
      async::RealTime time;
      NodeCall node(scope, loop.executor(), time, options.data_dir);
      co_return co_await verb(node, options);
    }
  } body{loop, verb, options};
  co_return co_await async::run_scoped([&body](async::Scope& scope) { return body(scope); });
}

using LocalVerb = Result<> (*)(const ImageOptions&);

// verb: null where the node has no such call yet.
int run(Verb verb, LocalVerb local, ImageOptions options, bool said) {
  configure_logging();
  options.data_dir = choose_image_directory(options.data_dir, said);
  if (node_runs(options.data_dir)) {
    if (verb == nullptr) return report(Error(Code::kFailedPrecondition, cat("the node that runs on ", options.data_dir, " does not do this yet: give another --data-dir, or stop it")));
    async::Loop loop;
    return report(loop.run(with_node(loop, verb, options)));
  }
  return report(engine_serves(options.data_dir) ? engine_images(local, options) : local(options));
}

Result<> pack(const ImageOptions& options) {
  image::BuildOptions build{.reference = options.reference, .files = {}, .config = {}};
  for (const std::string& copy : options.copies) {
    auto [source, path] = split_once(copy, ':');
    if (!path || !path->starts_with('/')) return fail(Code::kInvalidArgument, cat("--copy ", copy, ": want source:/path/in/image"));
    build.files.push_back({.path = std::string(*path), .source = std::string(source)});
  }
  for (const std::string& link : options.links) {
    auto [path, target] = split_once(link, '=');
    if (!target || !path.starts_with('/')) return fail(Code::kInvalidArgument, cat("--link ", link, ": want /path=target"));
    build.files.push_back({.path = std::string(path), .link_target = std::string(*target)});
  }
  for (const char* dir : {"/tmp", "/etc", "/proc", "/sys", "/dev"}) build.files.push_back({.path = dir, .directory = true, .mode = std::string_view(dir) == "/tmp" ? 01777U : 0755U});
  build.config.entrypoint = options.entrypoint;
  build.config.cmd = options.command;
  build.config.env = options.environment;
  build.config.user = options.user;
  TRY_ASSIGN(std::string digest, image::build_archive(build, options.archive));
  std::printf("packed %s %s\n", options.archive.c_str(), digest.c_str());
  return {};
}

}  // namespace

void add_image(CLI::App& parent, Invocation& invocation) {
  CLI::App* app = add_command(parent, "image", "Images of the node, or of a data directory without one: pull, push, load, save, list, remove",
                              "  monopod image pull busybox\n"
                              "  monopod image load app.tar other.tar.zst\n"
                              "  monopod image push app:1 registry.example:5000/app:1\n"
                              "  monopod image build -t app:1 .\n"
                              "  monopod image pack --reference hello:1 --copy /bin/busybox:/bin/busybox --entrypoint /bin/busybox hello.tar");
  app->require_subcommand(1);
  auto options = std::make_shared<ImageOptions>();
  auto add = [&](const char* name, const char* summary, Verb verb, LocalVerb local) {
    CLI::App* sub = app->add_subcommand(name, summary);
    CLI::Option* where = sub->add_option("--data-dir", options->data_dir, "The node's or an engine's data directory, or one of its own; the engine's where no node is")->envname("MONOPOD_DATA_DIR")->capture_default_str();
    sub->callback([options, verb, local, where, &invocation] { invocation.run = [options, verb, local, said = where->count() > 0] { return run(verb, local, *options, said); }; });
    return sub;
  };
  auto add_output = [&](CLI::App* sub) { sub->add_option("-o,--output", options->output, "table or json")->check(CLI::IsMember({"table", "json"})); };
  auto add_registry_options = [&](CLI::App* sub) {
    sub->add_option("--creds", options->credentials, "user:password for the registry; by default as docker login and podman login keep them");
    sub->add_option("--authfile", options->auth_file, "A config.json of docker, or auth.json of podman");
    sub->add_option("--hosts-dir", options->hosts_dir, "Mirrors and trust: HOST/hosts.toml, as containerd reads them")->capture_default_str();
    sub->add_option("--stall-timeout", options->stall_timeout, "A registry that sends or takes nothing for so long is given up")->capture_default_str();
    sub->add_flag("--plain-http", options->plain_http, "The registry speaks http although it is not on loopback");
  };
  CLI::App* load_app = add("load", "Import OCI layout tars and docker archives (plain, gzip, zstd)", load, local_load);
  load_app->add_option("file", options->files, "Archives")->required();
  load_app->add_flag("--all-platforms", options->all, "Of an image for several platforms every one that the archive holds; this machine's by default");
  load_app->add_option("--reference", options->reference, "Name for an image that brings none");
  add_layers_option(*load_app, options->layers);
  CLI::App* import_app = add("import", "Make an image of one layer of a tar of files (plain, gzip, zstd)", nullptr, local_import);
  import_app->add_option("archive", options->archive, "The tar; - for standard input")->required();
  import_app->add_option("reference", options->reference, "Its name");
  add_layers_option(*import_app, options->layers);
  import_app->add_option("--platform", options->platform, "os/architecture[/variant]; this machine's by default");
  CLI::App* export_app = add("export", "Write an image's files as one tar, the way back of import; needs root", nullptr, local_export);
  export_app->add_option("archive", options->archive, "Output file; - for standard output")->required();
  export_app->add_option("name", options->name, "Reference or id")->required();
  CLI::App* list_app = add("ls", "List images", list, local_list);
  list_app->add_flag("-a,--all", options->all, "And what steps of builds left");
  add_output(list_app);
  add("inspect", "Show one image as JSON", inspect, local_inspect)->add_option("name", options->name, "Reference or id")->required();
  add("rm", "Remove references, or images by id", remove, local_remove)->add_option("name", options->files, "References or ids")->required();
  CLI::App* pull_app = add("pull", "Fetch images from their registries", nullptr, local_pull);
  pull_app->add_option("name", options->files, "References, by tag or digest")->required();
  pull_app->add_option("--platform", options->platform, "os/architecture[/variant]; this machine's by default");
  add_registry_options(pull_app);
  add_layers_option(*pull_app, options->layers);
  CLI::App* push_app = add("push", "Send an image to a registry", nullptr, local_push);
  push_app->add_option("name", options->name, "Reference or id")->required();
  push_app->add_option("target", options->reference, "Reference to send it to; the name itself by default");
  add_registry_options(push_app);
  CLI::App* tag_app = add("tag", "Give an image one more reference", nullptr, local_tag);
  tag_app->add_option("name", options->name, "Reference or id")->required();
  tag_app->add_option("reference", options->reference, "The new one")->required();
  for (CLI::App* save_app : {add("save", "Write images to one OCI layout tar, which docker load reads too", nullptr, local_save),
                             add("bundle", "Write images to one zstd file for a place without a network: what they share is in it once; load reads it", nullptr, local_bundle)}) {
    save_app->add_option("archive", options->archive, "Output file; - for standard output")->required();
    save_app->add_option("name", options->files, "References or ids")->required();
  }
  CLI::App* history_app = add("history", "Show how an image was built", nullptr, local_history);
  history_app->add_option("name", options->name, "Reference or id")->required();
  add_output(history_app);
  add("prune", "Remove images without a reference, and what builds keep for the next time", nullptr, local_prune)->add_flag("-a,--all", options->all, "And all others that no container uses");

  add_image_diff(*app, invocation);
  add_image_build(*app, invocation);

  CLI::App* pack_app = app->add_subcommand("pack", "Make an OCI archive from files, without a container");
  pack_app->add_option("archive", options->archive, "Output file")->required();
  pack_app->add_option("--reference", options->reference, "Name of the image")->required();
  pack_app->add_option("--copy", options->copies, "source:/path/in/image; may be repeated");
  pack_app->add_option("--link", options->links, "/path=target, a symbolic link; may be repeated");
  pack_app->add_option("--entrypoint", options->entrypoint, "Entrypoint words");
  pack_app->add_option("--cmd", options->command, "Default arguments");
  pack_app->add_option("--env", options->environment, "NAME=value; may be repeated");
  pack_app->add_option("--user", options->user, "User, or user:group");
  pack_app->callback([options, &invocation] { invocation.run = [options] { return report(pack(*options)); }; });
}

}  // namespace monopod::cmd
