// The top-level members of a JSON object that has already been validated (wire::read_chat_ask), as places in its bytes:
// what a same-dialect leg needs to change, drop or add a field without touching the rest. Pure.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "wire/chat.hpp"

namespace intertie::wire {

struct Member {
  Span key;   // between the quotes
  Span value; // the value's bytes
};
// In order of appearance. `object` must be valid JSON and an object.
std::vector<Member> top_level_fields(std::string_view object);
// The bytes of one member's value, empty when there is none; of an array's elements. Both of valid JSON.
std::string_view member_of(std::string_view object, std::string_view key);
std::vector<std::string_view> elements_of(std::string_view array);

// Builds the edits of one outgoing body; give it changes in any order, then edits() sorts them.
class BodyEdits {
 public:
  explicit BodyEdits(std::string_view body) : body_(body), fields_(top_level_fields(body)) {}
  bool has(std::string_view key) const { return find(key) != nullptr; }
  void set(std::string_view key, std::string_view json);  // replaces the value or adds the member
  void rename(std::string_view key, std::string_view to); // no effect when absent
  void remove(std::string_view key);                      // no effect when absent
  std::string_view value(std::string_view key) const;     // its bytes, empty when absent
  // A change deeper in, of bytes of the body inside a member that is neither set nor removed. Must not overlap another.
  void inside(std::string_view old, std::string text);
  std::vector<Edit> edits() const;

 private:
  struct Change {
    const Member* field;
    bool removed = false;
    std::string key, value;
  };
  const Member* find(std::string_view key) const;
  Change& change(const Member* field);
  std::string_view body_;
  std::vector<Member> fields_;
  std::vector<Change> changes_;
  std::vector<Edit> inner_;
  std::string added_;
};

} // namespace intertie::wire
