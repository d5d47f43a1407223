#include "proxy/config/load.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/strings.h"
#include "proxy/config/parse.h"
#include "proxy/limits.h"
#include "sys/fd.h"

namespace monopod::proxy {

Result<std::string> read_whole(const std::string& path, std::size_t bytes_max) {
  sys::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return fail_errno(cat("read ", path));
  std::string out;
  char buffer[16384];
  for (;;) {
    ssize_t n = ::read(file.get(), buffer, sizeof buffer);
    if (n < 0) return fail_errno(cat("read ", path));
    if (n == 0) return out;
    out.append(buffer, static_cast<std::size_t>(n));
    if (out.size() > bytes_max) return fail(Code::kResourceExhausted, cat("read ", path, ": larger than ", bytes_max >> 20, " MiB"));
  }
}

namespace {

// read: by the name in the text. kept: what it gave.
Result<Loaded> load_with(std::string yaml, const std::string& name, const Snapshot* previous, const ReadFile& read) {
  Loaded out;
  Result<ParsedFile> parsed = parse_config(yaml, [&](const std::string& file) {
    Result<std::string> bytes = read(file);
    if (bytes) out.sources.files[file] = *bytes;
    return bytes;
  });
  if (!parsed) return fail(std::move(parsed).error().with(name));
  ConfigError error;
  out.snapshot = compile(parsed->spec, previous, error);
  if (!out.snapshot) return fail(Code::kInvalidArgument, cat(name, ": ", locate(yaml, error.path, error.why)));
  out.spec = std::move(parsed->spec);
  out.files = std::move(parsed->files);
  out.sources.yaml = std::move(yaml);
  return out;
}

}  // namespace

Result<Loaded> load_config(const std::string& path, const Snapshot* previous) {
  TRY_ASSIGN(std::string yaml, read_whole(path, kConfigBytesMax));
  // Names in the file are relative to it.
  std::size_t slash = path.rfind('/');
  std::string directory = slash == std::string::npos ? "" : path.substr(0, slash + 1);
  auto absolute = [&directory](const std::string& name) { return name.starts_with('/') ? name : directory + name; };
  TRY_ASSIGN(Loaded out, load_with(std::move(yaml), path, previous, [&](const std::string& name) { return read_whole(absolute(name), kConfigBytesMax); }));
  for (std::string& name : out.files) name = absolute(name);
  out.files.insert(out.files.begin(), path);
  return out;
}

Result<Loaded> load_sources(Sources sources, const std::string& name, const Snapshot* previous) {
  return load_with(sources.yaml, name, previous, [&sources](const std::string& file) -> Result<std::string> {
    auto found = sources.files.find(file);
    if (found == sources.files.end()) return fail(Code::kNotFound, cat("read ", file, ": not kept"));
    return found->second;
  });
}

}  // namespace monopod::proxy
