// LocalApi over the server's operations: authorised as its user, without HTTP in between.
#include "api/serve/works.h"
#include "base/strings.h"
#include "codec/yaml.h"

namespace monopod::api {
namespace {

class Local final : public LocalApi {
 public:
  Local(ServerWorks& works, UserInfo user) : works_(works), user_(std::move(user)) {}

  async::Task<Result<ObjectPtr>> get(ObjectRef ref) override {
    Outcome<Call> call = make_call("get", ref);
    if (!call) co_return fail(call.error().error());
    Outcome<Answer> answer = co_await works_.operations.get(*call, "");
    co_return as_object(std::move(answer));
  }

  async::Task<Result<ListResult>> list(ResourceName resource, std::string ns, ListOptions options) override {
    Outcome<Call> call = make_call("list", {std::move(resource), std::move(ns), "", ""});
    if (!call) co_return fail(call.error().error());
    Outcome<ListResult> out = co_await works_.registry.list(*call, std::move(options));
    if (!out) co_return fail(out.error().error());
    co_return std::move(*out);
  }

  async::Task<Result<std::unique_ptr<LocalWatch>>> watch(ResourceName resource, std::string ns, WatchOptions options) override {
    Outcome<Call> call = make_call("watch", {std::move(resource), std::move(ns), "", ""});
    if (!call) co_return fail(call.error().error());
    Outcome<std::unique_ptr<Watcher>> out = co_await works_.registry.watch(*call, std::move(options), nullptr);
    if (!out) co_return fail(out.error().error());
    co_return std::unique_ptr<LocalWatch>(std::move(*out));
  }

  async::Task<Result<ObjectPtr>> create(ObjectRef ref, std::string body, WriteOptions options) override {
    Outcome<Call> call = make_call("create", ref);
    if (!call) co_return fail(call.error().error());
    call->options = std::move(options);
    Outcome<json::Value> object = decode(*call, body);
    if (!object) co_return fail(object.error().error());
    Outcome<Answer> answer = co_await works_.operations.create(*call, std::move(*object));
    co_return as_object(std::move(answer));
  }

  async::Task<Result<ObjectPtr>> update(ObjectRef ref, std::string body, WriteOptions options) override {
    Outcome<Call> call = make_call("update", ref);
    if (!call) co_return fail(call.error().error());
    call->options = std::move(options);
    Outcome<json::Value> object = decode(*call, body);
    if (!object) co_return fail(object.error().error());
    Outcome<Answer> answer = co_await works_.operations.update(*call, std::move(*object));
    co_return as_object(std::move(answer));
  }

  async::Task<Result<ObjectPtr>> patch(ObjectRef ref, PatchType type, std::string body, WriteOptions options) override {
    Outcome<Call> call = make_call("patch", ref);
    if (!call) co_return fail(call.error().error());
    call->options = std::move(options);
    Result<json::Value> document = type == PatchType::kApply ? yaml::parse(body) : json::parse(body);
    if (!document) co_return fail(document.error());
    Outcome<Answer> answer = co_await works_.operations.patch(*call, type, std::move(*document));
    co_return as_object(std::move(answer));
  }

  async::Task<Result<ObjectPtr>> remove(ObjectRef ref, DeleteOptions options) override {
    Outcome<Call> call = make_call("delete", ref);
    if (!call) co_return fail(call.error().error());
    Outcome<Removed> out = co_await works_.registry.remove(*call, std::move(options));
    if (!out) co_return fail(out.error().error());
    co_return out->object;
  }

  async::Task<Result<>> remove_all(ResourceName resource, std::string ns, ListOptions which, DeleteOptions options) override {
    Outcome<Call> call = make_call("deletecollection", {std::move(resource), std::move(ns), "", ""});
    if (!call) co_return fail(call.error().error());
    Outcome<ListResult> out = co_await works_.registry.remove_all(*call, std::move(which), std::move(options));
    if (!out) co_return fail(out.error().error());
    co_return Result<>();
  }

 private:
  Outcome<Call> make_call(std::string verb, const ObjectRef& ref) {
    Call call;
    if (!find_served(works_, ref.resource.group, ref.resource.version, ref.resource.plural, call)) return refuse(page_not_found());
    const Resource* resource = call.resource;
    for (const std::string* segment : {&ref.ns, &ref.name, &ref.subresource})
      if (!segment->empty() && !valid_segment(*segment)) return refuse(bad_request(cat("invalid path segment \"", *segment, "\"")));
    call.user = user_;
    call.verb = std::move(verb);
    call.ns = resource->namespaced ? ref.ns : std::string();
    call.name = ref.name;
    call.subresource = ref.subresource;
    call.user_agent = user_.name;
    OUT(works_.operations.check(call));
    Attributes attributes{user_, call.verb, true, ref.resource.group, ref.resource.version, ref.resource.plural, call.subresource, call.ns, call.name, ""};
    Decision decision = works_.authorizer.authorize(attributes);
    if (!decision.allowed) return refuse(denial(attributes, decision.reason));
    return call;
  }

  Outcome<json::Value> decode(Call& call, const std::string& body) {
    OUT_ASSIGN(const Subresource* subresource, works_.operations.check(call));
    BodyTarget target = works_.operations.body_target(call, subresource);
    if (target.type == nullptr) return refuse(method_not_supported(call.ref(), call.verb));
    auto validation = parse_field_validation(call.options.field_validation);
    if (!validation) return refuse(bad_request(validation.error().message()));
    return decode_body_now(body, Encoding::kJson, target, *validation, call.warnings);
  }

  static Result<ObjectPtr> as_object(Outcome<Answer> answer) {
    if (!answer) return fail(answer.error().error());
    if (answer->object) return answer->object;
    return Object::parse(share(json::format(answer->tree)));
  }

  ServerWorks& works_;
  UserInfo user_;
};

}  // namespace

std::unique_ptr<LocalApi> ApiServer::local(UserInfo user) { return std::make_unique<Local>(*works_, std::move(user)); }

}  // namespace monopod::api
