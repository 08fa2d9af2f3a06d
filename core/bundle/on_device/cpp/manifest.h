// Compares a bundle with its SHA256SUMS, before any other file of it is opened.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "bundle.h"

// A bundle that must not be used; the text says why, and what to do.
struct BundleError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// SHA-256, as in FIPS 180-4.
class Sha256 {
 public:
  void add(const unsigned char* data, size_t size) {
    total_ += size;
    while (size > 0) {
      const size_t taken = std::min(size, sizeof block_ - filled_);
      std::memcpy(block_ + filled_, data, taken);
      data += taken, size -= taken, filled_ += taken;
      if (filled_ == sizeof block_) step(), filled_ = 0;
    }
  }

  std::string hex() {
    const uint64_t bits = total_ * 8;
    const unsigned char one = 0x80, zero = 0;
    add(&one, 1);
    while (filled_ != 56) add(&zero, 1);
    unsigned char size[8];
    for (int i = 0; i < 8; ++i) size[i] = static_cast<unsigned char>(bits >> (56 - 8 * i));
    add(size, 8);
    std::string text;
    for (const uint32_t word : state_)
      for (int shift = 28; shift >= 0; shift -= 4) text += "0123456789abcdef"[word >> shift & 15];
    return text;
  }

 private:
  static uint32_t turned(uint32_t x, int by) { return x >> by | x << (32 - by); }

  void step() {
    static constexpr uint32_t K[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
        0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
        0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
        0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
        0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
        0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
        0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
        0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
        0xc67178f2};
    uint32_t w[64];
    for (int i = 0; i < 16; ++i)
      w[i] = static_cast<uint32_t>(block_[4 * i]) << 24 | block_[4 * i + 1] << 16 |
             block_[4 * i + 2] << 8 | block_[4 * i + 3];
    for (int i = 16; i < 64; ++i) {
      const uint32_t a = w[i - 15], b = w[i - 2];
      w[i] = w[i - 16] + (turned(a, 7) ^ turned(a, 18) ^ a >> 3) + w[i - 7] +
             (turned(b, 17) ^ turned(b, 19) ^ b >> 10);
    }
    auto [a, b, c, d, e, f, g, h] = state_;
    for (int i = 0; i < 64; ++i) {
      const uint32_t x = h + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) +
                         ((e & f) ^ (~e & g)) + K[i] + w[i];
      const uint32_t y =
          (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      h = g, g = f, f = e, e = d + x, d = c, c = b, b = a, a = x + y;
    }
    const uint32_t after[8] = {a, b, c, d, e, f, g, h};
    for (int i = 0; i < 8; ++i) state_[i] += after[i];
  }

  std::array<uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  unsigned char block_[64];
  size_t filled_ = 0;
  uint64_t total_ = 0;
};

// How a file differs from the list, in words; empty where it does not.
inline std::string differs(const std::filesystem::path& folder, const std::string& name,
                           const std::string& wanted) {
  namespace fs = std::filesystem;
  const auto outside = "SHA256SUMS names a file outside of the bundle: " + name.substr(0, 200);
  if (name.empty() || name.find_first_of("\\:") != name.npos) return outside;
  const fs::path home = fs::canonical(folder), place = fs::weakly_canonical(home / name);
  const auto met = std::mismatch(home.begin(), home.end(), place.begin(), place.end());
  if (met.first != home.end() || place == home) return outside;  // a link may lead anywhere
  if (!fs::is_regular_file(place)) return name + " is missing";
  std::ifstream file(place, std::ios::binary);
  if (!file) return name + " cannot be read";
  Sha256 hash;
  std::vector<char> buffer(1 << 20);
  do {
    file.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    hash.add(reinterpret_cast<unsigned char*>(buffer.data()), static_cast<size_t>(file.gcount()));
  } while (file);
  const std::string found = hash.hex();
  if (found == wanted) return "";
  return name + " was changed: SHA-256 " + found.substr(0, 12) + "..., not " +
         wanted.substr(0, 12) + "...";
}

// Throws BundleError for every file that is missing or changed, by its name, and for the files of
// another bundle than the one that this program was built with.
inline void check_manifest(const std::filesystem::path& folder) {
  const std::string copy = "copy the whole folder again", name = folder.string();
  std::ifstream file(folder / "SHA256SUMS");
  if (!file) throw BundleError(name + " is no whole bundle: SHA256SUMS is missing; " + copy);
  std::string line, id, problems;
  bool listed = false;
  while (std::getline(file, line)) {
    const std::string head = "# bundle ";
    if (line.compare(0, head.size(), head) == 0) id = line.substr(head.size());
    if (line.empty() || line[0] == '#') continue;
    const size_t gap = line.find("  ");
    const std::string path = gap == line.npos ? "" : line.substr(gap + 2);
    listed = listed || path == "metadata.json";
    const std::string problem = differs(folder, path, line.substr(0, gap));
    if (!problem.empty()) problems += "\n  " + problem;
  }
  if (!listed) problems += "\n  SHA256SUMS does not list metadata.json";
  if (!problems.empty())
    throw BundleError(name + " is damaged, or mixed with the files of another version:" + problems +
                      "\n" + copy);
  if (id != bundle::ID)
    throw BundleError(name + " is another bundle (" + id.substr(0, 12) +
                      ") than the one that this program was built with (" +
                      std::string(bundle::ID).substr(0, 12) +
                      "): build it with the bundle.h of this folder");
}
