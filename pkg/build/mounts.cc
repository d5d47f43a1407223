#include "build/mounts.h"

#include "base/strings.h"
#include "build/wrong.h"

namespace monopod::build {
namespace {

Result<bool> read_bool(std::string_view key, std::optional<std::string_view> value) {
  if (!value || iequals(*value, "true") || *value == "1") return true;
  if (iequals(*value, "false") || *value == "0") return false;
  return wrong(cat("mount: ", key, "=", *value, ": want true or false"));
}

Result<std::uint32_t> read_number(std::string_view key, std::string_view value, int base) {
  std::uint32_t out = 0;
  auto [end, ec] = std::from_chars(value.data(), value.data() + value.size(), out, base);
  if (ec != std::errc() || end != value.data() + value.size() || value.empty()) return wrong(cat("mount: ", key, "=", value, ": not a number"));
  return out;
}

}  // namespace

Result<RunMount> parse_run_mount(std::string_view text, const std::string& work_dir) {
  RunMount out;
  std::string_view type = "bind";
  for (std::string_view part : split(text, ','))
    if (part.starts_with("type=")) type = part.substr(5);
  if (type == "cache") out.type = RunMount::Type::kCache;
  else if (type == "tmpfs") out.type = RunMount::Type::kTmpfs;
  else if (type == "secret") out.type = RunMount::Type::kSecret;
  else if (type == "ssh") out.type = RunMount::Type::kSsh;
  else if (type != "bind") return wrong(cat("mount: unsupported type \"", type, "\""));
  out.read_only = out.type == RunMount::Type::kBind;
  for (std::string_view part : split(text, ',')) {
    auto [key, value] = split_once(part, '=');
    std::string_view word = value.value_or("");
    if (key == "type") continue;
    if (key == "target" || key == "dst" || key == "destination") out.target = word;
    else if (key == "from") out.from = word;
    else if (key == "source" || key == "src") out.source = word;
    else if (key == "id") out.id = word;
    else if (key == "env" && out.type == RunMount::Type::kSecret) out.env = word;
    else if (key == "size" && out.type == RunMount::Type::kTmpfs) out.size = word;
    else if (key == "sharing" && out.type == RunMount::Type::kCache) {
      if (word != "shared" && word != "private" && word != "locked") return wrong(cat("mount: sharing=", word, ": want shared, private or locked"));
      out.sharing = word == "shared" ? RunMount::Sharing::kShared : word == "private" ? RunMount::Sharing::kPrivate : RunMount::Sharing::kLocked;
    } else if (key == "ro" || key == "readonly") {
      TRY_ASSIGN(out.read_only, read_bool(key, value));
    } else if (key == "rw" || key == "readwrite") {
      TRY_ASSIGN(bool writable, read_bool(key, value));
      out.read_only = !writable;
    } else if (key == "required") {
      TRY_ASSIGN(out.required, read_bool(key, value));
    } else if (key == "mode") {
      TRY_ASSIGN(out.mode, read_number(key, word, 8));
    } else if (key == "uid") {
      TRY_ASSIGN(out.uid, read_number(key, word, 10));
    } else if (key == "gid") {
      TRY_ASSIGN(out.gid, read_number(key, word, 10));
    } else {
      return wrong(cat("mount: unexpected key \"", key, "\" for type ", type));
    }
  }
  if (out.type == RunMount::Type::kSecret) {
    if (out.id.empty()) out.id = out.source.empty() ? out.target.substr(out.target.rfind('/') + 1) : out.source;
    if (out.id.empty()) return wrong("mount: a secret needs an id");
    if (out.target.empty() && out.env.empty()) out.target = "/run/secrets/" + out.id;
  }
  if (out.type == RunMount::Type::kSsh) {
    if (out.mode || out.uid || out.gid) return fail(Code::kUnimplemented, "mount: mode, uid and gid of type=ssh are not supported: the agent's socket is mounted as it is");
    if (out.id.empty()) out.id = "default";
    if (out.target.empty()) out.target = cat("/run/buildkit/ssh_agent.", out.id);
  }
  if (out.target.empty() && out.env.empty()) return wrong("mount: target is missing");
  if (!out.target.empty() && !out.target.starts_with('/')) out.target = cat(work_dir == "/" ? "" : work_dir, "/", out.target);
  if (out.type == RunMount::Type::kCache && out.id.empty()) out.id = out.target;
  return out;
}

}  // namespace monopod::build
