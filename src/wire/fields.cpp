#include "wire/fields.hpp"

#include <algorithm>

#include "core/json.hpp"

namespace intertie::wire {
namespace {
// Position after the string whose opening quote is at `i`.
std::size_t skip_string(std::string_view t, std::size_t i) {
  for (++i; i < t.size(); ++i) {
    if (t[i] == '\\') ++i;
    else if (t[i] == '"') return i + 1;
  }
  return t.size();
}
std::size_t skip_blank(std::string_view t, std::size_t i) {
  while (i < t.size() && (t[i] == ' ' || t[i] == '\n' || t[i] == '\r' || t[i] == '\t')) ++i;
  return i;
}
// Position after the value that starts at `i`.
std::size_t skip_value(std::string_view t, std::size_t i) {
  if (t[i] == '"') return skip_string(t, i);
  if (t[i] != '{' && t[i] != '[') {
    while (i < t.size() && t[i] != ',' && t[i] != '}' && t[i] != ']' && t[i] > ' ') ++i;
    return i;
  }
  for (int depth = 0; i < t.size();) {
    if (t[i] == '"') {
      i = skip_string(t, i);
      continue;
    }
    if (t[i] == '{' || t[i] == '[') ++depth;
    if ((t[i] == '}' || t[i] == ']') && --depth == 0) return i + 1;
    ++i;
  }
  return t.size();
}
Span span(std::size_t begin, std::size_t end) {
  return {static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end)};
}
std::string_view bytes(std::string_view t, Span s) { return t.substr(s.begin, s.end - s.begin); }
// A key may be written with escapes; hardly anyone does.
bool is_key(std::string_view written, std::string_view key) {
  return written == key || (written.size() > key.size() && written.find('\\') != std::string_view::npos &&
                            json::unescape(written) == key);
}
} // namespace

std::vector<Member> top_level_fields(std::string_view t) {
  std::vector<Member> fields;
  std::size_t i = skip_blank(t, 0);
  if (i >= t.size() || t[i] != '{') return fields;
  for (i = skip_blank(t, i + 1); i < t.size() && t[i] == '"';) {
    std::size_t key_end = skip_string(t, i);
    Span key = span(i + 1, key_end - 1);
    i = skip_blank(t, skip_blank(t, key_end) + 1);
    if (i >= t.size()) break;
    std::size_t value_end = skip_value(t, i);
    fields.push_back({key, span(i, value_end)});
    i = skip_blank(t, value_end);
    if (i < t.size() && t[i] == ',') i = skip_blank(t, i + 1);
  }
  return fields;
}

std::string_view member_of(std::string_view object, std::string_view key) {
  for (const auto& field : top_level_fields(object))
    if (is_key(bytes(object, field.key), key)) return bytes(object, field.value);
  return {};
}

std::vector<std::string_view> elements_of(std::string_view t) {
  std::vector<std::string_view> elements;
  std::size_t i = skip_blank(t, 0);
  if (i >= t.size() || t[i] != '[') return elements;
  for (i = skip_blank(t, i + 1); i < t.size() && t[i] != ']';) {
    std::size_t end = skip_value(t, i);
    elements.push_back(t.substr(i, end - i));
    i = skip_blank(t, end);
    if (i < t.size() && t[i] == ',') i = skip_blank(t, i + 1);
    else break;
  }
  return elements;
}

const Member* BodyEdits::find(std::string_view key) const {
  auto at = std::ranges::find_if(fields_, [&](const Member& f) { return is_key(bytes(body_, f.key), key); });
  return at == fields_.end() ? nullptr : &*at;
}
std::string_view BodyEdits::value(std::string_view key) const {
  const Member* field = find(key);
  return field == nullptr ? std::string_view{} : bytes(body_, field->value);
}
void BodyEdits::inside(std::string_view old, std::string text) {
  auto begin = static_cast<std::uint32_t>(old.data() - body_.data());
  inner_.push_back({begin, begin + static_cast<std::uint32_t>(old.size()), std::move(text)});
}

BodyEdits::Change& BodyEdits::change(const Member* field) {
  auto at = std::ranges::find(changes_, field, &Change::field);
  if (at != changes_.end()) return *at;
  return changes_.emplace_back(
      Change{field, false, json::unescape(bytes(body_, field->key)), std::string(bytes(body_, field->value))});
}

void BodyEdits::set(std::string_view key, std::string_view value) {
  if (const Member* field = find(key)) {
    change(field).value = value;
    return;
  }
  json::append_string(added_, key);
  added_ += ':';
  added_ += value;
  added_ += ',';
}
void BodyEdits::rename(std::string_view key, std::string_view to) {
  if (const Member* field = find(key)) change(field).key = to;
}
void BodyEdits::remove(std::string_view key) {
  if (const Member* field = find(key)) change(field).removed = true;
}

std::vector<Edit> BodyEdits::edits() const {
  std::vector<Edit> out;
  auto changes = changes_;
  std::ranges::sort(changes, {}, &Change::field); // in the order of the bytes
  std::size_t gone = 0;
  for (const auto& change : changes) gone += change.removed ? 1U : 0U;
  auto open = static_cast<std::uint32_t>(body_.find('{') + 1);
  if (!added_.empty()) {
    std::string text = added_;
    if (gone == fields_.size()) text.pop_back(); // nothing follows: no comma
    out.push_back({open, open, text});
  }
  for (const auto& change : changes) {
    if (!change.removed) {
      out.push_back(
          {change.field->key.begin - 1, change.field->value.end, json::quoted(change.key) + ":" + change.value});
      continue;
    }
    // A removed member takes the comma behind it along, or, when it is the last one kept, the comma before it.
    auto index = static_cast<std::size_t>(change.field - fields_.data());
    bool later = false;
    for (std::size_t k = index + 1; k < fields_.size(); ++k) {
      auto at = std::ranges::find(changes_, &fields_[k], &Change::field);
      later = later || at == changes_.end() || !at->removed;
    }
    std::uint32_t begin = change.field->key.begin - 1;
    std::uint32_t end = change.field->value.end;
    if (index + 1 < fields_.size() && later) end = fields_[index + 1].key.begin - 1;
    else if (index > 0) begin = fields_[index - 1].value.end;
    out.push_back({begin, end, {}});
  }
  out.insert(out.end(), inner_.begin(), inner_.end());
  std::ranges::sort(out, {}, &Edit::begin);
  return out;
}

} // namespace intertie::wire
