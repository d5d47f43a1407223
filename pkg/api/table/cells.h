// The cell logic behind table.h: one function for each kind that shows more than name and age.
#pragma once

#include <optional>

#include "api/schema/schema.h"
#include "base/clock.h"
#include "codec/json.h"

namespace monopod::api::table {

// The ages in one row, and until when they read the same.
class Ages {
 public:
  explicit Ages(WallTime now) : now_(now) {}
  // "5d", "<unknown>" where the time is absent.
  std::string of(std::string_view rfc3339);
  // That of the object itself, which becomes the next of cells: it may be written anew without the rest of the row.
  json::Value of_object(const json::Value& object, const json::Array& cells);

  WallTime good_until() const { return good_until_; }  // all but the object's
  std::optional<std::size_t> object_cell() const { return object_cell_; }

 private:
  WallTime now_;
  WallTime good_until_ = WallTime::max();
  std::optional<std::size_t> object_cell_{};
};

// Appends the cells of one object; missing ones are filled with empty text by the caller.
void fill_cells(const Resource& resource, const json::Value& object, Ages& ages, json::Array& cells);

// pod_cells.cc
void pod_cells(const json::Value& pod, Ages& ages, json::Array& cells);

std::string format_labels(const json::Value* labels);          // "a=b,c=d" or <none>
std::string format_selector(const json::Value* selector);      // a metav1.LabelSelector
std::string container_names(const json::Value* pod_spec);
std::string container_images(const json::Value* pod_spec);

}  // namespace monopod::api::table
