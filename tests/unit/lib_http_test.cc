// HTTP over Unix sockets with clients that are slow, silent, wrong, or carry descriptors.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <fstream>
#include <thread>

#include <gtest/gtest.h>

#include "viaduct/fault.h"
#include "viaduct/http.h"

#include "temporary_directory.h"

namespace viaduct::http {
namespace {

using test::eventually;
using test::TemporaryDirectory;

class Serving : public testing::Test {
protected:
    std::unique_ptr<Server> serve(const std::function<void(ServerOptions&)>& adjust = {}) {
        ServerOptions options{.path = path, .threads = 2};
        if (adjust) adjust(options);
        return std::make_unique<Server>(options, [this](Request& request) { return answer(request); });
    }
    Response answer(Request& request) {
        if (request.path == "/refused") throw Refused("it", "is wrong");
        if (request.path == "/thrown") throw std::runtime_error("no luck");
        if (request.path == "/slow") std::this_thread::sleep_for(std::chrono::milliseconds(300));
        if (request.path == "/descriptor") {
            char text[16] = {};
            const auto got = ::read(request.descriptors.at(0).get(), text, sizeof text);
            return {200, std::string(text, static_cast<std::size_t>(got)), "text/plain"};
        }
        return {200,
                request.method + " " + request.path + " " + request.query["q"] + " " +
                    std::to_string(request.body.size()),
                "text/plain"};
    }
    /// A connection on which a test writes what it likes.
    Descriptor raw() const {
        Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        EXPECT_EQ(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
        return socket;
    }
    static std::string read_all(const Descriptor& socket) {
        std::string text;
        char bytes[4096];
        for (ssize_t got = 0; (got = ::read(socket.get(), bytes, sizeof bytes)) > 0;)
            text.append(bytes, static_cast<std::size_t>(got));
        return text;
    }
    static void send(const Descriptor& socket, const std::string& text) {
        EXPECT_EQ(::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL),
                  static_cast<ssize_t>(text.size()));
    }

    TemporaryDirectory directory;
    std::string path = directory.file("s.sock");
};

TEST_F(Serving, AnswersManyRequestsOnOneConnection) {
    const auto server = serve();
    Client client(path, std::chrono::seconds(5));
    EXPECT_EQ(client.request("GET", "/a%20b?q=" + encode("x&=%/")).body, "GET /a b x&=%/ 0");
    const int connection = client.native_handle();
    EXPECT_EQ(client.request("POST", "/big", std::string(1U << 20U, 'x')).body, "POST /big  1048576");
    EXPECT_EQ(client.native_handle(), connection);
    EXPECT_EQ(client.request("GET", "/refused").status, 400U);
    EXPECT_EQ(client.request("GET", "/thrown").status, 500U);
}

TEST_F(Serving, CarriesDescriptors) {
    const auto server = serve();
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const Descriptor reading(ends[0]);
    Descriptor writing(ends[1]);
    ASSERT_EQ(::write(writing.get(), "through", 7), 7);
    Client client(path, std::chrono::seconds(5));
    const int sent[] = {reading.get()};
    EXPECT_EQ(client.request("POST", "/descriptor", "{}", sent).body, "through");
    EXPECT_EQ(client.request("GET", "/descriptor").status, 500U);  // none came with it
}

TEST_F(Serving, SlowClientHoldsUpNobody) {
    const auto server = serve([](ServerOptions& options) { options.threads = 1; });
    const auto slow = raw();
    send(slow, "POST /x HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc");
    Client client(path, std::chrono::seconds(5));
    EXPECT_EQ(client.request("GET", "/y").status, 200U);
}

TEST_F(Serving, SilentClientIsLetGo) {
    const auto server = serve([](ServerOptions& options) { options.idle = std::chrono::seconds(1); });
    const auto silent = raw();
    send(silent, "GET /x HT");
    EXPECT_EQ(read_all(silent), "");
}

TEST_F(Serving, RefusesOversizeAndNonsense) {
    const auto server = serve([](ServerOptions& options) { options.body_most = 1000; });
    const auto ask = [&](const std::string& text) {
        const auto socket = raw();
        send(socket, text);
        ::shutdown(socket.get(), SHUT_WR);
        return read_all(socket);
    };
    EXPECT_NE(ask("POST /x HTTP/1.1\r\nContent-Length: 1001\r\n\r\n").find(" 413 "), std::string::npos);
    EXPECT_NE(ask("hello\r\n\r\n").find(" 400 "), std::string::npos);
    EXPECT_NE(ask("GET /%zz HTTP/1.1\r\n\r\n").find(" 400 "), std::string::npos);
    EXPECT_NE(ask("GET /" + std::string(20000, 'x') + " HTTP/1.1\r\n\r\n").find(" 400 "), std::string::npos);
    Client client(path, std::chrono::seconds(5));
    EXPECT_EQ(client.request("GET", "/still").status, 200U);
}

TEST_F(Serving, ClientSurvivesAServersRestart) {
    auto server = serve();
    Client client(path, std::chrono::seconds(5));
    EXPECT_EQ(client.request("GET", "/a").status, 200U);
    server.reset();
    try {
        client.request("GET", "/a");
        FAIL() << "nobody was there";
    } catch (const Unreachable& error) {
        EXPECT_FALSE(error.reached());
    }
    server = serve();
    EXPECT_EQ(client.request("GET", "/a").status, 200U);
}

TEST_F(Serving, ClientGivesUpInTime) {
    const auto server = serve();
    Client client(path, std::chrono::milliseconds(50));
    try {
        client.request("GET", "/slow");
        FAIL() << "it waited";
    } catch (const Unreachable& error) {
        EXPECT_TRUE(error.reached());
    }
}

TEST_F(Serving, TakesOverADeadSocketButNotALiveOneOrAFile) {
    {
        const auto socket = Descriptor(::socket(AF_UNIX, SOCK_STREAM, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        ASSERT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    }
    const auto server = serve();
    EXPECT_THROW(serve(), std::runtime_error);
    EXPECT_EQ(Client(path, std::chrono::seconds(5)).request("GET", "/a").status, 200U);
    path = directory.file("file");
    std::ofstream(path) << "text";
    EXPECT_THROW(serve(), std::runtime_error);
    path = directory.file(std::string(200, 'x'));
    EXPECT_THROW(serve(), std::runtime_error);
}

TEST_F(Serving, ManyClientsAtOnce) {
    const auto server = serve([](ServerOptions& options) { options.threads = 4; });
    std::atomic<int> good{0};
    std::vector<std::jthread> threads;
    for (int i = 0; i < 32; ++i) {
        threads.emplace_back([&] {
            Client client(path, std::chrono::seconds(10));
            for (int n = 0; n < 20; ++n)
                good += client.request("GET", "/a").status == 200 ? 1 : 0;
        });
    }
    threads.clear();
    EXPECT_EQ(good, 640);
}

}  // namespace
}  // namespace viaduct::http
