// gRPC-Web (PROTOCOL-WEB.md of gRPC): browsers, which cannot read trailers, call gRPC services. The request differs by its type, and as -text by being
// base64; of the answer the trailers become a last message of the body. The session does both (BodyProgress).
#include "base/strings.h"
#include "proxy/filters/filters.h"

namespace monopod::proxy {
namespace {

constexpr std::string_view kType = "application/grpc-web";
constexpr std::string_view kText = "-text";

bool is_text(std::string_view type) { return type.starts_with(kType) && type.substr(kType.size()).starts_with(kText); }

class GrpcWebFilter final : public Filter {
 public:
  Verdict on_request(const RequestView& r) const override {
    std::string_view type = r.edits.find(r.head, "content-type");
    if (!type.starts_with(kType)) return {};
    bool text = is_text(type);
    std::string_view rest = type.substr(kType.size() + (text ? kText.size() : 0));
    if (!rest.empty() && !rest.starts_with('+') && !rest.starts_with(';')) return {};
    std::string_view accept = r.edits.find(r.head, "accept");
    r.edits.set(r.head, r.arena, "content-type", r.arena.join({"application/grpc", rest}));
    r.edits.set(r.head, r.arena, "te", "trailers");
    r.grpc_web = {.on = true, .text_request = text, .text_answer = accept.starts_with(kType) ? is_text(accept) : text};
    if (!text) return {};
    for (std::size_t i = 0; i < r.head.count; ++i)
      if (r.head.fields[i].id == FieldName::kContentLength) r.head.fields[i].dropped = true;  // of the text
    return {};
  }
};

}  // namespace

Result<FilterPtr> make_grpc_web(const FilterSpec&, const FilterContext&) { return std::make_unique<GrpcWebFilter>(); }

}  // namespace monopod::proxy
