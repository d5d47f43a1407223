// finalize: the only door to a namespace's spec.finalizers. The last one gone lets the namespace itself go.
#include "api/subresource/subresource.h"

namespace monopod::api {
namespace {

async::Task<Outcome<json::Value>> with_finalizers(json::Value live, const json::Value& body) {
  const json::Array* finalizers = json::get_array(body, {"spec", "finalizers"});
  json::Object& spec = json::at_path(live, {"spec"}).is_object() ? json::at_path(live, {"spec"}).as_object()
                                                                : (json::at_path(live, {"spec"}) = json::Object()).as_object();
  if (finalizers == nullptr || finalizers->empty()) spec.erase("finalizers");
  else spec["finalizers"] = *finalizers;
  if (const json::Value* version = json::find(body, {"metadata", "resourceVersion"})) json::at_path(live, {"metadata", "resourceVersion"}) = *version;
  co_return live;
}

class Finalize final : public SubresourceHandler {
 public:
  explicit Finalize(Registry& registry) : registry_(registry) {}
  std::string_view name() const override { return "finalize"; }
  std::string_view plural() const override { return "namespaces"; }

  async::Task<Outcome<SubresourceAnswer>> update(Call& call, json::Value body) override {
    Call inner = call;
    inner.trusted = true;
    Mutation mutation = [&body](const json::Value& live) { return with_finalizers(live, body); };
    CO_OUT_ASSIGN(ObjectPtr object, co_await registry_.modify(inner, mutation));
    co_return SubresourceAnswer{200, object->tree()};
  }

 private:
  Registry& registry_;
};

}  // namespace

std::unique_ptr<SubresourceHandler> make_finalize(Registry& registry) { return std::make_unique<Finalize>(registry); }

}  // namespace monopod::api
