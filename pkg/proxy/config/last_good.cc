#include "proxy/config/last_good.h"

#include "base/bytes.h"
#include "base/strings.h"
#include "codec/json.h"
#include "sys/files.h"

namespace monopod::proxy {

std::string format_last_good(const Sources& sources) {
  json::Object files;
  for (const auto& [name, bytes] : sources.files) files[name] = format_base64(bytes);
  return json::format(json::Object{{"version", 1}, {"config", sources.yaml}, {"files", std::move(files)}});
}

Result<Sources> parse_last_good(std::string_view text) {
  TRY_ASSIGN(json::Value tree, json::parse(text, {.depth_max = 4, .bytes_max = kLastGoodBytesMax}));
  const json::Value* version = json::find(tree, {"version"});
  const json::Value* config = json::find(tree, {"config"});
  const json::Value* files = json::find(tree, {"files"});
  if (version == nullptr || !version->is_int64() || version->get_int64() != 1) return fail(Code::kInvalidArgument, "not of a version that is known");
  if (config == nullptr || !config->is_string() || files == nullptr || !files->is_object()) return fail(Code::kInvalidArgument, "config or files is missing");
  Sources out{.yaml = std::string(config->get_string()), .files = {}};
  for (const auto& [name, value] : files->get_object()) {
    std::optional<std::string> bytes = value.is_string() ? parse_base64(value.get_string()) : std::nullopt;
    if (!bytes) return fail(Code::kInvalidArgument, cat("file ", std::string_view(name), " is not base64"));
    out.files.emplace(std::string(name), std::move(*bytes));
  }
  return out;
}

Result<> save_last_good(const std::string& path, const Sources& sources) { return sys::replace_file(path, format_last_good(sources), 0600); }

Result<Loaded> load_last_good(const std::string& path, const Snapshot* previous) {
  TRY_ASSIGN(std::string text, read_whole(path, kLastGoodBytesMax));
  Result<Sources> sources = parse_last_good(text);
  if (!sources) return fail(std::move(sources).error().with(path));
  return load_sources(std::move(*sources), path, previous);
}

}  // namespace monopod::proxy
