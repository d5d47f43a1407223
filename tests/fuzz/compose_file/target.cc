// Compose files, their variables and .env files: whatever is accepted has services in an order, and texts that are bounded.
#include "compose/files.h"
#include "compose/project.h"
#include "tests/fuzz/fuzz.h"

using namespace monopod;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text = fuzz::text_of(data, size);
  compose::Sources sources;
  sources.variable = [](std::string_view name) -> std::optional<std::string> {
    if (name.size() % 2 == 0) return std::nullopt;
    return std::string(name);
  };
  sources.read_file = [text](const std::string& path) -> Result<std::string> {
    if (path.size() % 2 == 0) return fail(Code::kNotFound, "none");
    return std::string(text);
  };
  if (auto filled = compose::interpolate(text, sources.variable)) fuzz::check(filled->size() <= (2U << 20) + size, "an expansion is bounded");
  if (auto pairs = compose::parse_dotenv(text, sources.variable))
    for (const auto& [name, value] : *pairs) fuzz::check(!name.empty(), "a variable has a name");
  (void)compose::split_command(text);
  auto tree = compose::read_files({"/src/a.yaml", "/src/b.yaml"}, "/src", sources);  // over itself
  if (!tree) {
    fuzz::check(!tree.error().message().empty(), "a refusal says why");
    return 0;
  }
  auto project = compose::read_project(*tree, {.directory = "/src/project"}, sources);
  if (!project) {
    fuzz::check(!project.error().message().empty(), "a refusal says why");
    return 0;
  }
  fuzz::check(!project->name.empty() && !project->services.empty(), "a project has a name and services");
  auto chosen = compose::choose_services(*project, {}, {"*"});
  fuzz::check(chosen.has_value(), "all services can be chosen");
  if (auto steps = compose::order_services(*project, *chosen)) {
    std::size_t count = 0;
    for (const auto& step : *steps) count += step.size();
    fuzz::check(count == project->services.size(), "the order has every service once");
  }
  for (const auto& [name, service] : project->services) {
    fuzz::check(service.body.contains("Image"), "a service has an image");
    (void)compose::labels_of(*project, service, 1, compose::config_hash_of(service));
  }
  return 0;
}
