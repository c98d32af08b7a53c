// The request's half of forced tools: edits of the client's own bytes. Strings are moved from one JSON string into another
// with the escapes that they have.
#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "core/json.hpp"
#include "wire/forced_tools.hpp"

namespace intertie::wire {
namespace {
std::string_view inside(std::string_view value) { // of a JSON string; empty for anything else
  return value.size() >= 2 && value.front() == '"' ? value.substr(1, value.size() - 2) : std::string_view{};
}
std::string word(std::string_view value) { return json::unescape(inside(value)); }
std::string escaped(std::string_view text) {
  auto quoted = json::quoted(text);
  return quoted.substr(1, quoted.size() - 2);
}

struct Tool {
  std::string name;
  std::string_view function; // {"name":…,"description":…,"parameters":…}
};

Result<std::vector<Tool>> read_tools(std::string_view array) {
  std::vector<Tool> tools;
  for (auto entry : elements_of(array)) {
    auto at = fmt::format("tools[{}]", tools.size());
    auto type = word(member_of(entry, "type"));
    if (!type.empty() && type != "function")
      return fail(FailureKind::Unsupported, Fault::Transient,
                  fmt::format("a model on this device can be made to call functions only, and {} is none: leave it out "
                              "or name another model",
                              at),
                  "unsupported_parameter", at + ".type");
    auto function = member_of(entry, "function");
    auto name = function.starts_with('{') ? word(member_of(function, "name")) : std::string{};
    if (name.empty())
      return bad_request(fmt::format("'{}.function.name' is missing or empty: name the function", at),
                         "missing_required_parameter", at + ".function.name");
    tools.push_back({std::move(name), function});
  }
  return tools;
}

// The functions that tool_choice leaves: one by name, those of allowed_tools, or all.
Result<std::vector<Tool>> chosen_tools(std::vector<Tool> tools, std::string_view choice) {
  if (!choice.starts_with('{') && !tools.empty()) return tools;
  std::vector<std::string> wanted;
  if (auto allowed = member_of(choice, "allowed_tools"); allowed.starts_with('{')) {
    for (auto entry : elements_of(member_of(allowed, "tools")))
      if (auto function = member_of(entry, "function"); function.starts_with('{'))
        wanted.push_back(word(member_of(function, "name")));
  } else if (auto function = member_of(choice, "function"); function.starts_with('{')) {
    wanted.push_back(word(member_of(function, "name")));
  }
  std::erase_if(tools, [&](const Tool& tool) { return std::ranges::find(wanted, tool.name) == wanted.end(); });
  if (tools.empty())
    return bad_request("'tool_choice' names no function of 'tools': name one of them, or say \"required\"",
                       "invalid_value", "tool_choice");
  return tools;
}

// A schema that now stands deeper: its "$ref": "#/…" point from the root, so they get the way there.
void append_schema(std::string& out, std::string_view schema, std::string_view path) {
  constexpr std::string_view kRef = "\"$ref\"";
  for (;;) {
    auto key = schema.find(kRef);
    if (key == std::string_view::npos) break;
    auto at = schema.find_first_not_of(" \t\r\n", key + kRef.size());
    at = at != std::string_view::npos && schema[at] == ':' ? schema.find_first_not_of(" \t\r\n", at + 1) : at;
    if (at == std::string_view::npos) break;
    bool local = schema.substr(at).starts_with("\"#");
    out.append(schema.substr(0, at + (local ? 2 : 0)));
    if (local) out.append(path);
    schema.remove_prefix(at + (local ? 2 : 0));
  }
  out.append(schema);
}

std::string call_schema(const Tool& tool, std::string_view path) {
  std::string out =
      R"({"type":"object","properties":{"name":{"const":)" + json::quoted(tool.name) + R"(},"arguments":)";
  auto parameters = member_of(tool.function, "parameters");
  bool any = parameters.starts_with('{') && !top_level_fields(parameters).empty();
  if (any) append_schema(out, parameters, fmt::format("{}/properties/arguments", path));
  else out += R"({"type":"object","properties":{},"additionalProperties":false})";
  return out + R"(},"required":["name","arguments"],"additionalProperties":false})";
}

std::string response_format(const std::vector<Tool>& tools) {
  std::string out = R"({"type":"json_schema","json_schema":{"name":"tool_call","strict":true,"schema":)";
  if (tools.size() == 1) return out + call_schema(tools.front(), "") + "}}";
  out += R"({"anyOf":[)";
  for (std::size_t i = 0; i < tools.size(); ++i) {
    if (i > 0) out += ',';
    out += call_schema(tools[i], fmt::format("/anyOf/{}", i));
  }
  return out + "]}}}";
}

// What an argument may be, in a word: its values, else its type; empty when that takes more than a word.
std::string kind_of(std::string_view schema) {
  std::string out;
  for (auto value : elements_of(member_of(schema, "enum"))) {
    if (!out.empty()) out += '|';
    out += value.starts_with('"') ? std::string(inside(value)) : escaped(value);
  }
  return out.empty() ? std::string(inside(member_of(schema, "type"))) : out;
}

// "get_weather(city: string (its name), unit?: C|F): Weather at a place": a fraction of the tokens of the schema, which
// the model is held to anyway.
void append_signature(std::string& out, std::string_view function) {
  auto parameters = member_of(function, "parameters");
  auto properties = member_of(parameters, "properties");
  auto required = elements_of(member_of(parameters, "required"));
  std::ranges::sort(required);
  auto explain = [&](std::string_view before, std::string_view schema, std::string_view behind) {
    auto text = inside(member_of(schema, "description"));
    if (!text.empty()) out.append(before).append(text).append(behind);
  };
  out.append(inside(member_of(function, "name"))).append("(");
  bool first = true;
  for (const auto& field : top_level_fields(properties)) {
    auto quoted = properties.substr(field.key.begin - 1, field.key.end - field.key.begin + 2);
    auto schema = properties.substr(field.value.begin, field.value.end - field.value.begin);
    auto kind = kind_of(schema);
    out.append(std::exchange(first, false) ? "" : ", ").append(inside(quoted));
    if (!std::ranges::binary_search(required, quoted)) out += '?';
    if (!kind.empty()) out.append(": ").append(kind);
    explain(" (", schema, ")");
  }
  out += ')';
  explain(": ", function, "");
}

// Says in the system message what there is to call; one is put in front when there is none.
void list_tools(BodyEdits& body, const std::vector<Tool>& tools) {
  std::string hint = escaped(R"(Answer with one call of a tool, as JSON {"name":…,"arguments":{…}}. The tools:)");
  for (const auto& tool : tools) append_signature(hint.append("\\n"), tool.function);
  auto messages = body.value("messages");
  auto all = elements_of(messages);
  auto first = all.empty() ? std::string_view{} : all.front();
  auto role = word(member_of(first, "role"));
  auto content = member_of(first, "content");
  if (role == "system" || role == "developer") {
    if (content.starts_with('"'))
      return body.inside(content.substr(content.size() - 1), fmt::format("\\n\\n{}\"", hint));
    if (content.starts_with('['))
      return body.inside(
          content.substr(content.size() - 1),
          fmt::format(R"({}{{"type":"text","text":"{}"}}])", elements_of(content).empty() ? "" : ",", hint));
  }
  body.inside(messages.substr(0, 1),
              fmt::format(R"([{{"role":"system","content":"You are a helpful AI assistant. {}"}},)", hint));
}

// The text of a message's content, with its escapes.
std::string content_text(std::string_view content) {
  if (content.starts_with('"')) return std::string(inside(content));
  std::string out;
  for (auto part : elements_of(content)) out += inside(member_of(part, "text"));
  return out;
}

// Results follow their calls at once, so only the last calls' names are kept, and of those a sane number.
constexpr std::size_t kMostNames = 512;
using Names = std::vector<std::pair<std::string_view, std::string_view>>; // id of a call → its function, as written

// One call as its JSON, the way force_call asks for it.
std::string call_text(std::string_view function) {
  auto arguments = member_of(function, "arguments");
  if (arguments.empty()) arguments = member_of(function, "input"); // of a custom tool
  std::string given = arguments.starts_with('"') ? std::string(inside(arguments)) : escaped(arguments);
  return fmt::format(R"({{\"name\":\"{}\",\"arguments\":{}}})", inside(member_of(function, "name")),
                     given.empty() ? "{}" : given);
}

std::string calls_text(std::string_view message, Names& names) {
  std::string out = content_text(member_of(message, "content"));
  names.clear();
  auto add = [&](std::string_view function) {
    if (function.starts_with('{')) out.append(out.empty() ? "" : "\\n").append(call_text(function));
  };
  for (auto call : elements_of(member_of(message, "tool_calls"))) {
    auto function = member_of(call, "function");
    if (function.empty()) function = member_of(call, "custom");
    add(function);
    if (function.starts_with('{') && names.size() < kMostNames)
      names.emplace_back(member_of(call, "id"), inside(member_of(function, "name")));
  }
  add(member_of(message, "function_call"));
  return out;
}

std::string result_text(std::string_view message, const Names& names) {
  auto id = member_of(message, "tool_call_id");
  auto name = inside(member_of(message, "name"));
  auto known = std::ranges::find(names, id, &Names::value_type::first);
  if (name.empty() && !id.empty() && known != names.end()) name = known->second;
  return fmt::format("Result of {}:\\n{}", name.empty() ? "the tool" : name,
                     content_text(member_of(message, "content")));
}

bool is_result(std::string_view message) {
  auto role = word(member_of(message, "role"));
  return role == "tool" || role == "function";
}
bool has_calls(std::string_view message) {
  if (word(member_of(message, "role")) != "assistant") return false;
  return !elements_of(member_of(message, "tool_calls")).empty() || member_of(message, "function_call").starts_with('{');
}
} // namespace

Result<std::vector<std::string>> force_call(BodyEdits& body) {
  TRY(auto all, read_tools(body.value("tools")));
  TRY(auto tools, chosen_tools(std::move(all), body.value("tool_choice")));
  list_tools(body, tools);
  body.set("response_format", response_format(tools));
  // A stop sequence is meant for text; inside a call it would cut the JSON.
  for (std::string_view field : {"tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "stop"})
    body.remove(field);
  std::vector<std::string> names;
  for (auto& tool : tools) names.push_back(std::move(tool.name));
  return names;
}

void tools_as_text(BodyEdits& body) {
  Names names;
  auto messages = elements_of(body.value("messages"));
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (!is_result(messages[i])) {
      if (has_calls(messages[i]))
        body.inside(messages[i],
                    fmt::format(R"({{"role":"assistant","content":"{}"}})", calls_text(messages[i], names)));
      continue;
    }
    // Results in a row are one message: many templates want user and assistant to take turns.
    std::size_t first = i;
    std::string text = result_text(messages[i], names);
    while (i + 1 < messages.size() && is_result(messages[i + 1])) text += "\\n\\n" + result_text(messages[++i], names);
    std::string_view run{messages[first].data(), messages[i].data() + messages[i].size()};
    body.inside(run, fmt::format(R"({{"role":"user","content":"{}"}})", text));
  }
}

} // namespace intertie::wire
