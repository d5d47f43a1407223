#include "registry/bcrypt.h"

#include <crypt.h>
#include <openssl/crypto.h>

#include <memory>
#include <string>

#include "base/strings.h"

namespace monopod::registry {
namespace {

constexpr std::size_t kHashBytes = 60;
constexpr int kCostMin = 4, kCostMax = 17;  // 17: some 10 s
constexpr std::string_view kAlphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

}  // namespace

bool is_bcrypt_hash(std::string_view hash) {
  if (hash.size() != kHashBytes || !(hash.starts_with("$2a$") || hash.starts_with("$2b$") || hash.starts_with("$2y$")) || hash[6] != '$') return false;
  auto cost = parse_int<int>(hash.substr(4, 2).front() == '0' ? hash.substr(5, 1) : hash.substr(4, 2));
  return cost && *cost >= kCostMin && *cost <= kCostMax && hash.find_first_not_of(kAlphabet, 7) == std::string_view::npos;
}

bool verify_bcrypt(std::string_view password, std::string_view hash) {
  if (!is_bcrypt_hash(hash)) return false;
  auto scratch = std::make_unique<crypt_data>();
  const char* out = ::crypt_r(std::string(password).c_str(), std::string(hash).c_str(), scratch.get());
  bool right = out != nullptr && std::string_view(out).size() == hash.size() && CRYPTO_memcmp(out, hash.data(), hash.size()) == 0;
  OPENSSL_cleanse(scratch.get(), sizeof(crypt_data));
  return right;
}

}  // namespace monopod::registry
