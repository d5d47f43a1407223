#include "pki/password.h"

#include <optional>

#include "base/bytes.h"
#include "base/strings.h"
#include "pki/digest.h"
#include "pki/openssl.h"

namespace monopod::pki {
namespace {

constexpr std::uint64_t kBlockSize = 8;  // RFC 7914's r
constexpr std::uint64_t kParallel = 1;   // and p
constexpr std::size_t kSaltBytes = 16;
constexpr std::size_t kHashBytes = 32;

std::optional<std::string> derive(std::string_view password, std::string_view salt, int cost) {
  initialise();
  std::uint64_t n = std::uint64_t{1} << static_cast<unsigned>(cost);
  std::uint64_t memory_max = 128 * kBlockSize * (n + kParallel + 2) + (1U << 20);
  std::string out(kHashBytes, '\0');
  if (EVP_PBE_scrypt(password.data(), password.size(), reinterpret_cast<const unsigned char*>(salt.data()), salt.size(), n, kBlockSize, kParallel, memory_max,
                     reinterpret_cast<unsigned char*>(out.data()), out.size()) == 1)
    return out;
  ERR_clear_error();
  return std::nullopt;
}

struct Parts {
  int cost = 0;
  std::string salt;
  std::string hash;
};

std::optional<Parts> parse_hash(std::string_view text) {
  std::vector<std::string_view> parts = split(text, '$');
  if (parts.size() != 5 || !parts[0].empty() || parts[1] != "scrypt") return std::nullopt;
  std::vector<std::string_view> settings = split(parts[2], ',');
  if (settings.size() != 3 || !settings[0].starts_with("ln=") || settings[1] != "r=8" || settings[2] != "p=1") return std::nullopt;
  std::optional<int> cost = parse_int<int>(settings[0].substr(3));
  std::optional<std::string> salt = parse_base64url(parts[3]), hash = parse_base64url(parts[4]);
  if (!cost || *cost < kPasswordCostMin || *cost > kPasswordCostMax || !salt || !hash) return std::nullopt;
  return Parts{*cost, std::move(*salt), std::move(*hash)};
}

}  // namespace

Result<std::string> hash_password(std::string_view password, int cost) {
  if (password.size() > kPasswordBytesMax) return fail(Code::kInvalidArgument, cat("password is longer than ", kPasswordBytesMax, " bytes"));
  if (cost < kPasswordCostMin || cost > kPasswordCostMax)
    return fail(Code::kInvalidArgument, cat("password cost ", cost, ": want ", kPasswordCostMin, " to ", kPasswordCostMax));
  TRY_ASSIGN(std::string salt, random_bytes(kSaltBytes));
  std::optional<std::string> hash = derive(password, salt, cost);
  if (!hash) return fail(Code::kResourceExhausted, "hash a password: no memory");
  return cat("$scrypt$ln=", cost, ",r=", kBlockSize, ",p=", kParallel, "$", format_base64url(salt), "$", format_base64url(*hash));
}

bool verify_password(std::string_view password, std::string_view hash) {
  std::optional<Parts> parts = parse_hash(hash);
  if (!parts || password.size() > kPasswordBytesMax) return false;
  std::optional<std::string> derived = derive(password, parts->salt, parts->cost);
  return derived && equal_in_constant_time(*derived, parts->hash);
}

}  // namespace monopod::pki
