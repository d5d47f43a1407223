#include "proxy/io/tickets.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <algorithm>

#include "base/strings.h"

namespace monopod::proxy {
namespace {

constexpr std::size_t kNameBytes = 16, kMacBytes = 32;

std::string random_key() {
  std::string out(kTicketKeyBytes, '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(out.data()), static_cast<int>(out.size())) != 1) out.clear();
  return out;
}

bool use_mac(evp_mac_ctx_st* mac, const std::string& key) {
  char digest[] = "SHA256";
  OSSL_PARAM params[] = {OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, const_cast<char*>(key.data()) + kNameBytes, kMacBytes),
                         OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end()};
  return EVP_MAC_CTX_set_params(mac, params) == 1;
}

}  // namespace

Result<std::shared_ptr<TicketKeys>> TicketKeys::make(const TicketSpec& spec, std::uint64_t now_ms) {
  std::shared_ptr<TicketKeys> out(new TicketKeys(spec));
  for (const std::string& bytes : spec.keys) {
    if (bytes.size() != kTicketKeyBytes) return fail(Code::kInvalidArgument, cat("a key of tickets has ", kTicketKeyBytes, " bytes, this file ", bytes.size()));
    out->keys_.push_back({bytes, now_ms});
  }
  if (out->keys_.empty()) out->keys_.push_back({random_key(), now_ms});
  if (out->keys_.front().bytes.empty()) return fail(Code::kInternal, "tickets: no random bytes");
  return out;
}

void TicketKeys::rotate(std::uint64_t now_ms) {
  if (!spec_.keys.empty()) return;  // files rotate by being written
  auto age = static_cast<std::uint64_t>(spec_.rotate.count());
  std::erase_if(keys_, [&](const Key& key) { return now_ms >= key.made_ms + 2 * age; });
  if (!keys_.empty() && now_ms < keys_.front().made_ms + age) return;
  if (std::string bytes = random_key(); !bytes.empty()) keys_.insert(keys_.begin(), {std::move(bytes), now_ms});
}

int TicketKeys::prepare(unsigned char* name, unsigned char* iv, evp_cipher_ctx_st* cipher, evp_mac_ctx_st* mac, bool sealing, std::uint64_t now_ms) {
  std::lock_guard lock(mutex_);
  rotate(now_ms);
  auto key = keys_.begin();
  if (!sealing) key = std::ranges::find_if(keys_, [name](const Key& k) { return std::equal(name, name + kNameBytes, reinterpret_cast<const unsigned char*>(k.bytes.data())); });
  if (key == keys_.end()) return sealing ? -1 : 0;
  const auto* bytes = reinterpret_cast<const unsigned char*>(key->bytes.data());
  if (sealing) {
    std::copy_n(bytes, kNameBytes, name);
    if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1) return -1;
  }
  const unsigned char* secret = bytes + kNameBytes + kMacBytes;
  bool good = use_mac(mac, key->bytes) && (sealing ? EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, secret, iv) : EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, secret, iv)) == 1;
  if (!good) return -1;
  return key == keys_.begin() ? 1 : 2;
}

}  // namespace monopod::proxy
