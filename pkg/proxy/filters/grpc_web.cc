// gRPC-Web (PROTOCOL-WEB.md of gRPC), binary form: browsers, which cannot read trailers, call gRPC services. The request differs by its type alone; of the
// answer the trailers become a last message of the body, which the session does (BodyProgress). The base64 form is refused.
#include "base/strings.h"
#include "proxy/filters/filters.h"

namespace monopod::proxy {
namespace {

constexpr std::string_view kType = "application/grpc-web";

class GrpcWebFilter final : public Filter {
 public:
  Verdict on_request(const RequestView& r) const override {
    std::string_view type = r.edits.find(r.head, "content-type");
    if (!type.starts_with(kType)) return {};
    std::string_view rest = type.substr(kType.size());
    if (rest.starts_with("-text")) return {.kind = Verdict::kAnswer, .status = 415, .body = "grpc-web-text is not spoken here: use the binary form\n", .details = "grpc_web_text"};
    if (!rest.empty() && !rest.starts_with('+') && !rest.starts_with(';')) return {};
    r.edits.set(r.head, r.arena, "content-type", r.arena.join({"application/grpc", rest}));
    r.edits.set(r.head, r.arena, "te", "trailers");
    r.grpc_web = true;
    return {};
  }
};

}  // namespace

Result<FilterPtr> make_grpc_web(const FilterSpec&, const FilterContext&) { return std::make_unique<GrpcWebFilter>(); }

}  // namespace monopod::proxy
