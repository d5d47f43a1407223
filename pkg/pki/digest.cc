#include "pki/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <cstdlib>

#include "pki/random.h"

namespace monopod::pki {
namespace {

const unsigned char* bytes_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }
unsigned char* bytes_of(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

std::string digest(const EVP_MD* algorithm, std::string_view data) {
  initialise();
  std::string out(static_cast<std::size_t>(EVP_MD_get_size(algorithm)), '\0');
  if (EVP_Digest(data.data(), data.size(), bytes_of(out), nullptr, algorithm, nullptr) != 1) std::abort();  // no memory
  return out;
}

// Fetched once: what EVP_sha256() gives is looked up by name at each use, for as long as a short digest takes.
const EVP_MD* fetched_sha256() {
  static const EVP_MD* const algorithm = [] {
    initialise();
    const EVP_MD* found = EVP_MD_fetch(nullptr, "SHA256", nullptr);
    return found != nullptr ? found : EVP_sha256();
  }();
  return algorithm;
}

}  // namespace

std::string sha256(std::string_view data) { return digest(fetched_sha256(), data); }
std::string sha512(std::string_view data) { return digest(EVP_sha512(), data); }
std::string sha1(std::string_view data) { return digest(EVP_sha1(), data); }
std::string sha256_hex(std::string_view data) { return format_hex(as_bytes(sha256(data))); }
std::string sha512_hex(std::string_view data) { return format_hex(as_bytes(sha512(data))); }

std::string hmac_sha256(std::string_view key, std::string_view data) {
  initialise();
  std::string out(32, '\0');
  unsigned size = 0;
  if (HMAC(fetched_sha256(), key.data(), static_cast<int>(key.size()), bytes_of(data), data.size(), bytes_of(out), &size) == nullptr)
    std::abort();
  return out;
}

std::string secret_gmac(std::string_view key, std::string_view data) {
  initialise();
  static const EVP_CIPHER* const algorithm = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  constexpr std::size_t kPieceMax = std::size_t{1} << 30;  // lengths are int
  static constexpr unsigned char kNonce[12] = {};
  std::string out(16, '\0');
  std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context(EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
  int count = 0;
  bool good = key.size() == 32 && context != nullptr && EVP_EncryptInit_ex(context.get(), algorithm, nullptr, bytes_of(key), kNonce) == 1;
  for (; good && !data.empty(); data.remove_prefix(std::min(data.size(), kPieceMax)))
    good = EVP_EncryptUpdate(context.get(), nullptr, &count, bytes_of(data), static_cast<int>(std::min(data.size(), kPieceMax))) == 1;
  good = good && EVP_EncryptFinal_ex(context.get(), bytes_of(out), &count) == 1 && EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, 16, out.data()) == 1;
  if (!good) std::abort();  // no memory
  return out;
}

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

struct Sha256::Context {
  EVP_MD_CTX* md = EVP_MD_CTX_new();
  Context() = default;
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context() { EVP_MD_CTX_free(md); }
  void start() {
    if (md == nullptr || EVP_DigestInit_ex(md, fetched_sha256(), nullptr) != 1) std::abort();
  }
};

Sha256::Sha256() {
  initialise();
  context_ = std::make_unique<Context>();
  context_->start();
}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::update(std::span<const std::byte> bytes) {
  if (EVP_DigestUpdate(context_->md, bytes.data(), bytes.size()) != 1) std::abort();
}

std::string Sha256::finish() {
  std::string out(32, '\0');
  if (EVP_DigestFinal_ex(context_->md, bytes_of(out), nullptr) != 1) std::abort();
  context_->start();
  return out;
}

std::string Sha256::finish_hex() { return format_hex(as_bytes(finish())); }

}  // namespace monopod::pki
