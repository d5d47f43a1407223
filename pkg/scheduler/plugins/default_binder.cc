// Binds through the API: POST pods/binding.
#include "scheduler/plugins.h"

namespace monopod::scheduler {
namespace {

class DefaultBinder final : public Plugin {
 public:
  explicit DefaultBinder(client::Api& api) : api_(api) {}
  std::string_view name() const override { return "DefaultBinder"; }
  unsigned points() const override { return kBind; }
  async::Task<Status> bind(CycleState&, const PodInfo& pod, std::string_view node) override {
    json::Value body = json::Object{{"apiVersion", "v1"},
                                    {"kind", "Binding"},
                                    {"metadata", json::Object{{"name", pod.object->name}, {"namespace", pod.object->ns}, {"uid", pod.object->uid}}},
                                    {"target", json::Object{{"kind", "Node"}, {"name", node}}}};
    auto bound = co_await api_.post(client::resources::kPods, pod.object->ns, pod.object->name, "binding", std::move(body));
    if (bound) co_return Status{};
    co_return Status{Verdict::kError, bound.error().message()};
  }

 private:
  client::Api& api_;
};

}  // namespace

std::unique_ptr<Plugin> make_default_binder(client::Api& api) { return std::make_unique<DefaultBinder>(api); }

}  // namespace monopod::scheduler
