// The client: Beast parses, the bytes move by poll, send and receive here, so that descriptors can travel
// along and every wait has a deadline.
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <sstream>

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include "viaduct/http.h"

#include "http_descriptors.h"

namespace viaduct::http {

namespace beast = boost::beast;
using Clock = std::chrono::steady_clock;

struct Client::State {
    std::string path;
    std::chrono::milliseconds timeout;
    Descriptor socket;

    [[noreturn]] void fail(const std::string& what, bool reached) {
        socket = Descriptor();
        throw Unreachable(path + ": " + what, reached);
    }

    void connect() {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        if (path.size() >= sizeof address.sun_path) {
            fail("the socket's path is longer than the 107 bytes that a Unix socket can have", false);
        }
        std::memcpy(address.sun_path, path.data(), path.size());
        socket = Descriptor(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (!socket.valid() ||
            ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
            fail(std::string("cannot connect: ") + std::strerror(errno), false);
        }
    }

    void wait(short events, Clock::time_point deadline) {
        for (;;) {
            const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
            pollfd one{socket.get(), events, 0};
            const int ready = left <= 0 ? 0 : ::poll(&one, 1, static_cast<int>(left));
            if (ready > 0) return;
            if (ready < 0 && errno == EINTR) continue;
            fail("no answer within " + std::to_string(timeout.count()) + " ms", true);
        }
    }

    /// False when the peer had closed before it took anything: a kept connection that went stale.
    bool send(std::string_view bytes, std::span<const int> descriptors, Clock::time_point deadline) {
        bool first = true;
        while (!bytes.empty()) {
            wait(POLLOUT, deadline);
            const auto sent =
                send_with_descriptors(socket.get(), bytes, first ? descriptors : std::span<const int>{});
            if (sent < 0 && (errno == EINTR || errno == EAGAIN)) continue;
            if (sent < 0 && first && (errno == EPIPE || errno == ECONNRESET)) return false;
            // The server has refused the rest unread, and its answer says why.
            if (sent < 0 && (errno == EPIPE || errno == ECONNRESET)) return true;
            if (sent < 0) fail(std::string("cannot send: ") + std::strerror(errno), true);
            bytes.remove_prefix(static_cast<std::size_t>(sent));
            first = false;
        }
        return true;
    }

    /// False when the peer closed before the first byte of an answer.
    bool receive(Response& response, Clock::time_point deadline) {
        beast::http::response_parser<beast::http::string_body> parser;
        parser.body_limit(std::uint64_t{1} << 30U);
        beast::flat_buffer buffer;
        std::vector<Descriptor> unwanted;
        bool any = false;
        while (!parser.is_done()) {
            wait(POLLIN, deadline);
            auto space = buffer.prepare(64 * 1024);
            const auto got = receive_with_descriptors(
                socket.get(), {static_cast<char*>(space.data()), space.size()}, unwanted);
            if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
            if (got < 0 && errno != ECONNRESET)
                fail(std::string("cannot receive: ") + std::strerror(errno), true);
            if (got <= 0 && !any) return false;
            if (got <= 0) fail("the connection was closed in the middle of an answer", true);
            any = true;
            buffer.commit(static_cast<std::size_t>(got));
            boost::system::error_code error;
            parser.eager(true);
            buffer.consume(parser.put(buffer.data(), error));
            if (error && error != beast::http::error::need_more)
                fail("the answer is not HTTP: " + error.message(), true);
        }
        auto message = parser.release();
        response.status = message.result_int();
        response.content_type = std::string(message[beast::http::field::content_type]);
        response.body = std::move(message.body());
        if (!message.keep_alive()) socket = Descriptor();
        return true;
    }
};

Client::Client(std::string path, std::chrono::milliseconds timeout)
    : state_(std::make_unique<State>(std::move(path), timeout, Descriptor())) {}
Client::~Client() = default;
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;

Response Client::request(const std::string& method, const std::string& target, const std::string& body,
                         std::span<const int> descriptors) {
    beast::http::request<beast::http::string_body> message;
    message.method_string(method);
    message.target(target);
    message.version(11);
    message.set(beast::http::field::host, "localhost");
    message.set(beast::http::field::content_type, "application/json");
    message.body() = body;
    message.prepare_payload();
    std::ostringstream text;
    text << message;
    const auto deadline = Clock::now() + state_->timeout;
    for (int attempt = 0; attempt < 2; ++attempt) {
        const bool kept = state_->socket.valid();
        if (!kept) state_->connect();
        Response response;
        if (state_->send(text.view(), descriptors, deadline) && state_->receive(response, deadline))
            return response;
        state_->socket = Descriptor();
        // A kept connection may have been closed by a restart; a fresh one that closes is an answer.
        if (!kept) break;
    }
    throw Unreachable(state_->path + ": the connection was closed without an answer", true);
}

int Client::native_handle() const {
    return state_->socket.get();
}

std::string encode(const std::string& text) {
    static constexpr char digits[] = "0123456789ABCDEF";
    std::string encoded;
    for (char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                           c == '-' || c == '_' || c == '.' || c == '~';
        if (plain) {
            encoded += c;
        } else {
            encoded += '%';
            encoded += digits[byte >> 4];
            encoded += digits[byte & 15];
        }
    }
    return encoded;
}

}  // namespace viaduct::http
