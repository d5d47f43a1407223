#include "docker/names.h"

#include <algorithm>
#include <csignal>
#include <iterator>

#include "base/strings.h"
#include "docker/limits.h"

namespace monopod::docker {
namespace {

constexpr std::string_view kQualities[] = {"amber", "brave", "bright", "calm", "clever", "curious", "eager", "early", "fair", "fleet", "gentle", "golden", "happy", "keen", "kind", "lively",
                                           "lucid", "merry", "mild", "modest", "nimble", "noble", "patient", "plucky", "quick", "quiet", "rapid", "sharp", "sober", "steady", "sunny", "swift",
                                           "tidy", "warm", "wise", "witty"};
constexpr std::string_view kAnimals[] = {"badger", "beaver", "bison", "crane", "curlew", "dolphin", "eagle", "falcon", "ferret", "finch", "fox", "gecko", "heron", "hoopoe", "ibex", "jackdaw",
                                         "kestrel", "kite", "lark", "linnet", "lynx", "marten", "mole", "newt", "otter", "owl", "plover", "puffin", "raven", "robin", "salmon", "seal",
                                         "stork", "swift", "tern", "vole", "walrus", "wren"};

bool is_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

}  // namespace

Result<> check_object_name(std::string_view name, std::string_view what) {
  auto good = [](char c) { return is_alnum(c) || c == '_' || c == '.' || c == '-'; };
  if (name.size() >= 2 && name.size() <= kNameBytesMax && is_alnum(name[0]) && std::ranges::all_of(name, good)) return {};
  if (what == "container") return fail(Code::kInvalidArgument, cat("Invalid container name (", name.substr(0, 64), "), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"));
  return fail(Code::kInvalidArgument, cat("\"", name.substr(0, 64), "\" includes invalid characters for a local ", what, " name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed"));
}

std::string random_name(Rng& rng) {
  return cat(kQualities[rng.below(std::size(kQualities))], "_", kAnimals[rng.below(std::size(kAnimals))]);
}

std::string familiar_name(std::string_view reference) {
  for (std::string_view prefix : {"docker.io/library/", "docker.io/"})
    if (reference.starts_with(prefix)) return std::string(reference.substr(prefix.size()));
  return std::string(reference);
}

}  // namespace monopod::docker
