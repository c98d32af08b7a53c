// Private to config/: typed reading of one value with its position, wherever it came from (file or environment). The first
// mistake is kept and everything after it is skipped, so that section readers need no checks of their own. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/toml.hpp"
#include "core/clock.hpp"
#include "core/result.hpp"

namespace intertie::config {

class Reader;

// A value: a node of the file, or the text of an environment variable.
class Value {
 public:
  Value(Reader& reader, std::string name, const toml::node& node)
      : reader_(reader), name_(std::move(name)), node_(&node) {}
  Value(Reader& reader, std::string name, std::string variable, std::string text)
      : reader_(reader), name_(std::move(name)), variable_(std::move(variable)), text_(std::move(text)) {}

  // Each says what was wrong and returns nothing, or a default, when it was.
  std::string string() const;
  bool boolean() const;
  std::int64_t integer(std::int64_t least, std::int64_t most) const;
  double number(double least, double most) const;
  milliseconds duration(milliseconds least, milliseconds most) const;
  std::uint64_t bytes() const;
  std::vector<std::string> strings() const;
  std::string one_of(std::span<const std::string_view> words) const;
  void wrong(std::string_view what) const; // "<position>: <name> <what>"
  const std::string& name() const { return name_; }
  const toml::node* node() const { return node_; }

 private:
  template <class T>
  std::optional<T> typed(std::string_view type) const;
  Reader& reader_;
  std::string name_; // "server.listen"
  const toml::node* node_ = nullptr;
  std::string variable_, text_;
};

class Reader {
 public:
  explicit Reader(std::string_view file) : file_(file) {}
  bool ok() const { return !failure_; }
  Failure take() { return std::move(*failure_); }
  void wrong(const toml::source_region& where, std::string_view message);
  void wrong_variable(std::string_view variable, std::string_view message);
  // Walks a table: `known(key, value)` returns false for a key it does not know, which is then an error that suggests one of
  // `keys`. `prefix` is for names in messages: "server".
  void table(const toml::node& node, std::string_view prefix, std::span<const std::string_view> keys,
             const std::function<bool(std::string_view key, const Value& value)>& known);

 private:
  std::string_view file_;
  std::optional<Failure> failure_;
};

// "did you mean "x"?" or the list of all, when none is near.
std::string did_you_mean(std::string_view word, std::span<const std::string_view> known);

} // namespace intertie::config
