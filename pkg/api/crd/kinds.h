// What this server serves: the rows of the tables and the custom kinds of the moment. Custom kinds are an immutable list that is
// swapped as a whole: who took a snapshot, or found a row with its `keep`, works on undisturbed.
#pragma once

#include <functional>
#include <set>
#include <vector>

#include "api/crd/kind.h"

namespace monopod::api::crd {

struct KindSet {
  std::vector<std::shared_ptr<const CustomKind>> kinds;  // by group, then plural
  std::uint64_t number = 0;                              // another with every change

  const CustomKind* find(std::string_view group, std::string_view plural) const;
  // Calls with every served row, those of the tables first.
  void each(const std::function<void(const Resource&)>& visit) const;
};

// On the loop only; snapshots may go to other threads.
class Kinds {
 public:
  Kinds();

  struct Found {
    const Resource* resource = nullptr;  // null: not served
    std::shared_ptr<const CustomKind> keep;
  };
  Found find(std::string_view group, std::string_view version, std::string_view plural) const;
  std::shared_ptr<const KindSet> snapshot() const { return set_; }

  void put(std::shared_ptr<const CustomKind> kind);  // new, or instead of the one of that group and plural
  void erase(std::string_view group, std::string_view plural);

  // Told of every custom kind that is served from now on, changed, or gone (served false), and at once of those that are there; as long
  // as the caller keeps what it gets.
  struct Change {
    std::shared_ptr<const CustomKind> kind;
    bool served;
  };
  using Listener = std::function<void(const Change& change)>;
  [[nodiscard]] std::shared_ptr<void> on_change(Listener listener);

  // A text that stays where it is as long as this object lives: names that others hold views of. Each distinct one costs its length.
  std::string_view lasting(std::string_view text);

 private:
  void swap(std::vector<std::shared_ptr<const CustomKind>> kinds);
  std::shared_ptr<const KindSet> set_;
  void tell(const Change& change);
  std::vector<std::weak_ptr<Listener>> listeners_;
  std::set<std::string, std::less<>> names_;
};

}  // namespace monopod::api::crd
