// Server-side apply of a configuration (second line) over a live Deployment (first line): what is applied once more by the same manager changes
// nothing, and another manager who applies the same has no conflict.
#include "api/patch/managed_fields.h"
#include "api/schema/decode.h"
#include "base/strings.h"
#include "tests/fuzz/fuzz.h"

using namespace monopod;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto [first, second] = split_once(fuzz::text_of(data, size), '\n');
  if (!second) return 0;
  const api::Resource& resource = *api::find_resource("apps", "v1", "deployments");
  Result<json::Value> live_tree = json::parse(first), configuration = json::parse(*second);
  if (!configuration || !configuration->is_object()) return 0;
  std::optional<json::Value> live;
  if (live_tree && live_tree->is_object()) {
    auto decoded = api::decode_tree(std::move(*live_tree), {&resource.type(), "apps/v1", "Deployment"}, api::FieldValidation::kIgnore);
    if (!decoded) return 0;
    live = std::move(decoded->object);
  }
  api::FieldManager who{.manager = "m", .api_version = "apps/v1", .subresource = "", .now = {}}, other = who;
  other.manager = "n";
  auto applied = api::apply_configuration(live ? &*live : nullptr, *configuration, resource.type(), who, true);
  if (!applied) return 0;
  fuzz::check(applied->conflicts.empty(), "who insists has no conflict");
  json::Value object = applied->unchanged ? *live : std::move(applied->object);
  const json::Value before = object;
  auto again = api::apply_configuration(&object, *configuration, resource.type(), who, false);
  fuzz::check(again.has_value(), "what was applied can be applied again");
  fuzz::check(again->conflicts.empty(), "without a conflict");
  fuzz::check(again->unchanged || again->object == before, "and changes nothing");
  auto shared = api::apply_configuration(&object, *configuration, resource.type(), other, false);
  fuzz::check(shared.has_value() && shared->conflicts.empty(), "nor is there one for who says the same");
  return 0;
}
