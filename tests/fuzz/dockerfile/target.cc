// Dockerfiles and .dockerignore: whatever is accepted is of known instructions, in order, and its words can be taken apart.
#include "build/dockerfile.h"

#include "build/file_mode.h"
#include "build/ignore.h"
#include "build/limits.h"
#include "build/words.h"
#include "tests/fuzz/fuzz.h"

using namespace monopod;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text = fuzz::text_of(data, size);
  if (Result<build::IgnoreList> list = build::IgnoreList::parse(text)) (void)list->ignores("a/b/c.txt");
  if (auto mode = build::FileMode::parse(text)) fuzz::check(mode->apply(0644, size % 2 == 0) <= 07777, "permission bits alone");
  Result<build::Dockerfile> file = build::parse_dockerfile(text);
  if (!file) {
    fuzz::check(!file.error().message().empty(), "a refusal says why");
    return 0;
  }
  auto find = [](std::string_view name) -> std::optional<std::string> {
    if (name.size() % 2 == 0) return std::nullopt;
    return std::string(name);
  };
  std::size_t line = 0;
  for (const build::Instruction& at : file->instructions) {
    fuzz::check(at.line > line, "lines ascend");
    line = at.line;
    fuzz::check(!at.is_json || at.arguments.starts_with('['), "a list begins with a bracket");
    build::WordOptions options{.escape = file->escape};
    if (auto one = build::expand(at.arguments, find, options)) fuzz::check(one->size() <= 2 * build::kExpandedBytesMax, "expansion is bounded");
    (void)build::expand_words(at.arguments, find, options);
    (void)build::expand_pairs(at.arguments, find, options);
    (void)build::matches_path(at.arguments, at.source);
    if (at.name == "ONBUILD") (void)build::parse_trigger(at.arguments, at.line, file->escape);
  }
  return 0;
}
