#include "store/value_coding.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include "base/rng.h"
#include "base/strings.h"
#include "store/limits.h"
#include "store/value_dictionary.h"

namespace monopod::store {
namespace {

std::string json_like(Rng& rng, std::size_t bytes) {
  std::string text = "{";
  while (text.size() < bytes) text += cat("\"name-", rng.next() % 50, "\":\"value-", rng.next() % 1000, "\",");
  text.resize(bytes);
  return text;
}
std::string random_bytes(Rng& rng, std::size_t bytes) {
  std::string text(bytes, '\0');
  for (char& c : text) c = static_cast<char>(rng.next());
  return text;
}

TEST(ValueCoding, RoundTripsEverySize) {
  SeededRng rng(1);
  ValueEncoder encoder;
  ValueDecoder decoder;
  for (std::size_t bytes : std::initializer_list<std::size_t>{0, 1, 383, 384, 385, 1000, 4096, 70'000, 1U << 20, kValueBytesMax}) {
    for (const std::string& value : {json_like(rng, bytes), random_bytes(rng, bytes), std::string(bytes, 'x')}) {
      EncodedValue encoded = encoder.encode(value);
      auto decoded = decoder.decode(static_cast<std::int64_t>(encoded.coding), encoded.bytes);
      ASSERT_TRUE(decoded) << bytes << " " << decoded.error().message();
      EXPECT_TRUE(**decoded == value) << bytes;
      if (encoded.coding == Coding::kZstdDictionary1) EXPECT_LE(encoded.bytes.size(), value.size() - value.size() / 8);
    }
  }
}

TEST(ValueCoding, CompressesTextAndLeavesNoiseAndShortValuesAlone) {
  SeededRng rng(2);
  ValueEncoder encoder;
  std::string text = json_like(rng, 2000), noise = random_bytes(rng, 2000), little(384, 'x');
  EXPECT_EQ(encoder.encode(text).coding, Coding::kZstdDictionary1);
  EXPECT_LT(encoder.encode(text).bytes.size(), text.size() / 2);
  EXPECT_EQ(encoder.encode(noise).coding, Coding::kPlain);
  EXPECT_EQ(encoder.encode(little).coding, Coding::kPlain);
}

// The dictionary is part of the format: another text would make every stored value unreadable.
TEST(ValueCoding, TheDictionaryIsWhatItWas) {
  EXPECT_EQ(crc32_z(0, reinterpret_cast<const Bytef*>(kValueDictionary1.data()), kValueDictionary1.size()), 3953137174U);
}

TEST(ValueCoding, BrokenFramesAreDataLoss) {
  SeededRng rng(3);
  ValueEncoder encoder;
  ValueDecoder decoder;
  std::string stored(encoder.encode(json_like(rng, 3000)).bytes);
  auto refused = [&](std::int64_t coding, std::string_view bytes) {
    auto decoded = decoder.decode(coding, bytes);
    return !decoded && decoded.error().code() == Code::kDataLoss;
  };
  EXPECT_TRUE(refused(2, stored));
  EXPECT_TRUE(refused(-1, stored));
  EXPECT_TRUE(refused(1, ""));
  EXPECT_TRUE(refused(1, "text"));
  for (std::size_t cut = 0; cut < stored.size(); cut += 7) EXPECT_TRUE(refused(1, std::string_view(stored).substr(0, cut))) << cut;
  // Any byte may be wrong: an answer or kDataLoss, never a crash (the row's checksum then tells them apart).
  for (int round = 0; round < 2000; ++round) {
    std::string broken = stored;
    broken[rng.next() % broken.size()] ^= static_cast<char>(1 + rng.next() % 255);
    (void)decoder.decode(1, broken);
  }
  // A frame that claims 2^40 bytes.
  std::string huge("\x28\xb5\x2f\xfd\xe0\x00\x00\x00\x00\x00\x01\x00\x00", 13);
  EXPECT_TRUE(refused(1, huge));
}

}  // namespace
}  // namespace monopod::store
