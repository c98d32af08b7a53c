// Client's addresses: URLs, Host headers, proxies from the environment.
#include <charconv>
#include <cstdlib>

#include <fmt/format.h>
#include <boost/asio/ip/address.hpp>

#include "core/text.hpp"
#include "net/client.hpp"

namespace intertie::net {
namespace {
std::unexpected<Failure> bad_url(std::string_view url, std::string_view why) {
  return bad_request(fmt::format("'{}' is no usable URL: {}", url, why), "bad_url");
}

bool is_host_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}

std::string clean_path(std::string_view path) {
  while (path.ends_with('/')) path.remove_suffix(1);
  return std::string(path);
}

bool printable(std::string_view text) {
  for (char c : text)
    if (static_cast<unsigned char>(c) <= ' ' || c == 0x7f) return false;
  return true;
}

bool is_loopback(std::string_view host) {
  if (text::equal_ignoring_case(host, "localhost") || text::lower(host).ends_with(".localhost")) return true;
  boost::system::error_code error;
  auto ip = asio::ip::make_address(std::string(host), error);
  return !error && ip.is_loopback();
}

// One entry of NO_PROXY: "*", "host", ".suffix", "suffix" (whole labels), each with an optional port that is ignored.
bool excluded(std::string_view entry, std::string_view host) {
  if (entry == "*") return true;
  if (std::size_t colon = entry.rfind(':'); colon != entry.npos && entry.find(':') == colon)
    entry = entry.substr(0, colon);
  if (entry.starts_with("*.")) entry.remove_prefix(1);
  std::string name = text::lower(host), wanted = text::lower(entry);
  if (wanted.empty()) return false;
  if (wanted.front() == '.') return name.ends_with(wanted) || name == wanted.substr(1);
  return name == wanted || name.ends_with("." + wanted);
}

const char* environment(const char* lower, const char* upper) {
  const char* value = std::getenv(lower);
  if (value == nullptr || *value == '\0') value = std::getenv(upper);
  return value != nullptr && *value != '\0' ? value : nullptr;
}
} // namespace

std::string Endpoint::host_header() const {
  if (transport == Transport::Unix) return "localhost";
  std::string name = host.find(':') == host.npos ? host : "[" + host + "]";
  std::uint16_t usual = transport == Transport::Tls ? 443 : 80;
  return port == usual ? name : fmt::format("{}:{}", name, port);
}

Result<Url> parse_url(std::string_view text) {
  Url url;
  if (!printable(text)) return bad_url("(it has spaces or control characters)", "write http://host:port/path");
  if (text.starts_with("unix:")) {
    std::string_view rest = text.substr(5);
    std::size_t colon = rest.find(':');
    std::string_view path = rest.substr(0, colon);
    if (!path.starts_with('/')) return bad_url(text, "the socket's path must be absolute: unix:/run/engine.sock");
    if (path.size() > 107) return bad_url(text, "the socket's path is longer than 107 bytes");
    url.endpoint.transport = Endpoint::Transport::Unix;
    url.endpoint.host = path;
    if (colon != rest.npos) {
      std::string_view tail = rest.substr(colon + 1);
      if (!tail.empty() && tail.front() != '/') return bad_url(text, "what follows the socket must begin with a slash");
      url.path = clean_path(tail);
    }
    return url;
  }
  std::size_t mark = text.find("://");
  if (mark == text.npos) return bad_url(text, "it must begin with http://, https:// or unix:");
  std::string scheme = text::lower(text.substr(0, mark));
  if (scheme != "http" && scheme != "https") return bad_url(text, "only http, https and unix are known");
  bool tls = scheme == "https";
  std::string_view rest = text.substr(mark + 3);
  std::size_t slash = rest.find_first_of("/?#");
  std::string_view authority = rest.substr(0, slash);
  std::string_view path = slash == rest.npos ? std::string_view{} : rest.substr(slash);
  if (authority.find('@') != authority.npos)
    return bad_url(fmt::format("{}://…", scheme),
                   "a user or password may not be in it; give the key by its own setting");
  if (path.find_first_of("?#") != path.npos) return bad_url(text, "it may not have a query or a fragment");
  std::string_view host = authority, port;
  if (authority.starts_with('[')) {
    std::size_t close = authority.find(']');
    if (close == authority.npos) return bad_url(text, "the bracket of its address is not closed");
    host = authority.substr(1, close - 1);
    boost::system::error_code error;
    asio::ip::make_address_v6(std::string(host), error);
    if (error) return bad_url(text, "what stands in brackets is no IPv6 address");
    port = authority.substr(close + 1);
    if (!port.empty() && port.front() != ':') return bad_url(text, "only a port may follow the address");
  } else {
    std::size_t colon = authority.find(':');
    host = authority.substr(0, colon);
    if (colon != authority.npos) port = authority.substr(colon);
    for (char c : host)
      if (!is_host_character(c)) return bad_url(text, "its host name has a character that is not allowed");
  }
  if (host.empty()) return bad_url(text, "the host is missing");
  url.endpoint.port = tls ? 443 : 80;
  if (!port.empty()) {
    port.remove_prefix(1);
    unsigned number = 0;
    auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
    if (error != std::errc{} || end != port.data() + port.size() || number == 0 || number > 65535)
      return bad_url(text, "its port is not a number from 1 to 65535");
    url.endpoint.port = static_cast<std::uint16_t>(number);
  }
  url.endpoint.transport = tls ? Endpoint::Transport::Tls : Endpoint::Transport::Tcp;
  url.endpoint.host = text::lower(host);
  url.path = clean_path(path);
  return url;
}

std::string proxy_from_environment(std::string_view scheme, std::string_view host) {
  if (is_loopback(host)) return {};
  const char* proxy =
      scheme == "https" ? environment("https_proxy", "HTTPS_PROXY") : environment("http_proxy", "HTTP_PROXY");
  if (proxy == nullptr) proxy = environment("all_proxy", "ALL_PROXY");
  if (proxy == nullptr) return {};
  if (const char* none = environment("no_proxy", "NO_PROXY"))
    for (std::string_view entry : text::split(none, ','))
      if (excluded(text::trim(entry), host)) return {};
  return proxy;
}
} // namespace intertie::net
