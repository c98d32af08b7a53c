// A value that must not be seen: no operator<<, no fmt formatter (both deleted; tests/compile_fail proves it), wiped when
// it dies. `reveal()` is the one way to the bytes and is called only where they go onto a wire.
#pragma once

#include <cstring>
#include <iosfwd>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/core.h>

namespace intertie {
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string value) : value_(std::move(value)) {}
  Secret(const Secret&) = default;
  Secret& operator=(const Secret&) = default;
  Secret(Secret&& other) noexcept : value_(std::move(other.value_)) { other.wipe(); }
  Secret& operator=(Secret&& other) noexcept {
    if (this != &other) {
      wipe();
      value_ = std::move(other.value_);
      other.wipe();
    }
    return *this;
  }
  ~Secret() { wipe(); }
  std::string_view reveal() const { return value_; }
  bool empty() const { return value_.empty(); }
  friend std::ostream& operator<<(std::ostream&, const Secret&) = delete;

 private:
  void wipe() {
    if (!value_.empty()) explicit_bzero(value_.data(), value_.size());
    value_.clear();
  }
  std::string value_;
};
} // namespace intertie

template <>
struct fmt::formatter<intertie::Secret> {
  formatter() = delete;
};
