#include "proxy/config/load.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/strings.h"
#include "proxy/config/parse.h"
#include "proxy/limits.h"
#include "sys/fd.h"

namespace monopod::proxy {
namespace {

Result<std::string> read_whole(const std::string& path) {
  sys::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return fail_errno(cat("read ", path));
  std::string out;
  char buffer[16384];
  for (;;) {
    ssize_t n = ::read(file.get(), buffer, sizeof buffer);
    if (n < 0) return fail_errno(cat("read ", path));
    if (n == 0) return out;
    out.append(buffer, static_cast<std::size_t>(n));
    if (out.size() > kConfigBytesMax) return fail(Code::kResourceExhausted, cat("read ", path, ": larger than 16 MiB"));
  }
}

}  // namespace

Result<Loaded> load_config(const std::string& path, const Snapshot* previous) {
  TRY_ASSIGN(std::string yaml, read_whole(path));
  // Names in the file are relative to it.
  std::size_t slash = path.rfind('/');
  std::string directory = slash == std::string::npos ? "" : path.substr(0, slash + 1);
  auto absolute = [&directory](const std::string& name) { return name.starts_with('/') ? name : directory + name; };
  Result<ParsedFile> parsed = parse_config(yaml, [&](const std::string& name) { return read_whole(absolute(name)); });
  if (!parsed) return fail(std::move(parsed).error().with(path));
  ConfigError error;
  Loaded out;
  out.snapshot = compile(parsed->spec, previous, error);
  if (!out.snapshot) return fail(Code::kInvalidArgument, cat(path, ": ", locate(yaml, error.path, error.why)));
  out.files.push_back(path);
  for (const std::string& name : parsed->files) out.files.push_back(absolute(name));
  return out;
}

}  // namespace monopod::proxy
