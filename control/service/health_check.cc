#include "service/health_check.h"

#include <chrono>
#include <mutex>
#include <thread>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <json/json.h>
#include <spdlog/spdlog.h>

#include "viaduct/json.h"

namespace viaduct::service {

namespace asio = boost::asio;
namespace beast = boost::beast;
using boost::system::error_code;
using Tcp = asio::ip::tcp;

namespace {

constexpr std::chrono::seconds kIdle{10};
constexpr std::chrono::milliseconds kAcceptAgain{100};
constexpr unsigned kConnectionsMost = 256;
constexpr std::uint32_t kHeaderMost = 8192;

using Answer = beast::http::response<beast::http::string_body>;

Answer answer_of(const HealthCheck& check) {
    Json::Value json(Json::objectValue);
    json["service"]["namespace"] = check.service.namespace_;
    json["service"]["name"] = check.service.name;
    json["localEndpoints"] = Json::UInt64(check.local_endpoints);
    Answer answer(
        check.local_endpoints > 0 ? beast::http::status::ok : beast::http::status::service_unavailable, 11);
    answer.set(beast::http::field::content_type, "application/json");
    answer.set("X-Load-Balancing-Endpoint-Weight", std::to_string(check.local_endpoints));
    answer.body() = to_json_text(json) + "\n";
    return answer;
}

}  // namespace

struct HealthCheckServer::State {
    /// One port, while it is one. On the context's thread.
    struct Listener : std::enable_shared_from_this<Listener> {
        Listener(State& server, std::uint16_t number)
            : state(server), acceptor(server.context), port(number) {}
        void open();
        void accept();
        void accept_later();

        State& state;
        Tcp::acceptor acceptor;
        asio::steady_timer pause{state.context};
        const std::uint16_t port;
    };
    struct Connection : std::enable_shared_from_this<Connection> {
        Connection(State& server, Tcp::socket socket, std::uint16_t at)
            : state(server), stream(std::move(socket)), port(at) {
            ++state.connections;
        }
        ~Connection() { --state.connections; }
        Connection(const Connection&) = delete;
        Connection& operator=(const Connection&) = delete;
        void read();
        void write();

        State& state;
        beast::tcp_stream stream;
        const std::uint16_t port;
        beast::flat_buffer buffer{kHeaderMost};
        beast::http::request<beast::http::empty_body> request;
        Answer answer;
    };

    HealthCheck check_at(std::uint16_t port) {
        const std::scoped_lock lock(mutex);
        const auto found = checks.find(port);
        return found == checks.end() ? HealthCheck{} : found->second;
    }
    void follow();

    asio::io_context context;
    asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
    unsigned connections = 0;
    std::map<std::uint16_t, std::shared_ptr<Listener>> listeners;

    std::mutex mutex;  ///< guards checks
    HealthChecks checks;
    std::jthread thread;  ///< last: ends before the rest goes
};

void HealthCheckServer::State::Listener::open() {
    // Both families by one socket, where the kernel has IPv6.
    error_code error;
    for (const auto& any : {Tcp::v6(), Tcp::v4()}) {
        acceptor.close(error);
        if (acceptor.open(any, error); error) continue;
        if (any == Tcp::v6()) acceptor.set_option(asio::ip::v6_only(false), error);
        if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
        if (!error) acceptor.bind(Tcp::endpoint(any, port), error);
        if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
        if (!error) return accept();
    }
    acceptor.close();
    spdlog::warn("service {}: health check node port {} cannot be listened on: {}",
                 to_string(state.check_at(port).service), port, error.message());
}

void HealthCheckServer::State::Listener::accept() {
    acceptor.async_accept([self = shared_from_this()](error_code error, Tcp::socket socket) {
        if (!self->acceptor.is_open()) return;
        if (error) return self->accept_later();
        if (self->state.connections < kConnectionsMost)
            std::make_shared<Connection>(self->state, std::move(socket), self->port)->read();
        self->accept();
    });
}

/// Whoever waits stays in the kernel's queue; descriptors that are all taken come back by and by.
void HealthCheckServer::State::Listener::accept_later() {
    pause.expires_after(kAcceptAgain);
    pause.async_wait([self = shared_from_this()](error_code) {
        if (self->acceptor.is_open()) self->accept();
    });
}

void HealthCheckServer::State::Connection::read() {
    request = {};
    stream.expires_after(kIdle);
    beast::http::async_read(stream, buffer, request,
                            [self = shared_from_this()](error_code error, std::size_t) {
                                if (!error) self->write();
                            });
}

void HealthCheckServer::State::Connection::write() {
    answer = answer_of(state.check_at(port));
    answer.keep_alive(request.keep_alive());
    answer.prepare_payload();
    stream.expires_after(kIdle);
    beast::http::async_write(stream, answer, [self = shared_from_this()](error_code error, std::size_t) {
        if (!error && self->answer.keep_alive()) self->read();
    });
}

void HealthCheckServer::State::follow() {
    HealthChecks wanted;
    {
        const std::scoped_lock lock(mutex);
        wanted = checks;
    }
    std::erase_if(listeners, [&](const auto& entry) {
        const bool stays = wanted.contains(entry.first) && entry.second->acceptor.is_open();
        if (!stays && entry.second->acceptor.is_open()) entry.second->acceptor.close();
        return !stays;
    });
    for (const auto& [port, check] : wanted) {
        if (listeners.contains(port)) continue;
        auto& listener = listeners[port] = std::make_shared<Listener>(*this, port);
        listener->open();
    }
}

HealthCheckServer::HealthCheckServer() : state_(std::make_unique<State>()) {
    state_->thread = std::jthread([state = state_.get()] { state->context.run(); });
}

HealthCheckServer::~HealthCheckServer() {
    state_->context.stop();
    state_->thread.join();
}

void HealthCheckServer::set(HealthChecks checks) {
    {
        const std::scoped_lock lock(state_->mutex);
        state_->checks = std::move(checks);
    }
    asio::post(state_->context, [state = state_.get()] { state->follow(); });
}

}  // namespace viaduct::service
