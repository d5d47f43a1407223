// Strong types over plain values: a LeaseId is not a Revision.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>

namespace monopod {

// using Revision = StrongId<struct RevisionTag, std::int64_t>;
template <typename Tag, typename T>
struct StrongId {
  T value{};

  StrongId() = default;
  constexpr explicit StrongId(T v) : value(std::move(v)) {}
  auto operator<=>(const StrongId&) const = default;
};

}  // namespace monopod

template <typename Tag, typename T>
struct std::hash<monopod::StrongId<Tag, T>> {
  std::size_t operator()(const monopod::StrongId<Tag, T>& id) const { return std::hash<T>()(id.value); }
};
