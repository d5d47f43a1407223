// additionalPrinterColumns: the definitions and cells of a Table of custom objects.
#pragma once

#include "api/crd/kind.h"
#include "api/table/cells.h"

namespace monopod::api::crd {

// Beside the name, which is always first. No columns given: the age.
std::span<const CustomColumn> columns_of(const CustomResource& resource);
void fill_cells(const CustomResource& resource, const json::Value& object, table::Ages& ages, json::Array& cells);

}  // namespace monopod::api::crd
