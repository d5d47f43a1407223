#include "build/stages.h"

#include <algorithm>

#include "base/strings.h"
#include "build/limits.h"

namespace monopod::build {
namespace {

std::map<std::string, std::string> platform_arguments(const image::Platform& target) {
  image::Platform host = image::host_platform();
  return {{"TARGETPLATFORM", image::format_platform(target)}, {"TARGETOS", target.os}, {"TARGETARCH", target.architecture}, {"TARGETVARIANT", target.variant},
          {"BUILDPLATFORM", image::format_platform(host)}, {"BUILDOS", host.os}, {"BUILDARCH", host.architecture}, {"BUILDVARIANT", host.variant}};
}

Result<> read_from(const Instruction& at, const FindVariable& find, char escape, Plan& plan) {
  auto words = expand_words(at.arguments, find, {.escape = escape});
  if (!words) return fail(error_at(at, words.error().message()));
  Stage stage{.index = plan.stages.size(), .from = &at};
  if (words->size() == 3 && iequals((*words)[1], "as")) stage.name = to_lower((*words)[2]);
  else if (words->size() != 1) return fail(error_at(at, "FROM requires either one or three arguments"));
  stage.base = words->front();
  if (stage.base.empty()) return fail(error_at(at, cat("base name (", at.arguments, ") should not be blank")));
  if (!stage.name.empty() && (stage.name.front() < 'a' || stage.name.front() > 'z')) return fail(error_at(at, cat("invalid name for build stage: \"", stage.name, "\": it starts with a letter")));
  if (!stage.name.empty() && find_stage(plan.stages, stage.name, plan.stages.size()) >= 0) return fail(error_at(at, cat("stage name \"", stage.name, "\" is used twice")));
  for (const Stage& other : plan.stages)
    if (!other.name.empty() && other.name == to_lower(stage.base)) stage.base_stage = static_cast<int>(other.index);
  if (stage.base_stage >= 0) stage.needs.push_back(static_cast<std::size_t>(stage.base_stage));
  plan.stages.push_back(std::move(stage));
  if (plan.stages.size() > kStagesMax) return fail(Code::kResourceExhausted, cat("more than ", kStagesMax, " stages"));
  return {};
}

}  // namespace

std::vector<std::string> sources_of(const Instruction& at) {
  std::vector<std::string> out;
  for (const Flag& flag : at.flags) {
    if (flag.name == "from") out.push_back(flag.value);
    if (flag.name != "mount") continue;
    for (std::string_view part : split(flag.value, ','))
      if (part.starts_with("from=")) out.emplace_back(part.substr(5));
  }
  return out;
}

int find_stage(const std::vector<Stage>& stages, std::string_view name, std::size_t limit) {
  for (const Stage& stage : stages)
    if (stage.index < limit && !stage.name.empty() && iequals(stage.name, name)) return static_cast<int>(stage.index);
  auto number = parse_int<std::size_t>(name);
  return number && *number < std::min(limit, stages.size()) ? static_cast<int>(*number) : -1;
}

Result<Plan> plan_stages(const Dockerfile& file, const std::map<std::string, std::string>& arguments, const std::string& target, const image::Platform& platform) {
  Plan plan;
  plan.global_arguments = platform_arguments(platform);
  FindVariable find = [&plan](std::string_view name) -> std::optional<std::string> {
    auto found = plan.global_arguments.find(std::string(name));
    return found == plan.global_arguments.end() ? std::nullopt : std::optional(found->second);
  };
  for (const Instruction& at : file.instructions) {
    if (at.name == "FROM") {
      TRY(read_from(at, find, file.escape, plan));
    } else if (!plan.stages.empty()) {
      plan.stages.back().instructions.push_back(&at);
    } else {
      for (const std::string& word : split_words(at.arguments, file.escape)) {  // a global ARG
        auto [name, value] = split_once(word, '=');
        auto given = arguments.find(std::string(name));
        if (given != arguments.end()) {
          plan.global_arguments[given->first] = given->second;
        } else if (value) {
          auto text = expand(*value, find, {.escape = file.escape});
          if (!text) return fail(error_at(at, text.error().message()));
          plan.global_arguments[std::string(name)] = *std::move(text);
        }
      }
    }
  }
  for (Stage& stage : plan.stages)
    for (const Instruction* at : stage.instructions)
      for (const std::string& source : sources_of(*at)) {
        int needed = find_stage(plan.stages, source, stage.index);
        if (needed >= 0) stage.needs.push_back(static_cast<std::size_t>(needed));
        else if (int later = find_stage(plan.stages, source, plan.stages.size()); later == static_cast<int>(stage.index)) return fail(error_at(*at, cat("stage ", stage.title(), " refers to itself: circular dependency")));
        else if (later >= 0) return fail(error_at(*at, cat("stage \"", source, "\" is defined later: a stage uses those before it")));
      }
  int last = target.empty() ? static_cast<int>(plan.stages.size()) - 1 : find_stage(plan.stages, target, plan.stages.size());
  if (last < 0) return fail(Code::kInvalidArgument, cat("target stage \"", target, "\" could not be found"));
  std::vector<bool> wanted(plan.stages.size());
  wanted[static_cast<std::size_t>(last)] = true;
  for (std::size_t i = static_cast<std::size_t>(last) + 1; i-- > 0;)
    if (wanted[i])
      for (std::size_t needed : plan.stages[i].needs) wanted[needed] = true;
  for (std::size_t i = 0; i <= static_cast<std::size_t>(last); ++i)
    if (wanted[i]) plan.order.push_back(i);
  return plan;
}

}  // namespace monopod::build
