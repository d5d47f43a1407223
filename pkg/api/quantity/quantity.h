// resource.Quantity: an exact decimal with one of three spellings (500m, 1Gi, 1e3). Value range as upstream: at most 2^63-1
// in magnitude, scale no finer than nano (rounded up).
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace monopod::api {

class Quantity {
 public:
  enum class Format { kDecimalSi, kBinarySi, kDecimalExponent };

  Quantity() = default;
  static Quantity of(std::int64_t value, Format format = Format::kDecimalSi);
  static Quantity of_milli(std::int64_t value, Format format = Format::kDecimalSi);

  // Rounded up (away from zero), saturated.
  std::int64_t value() const;
  std::int64_t milli_value() const;
  double approximate() const;
  Format format() const { return format_; }
  int sign() const { return nanos_ > 0 ? 1 : nanos_ < 0 ? -1 : 0; }

  Quantity& operator+=(const Quantity& other);
  Quantity& operator-=(const Quantity& other);
  std::strong_ordering operator<=>(const Quantity& other) const { return nanos_ <=> other.nanos_; }
  bool operator==(const Quantity& other) const { return nanos_ == other.nanos_; }

  // The canonical text: no fraction, the largest suffix that loses nothing.
  std::string text() const;

 private:
  friend Result<Quantity> parse_quantity(std::string_view text);
  __extension__ typedef __int128 Nanos;
  Nanos nanos_ = 0;
  Format format_ = Format::kDecimalSi;
};

// kInvalidArgument: "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'".
Result<Quantity> parse_quantity(std::string_view text);

}  // namespace monopod::api
