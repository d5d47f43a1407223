// A document and a patch, one on each line, in the three formats that the first byte chooses between: the original stays, a merge patch twice is a
// merge patch once, and nothing grows past its bound.
#include "api/patch/patch.h"
#include "api/schema/decode.h"
#include "base/strings.h"
#include "tests/fuzz/fuzz.h"

using namespace monopod;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text = fuzz::text_of(data, size);
  if (text.empty()) return 0;
  char kind = text.front();
  auto [first, second] = split_once(text.substr(1), '\n');
  if (!second) return 0;
  Result<json::Value> original = json::parse(first), patch = json::parse(*second);
  if (!original || !patch) return 0;
  const json::Value before = *original;
  const api::Resource& pods = *api::find_resource("", "v1", "pods");
  const api::PatchLimits limits{.operations_max = 50, .copied_bytes_max = 10'000};
  Result<json::Value> out = fail(Code::kUnknown, "");
  if (kind % 3 == 0) {
    out = api::apply_json_patch(*original, *patch, limits);
    if (out) fuzz::check(json::format(*out).size() <= json::format(before).size() + 8 * text.size() + 6 * limits.copied_bytes_max, "what copies add is bounded");
  } else if (kind % 3 == 1) {
    out = api::apply_merge_patch(*original, *patch);
    fuzz::check(api::apply_merge_patch(*out, *patch) == *out, "a merge patch twice is a merge patch once");
  } else {
    out = api::apply_strategic_merge_patch(*original, *patch, pods.type());
  }
  fuzz::check(*original == before, "the original stays");
  if (out) (void)api::decode_tree(std::move(*out), {&pods.type(), "v1", "Pod"}, api::FieldValidation::kStrict);
  return 0;
}
