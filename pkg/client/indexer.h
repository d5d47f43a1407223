// The local copy of one resource: objects by key, with indexes (by namespace, and any the user adds). Objects are immutable
// and shared, so readers on other threads are safe.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "client/api.h"

namespace monopod::client {

using ObjectPtr = std::shared_ptr<const Object>;
// The values under which an object is found; cheap, called on every change.
using IndexFunction = std::function<std::vector<std::string>(const Object&)>;

inline constexpr std::string_view kNamespaceIndex = "namespace";

class Indexer {
 public:
  Indexer();

  // Before the first object is added.
  void add_index(std::string name, IndexFunction function);

  // The object that was there before, if any.
  ObjectPtr put(ObjectPtr object);
  ObjectPtr remove(const std::string& key);

  ObjectPtr find(const std::string& key) const;
  std::vector<ObjectPtr> list() const;
  // Unknown index: aborts (a bug).
  std::vector<ObjectPtr> by_index(std::string_view index, const std::string& value) const;
  std::vector<std::string> keys() const;
  std::size_t size() const;

 private:
  struct Index {
    IndexFunction function;
    std::unordered_map<std::string, std::set<std::string>> keys;
  };
  void index(const Object& object, bool add);

  mutable std::shared_mutex mutex_;
  std::unordered_map<std::string, ObjectPtr> objects_;
  std::map<std::string, Index, std::less<>> indexes_;
};

}  // namespace monopod::client
