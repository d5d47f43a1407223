#include "cmd/command.h"

#include <cstdio>

#include "base/log.h"
#include "base/strings.h"
#include "cmd/host.h"
#include "codec/yaml.h"

namespace monopod::cmd {
namespace {

struct LogOptions {
  std::string level = "info";
  std::string format = "text";
};
LogOptions& log_options() {
  static LogOptions options;  // command-line values, read once in main
  return options;
}

// One line of what to do, by what went wrong.
std::string advice_for(const Error& error) {
  if (error.message().find("data dir in use") != std::string::npos) return "another monopod uses it: stop that one, or choose --data-dir";
  if (error.message().starts_with("store ") && (error.message().find("refused") != std::string::npos || error.message().find("store.sock") != std::string::npos))
    return "is it running? name another server with --endpoints, or the data directory of one with --data-dir";
  if (error.message().find("Address already in use") != std::string::npos) return "another program listens there: choose --listen, or stop it";
  if (error.code() == Code::kPermissionDenied && error.os_errno() != 0) return "run it as root";
  return "";
}

std::vector<std::string> texts_of(const json::Value& value) {
  auto text_of = [](const json::Value& v) { return v.is_string() ? std::string(v.get_string()) : json::format(v); };
  if (!value.is_array()) return {text_of(value)};
  std::vector<std::string> out;
  for (const json::Value& v : value.get_array()) out.push_back(text_of(v));
  return out;
}

}  // namespace

CLI::App* add_command(CLI::App& parent, const std::string& name, const std::string& summary, const std::string& examples) {
  CLI::App* app = parent.add_subcommand(name, summary);
  if (!examples.empty()) app->footer("Examples:\n" + examples);
  return app;
}

void add_layers_option(CLI::App& app, std::string& layers) {
  app.add_option("--layers", layers, "How layers that come are kept: directory; erofs: a file each; erofs-zstd: that, compressed")
      ->check(CLI::IsMember({"directory", "erofs", "erofs-zstd"}))->envname("MONOPOD_LAYERS")->capture_default_str();
}

int report(const Error& error) {
  std::fprintf(stderr, "monopod: %s\n", error.message().c_str());
  if (std::string advice = advice_for(error); !advice.empty()) std::fprintf(stderr, "  %s\n", advice.c_str());
  return exit_code(error.code());
}

int report(const Result<>& result) { return result ? 0 : report(result.error()); }

void add_log_options(CLI::App& app) {
  app.add_option("--log-level", log_options().level, "debug, info, warn or error")->check(CLI::IsMember({"debug", "info", "warn", "error"}))->envname("MONOPOD_LOG_LEVEL")->capture_default_str();
  app.add_option("--log-format", log_options().format, "text or json")->check(CLI::IsMember({"text", "json"}))->envname("MONOPOD_LOG_FORMAT")->capture_default_str();
}

void configure_logging() {
  log::Options options;
  const std::string& level = log_options().level;
  options.level = level == "debug" ? log::Level::kDebug : level == "warn" ? log::Level::kWarn : level == "error" ? log::Level::kError : log::Level::kInfo;
  options.format = log_options().format == "json" ? log::Format::kJson : log::Format::kText;
  log::configure(options);
}

void add_config_option(CLI::App& app, std::string& path) {
  app.add_option("--config", path, "YAML file of option names and values; flags and environment win over it")->envname("MONOPOD_CONFIG")->capture_default_str();
}

Result<> apply_config(CLI::App& app, const std::string& path, bool required) {
  Result<std::string> text = read_file(path);
  if (!text) return required ? Result<>(fail(text.error())) : Result<>();
  Result<json::Value> tree = yaml::parse(*text);
  if (!tree) return fail(std::move(tree).error().with(path));
  if (tree->is_null()) return {};
  if (!tree->is_object()) return fail(Code::kInvalidArgument, path + ": want a map of option names to values");
  for (const auto& [key, value] : tree->get_object()) {
    CLI::Option* option = app.get_option_no_throw("--" + std::string(key));
    if (option == nullptr || key == "config") return fail(Code::kInvalidArgument, cat(path, ": unknown option \"", std::string_view(key), "\""));
    if (option->count() > 0) continue;  // a flag or the environment said it
    try {
      option->add_result(texts_of(value));
      option->run_callback();
    } catch (const CLI::Error& e) {
      return fail(Code::kInvalidArgument, cat(path, ": ", e.what()));
    }
  }
  return {};
}

}  // namespace monopod::cmd
