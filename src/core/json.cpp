#include "core/json.hpp"

#include <cmath>

#include <fmt/format.h>

#include "core/text.hpp"

namespace intertie::json {
namespace {
void append_escape(std::string& out, unsigned char c) {
  switch (c) {
    case '"': out += "\\\""; break;
    case '\\': out += "\\\\"; break;
    case '\b': out += "\\b"; break;
    case '\f': out += "\\f"; break;
    case '\n': out += "\\n"; break;
    case '\r': out += "\\r"; break;
    case '\t': out += "\\t"; break;
    default: fmt::format_to(std::back_inserter(out), "\\u{:04x}", c);
  }
}
int hex4(std::string_view text, std::size_t at) {
  if (at + 4 > text.size()) return -1;
  int value = 0;
  for (std::size_t i = at; i < at + 4; ++i) {
    char c = text[i];
    int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}
} // namespace

void append_string(std::string& out, std::string_view text) {
  out.reserve(out.size() + text.size() + 2);
  out += '"';
  for (std::size_t i = 0; i < text.size();) {
    auto c = static_cast<unsigned char>(text[i]);
    if (c < 0x80) {
      if (c < 0x20 || c == '"' || c == '\\') append_escape(out, c);
      else out += static_cast<char>(c);
      ++i;
    } else if (std::size_t n = text::utf8_length(text.substr(i)); n > 0) {
      out.append(text.substr(i, n));
      i += n;
    } else {
      out += "\xEF\xBF\xBD";
      ++i;
    }
  }
  out += '"';
}

std::string quoted(std::string_view text) {
  std::string out;
  append_string(out, text);
  return out;
}

std::string unescape(std::string_view raw) {
  std::string out;
  out.reserve(raw.size());
  for (std::size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] != '\\' || i + 1 == raw.size()) {
      out += raw[i];
      continue;
    }
    switch (char c = raw[++i]; c) {
      case 'b': out += '\b'; break;
      case 'f': out += '\f'; break;
      case 'n': out += '\n'; break;
      case 'r': out += '\r'; break;
      case 't': out += '\t'; break;
      case 'u': {
        int unit = hex4(raw, i + 1);
        if (unit < 0) break;
        i += 4;
        auto code = static_cast<char32_t>(unit);
        if (unit >= 0xD800 && unit < 0xDC00 && i + 2 < raw.size() && raw[i + 1] == '\\' && raw[i + 2] == 'u') {
          if (int low = hex4(raw, i + 3); low >= 0xDC00 && low < 0xE000) {
            code = 0x10000 + ((code - 0xD800) << 10) + static_cast<char32_t>(low - 0xDC00);
            i += 6;
          }
        }
        text::append_utf8(out, code >= 0xD800 && code < 0xE000 ? char32_t{0xFFFD} : code);
        break;
      }
      default: out += c;
    }
  }
  return out;
}

void Object::key(std::string_view key) {
  text_ += text_.empty() ? "{\"" : ",\"";
  text_ += key;
  text_ += "\":";
}
Object& Object::add(std::string_view k, std::string_view value) {
  key(k);
  append_string(text_, value);
  return *this;
}
Object& Object::add(std::string_view k, std::int64_t value) {
  key(k);
  fmt::format_to(std::back_inserter(text_), "{}", value);
  return *this;
}
Object& Object::add(std::string_view k, std::uint64_t value) {
  key(k);
  fmt::format_to(std::back_inserter(text_), "{}", value);
  return *this;
}
Object& Object::add(std::string_view k, double value) {
  if (!std::isfinite(value)) return null(k);
  key(k);
  fmt::format_to(std::back_inserter(text_), "{}", value);
  return *this;
}
Object& Object::add(std::string_view k, bool value) {
  key(k);
  text_ += value ? "true" : "false";
  return *this;
}
Object& Object::null(std::string_view k) {
  key(k);
  text_ += "null";
  return *this;
}
Object& Object::raw(std::string_view k, std::string_view json) {
  key(k);
  text_ += json;
  return *this;
}

Array& Array::add(std::string_view value) {
  text_ += text_.empty() ? '[' : ',';
  append_string(text_, value);
  return *this;
}
Array& Array::raw(std::string_view json) {
  text_ += text_.empty() ? '[' : ',';
  text_ += json;
  return *this;
}
} // namespace intertie::json
