// Method, blank, target: what a request asks for never holds a segment that leads elsewhere in the store, and its query reads back.
#include "api/request_info.h"
#include "base/strings.h"
#include "tests/fuzz/fuzz.h"

using namespace monopod;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto [method, target] = split_once(fuzz::text_of(data, size), ' ');
  if (!target) return 0;
  api::Outcome<api::RequestInfo> info = api::parse_request(method, *target);
  if (!info) {
    fuzz::check(info.error().code >= 400 && info.error().code < 500, "a path that is wrong is the client's fault");
    return 0;
  }
  if (info->is_resource) {
    for (const std::string* segment : {&info->group, &info->version, &info->ns, &info->resource, &info->subresource, &info->name})
      fuzz::check(segment->empty() || api::valid_segment(*segment), "no segment leads elsewhere");
    fuzz::check(!info->resource.empty(), "a resource request says of what");
  }
  std::string formatted = info->query.format();
  api::Outcome<api::QueryParams> again = api::QueryParams::parse(formatted);
  fuzz::check(again.has_value() && again->pairs() == info->query.pairs(), "a query that was written reads back");
  return 0;
}
