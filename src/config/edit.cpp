#include "config/edit.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "config/parts.hpp"
#include "core/text.hpp"

namespace intertie::config {
namespace {
constexpr std::array<std::string_view, 5> kModelKeys{"context", "slots", "pinned", "keep_alive", "arguments"};

bool bare(std::string_view key) {
  return !key.empty() && key.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") ==
                             std::string_view::npos;
}
std::string in_quotes(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') (out += '\\') += c;
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    else out += c;
  }
  return out + '"';
}
std::string list_of(const std::vector<std::string>& words) {
  std::string out = "[";
  for (const auto& word : words) out += (out.size() > 1 ? ", " : "") + in_quotes(word);
  return out + "]";
}
std::string dotted(const KeyPath& path, std::size_t parts) {
  std::string out;
  for (std::size_t i = 0; i < parts; ++i)
    out += (out.empty() ? "" : ".") + (bare(path[i]) ? path[i] : in_quotes(path[i]));
  return out;
}

// Names of a model hold dots and capitals of their own; what they end with may not be a flag.
std::vector<std::string> words_of(std::string_view key) {
  std::vector<std::string> out;
  for (auto word : text::split(key, '.')) out.emplace_back(text::trim(word));
  return out;
}
std::string unquoted(std::string_view name) {
  if (name.size() > 1 && name.front() == '"' && name.back() == '"') name = name.substr(1, name.size() - 2);
  return std::string(name);
}

Result<EditKey> model_key(std::string name, std::string_view flag) {
  EditKey key;
  key.path = {"local", "model", std::move(name)};
  if (std::ranges::find(kModelKeys, flag) != kModelKeys.end()) {
    key.path.emplace_back(flag);
    return key;
  }
  auto plain = flag.substr(std::min(flag.size(), flag.find_first_not_of('-')));
  if (!bare(plain))
    return bad_request(fmt::format("\"{}\" is no flag: it is the name of one of llama-server's, such as temp or "
                                   "cache-type-k, or one of {}",
                                   flag, fmt::join(kModelKeys, ", ")),
                       "bad_key");
  key.path.emplace_back("arguments");
  key.flag = flag.starts_with('-') ? std::string(flag) : (plain.size() < 3 ? "-" : "--") + std::string(plain);
  return key;
}

const toml::node* find(const toml::table& root, const KeyPath& path) {
  const toml::node* at = &root;
  for (const auto& part : path) {
    const auto* table = at->as_table();
    at = table == nullptr ? nullptr : table->get(part);
    if (at == nullptr) return nullptr;
  }
  return at;
}

// Byte offset of a position; columns count characters.
std::size_t offset_of(std::string_view text, const toml::source_position& where) {
  std::size_t at = 0;
  for (toml::source_index line = 1; line < where.line; ++line) {
    auto end = text.find('\n', at);
    if (end == std::string_view::npos) return text.size();
    at = end + 1;
  }
  for (toml::source_index column = 1; column < where.column && at < text.size(); ++column) {
    ++at;
    while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) ++at;
  }
  return at;
}
std::size_t line_begin(std::string_view text, std::size_t at) {
  auto end = at == 0 ? std::string_view::npos : text.rfind('\n', at - 1);
  return end == std::string_view::npos ? 0 : end + 1;
}
std::size_t line_end(std::string_view text, std::size_t at) { // behind its newline
  auto end = text.find('\n', at);
  return end == std::string_view::npos ? text.size() : end + 1;
}
int line_number(std::string_view text, std::size_t at) {
  return 1 + static_cast<int>(std::ranges::count(text.substr(0, at), '\n'));
}

// Where a line for `key` goes into the table that is written at `header`: behind the commented sample of it, or behind the
// table's last value, or behind the header itself.
std::size_t place_in_table(std::string_view text, const toml::table& table, std::size_t header, std::string_view key) {
  std::size_t place = line_end(text, header);
  for (const auto& [name, node] : table) {
    if (node.is_table() && !node.as_table()->is_inline()) continue;
    if (node.is_array_of_tables()) continue;
    place = std::max(place, line_end(text, offset_of(text, node.source().end) - 1));
  }
  for (auto at = line_end(text, header); at < text.size(); at = line_end(text, at)) {
    auto line = text::trim(text.substr(at, line_end(text, at) - at));
    if (line.starts_with('[')) break;
    if (!line.starts_with('#')) continue;
    line = text::trim(line.substr(1));
    if (!line.starts_with(key)) continue;
    if (text::trim(line.substr(key.size())).starts_with('=')) return line_end(text, at);
  }
  return place;
}

// A table that only its sub-tables speak of has the position of one of those.
bool is_header_of(std::string_view line, const KeyPath& path) {
  if (!line.starts_with('[')) return false;
  auto parsed = toml::parse(line);
  const auto* table = parsed ? find(parsed.table(), path) : nullptr;
  return table != nullptr && table->is_table() && table->as_table()->empty();
}

std::string with_newline(std::string_view text) {
  std::string out(text);
  if (!out.empty() && out.back() != '\n') out += '\n';
  return out;
}

struct Parsed {
  toml::table root;
};
Result<Parsed> parse(std::string_view text, std::string_view file) {
  auto parsed = toml::parse(text, file);
  if (parsed) return Parsed{std::move(parsed).table()};
  const auto& where = parsed.error().source().begin;
  return bad_request(fmt::format("{}:{}:{}: this is not TOML: {}; mend it first", file, where.line, where.column,
                                 parsed.error().description()),
                     "bad_config");
}

void put(Edit& edit, std::string_view text, std::size_t from, std::size_t to, std::string_view what) {
  edit.text = fmt::format("{}{}{}", text.substr(0, from), what, text.substr(to));
  edit.line = line_number(edit.text, from);
}

std::unexpected<Failure> by_hand(std::string_view key, int line) {
  return bad_request(
      fmt::format("{} is written in a way that can't be changed from here (line {}): edit it by hand", key, line),
      "edit_by_hand");
}

// Writes `value` (TOML already; empty: takes the key out).
Result<Edit> write(std::string_view text, const toml::table& root, const KeyPath& path, const std::string& value) {
  Edit edit;
  edit.key = dotted(path, path.size());
  edit.after = value;
  auto written = fmt::format("{} = {}\n", dotted({path.back()}, 1), value);
  if (const auto* node = find(root, path)) {
    auto from = offset_of(text, node->source().begin), to = offset_of(text, node->source().end);
    edit.before = text.substr(from, to - from);
    if (value.empty()) put(edit, text, line_begin(text, from), line_end(text, to), "");
    else put(edit, text, from, to, value);
    return edit;
  }
  if (value.empty()) return bad_request(fmt::format("{} is not set in this file", edit.key), "not_set");
  KeyPath above(path.begin(), path.end() - 1);
  const auto* table = find(root, above);
  if (table != nullptr && table->is_table()) {
    auto header = offset_of(text, table->source().begin);
    if (is_header_of(text.substr(header, line_end(text, header) - header), above)) {
      auto place = place_in_table(text, *table->as_table(), header, path.back());
      auto before = with_newline(text.substr(0, place));
      put(edit, before + std::string(text.substr(place)), before.size(), before.size(), written);
      return edit;
    }
    // Written by dotted keys or inline: a header of its own would be a second definition.
    for (const auto& [name, node] : *table->as_table())
      if (!node.is_table()) return by_hand(edit.key, line_number(text, header));
  }
  auto before = with_newline(text);
  put(edit, before, before.size(), before.size(),
      fmt::format("{}[{}]\n{}", before.empty() ? "" : "\n", dotted(path, path.size() - 1), written));
  edit.line += before.empty() ? 1 : 2;
  return edit;
}

bool same(const toml::node& a, const toml::node& b) {
  if (a.type() != b.type()) return false;
  switch (a.type()) {
    case toml::node_type::table: return *a.as_table() == *b.as_table();
    case toml::node_type::array: return *a.as_array() == *b.as_array();
    case toml::node_type::string: return *a.as_string() == *b.as_string();
    case toml::node_type::integer: return *a.as_integer() == *b.as_integer();
    case toml::node_type::floating_point: return *a.as_floating_point() == *b.as_floating_point();
    case toml::node_type::boolean: return *a.as_boolean() == *b.as_boolean();
    case toml::node_type::date: return *a.as_date() == *b.as_date();
    case toml::node_type::time: return *a.as_time() == *b.as_time();
    case toml::node_type::date_time: return *a.as_date_time() == *b.as_date_time();
    case toml::node_type::none: break;
  }
  return false;
}

// Is everything else as it was?
bool is_only_change(const toml::table& before, const toml::table& after, const KeyPath& path, std::size_t at = 0) {
  const auto& key = path[at];
  for (const auto& [name, node] : before) {
    if (name.str() == key) continue;
    const auto* other = after.get(name.str());
    if (other == nullptr || !same(node, *other)) return false;
  }
  for (const auto& [name, node] : after)
    if (name.str() != key && !before.contains(name.str())) return false;
  if (at + 1 == path.size()) return true;
  static const toml::table kNone;
  const auto* old_part = before.get(key);
  const auto* new_part = after.get(key);
  const auto* old_table = old_part == nullptr ? &kNone : old_part->as_table();
  const auto* new_table = new_part == nullptr ? &kNone : new_part->as_table();
  return old_table != nullptr && new_table != nullptr && is_only_change(*old_table, *new_table, path, at + 1);
}

// The words of a model's `arguments` with this flag and its value in them, once.
std::string with_flag(const toml::node* arguments, const std::string& flag, std::optional<std::string_view> value) {
  std::vector<std::string> words, kept;
  if (const auto* array = arguments == nullptr ? nullptr : arguments->as_array())
    for (const auto& word : *array) words.push_back(word.value_or(std::string{}));
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] != flag) {
      kept.push_back(words[i]);
      continue;
    }
    bool negative = i + 1 < words.size() && words[i + 1].size() > 1 && words[i + 1][0] == '-' &&
                    words[i + 1].find_first_not_of("0123456789.", 1) == std::string::npos;
    if (i + 1 < words.size() && (negative || !words[i + 1].starts_with('-'))) ++i;
  }
  if (value) {
    kept.push_back(flag);
    if (!value->empty()) kept.emplace_back(*value);
  } else if (kept.size() == words.size()) {
    return {};
  }
  return list_of(kept);
}

// What a person may have meant, the likeliest first.
std::vector<std::string> readings(std::string_view value) {
  std::vector<std::string> out;
  auto trimmed = text::trim(value);
  auto whole = fmt::format("x = {}", trimmed);
  bool one_line = trimmed.find('\n') == std::string_view::npos && trimmed.find('#') == std::string_view::npos;
  if (!trimmed.empty() && one_line && toml::parse(whole)) out.emplace_back(trimmed);
  out.push_back(in_quotes(value));
  std::vector<std::string> words;
  for (auto word : text::split(value, ','))
    if (!text::trim(word).empty()) words.emplace_back(text::trim(word));
  out.push_back(list_of(words));
  return out;
}
} // namespace

std::vector<std::string> settable_keys() {
  std::vector<std::string> out;
  for (const auto& section : sections())
    for (const auto& key : section.keys) out.push_back(fmt::format("{}.{}", section.name, key.name));
  return out;
}

Result<EditKey> parse_edit_key(std::string_view key, const std::vector<std::string>& models) {
  auto words = words_of(key);
  auto dot = key.rfind('.');
  auto flag = dot == std::string_view::npos ? std::string_view{} : key.substr(dot + 1);
  // A model first: its name may begin like a section.
  if (dot != std::string_view::npos && !flag.empty()) {
    auto name = unquoted(key.substr(0, dot));
    if (std::ranges::find(models, name) != models.end()) return model_key(std::move(name), flag);
    constexpr std::string_view kLong = "local.model.";
    if (key.starts_with(kLong) && dot > kLong.size())
      return model_key(unquoted(key.substr(kLong.size(), dot - kLong.size())), flag);
  }
  for (const auto& section : sections()) {
    if (words.front() != section.name || words.size() < 2) continue;
    if (section.name == "policy" && words.size() == 3 && words[1] == "matrix") return EditKey{words, {}};
    for (const auto& one : section.keys)
      if (words.size() == 2 && one.name == words[1]) return EditKey{words, {}};
  }
  auto known = settable_keys();
  if (!flag.empty())
    for (const auto& model : models) known.push_back(fmt::format("{}.{}", model, flag));
  auto near = text::suggest(key, known);
  return bad_request(fmt::format("there is no key {}: {}", std::string(key.substr(0, 100)),
                                 near.empty() ? "it is SECTION.KEY as in `intertie config show`, or MODEL.FLAG with a "
                                                "model of `intertie models list`; a [[provider]] is edited by hand"
                                              : fmt::format("did you mean {}?", fmt::join(near, " or "))),
                     "bad_key");
}

Result<Edit> edit_config(std::string_view text, std::string_view file, const EditKey& key,
                         std::optional<std::string_view> value, const Environment& environment) {
  TRY(auto before, parse(text, file));
  std::vector<std::string> values{std::string{}};
  if (!key.flag.empty()) {
    values = {with_flag(find(before.root, key.path), key.flag, value)};
    if (values.front().empty())
      return bad_request(fmt::format("{} is not among the arguments of {}", key.flag, key.path[2]), "not_set");
  } else if (value) {
    values = readings(*value);
  }
  std::optional<Failure> first;
  for (const auto& one : values) {
    TRY(auto edit, write(text, before.root, key.path, one));
    auto after = parse(edit.text, file);
    bool as_meant = after && is_only_change(before.root, after->root, key.path) &&
                    (find(after->root, key.path) != nullptr) == !one.empty();
    if (!as_meant) return by_hand(edit.key, edit.line);
    auto checked = parse_config(edit.text, file, environment);
    if (checked) return edit;
    if (!first) first = std::move(checked).error();
  }
  return std::unexpected(std::move(*first));
}

} // namespace intertie::config
