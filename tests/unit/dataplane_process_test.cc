// viaduct-dataplane as a process: how it starts, tells systemd, answers DPDK's tools, ends, and starts again.
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <json/json.h>

#include "viaduct/http.h"
#include "viaduct/json.h"

namespace viaduct::test {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

sockaddr_un unix_address(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    return address;
}

std::string receive(int socket) {
    std::array<char, 65536> bytes{};
    const auto got = ::recv(socket, bytes.data(), bytes.size(), 0);
    return got > 0 ? std::string(bytes.data(), static_cast<std::size_t>(got)) : std::string();
}

class DataplaneProcess : public testing::Test {
protected:
    DataplaneProcess()
        : directory_(testing::TempDir() + "dataplane-process-" + std::to_string(::getpid())),
          prefix_("viaduct-test-" + std::to_string(::getpid())),
          socket_(directory_ + "/made/for/it/api.sock") {
        std::filesystem::create_directories(directory_);
    }
    ~DataplaneProcess() override {
        if (pid_ > 0) end(SIGKILL);
        std::filesystem::remove_all(directory_);
        std::filesystem::remove_all(runtime_directory());
        std::filesystem::remove("/dev/shm/" + prefix_ + "-flows");
    }

    [[nodiscard]] std::string runtime_directory() const { return "/var/run/dpdk/" + prefix_; }

    void start(std::vector<std::string> more = {}) {
        std::vector<std::string> words = {VIADUCT_DATAPLANE, "--huge",        "off",  "--api-socket",
                                          socket_,           "--file-prefix", prefix_};
        words.insert(words.end(), more.begin(), more.end());
        std::vector<char*> arguments;
        for (auto& word : words)
            arguments.push_back(word.data());
        arguments.push_back(nullptr);
        pid_ = ::fork();
        ASSERT_GE(pid_, 0);
        if (pid_ > 0) return;
        const auto log = directory_ + "/log";
        const int file = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
        ::dup2(file, STDOUT_FILENO);
        ::dup2(file, STDERR_FILENO);
        ::execv(arguments[0], arguments.data());
        ::_exit(127);
    }

    /// Sends a signal (0: none) and returns the exit status, or minus the signal that ended it.
    int end(int number) {
        if (number != 0) ::kill(pid_, number);
        int status = 0;
        ::waitpid(pid_, &status, 0);
        pid_ = 0;
        return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }

    /// GET /v1/info as soon as somebody answers; nothing after ten seconds.
    std::optional<Json::Value> info() {
        for (const auto deadline = Clock::now() + seconds(10); Clock::now() < deadline;) {
            try {
                http::Client client(socket_, seconds(5));
                return parse_json(client.request("GET", "/v1/info").body, "info");
            } catch (const http::Unreachable&) {
                std::this_thread::sleep_for(milliseconds(5));
            }
        }
        ADD_FAILURE() << "nobody serves " << socket_ << ": " << log();
        return std::nullopt;
    }

    [[nodiscard]] std::string log() const {
        std::ostringstream text;
        text << std::ifstream(directory_ + "/log").rdbuf();
        return text.str();
    }
    [[nodiscard]] bool logged(const std::string& part) const { return log().find(part) != std::string::npos; }

    std::string directory_;
    std::string prefix_;
    std::string socket_;
    pid_t pid_ = 0;
};

TEST_F(DataplaneProcess, EndsWellOnSigtermAndLeavesNoSocket) {
    start();
    const auto found = info();
    ASSERT_TRUE(found);
    EXPECT_EQ((*found)["pid"].asInt(), pid_);
    EXPECT_FALSE((*found)["huge_pages"].asBool());
    EXPECT_EQ(end(SIGTERM), 0);
    EXPECT_FALSE(std::filesystem::exists(socket_));
    EXPECT_TRUE(logged("got signal Terminated")) << log();
}

TEST_F(DataplaneProcess, ServesAgainAfterKillWithoutCleaningUp) {
    start();
    const auto first = info();
    ASSERT_TRUE(first);
    for (int i = 0; i < 3; ++i) {
        // The successor is started before its predecessor has been waited for, as a hasty supervisor does.
        const auto killed = pid_;
        ::kill(killed, SIGKILL);
        start();
        const auto next = info();
        ASSERT_TRUE(next);
        ::waitpid(killed, nullptr, 0);
        EXPECT_EQ((*next)["pid"].asInt(), pid_) << log();
        EXPECT_NE((*next)["instance"].asString(), (*first)["instance"].asString());
    }
    std::vector<std::string> left;
    for (const auto& entry : std::filesystem::directory_iterator(runtime_directory()))
        left.push_back(entry.path().filename());
    EXPECT_EQ(left, std::vector<std::string>{"dpdk_telemetry.v2"}) << "files that would pile up";
}

TEST_F(DataplaneProcess, ASecondOneOnTheSameSocketIsRefusedInWords) {
    start();
    ASSERT_TRUE(info());
    const auto first = pid_;
    start({"--file-prefix", prefix_ + "b"});
    EXPECT_EQ(end(0), 2) << "two of one option";
    socket_ = directory_ + "/made/../made/for/it/api.sock";  // another spelling
    start();
    EXPECT_EQ(end(0), 1);
    EXPECT_TRUE(logged("another viaduct-dataplane serves")) << log();
    pid_ = first;
    ASSERT_TRUE(info());
    EXPECT_EQ(end(SIGINT), 0);
}

TEST_F(DataplaneProcess, AFileInTheSocketsPlaceIsLeftAlone) {
    std::filesystem::create_directories(std::filesystem::path(socket_).parent_path());
    std::ofstream(socket_) << "precious";
    start();
    EXPECT_EQ(end(0), 1);
    EXPECT_TRUE(logged("that is not a socket")) << log();
    EXPECT_EQ(std::filesystem::file_size(socket_), 8U);
}

TEST_F(DataplaneProcess, FaultyOptionsEndWithStatus2AndOneLine) {
    start({"--lcores", "4095"});
    EXPECT_EQ(end(0), 2);
    const auto text = log();
    EXPECT_TRUE(text.starts_with("viaduct-dataplane: --lcores: names CPU 4095")) << text;
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
}

TEST_F(DataplaneProcess, BuffersThatDoNotDoForTheWorkersAreRefused) {
    if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "two workers need two CPUs";
    start({"--lcores", "0,1", "--packet-buffers", "1024"});
    EXPECT_EQ(end(0), 2);
    EXPECT_TRUE(logged("--packet-buffers: is 1024; the workers alone may hold")) << log();
}

TEST_F(DataplaneProcess, HelpShowsUnitsDefaultsAndExamples) {
    start({"--help"});
    EXPECT_EQ(end(0), 0);
    for (const auto* part : {"--memory MB (=256)", "--packet-buffers N (=32768)", "Examples:", "--flows N"}) {
        EXPECT_TRUE(logged(part)) << part;
    }
}

TEST_F(DataplaneProcess, TellsSystemdThatItIsReadyAndAlive) {
    const http::Descriptor listener(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const auto path = directory_ + "/notify";
    const auto address = unix_address(path);
    ASSERT_EQ(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    const timeval patience{10, 0};
    ::setsockopt(listener.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
    ::setenv("WATCHDOG_USEC", "2000000", 1);
    start();
    ::unsetenv("NOTIFY_SOCKET");
    ::unsetenv("WATCHDOG_USEC");
    EXPECT_TRUE(receive(listener.get()).starts_with("READY=1"));
    EXPECT_EQ(receive(listener.get()), "WATCHDOG=1");
    EXPECT_EQ(receive(listener.get()), "WATCHDOG=1");
    ::kill(pid_, SIGTERM);
    auto last = receive(listener.get());
    while (last == "WATCHDOG=1")
        last = receive(listener.get());
    EXPECT_EQ(last, "STOPPING=1");
    EXPECT_EQ(end(0), 0);
}

TEST_F(DataplaneProcess, AnswersDpdksTelemetryTool) {
    start();
    ASSERT_TRUE(info());
    http::Client client(socket_, seconds(10));
    const auto put = client.request("POST", "/v1/transactions",
                                    R"({"put": {"bridges": [{"name": "br0"}], "ports": [
        {"name": "v", "kind": "vhost-user", "bridge": "br0", "path": ")" +
                                        directory_ + R"(/v.sock"}],
        "fdb": [{"bridge": "br0", "mac": "02:00:00:00:00:01", "port": "v"}]}})");
    ASSERT_EQ(put.status, 200U) << put.body;

    const http::Descriptor socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    const auto address = unix_address(runtime_directory() + "/dpdk_telemetry.v2");
    ASSERT_EQ(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    receive(socket.get());  // DPDK's greeting
    const auto ask = [&](const std::string& command) {
        ::send(socket.get(), command.data(), command.size(), MSG_NOSIGNAL);
        return parse_json(receive(socket.get()), command)[command.substr(0, command.find(','))];
    };
    EXPECT_EQ(ask("/viaduct/info")["pid"].asInt(), pid_);
    EXPECT_EQ(ask("/viaduct/info")["workers"]["0"]["lcore"].asUInt(), 1U);
    EXPECT_EQ(ask("/viaduct/ports")["ports"][0].asString(), "v");
    EXPECT_EQ(ask("/viaduct/port,v")["link"].asString(), "down");
    EXPECT_EQ(ask("/viaduct/port,v")["counters"]["rx_drops"]["runt"].asUInt(), 0U);
    EXPECT_TRUE(ask("/viaduct/port,nobody").isNull());
    EXPECT_TRUE(ask("/viaduct/port").isNull());
    EXPECT_EQ(ask("/viaduct/stats")["balanced"].asString(), "true");
    EXPECT_EQ(ask("/viaduct/fdb")["fdb"]["0"]["mac"].asString(), "02:00:00:00:00:01");
    EXPECT_EQ(ask("/viaduct/fdb,none")["total"].asUInt(), 0U);
    EXPECT_EQ(ask("/viaduct/fdb,br0,99999999999999999999")["total"].asUInt(), 1U);
    EXPECT_EQ(end(SIGTERM), 0);
}

}  // namespace
}  // namespace viaduct::test
