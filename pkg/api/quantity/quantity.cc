#include "api/quantity/quantity.h"

#include <algorithm>
#include <array>

#include "base/strings.h"

namespace monopod::api {
namespace {

__extension__ typedef __int128 Wide;
__extension__ typedef unsigned __int128 UWide;

constexpr Wide kNano = 1000000000;
constexpr Wide kMax = Wide(INT64_MAX) * kNano;
constexpr std::string_view kWrongFormat =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

struct Suffix {
  std::string_view text;
  int exponent;
};
constexpr std::array<Suffix, 10> kDecimal = {{{"n", -9}, {"u", -6}, {"m", -3}, {"", 0}, {"k", 3}, {"M", 6}, {"G", 9}, {"T", 12}, {"P", 15}, {"E", 18}}};
constexpr std::array<std::string_view, 7> kBinary = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

void append(std::string& out, UWide n) {
  char digits[48];
  char* at = digits + sizeof digits;
  do {
    *--at = static_cast<char>('0' + static_cast<int>(n % 10));
    n /= 10;
  } while (n != 0);
  out.append(at, static_cast<std::size_t>(digits + sizeof digits - at));
}

Wide round_up(Wide nanos, Wide unit) {
  Wide whole = nanos / unit, rest = nanos % unit;
  return rest == 0 ? whole : whole + (rest > 0 ? 1 : -1);
}

// digits (with at most one point) times 10^exponent, times 2^shift, in nanos: rounded away from zero, saturated.
Wide scale(std::string_view whole, std::string_view fraction, int exponent, int shift) {
  constexpr Wide kLimit = kMax * 2;
  Wide value = 0;
  bool inexact = false;
  int power = exponent + 9;  // of the unit's digit, in nanos
  auto step = [&](char c) {
    if (value < kLimit) value = value * 10 + (c - '0');
  };
  // The value as an integer of nanos is digits * 10^power / 10^|fraction|.
  for (char c : whole) step(c);
  std::size_t used = 0;
  for (char c : fraction) {
    if (used == 27) {  // finer than any digit that counts, binary suffixes included
      inexact |= c != '0';
      continue;
    }
    if (value > kLimit / 10) {
      inexact |= c != '0';
      continue;
    }
    step(c);
    ++used;
  }
  power -= static_cast<int>(used);
  if (value == 0) return inexact ? 1 : 0;
  for (; shift > 0 && value < kLimit; --shift) value *= 2;
  for (; power > 0 && value < kLimit; --power) value *= 10;
  for (; power < 0 && value != 0; ++power) {
    inexact |= value % 10 != 0;
    value /= 10;
  }
  if (inexact) ++value;
  return std::min(value, kMax);
}

}  // namespace

Quantity Quantity::of(std::int64_t value, Format format) {
  Quantity q;
  q.nanos_ = Wide(value) * kNano;
  q.format_ = format;
  return q;
}
Quantity Quantity::of_milli(std::int64_t value, Format format) {
  Quantity q;
  q.nanos_ = Wide(value) * (kNano / 1000);
  q.format_ = format;
  return q;
}

std::int64_t Quantity::value() const {
  return static_cast<std::int64_t>(std::clamp(round_up(nanos_, kNano), Wide(INT64_MIN), Wide(INT64_MAX)));
}
std::int64_t Quantity::milli_value() const {
  return static_cast<std::int64_t>(std::clamp(round_up(nanos_, kNano / 1000), Wide(INT64_MIN), Wide(INT64_MAX)));
}
double Quantity::approximate() const { return static_cast<double>(nanos_) / 1e9; }

Quantity& Quantity::operator+=(const Quantity& other) {
  if (nanos_ == 0) format_ = other.format_;
  nanos_ = std::clamp(nanos_ + other.nanos_, -kMax, kMax);
  return *this;
}
Quantity& Quantity::operator-=(const Quantity& other) {
  if (nanos_ == 0) format_ = other.format_;
  nanos_ = std::clamp(nanos_ - other.nanos_, -kMax, kMax);
  return *this;
}

std::string Quantity::text() const {
  if (nanos_ == 0) return "0";
  std::string out = nanos_ < 0 ? "-" : "";
  UWide magnitude = nanos_ < 0 ? static_cast<UWide>(-nanos_) : static_cast<UWide>(nanos_);
  constexpr UWide kUnit = static_cast<UWide>(kNano);
  if (format_ == Format::kBinarySi && magnitude >= 1024 * kUnit && magnitude % kUnit == 0) {
    UWide n = magnitude / kUnit;
    std::size_t suffix = 0;
    while (n % 1024 == 0 && suffix + 1 < kBinary.size()) {
      n /= 1024;
      ++suffix;
    }
    append(out, n);
    out += kBinary[suffix];
    return out;
  }
  int exponent = -9;
  while (exponent < 18 && magnitude % 1000 == 0) {
    magnitude /= 1000;
    exponent += 3;
  }
  append(out, magnitude);
  if (format_ == Format::kDecimalExponent) {
    if (exponent != 0) out += cat("e", exponent);
  } else {
    out += std::ranges::find(kDecimal, exponent, &Suffix::exponent)->text;
  }
  return out;
}

Result<Quantity> parse_quantity(std::string_view text) {
  std::string_view rest = text;
  bool negative = false;
  if (!rest.empty() && (rest[0] == '+' || rest[0] == '-')) {
    negative = rest[0] == '-';
    rest.remove_prefix(1);
  }
  auto take_digits = [&] {
    std::size_t n = 0;
    while (n < rest.size() && is_digit(rest[n])) ++n;
    std::string_view digits = rest.substr(0, n);
    rest.remove_prefix(n);
    return digits;
  };
  std::string_view whole = take_digits(), fraction;
  if (rest.starts_with('.')) {
    rest.remove_prefix(1);
    fraction = take_digits();
  }
  if (whole.empty() && fraction.empty()) return fail(Code::kInvalidArgument, std::string(kWrongFormat));

  Quantity q;
  int exponent = 0, shift = 0;
  if (auto decimal = std::ranges::find(kDecimal, rest, &Suffix::text); decimal != kDecimal.end()) {
    exponent = decimal->exponent;
  } else if (auto binary = std::ranges::find(kBinary, rest); binary != kBinary.end()) {
    shift = 10 * static_cast<int>(binary - kBinary.begin());
    q.format_ = Quantity::Format::kBinarySi;
  } else if (rest.size() > 1 && (rest[0] == 'e' || rest[0] == 'E')) {
    std::string_view number = rest.substr(1);
    if (number.starts_with('+')) number.remove_prefix(1);
    auto parsed = parse_int<int>(number);
    if (!parsed || rest.starts_with("e+-")) {
      bool digits = std::ranges::all_of(number.substr(number.starts_with('-') ? 1 : 0), is_digit);
      if (!digits || number.empty()) return fail(Code::kInvalidArgument, std::string(kWrongFormat));
      parsed = number[0] == '-' ? -10000 : 10000;
    }
    exponent = std::clamp(*parsed, -10000, 10000);
    q.format_ = Quantity::Format::kDecimalExponent;
  } else {
    bool known = std::ranges::all_of(rest, [](char c) { return std::string_view("eEinumkKMGTP+-0123456789").find(c) != std::string_view::npos; });
    return fail(Code::kInvalidArgument, known ? "unable to parse quantity's suffix" : std::string(kWrongFormat));
  }
  q.nanos_ = scale(whole, fraction, exponent, shift);
  if (negative) q.nanos_ = -q.nanos_;
  return q;
}

}  // namespace monopod::api
