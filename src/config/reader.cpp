#include "config/reader.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "config/config.hpp"
#include "core/text.hpp"

namespace intertie::config {
namespace {
std::string_view type_in_words(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table: return "a table";
    case toml::node_type::array: return "a list";
    case toml::node_type::string: return "a string";
    case toml::node_type::integer: return "a whole number";
    case toml::node_type::floating_point: return "a number";
    case toml::node_type::boolean: return "true or false";
    case toml::node_type::none: return "nothing";
    default: return "a date or time";
  }
}
std::string shown(std::string_view text) {
  return text::valid_utf8(text.substr(0, 60)) ? std::string(text.substr(0, 60)) : "(not UTF-8)";
}
template <class T>
std::optional<T> read_number(std::string_view text) {
  T value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}
} // namespace

std::string did_you_mean(std::string_view word, std::span<const std::string_view> known) {
  std::vector<std::string> all(known.begin(), known.end());
  auto near = text::suggest(word, all, 2);
  if (!near.empty()) return fmt::format("did you mean \"{}\"?", fmt::join(near, "\" or \""));
  if (all.empty()) return "there is nothing that it could be";
  return fmt::format("{}{} is meant", all.size() > 1 ? "one of " : "", fmt::join(all, ", "));
}

void Reader::wrong(const toml::source_region& where, std::string_view message) {
  if (failure_) return;
  failure_ = Failure{FailureKind::BadRequest,
                     Fault::Client,
                     fmt::format("{}:{}:{}: {}", file_, where.begin.line, where.begin.column, message),
                     "bad_config",
                     {}};
}
void Reader::wrong_variable(std::string_view variable, std::string_view message) {
  if (failure_) return;
  failure_ = Failure{
      FailureKind::BadRequest, Fault::Client, fmt::format("environment {}: {}", variable, message), "bad_config", {}};
}

void Reader::table(const toml::node& node, std::string_view prefix, std::span<const std::string_view> keys,
                   const std::function<bool(std::string_view, const Value&)>& known) {
  const auto* table = node.as_table();
  if (table == nullptr)
    return wrong(node.source(), fmt::format("{} is a table: write [{}] on a line of its own", prefix, prefix));
  // In the order of the file, so that the first mistake told is the first that a reader meets.
  struct Entry {
    const toml::key* key;
    const toml::node* value;
  };
  std::vector<Entry> entries;
  for (const auto& [key, value] : *table) entries.push_back({&key, &value});
  std::ranges::sort(entries, {}, [](const Entry& entry) {
    const auto& begin = entry.key->source().begin;
    return std::pair(begin.line, begin.column);
  });
  for (const auto& [key, value] : entries) {
    if (!ok()) return;
    auto name = prefix.empty() ? std::string(key->str()) : fmt::format("{}.{}", prefix, key->str());
    if (!known(key->str(), Value(*this, name, *value)))
      wrong(key->source(), fmt::format("unknown key {}: {}", shown(name), did_you_mean(key->str(), keys)));
  }
}

void Value::wrong(std::string_view what) const {
  auto message = fmt::format("{} {}", name_, what);
  if (node_ != nullptr) reader_.wrong(node_->source(), message);
  else reader_.wrong_variable(variable_, message);
}
template <class T>
std::optional<T> Value::typed(std::string_view type) const {
  if (auto value = node_->value_exact<T>()) return value;
  wrong(fmt::format("must be {}, not {}", type, type_in_words(*node_)));
  return std::nullopt;
}

std::string Value::string() const {
  if (node_ == nullptr) return text_;
  return typed<std::string>("a string").value_or("");
}
bool Value::boolean() const {
  if (node_ != nullptr) return typed<bool>("true or false").value_or(false);
  auto word = text::lower(text_);
  if (word == "true" || word == "1" || word == "yes" || word == "on") return true;
  if (word != "false" && word != "0" && word != "no" && word != "off") wrong("must be true or false");
  return false;
}
std::int64_t Value::integer(std::int64_t least, std::int64_t most) const {
  auto value = node_ != nullptr ? typed<std::int64_t>("a whole number") : read_number<std::int64_t>(text_);
  if (!value && node_ == nullptr) wrong("must be a whole number");
  if (!value) return least;
  if (*value < least || *value > most) wrong(fmt::format("must be from {} to {}", least, most));
  return std::clamp(*value, least, most);
}
double Value::number(double least, double most) const {
  std::optional<double> value;
  if (node_ == nullptr) value = read_number<double>(text_);
  else if (auto whole = node_->value_exact<std::int64_t>()) value = static_cast<double>(*whole);
  else value = typed<double>("a number");
  if (!value) {
    wrong("must be a number");
    return least;
  }
  if (!(*value >= least && *value <= most)) {
    wrong(fmt::format("must be from {} to {}", least, most));
    return least;
  }
  return *value;
}
milliseconds Value::duration(milliseconds least, milliseconds most) const {
  if (node_ != nullptr && !node_->is_string()) {
    wrong(R"(must be a duration in quotes, such as "500ms", "3s", "10m" or "1h")");
    return least;
  }
  auto value = parse_duration(string());
  if (!value) {
    wrong(fmt::format(R"(must be a duration such as "500ms", "3s", "10m" or "1h", not "{}")", shown(string())));
    return least;
  }
  if (*value < least || *value > most)
    wrong(fmt::format("must be from {} to {}", render_duration(least), render_duration(most)));
  return std::clamp(*value, least, most);
}
std::uint64_t Value::bytes() const {
  if (node_ != nullptr && !node_->is_string()) {
    wrong(R"(must be a size in quotes, such as "64 MB" or "4GiB")");
    return 0;
  }
  auto value = text::parse_bytes(string());
  if (!value) wrong(fmt::format(R"(must be a size such as "64 MB" or "4GiB", not "{}")", shown(string())));
  return value.value_or(0);
}
std::vector<std::string> Value::strings() const {
  std::vector<std::string> out;
  if (node_ == nullptr) {
    for (auto part : text::split(text_, ','))
      if (!text::trim(part).empty()) out.emplace_back(text::trim(part));
    return out;
  }
  const auto* array = node_->as_array();
  if (array == nullptr) {
    wrong(fmt::format("must be a list of strings, not {}", type_in_words(*node_)));
    return out;
  }
  for (const auto& element : *array) {
    auto text = element.value_exact<std::string>();
    if (!text) {
      Value(reader_, name_, element).wrong(fmt::format("must hold strings only, not {}", type_in_words(element)));
      return out;
    }
    out.push_back(*text);
  }
  return out;
}
std::string Value::one_of(std::span<const std::string_view> words) const {
  auto word = string();
  if (!reader_.ok() || std::ranges::find(words, word) != words.end()) return word;
  wrong(fmt::format("can't be \"{}\": {}", shown(word), did_you_mean(word, words)));
  return std::string(words.front());
}

std::optional<milliseconds> parse_duration(std::string_view text) {
  constexpr std::int64_t kMost = 36'000'000'000; // 10,000 hours
  text = text::trim(text);
  if (text.empty()) return std::nullopt;
  std::int64_t total = 0, last_unit = kMost;
  while (!text.empty()) {
    std::int64_t number = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || number < 0 || number > kMost || text.front() == '-') return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    std::int64_t unit = 0;
    std::size_t length = 1;
    if (text.starts_with("ms")) {
      unit = 1;
      length = 2;
    } else if (text.starts_with('s')) unit = 1000;
    else if (text.starts_with('m')) unit = 60'000;
    else if (text.starts_with('h')) unit = 3'600'000;
    if (unit == 0 || unit >= last_unit) return std::nullopt; // "1m30m" and "30s1h" are slips, not sums
    last_unit = unit;
    text.remove_prefix(length);
    total += number * unit;
    if (total > kMost) return std::nullopt;
  }
  return milliseconds{total};
}
std::string render_duration(milliseconds duration) {
  auto ms = duration.count();
  if (ms != 0 && ms % 3'600'000 == 0) return fmt::format("{}h", ms / 3'600'000);
  if (ms != 0 && ms % 60'000 == 0) return fmt::format("{}m", ms / 60'000);
  if (ms % 1000 == 0) return fmt::format("{}s", ms / 1000);
  return fmt::format("{}ms", ms);
}
} // namespace intertie::config
