#include "local/pull.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include <fmt/format.h>

#include "core/text.hpp"
#include "local/gguf.hpp"
#include "local/sha256.hpp"
#include "local/stores.hpp"

namespace intertie::local {
namespace {
namespace fs = std::filesystem;
constexpr int kMostRedirects = 5;
constexpr std::uint64_t kMostBytes = 1ULL << 42; // 4 TiB
constexpr std::uint64_t kKeepFree = 256u << 20;  // left on the disk in any case

std::unexpected<Failure> local_failure(FailureKind kind, std::string what, std::string code = {}) {
  return fail(kind, Fault::LocalResource, std::move(what), std::move(code));
}

// The file that grows: what is there is hashed once, then every byte as it is written.
class Part {
 public:
  Part() = default;
  Part(const Part&) = delete;
  Part& operator=(const Part&) = delete;
  ~Part() {
    if (fd_ >= 0) ::close(fd_);
  }

  Result<> open(const std::string& path) {
    path_ = path;
    fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd_ < 0)
      return local_failure(FailureKind::Unavailable, fmt::format("can't write {}: {}", path, std::strerror(errno)));
    if (::flock(fd_, LOCK_EX | LOCK_NB) != 0)
      return local_failure(FailureKind::Unavailable, "this model is being fetched already");
    std::string buffer(1u << 20, '\0');
    for (;;) {
      auto got = ::read(fd_, buffer.data(), buffer.size());
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) break;
      hash_->add(std::string_view{buffer}.substr(0, static_cast<std::size_t>(got)));
      size_ += static_cast<std::uint64_t>(got);
    }
    return {};
  }
  Result<> write(std::string_view bytes) {
    hash_->add(bytes);
    while (!bytes.empty()) {
      auto done = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(size_));
      if (done < 0 && errno == EINTR) continue;
      if (done <= 0)
        return local_failure(errno == ENOSPC || errno == EDQUOT ? FailureKind::TooLarge : FailureKind::Unavailable,
                             fmt::format("can't write {}: {}", path_, std::strerror(errno)));
      bytes.remove_prefix(static_cast<std::size_t>(done));
      size_ += static_cast<std::uint64_t>(done);
    }
    return {};
  }
  void restart() {
    [[maybe_unused]] auto cut = ::ftruncate(fd_, 0);
    size_ = 0;
    hash_ = std::make_unique<Sha256>();
  }
  void remove() const { ::unlink(path_.c_str()); }
  bool flush() const { return ::fsync(fd_) == 0; }
  std::string hex() { return hash_->hex(); }
  std::uint64_t size() const { return size_; }

 private:
  int fd_ = -1;
  std::string path_;
  std::uint64_t size_ = 0;
  std::unique_ptr<Sha256> hash_ = std::make_unique<Sha256>();
};

struct Source {
  net::Url url;
  bool secure = false;
};
Result<Source> read_source(const std::string& text, const std::string& ca_file) {
  auto scheme = text.substr(0, text.find("://"));
  if (scheme != "http" && scheme != "https")
    return bad_request(fmt::format("\"{}\" is no http or https address", text));
  // A query (signed addresses have one) is not a path; parse_url need not know about it.
  auto question = text.find('?');
  TRY(auto url, net::parse_url(text.substr(0, question)));
  if (question != std::string::npos) url.path += text.substr(question, text.find('#') - question);
  if (std::ranges::any_of(url.path, [](char c) { return static_cast<unsigned char>(c) < 0x21 || c == 0x7F; }))
    return bad_request("the address has blanks or control characters in it");
  url.endpoint.ca_file = ca_file;
  url.endpoint.proxy = net::proxy_from_environment(scheme, url.endpoint.host);
  return Source{std::move(url), scheme == "https"};
}

Result<Source> redirected(const Source& from, std::string_view location, const std::string& ca_file) {
  if (location.starts_with("/") && !location.starts_with("//")) {
    auto next = from;
    next.url.path = location.substr(0, location.find('#'));
    return next;
  }
  TRY(auto next, read_source(std::string(location), ca_file));
  if (from.secure && !next.secure)
    return fail(FailureKind::UpstreamBroken, Fault::BrokenAnswer, "the server sends us from https to http: refused");
  return next;
}

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || text.empty()) return std::nullopt;
  return value;
}

std::uint64_t range_total(const net::Reply& reply) {
  auto range = reply.header("content-range");
  return number(range.substr(std::min(range.size(), range.rfind('/') + 1))).value_or(0);
}
// Total size by "Content-Range: bytes 5-99/100" of a 206 or "Content-Length: 100" of a 200; 0 = unknown.
std::uint64_t total_of(const net::Reply& reply) {
  return reply.status() == 206 ? range_total(reply) : number(reply.header("content-length")).value_or(0);
}
bool starts_at(const net::Reply& reply, std::uint64_t have) {
  auto range = reply.header("content-range");
  return range.starts_with("bytes ") && number(range.substr(6)) == have;
}

// What else is in the folder: models that were pulled and what cut downloads left. A model that was added by path is a
// link and lies elsewhere.
std::uint64_t others_take(const fs::path& folder, const fs::path& own) {
  std::uint64_t used = 0;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.is_regular_file(error) && !entry.is_symlink(error) && entry.path() != own) used += entry.file_size(error);
  return used;
}

// How large the file may become: by the disk, which keeps a reserve, and by the quota. TooLarge when that is less than
// `expected` bytes (0 = the server doesn't say, so it is looked at again as the bytes come).
Result<std::uint64_t> room_for(const PullOrder& order, const fs::path& own, std::uint64_t have,
                               std::uint64_t expected) {
  std::uint64_t most = kMostBytes;
  struct statvfs disk{};
  if (::statvfs(own.parent_path().c_str(), &disk) == 0) {
    auto free = static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize;
    most = std::min(most, have + (free > kKeepFree ? free - kKeepFree : 0));
    if (expected > most)
      return local_failure(
          FailureKind::TooLarge,
          fmt::format("the disk has room for {} ({} of it stay free) but the model needs {} more: "
                      "make room on it, or put [local] data_dir on another disk",
                      text::human_bytes(free), text::human_bytes(kKeepFree), text::human_bytes(expected - have)),
          "disk_full");
  }
  if (order.quota == 0) return most;
  auto used = others_take(own.parent_path(), own);
  auto left = order.quota > used ? order.quota - used : 0;
  if (expected > left || (expected == 0 && left == 0))
    return local_failure(
        FailureKind::TooLarge,
        fmt::format("pulled models may take {} of the disk together and take {} already; this one {}: remove one with "
                    "`intertie models rm NAME`, or raise disk_limit in [local]",
                    text::human_bytes(order.quota), text::human_bytes(used),
                    expected > 0 ? "takes " + text::human_bytes(expected) : std::string("does not say its size")),
        "over_disk_limit");
  return std::min(most, left);
}

enum class Step : std::uint8_t { Done, Cut, Redirected };

struct Fetch {
  const PullOrder& order;
  const fs::path& part_path;
  Part& part;
  Source source;
  const OnProgress& on_progress;
};

// One connection: asks for what is missing and writes what comes.
Task<Result<Step>> fetch_once(net::Client& client, Fetch& fetch, Call& call) {
  auto have = fetch.part.size();
  auto head = fmt::format(
      "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: intertie/" INTERTIE_VERSION "\r\nAccept-Encoding: identity\r\n",
      fetch.source.url.path.empty() ? "/" : fetch.source.url.path, fetch.source.url.endpoint.host_header());
  auto range = fmt::format("bytes={}-", have);
  std::vector<net::Header> headers;
  if (have > 0) headers.push_back({"Range", range});
  net::Request request{.head = head, .headers = headers, .fresh = true};
  auto sent = co_await client.send(fetch.source.url.endpoint, request, call, net::Timeouts{});
  if (!sent) {
    if (sent.error().kind == FailureKind::Cancelled) co_return std::unexpected(sent.error());
    if (have == 0 || sent.error().fault != Fault::Transient) co_return std::unexpected(sent.error());
    co_return Step::Cut;
  }
  auto& reply = *sent;
  auto status = reply.status();
  if (status == 301 || status == 302 || status == 303 || status == 307 || status == 308) {
    auto next = redirected(fetch.source, reply.header("location"), fetch.order.ca_file);
    if (!next) co_return std::unexpected(next.error());
    fetch.source = *std::move(next);
    co_return Step::Redirected;
  }
  if (status == 416) { // all of it is there, or the file became shorter
    if (range_total(reply) == have && have > 0) co_return Step::Done;
    fetch.part.restart();
    co_return Step::Cut;
  }
  if (status != 200 && status != 206) {
    Failure failure{FailureKind::UpstreamRefused,
                    status == 401 || status == 403 ? Fault::Auth
                    : status >= 500                ? Fault::Transient
                                                   : Fault::Client,
                    fmt::format("the server answered {} for this model: is the address right?", status)};
    failure.upstream_status = status;
    co_return std::unexpected(std::move(failure));
  }
  if (status == 206 && !starts_at(reply, have))
    co_return fail(FailureKind::UpstreamBroken, Fault::BrokenAnswer,
                   "the server answers with another part of the file than we asked for");
  if (status == 200 && have > 0) fetch.part.restart(); // it knows no ranges
  auto total = total_of(reply);
  if (total > kMostBytes) co_return local_failure(FailureKind::TooLarge, "the server announces an impossible size");
  CO_TRY(auto most, room_for(fetch.order, fetch.part_path, fetch.part.size(), total));
  fetch.on_progress({fetch.part.size(), total});
  for (;;) {
    auto piece = co_await reply.read();
    if (!piece) {
      if (piece.error().kind == FailureKind::Cancelled) co_return std::unexpected(piece.error());
      co_return Step::Cut;
    }
    if (piece->empty()) break;
    if (total > 0 && fetch.part.size() + piece->size() > total)
      co_return fail(FailureKind::UpstreamBroken, Fault::BrokenAnswer, "the server sends more than it announced");
    if (total == 0 && fetch.part.size() + piece->size() > most) {
      // A whole size that is one byte too large says the same as what came, with the same fix.
      CO_TRY(most, room_for(fetch.order, fetch.part_path, fetch.part.size(), fetch.part.size() + piece->size()));
    }
    if (auto written = fetch.part.write(*piece); !written) co_return std::unexpected(written.error());
    fetch.on_progress({fetch.part.size(), total});
  }
  co_return total > 0 && fetch.part.size() < total ? Step::Cut : Step::Done;
}

Task<Result<>> fetch_all(net::Client& client, Fetch& fetch, Call& call) {
  int cuts = 0, redirects = 0;
  for (;;) {
    auto before = fetch.part.size();
    auto step = co_await fetch_once(client, fetch, call);
    if (!step) co_return std::unexpected(step.error());
    if (*step == Step::Done) co_return Result<>{};
    if (*step == Step::Redirected && ++redirects > kMostRedirects)
      co_return fail(FailureKind::UpstreamBroken, Fault::BrokenAnswer, "the server redirects in a circle");
    if (*step != Step::Cut) continue;
    cuts = fetch.part.size() > before ? 1 : cuts + 1; // a connection that brought something is no reason to give up
    if (cuts >= fetch.order.attempts)
      co_return fail(
          FailureKind::UpstreamBroken, Fault::Transient,
          fmt::format("the connection was cut again and again at {}: run the same command later, it goes on from there",
                      text::human_bytes(fetch.part.size())));
  }
}

Result<std::string> file_name_for(const PullOrder& order) {
  auto name = order.name;
  if (name.empty()) {
    name = order.url.substr(0, order.url.find_first_of("?#"));
    name = name.substr(name.rfind('/') + 1);
  }
  if (name.ends_with(".gguf")) name.resize(name.size() - 5);
  TRY_VOID(check_model_name(name));
  return name;
}
} // namespace

Task<Result<std::string>> pull(net::Client& client, PullOrder order, Call& call, OnProgress on_progress) {
  order.sha256 = text::lower(order.sha256);
  if (order.sha256.size() != 64 || order.sha256.find_first_not_of("0123456789abcdef") != std::string::npos)
    co_return bad_request("the model's SHA-256 is needed, 64 hex digits: a model is never used unchecked");
  CO_TRY(auto name, file_name_for(order));
  CO_TRY(auto source, read_source(order.url, order.ca_file));
  auto folder = fs::path(order.data_dir) / "models";
  std::error_code error;
  fs::create_directories(folder, error);
  auto target = folder / (name + ".gguf");
  if (fs::exists(target, error)) {
    auto there = sha256_file(target.string());
    if (there && *there == order.sha256) co_return text::lower(name);
    co_return bad_request(fmt::format("another model is called {} already: give this one another name", name));
  }
  auto part_path = folder / fmt::format(".{}.{}.part", name, order.sha256.substr(0, 12));
  Part part;
  if (auto opened = part.open(part_path.string()); !opened) co_return std::unexpected(opened.error());
  Fetch fetch{order, part_path, part, std::move(source), on_progress};
  if (auto fetched = co_await fetch_all(client, fetch, call); !fetched) {
    if (part.size() == 0) part.remove();
    co_return std::unexpected(fetched.error());
  }
  if (auto hash = part.hex(); hash != order.sha256) {
    part.remove();
    co_return fail(FailureKind::UpstreamBroken, Fault::BrokenAnswer,
                   fmt::format("what came has the SHA-256 {}, not the expected one: nothing was kept", hash),
                   "wrong_hash");
  }
  if (auto model = read_gguf(part_path.string()); !model) {
    part.remove();
    co_return std::unexpected(model.error());
  }
  if (!part.flush() || ::rename(part_path.c_str(), target.c_str()) != 0)
    co_return local_failure(FailureKind::Unavailable,
                            fmt::format("can't finish {}: {}", target.string(), std::strerror(errno)));
  co_return text::lower(name);
}
} // namespace intertie::local
