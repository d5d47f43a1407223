#include "client/local_api.h"

namespace monopod::client {
namespace {

api::ResourceName name_of(const Resource& r) { return {std::string(r.group), std::string(r.version), std::string(r.plural)}; }

Object object_of(const api::Object& object) {
  return {.bytes = object.json(),
          .ns = std::string(object.ns()),
          .name = std::string(object.name()),
          .uid = std::string(object.uid()),
          .resource_version = object.resource_version()};
}

api::WriteOptions write_options(const WriteOptions& options) {
  return {.field_manager = options.field_manager, .field_validation = "", .dry_run = false, .force = options.force};
}

class LocalWatch final : public Watch {
 public:
  explicit LocalWatch(std::unique_ptr<api::LocalWatch> local) : local_(std::move(local)) {}

  async::Task<Result<WatchEvent>> next() override {
    CO_TRY_ASSIGN(api::WatchEvent event, co_await local_->next());
    WatchEvent out{.type = type_of(event.type), .object = {}, .initial_events_end = event.initial_events_end};
    if (event.object) out.object = object_of(*event.object);
    out.object.resource_version = std::to_string(event.revision);
    co_return out;
  }

 private:
  static EventType type_of(api::EventType type) {
    switch (type) {
      case api::EventType::kAdded: return EventType::kAdded;
      case api::EventType::kModified: return EventType::kModified;
      case api::EventType::kDeleted: return EventType::kDeleted;
      case api::EventType::kBookmark: return EventType::kBookmark;
    }
    return EventType::kBookmark;
  }
  std::unique_ptr<api::LocalWatch> local_;
};

}  // namespace

async::Task<Result<Object>> LocalApi::get(Resource resource, std::string ns, std::string name) {
  CO_TRY_ASSIGN(api::ObjectPtr object, co_await local_->get({name_of(resource), std::move(ns), std::move(name), ""}));
  co_return object_of(*object);
}

async::Task<Result<json::Value>> LocalApi::get_subresource(Resource resource, std::string ns, std::string name, std::string subresource) {
  CO_TRY_ASSIGN(api::ObjectPtr answer, co_await local_->get({name_of(resource), std::move(ns), std::move(name), std::move(subresource)}));
  co_return answer->tree();
}

async::Task<Result<ObjectList>> LocalApi::list(Resource resource, ListOptions options) {
  api::ListOptions wanted{.label_selector = std::move(options.label_selector),
                          .field_selector = std::move(options.field_selector),
                          .resource_version = std::move(options.resource_version),
                          .limit = options.limit,
                          .continue_token = std::move(options.continue_token)};
  CO_TRY_ASSIGN(api::ListResult result, co_await local_->list(name_of(resource), std::move(options.ns), std::move(wanted)));
  ObjectList out{.items = {}, .resource_version = std::move(result.resource_version), .continue_token = std::move(result.continue_token)};
  out.items.reserve(result.items.size());
  for (const api::ObjectPtr& object : result.items) out.items.push_back(object_of(*object));
  co_return out;
}

async::Task<Result<std::unique_ptr<Watch>>> LocalApi::watch(Resource resource, WatchOptions options) {
  api::WatchOptions wanted{.label_selector = std::move(options.label_selector),
                           .field_selector = std::move(options.field_selector),
                           .resource_version = std::move(options.resource_version),
                           .bookmarks = true,
                           .send_initial_events = options.send_initial_events};
  CO_TRY_ASSIGN(std::unique_ptr<api::LocalWatch> watch, co_await local_->watch(name_of(resource), std::move(options.ns), std::move(wanted)));
  co_return std::make_unique<LocalWatch>(std::move(watch));
}

async::Task<Result<Object>> LocalApi::create(Resource resource, std::string ns, json::Value object, WriteOptions options) {
  CO_TRY_ASSIGN(api::ObjectPtr made, co_await local_->create({name_of(resource), std::move(ns), "", ""}, json::format(object), write_options(options)));
  co_return object_of(*made);
}

async::Task<Result<Object>> LocalApi::update(Resource resource, std::string ns, std::string name, json::Value object, WriteOptions options) {
  api::ObjectRef ref{name_of(resource), std::move(ns), std::move(name), options.subresource};
  CO_TRY_ASSIGN(api::ObjectPtr made, co_await local_->update(std::move(ref), json::format(object), write_options(options)));
  co_return object_of(*made);
}

async::Task<Result<Object>> LocalApi::patch(Resource resource, std::string ns, std::string name, PatchType type, json::Value patch,
                                            WriteOptions options) {
  api::PatchType wanted = type == PatchType::kJson    ? api::PatchType::kJson
                          : type == PatchType::kMerge ? api::PatchType::kMerge
                          : type == PatchType::kApply ? api::PatchType::kApply
                                                      : api::PatchType::kStrategic;
  api::ObjectRef ref{name_of(resource), std::move(ns), std::move(name), options.subresource};
  CO_TRY_ASSIGN(api::ObjectPtr made, co_await local_->patch(std::move(ref), wanted, json::format(patch), write_options(options)));
  co_return object_of(*made);
}

async::Task<Result<>> LocalApi::remove(Resource resource, std::string ns, std::string name, DeleteOptions options) {
  api::DeleteOptions wanted{.grace_period_seconds = options.grace_period_seconds,
                            .propagation_policy = std::move(options.propagation_policy),
                            .uid = std::move(options.precondition_uid),
                            .resource_version = std::move(options.precondition_resource_version)};
  auto removed = co_await local_->remove({name_of(resource), std::move(ns), std::move(name), ""}, std::move(wanted));
  if (!removed) co_return fail(removed.error());
  co_return Result<>();
}

async::Task<Result<json::Value>> LocalApi::post(Resource resource, std::string ns, std::string name, std::string subresource, json::Value body) {
  api::ObjectRef ref{name_of(resource), std::move(ns), std::move(name), std::move(subresource)};
  CO_TRY_ASSIGN(api::ObjectPtr answer, co_await local_->create(std::move(ref), json::format(body), {}));
  if (!answer) co_return json::Value(json::Object());
  co_return answer->tree();
}

}  // namespace monopod::client
