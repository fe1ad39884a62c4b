// One byte there and back over TCP, again and again, as netperf's TCP_RR does: how long it takes between two
// kernel sockets.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using Clock = std::chrono::steady_clock;

constexpr const char* kUsage =
    "viaduct-roundtrip serve PORT                     answers one connection, then ends\n"
    "viaduct-roundtrip ask ADDRESS PORT SECONDS       prints JSON: transactions a second, microseconds\n";

void serve(std::uint16_t port) {
    asio::io_context context;
    tcp::acceptor acceptor(context, {tcp::v6(), port});
    std::cout << "listening" << std::endl;
    auto socket = acceptor.accept();
    socket.set_option(tcp::no_delay(true));
    std::array<char, 1> byte;
    boost::system::error_code error;
    while (asio::read(socket, asio::buffer(byte), error) == 1)
        asio::write(socket, asio::buffer(byte));
}

void ask(const std::string& address, std::uint16_t port, double seconds) {
    asio::io_context context;
    tcp::socket socket(context);
    socket.connect({asio::ip::make_address(address), port});
    socket.set_option(tcp::no_delay(true));
    std::array<char, 1> byte{'x'};
    std::vector<float> took;
    const auto warm = Clock::now() + std::chrono::milliseconds(200);
    const auto end =
        warm + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
    for (auto began = Clock::now(); began < end;) {
        asio::write(socket, asio::buffer(byte));
        asio::read(socket, asio::buffer(byte));
        const auto now = Clock::now();
        if (began >= warm) took.push_back(std::chrono::duration<float, std::micro>(now - began).count());
        began = now;
    }
    std::sort(took.begin(), took.end());
    const auto at = [&](double share) {
        return took.at(static_cast<std::size_t>(share * static_cast<double>(took.size() - 1)));
    };
    std::printf("{\"rate\": %.1f, \"p50\": %.2f, \"p99\": %.2f}\n",
                static_cast<double>(took.size()) / seconds, at(0.5), at(0.99));
}

}  // namespace

int main(int count, char** words) {
    const std::vector<std::string> arguments(words + 1, words + count);
    try {
        if (arguments.size() == 2 && arguments[0] == "serve") {
            serve(static_cast<std::uint16_t>(std::stoul(arguments[1])));
        } else if (arguments.size() == 4 && arguments[0] == "ask") {
            ask(arguments[1], static_cast<std::uint16_t>(std::stoul(arguments[2])), std::stod(arguments[3]));
        } else {
            std::cerr << kUsage;
            return 2;
        }
    } catch (const std::exception& error) {
        std::cerr << "viaduct-roundtrip: " << error.what() << "\n";
        return 1;
    }
    return 0;
}
