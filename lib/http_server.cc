// The server: asynchronous reads and writes on its own threads, so that a slow or silent client holds up
// nobody; handlers run as plain functions.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <optional>
#include <thread>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <json/json.h>

#include "viaduct/fault.h"
#include "viaduct/free_memory.h"
#include "viaduct/http.h"
#include "viaduct/json.h"

#include "http_descriptors.h"

namespace viaduct::http {

namespace beast = boost::beast;
namespace asio = boost::asio;
using Local = asio::local::stream_protocol;
using boost::system::error_code;

namespace {

std::optional<std::string> decode(std::string_view text) {
    std::string decoded;
    const auto digit = [](char c) {
        if (c >= '0' && c <= '9') return c - '0';
        if (c >= 'a' && c <= 'f') return c - 'a' + 10;
        if (c >= 'A' && c <= 'F') return c - 'A' + 10;
        return -1;
    };
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            decoded += text[i];
            continue;
        }
        if (i + 2 >= text.size() || digit(text[i + 1]) < 0 || digit(text[i + 2]) < 0) return std::nullopt;
        decoded += static_cast<char>(digit(text[i + 1]) << 4 | digit(text[i + 2]));
        i += 2;
    }
    return decoded;
}

bool split_target(std::string_view target, Request& request) {
    const auto mark = target.find('?');
    const auto path = decode(target.substr(0, mark));
    if (!path) return false;
    request.path = *path;
    auto rest = mark == std::string_view::npos ? std::string_view{} : target.substr(mark + 1);
    while (!rest.empty()) {
        const auto end = rest.find('&');
        const auto pair = rest.substr(0, end);
        const auto equals = pair.find('=');
        const auto key = decode(pair.substr(0, equals));
        const auto value = equals == std::string_view::npos ? std::string() : decode(pair.substr(equals + 1));
        if (!key || !value) return false;
        request.query[*key] = *value;
        rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
    }
    return true;
}

Response refusal(unsigned status, const std::string& reason) {
    return {status, to_json_text(faults_to_json({{"", reason}})) + "\n", "application/json"};
}

Response answer(const Server::Handler& handler, Request& request) {
    try {
        return handler(request);
    } catch (const Refused& refused) {
        return {400, to_json_text(faults_to_json(refused.faults())) + "\n", "application/json"};
    } catch (const std::exception& error) {
        return refusal(500, error.what());
    }
}

}  // namespace

/// One connection: read a request, answer it, and again.
class Connection : public std::enable_shared_from_this<Connection> {
public:
    Connection(Local::socket socket, const ServerOptions& options, const Server::Handler& handler,
               std::atomic<unsigned>& count)
        : socket_(std::move(socket)),
          timer_(socket_.get_executor()),
          options_(options),
          handler_(handler),
          count_(count) {
        ++count_;
    }
    ~Connection() { --count_; }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    void start() {
        socket_.non_blocking(true);
        next_request();
    }

private:
    using Parser = beast::http::request_parser<beast::http::string_body>;

    void next_request() {
        parser_.emplace();
        parser_->body_limit(options_.body_most);
        parser_->header_limit(16 * 1024);
        parser_->eager(true);
        descriptors_.clear();
        if (buffer_.size() > 0) {
            parse();
        } else {
            wait_readable();
        }
    }

    /// A client that stays silent, in the middle of a request too, is let go.
    void arm_timer() {
        timer_.expires_after(options_.idle);
        timer_.async_wait([self = shared_from_this()](error_code error) {
            if (!error) self->close();
        });
    }

    void close() {
        error_code ignored;
        timer_.cancel();
        socket_.close(ignored);
    }

    void wait_readable() {
        arm_timer();
        socket_.async_wait(Local::socket::wait_read, [self = shared_from_this()](error_code error) {
            if (error) return self->close();
            self->read();
        });
    }

    void read() {
        auto space = buffer_.prepare(64 * 1024);
        const auto got = receive_with_descriptors(
            socket_.native_handle(), {static_cast<char*>(space.data()), space.size()}, descriptors_);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) return wait_readable();
        if (got <= 0 || descriptors_.size() > kDescriptorsMost) return close();
        buffer_.commit(static_cast<std::size_t>(got));
        parse();
    }

    void parse() {
        error_code error;
        buffer_.consume(parser_->put(buffer_.data(), error));
        if (error == beast::http::error::body_limit) {
            return write(
                refusal(413, "the body is longer than " + std::to_string(options_.body_most) + " bytes"),
                false);
        }
        if (error && error != beast::http::error::need_more) {
            return write(refusal(400, "the request is not HTTP/1.1: " + error.message()), false);
        }
        if (!parser_->is_done()) {
            expect_continue();
            return wait_readable();
        }
        handle();
    }

    /// curl waits for this before it sends a long body (RFC 9110 section 10.1.1).
    void expect_continue() {
        if (!parser_->is_header_done() || continued_) return;
        if (!beast::iequals(parser_->get()[beast::http::field::expect], "100-continue")) return;
        static constexpr std::string_view line = "HTTP/1.1 100 Continue\r\n\r\n";
        continued_ =
            send_with_descriptors(socket_.native_handle(), line, {}) == static_cast<ssize_t>(line.size());
    }

    void handle() {
        timer_.cancel();
        continued_ = false;
        auto message = parser_->release();
        Request request;
        request.method = std::string(message.method_string());
        request.body = std::move(message.body());
        request_bytes_ = request.body.size();
        request.descriptors = std::move(descriptors_);
        const auto target = message.target();
        if (!split_target({target.data(), target.size()}, request)) {
            return write(refusal(400, "the request's target is not percent-encoded as RFC 3986 says"), false);
        }
        write(answer(handler_, request), message.keep_alive());
    }

    void write(Response response, bool keep_alive) {
        auto message = std::make_shared<beast::http::response<beast::http::string_body>>();
        message->result(response.status);
        message->version(11);
        message->set(beast::http::field::content_type, response.content_type);
        message->keep_alive(keep_alive);
        message->body() = std::move(response.body);
        message->prepare_payload();
        arm_timer();
        beast::http::async_write(
            socket_, *message,
            [self = shared_from_this(), message, keep_alive](error_code error, std::size_t sent) mutable {
                message.reset();
                if (error || !keep_alive) {
                    self->close();
                } else {
                    self->next_request();
                }
                return_free_memory(std::exchange(self->request_bytes_, 0) + sent);
            });
    }

    Local::socket socket_;
    asio::steady_timer timer_;
    const ServerOptions& options_;
    const Server::Handler& handler_;
    std::atomic<unsigned>& count_;
    beast::flat_buffer buffer_;
    std::optional<Parser> parser_;
    std::vector<Descriptor> descriptors_;
    std::size_t request_bytes_ = 0;  ///< body of the request that is being answered
    bool continued_ = false;
};

struct Server::State {
    State(ServerOptions o, Handler h) : options(std::move(o)), handler(std::move(h)), acceptor(context) {}

    void listen();
    void accept();

    ServerOptions options;
    Handler handler;
    std::atomic<unsigned> connections{0};
    asio::io_context context;
    Local::acceptor acceptor;
    std::vector<std::jthread> threads;
};

namespace {

/// True when somebody accepts connections at `path`.
bool is_served(const std::string& path) {
    asio::io_context context;
    Local::socket probe(context);
    error_code error;
    probe.connect(Local::endpoint(path), error);
    return !error;
}

}  // namespace

void Server::State::listen() {
    const auto& path = options.path;
    const auto fail = [&](const std::string& why) {
        throw std::runtime_error("cannot listen on the socket " + path + ": " + why);
    };
    if (path.empty() || path.size() >= sizeof(sockaddr_un::sun_path)) {
        fail("its path must be 1 to 107 bytes long, the longest a Unix socket can have");
    }
    if (struct stat status{}; ::lstat(path.c_str(), &status) == 0) {
        if (!S_ISSOCK(status.st_mode)) fail("there is a file by that name that is not a socket");
        if (is_served(path)) fail("another process listens on it; stop that one first");
        ::unlink(path.c_str());
    }
    error_code error;
    acceptor.open(Local(), error);
    // The mode is right from the first instant: nobody connects between bind and chmod.
    const auto mask = ::umask(0777 & ~options.mode);
    if (!error) acceptor.bind(Local::endpoint(path), error);
    ::umask(mask);
    if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
    if (error) fail(error.message());
}

void Server::State::accept() {
    acceptor.async_accept(asio::make_strand(context), [this](error_code error, Local::socket socket) {
        if (error == asio::error::operation_aborted) return;
        if (!error && connections < options.connections_most) {
            std::make_shared<Connection>(std::move(socket), options, handler, connections)->start();
        }
        accept();
    });
}

Server::Server(ServerOptions options, Handler handler)
    : state_(std::make_unique<State>(std::move(options), std::move(handler))) {
    state_->listen();
    state_->accept();
    for (unsigned i = 0; i < std::max(1U, state_->options.threads); ++i) {
        state_->threads.emplace_back([state = state_.get()] { state->context.run(); });
    }
}

Server::~Server() {
    state_->context.stop();
    state_->threads.clear();
    ::unlink(state_->options.path.c_str());
}

}  // namespace viaduct::http
