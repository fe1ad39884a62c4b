// HTTP/1.1 over Unix stream sockets: the one way in which Viaduct's processes speak to each other and people
// to them
// (`curl --unix-socket`). A request may carry open file descriptors (SCM_RIGHTS), so that a CNI plugin can
// hand over its network namespace rather than a path that means something else elsewhere. Beast stays behind
// this header.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace viaduct::http {

/// An open descriptor, closed with its owner.
class Descriptor {
public:
    Descriptor() = default;
    explicit Descriptor(int fd) : fd_(fd) {}
    Descriptor(Descriptor&& other) noexcept : fd_(other.release()) {}
    Descriptor& operator=(Descriptor&& other) noexcept;
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor();
    [[nodiscard]] int get() const { return fd_; }
    [[nodiscard]] bool valid() const { return fd_ >= 0; }
    int release();

private:
    int fd_ = -1;
};

struct Request {
    std::string method;  ///< upper case
    std::string path;    ///< percent-decoded, without the query
    std::map<std::string, std::string> query;
    std::string body;
    std::vector<Descriptor> descriptors;  ///< in the order sent
};

struct Response {
    unsigned status = 200;
    std::string body;  ///< JSON, unless content_type says otherwise
    std::string content_type = "application/json";
};

struct ServerOptions {
    std::string path;                     ///< socket; an old one that nobody listens on is replaced
    unsigned mode = 0660;                 ///< of the socket
    unsigned threads = 1;                 ///< handlers that may run at once
    std::size_t body_most = 256U << 20U;  ///< longer bodies: 413
    unsigned connections_most = 512;      ///< more: closed at once
    std::chrono::seconds idle{30};        ///< a connection that sends nothing for so long is closed
};

/// Serves until destroyed. Handlers run on the server's own threads and may block; each gets one request and
/// gives one response; what it throws becomes 400 for Refused (faults as JSON) and 500 for anything else.
class Server {
public:
    using Handler = std::function<Response(Request&)>;
    /// Throws std::runtime_error that names the path when it cannot listen.
    Server(ServerOptions options, Handler handler);
    ~Server();  ///< waits for running handlers, removes the socket
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

private:
    struct State;
    std::unique_ptr<State> state_;
};

/// Could not be asked at all, or did not answer in time. `reached()` is false when nobody listened, so that
/// nothing can have happened on the other side.
class Unreachable : public std::runtime_error {
public:
    Unreachable(const std::string& what, bool reached) : std::runtime_error(what), reached_(reached) {}
    [[nodiscard]] bool reached() const { return reached_; }

private:
    bool reached_;
};

/// One kept-open connection to a server, made on the first request and again after it broke. Not thread-safe.
class Client {
public:
    Client(std::string path, std::chrono::milliseconds timeout);
    ~Client();
    Client(Client&&) noexcept;
    Client& operator=(Client&&) noexcept;

    /// Throws Unreachable. `descriptors` stay the caller's.
    Response request(const std::string& method, const std::string& target, const std::string& body = {},
                     std::span<const int> descriptors = {});
    /// The connection's descriptor (readable when the peer closed), -1 when there is none.
    [[nodiscard]] int native_handle() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

/// Percent-encodes one path segment or query value.
std::string encode(const std::string& text);

}  // namespace viaduct::http
