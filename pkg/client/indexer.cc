#include "client/indexer.h"

#include <cstdlib>
#include <mutex>

namespace monopod::client {

Indexer::Indexer() {
  add_index(std::string(kNamespaceIndex), [](const Object& object) { return std::vector<std::string>{object.ns}; });
}

void Indexer::add_index(std::string name, IndexFunction function) {
  std::unique_lock lock(mutex_);
  indexes_[std::move(name)].function = std::move(function);
}

void Indexer::index(const Object& object, bool add) {
  std::string key = object.key();
  for (auto& [name, index] : indexes_) {
    for (const std::string& value : index.function(object)) {
      if (add) {
        index.keys[value].insert(key);
      } else if (auto it = index.keys.find(value); it != index.keys.end()) {
        it->second.erase(key);
        if (it->second.empty()) index.keys.erase(it);
      }
    }
  }
}

ObjectPtr Indexer::put(ObjectPtr object) {
  std::unique_lock lock(mutex_);
  ObjectPtr& slot = objects_[object->key()];
  ObjectPtr old = std::exchange(slot, object);
  if (old) index(*old, false);
  index(*object, true);
  return old;
}

ObjectPtr Indexer::remove(const std::string& key) {
  std::unique_lock lock(mutex_);
  auto it = objects_.find(key);
  if (it == objects_.end()) return nullptr;
  ObjectPtr old = std::move(it->second);
  objects_.erase(it);
  index(*old, false);
  return old;
}

ObjectPtr Indexer::find(const std::string& key) const {
  std::shared_lock lock(mutex_);
  auto it = objects_.find(key);
  return it == objects_.end() ? nullptr : it->second;
}

std::vector<ObjectPtr> Indexer::list() const {
  std::shared_lock lock(mutex_);
  std::vector<ObjectPtr> out;
  out.reserve(objects_.size());
  for (const auto& [key, object] : objects_) out.push_back(object);
  return out;
}

std::vector<ObjectPtr> Indexer::by_index(std::string_view name, const std::string& value) const {
  std::shared_lock lock(mutex_);
  auto it = indexes_.find(name);
  if (it == indexes_.end()) std::abort();
  std::vector<ObjectPtr> out;
  auto found = it->second.keys.find(value);
  if (found == it->second.keys.end()) return out;
  for (const std::string& key : found->second) out.push_back(objects_.at(key));
  return out;
}

std::vector<std::string> Indexer::keys() const {
  std::shared_lock lock(mutex_);
  std::vector<std::string> out;
  for (const auto& [key, object] : objects_) out.push_back(key);
  return out;
}

std::size_t Indexer::size() const {
  std::shared_lock lock(mutex_);
  return objects_.size();
}

}  // namespace monopod::client
