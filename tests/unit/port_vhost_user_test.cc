// vhost-user ports against dpdk-testpmd's virtio-user, which is what pods run, and against peers that
// misbehave.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <memory>
#include <thread>

#include <gtest/gtest.h>

#include "viaduct/fault.h"

#include "port/vhost_user.h"
#include "port_bench.h"

namespace viaduct::dataplane::test {
namespace {

model::Port port_at(const std::string& path, bool server = false, std::uint16_t queues = 1) {
    model::Port port;
    port.name = "pod";
    port.queues = queues;
    port.mtu = 9000;
    port.vhost.path = path;
    port.vhost.server = server;
    return port;
}

/// A pod: frames come back with their addresses swapped.
std::unique_ptr<Process> pod(const Scratch& scratch, const std::string& path, bool listens,
                             unsigned queues = 1, const std::string& more = "") {
    // virtio-user does not replace a socket that its predecessor left.
    if (listens) std::filesystem::remove(path);
    const auto count = std::to_string(queues);
    std::vector<std::string> command = {"dpdk-testpmd",
                                        "-l",
                                        "0,1",
                                        "--no-pci",
                                        "--no-huge",
                                        "-m",
                                        "256",
                                        "--no-shconf",

                                        "--vdev=net_virtio_user0,path=" + path +
                                            ",server=" + (listens ? "1" : "0") + ",queues=" + count +
                                            ",queue_size=256" + more,
                                        "--",
                                        "--forward-mode=macswap",
                                        "--auto-start",
                                        "--rxq=" + count,
                                        "--txq=" + count,
                                        "--total-num-mbufs=8192",
                                        "--max-pkt-len=9018",
                                        "--mbuf-size=9600"};
    return std::make_unique<Process>(command, scratch.path("testpmd.log"));
}

std::vector<std::uint8_t> swapped(std::vector<std::uint8_t> frame) {
    std::swap_ranges(frame.begin(), frame.begin() + 6, frame.begin() + 6);
    return frame;
}

/// Sends frames until one comes back: virtio-user needs a moment after the link is up.
bool answers(Port& port, std::uint16_t queue = 0, std::size_t size = 100, double seconds = 10) {
    const auto sent = frame_of(size);
    return eventually(
        [&] {
            transmit_to(port, queue, sent);
            for (const auto& got : receive_from(port, queue, 1, 0.02)) {
                if (got == swapped(sent)) return true;
            }
            return false;
        },
        seconds);
}

class VhostUserPort : public ::testing::Test {
protected:
    void SetUp() override { (void)pool(); }
    std::unique_ptr<VhostUser> make(const model::Port& port) {
        return std::make_unique<VhostUser>(port, PortIndex{7}, pool(), listener);
    }
    std::string refusal(const model::Port& port) {
        try {
            make(port);
        } catch (const Refused& refused) {
            return refused.what();
        }
        return "accepted";
    }
    Scratch scratch;
    Listener listener;
};

TEST_F(VhostUserPort, ConnectsToAPodThatListensAndExchangesFrames) {
    const auto before = buffers_in_use();
    {
        auto port = make(port_at(scratch.path("vh0")));
        EXPECT_FALSE(port->link_up());
        EXPECT_EQ(port->active_queues(), 0);
        EXPECT_NE(port->detail().find("No such file"), std::string::npos) << port->detail();
        auto guest = pod(scratch, scratch.path("vh0"), true);
        ASSERT_TRUE(eventually([&] { return port->link_up(); }));
        EXPECT_GT(listener.changes, 0U);
        EXPECT_EQ(port->active_queues(), 1);
        for (const std::size_t size : {60U, 1518U, 9014U})
            EXPECT_TRUE(answers(*port, 0, size)) << size;
        EXPECT_NE(port->detail().find("mergeable"), std::string::npos) << port->detail();
        port->stop();
        EXPECT_FALSE(port->link_up());
    }
    EXPECT_EQ(buffers_in_use(), before);
}

TEST_F(VhostUserPort, FollowsAPodThatIsKilledAndComesAgain) {
    auto port = make(port_at(scratch.path("vh0")));
    auto guest = pod(scratch, scratch.path("vh0"), true);
    ASSERT_TRUE(eventually([&] { return port->link_up(); }));
    EXPECT_TRUE(answers(*port));
    for (int round = 0; round < 3; ++round) {
        const auto changes = listener.changes.load();
        guest->kill();
        ASSERT_TRUE(eventually([&] { return !port->link_up(); }, 2));
        EXPECT_GT(listener.changes, changes);
        EXPECT_NE(port->detail().find("nobody listens"), std::string::npos) << port->detail();
        rte_mbuf* frame = nullptr;
        EXPECT_EQ(port->receive(0, &frame, 1), 0);
        EXPECT_FALSE(transmit_to(*port, 0, frame_of(60)));
        guest = pod(scratch, scratch.path("vh0"), true);
        ASSERT_TRUE(eventually([&] { return port->link_up(); }));
        EXPECT_TRUE(answers(*port)) << round;
    }
}

TEST_F(VhostUserPort, APodGoesOnWhenThePortIsMadeAnew) {
    auto port = make(port_at(scratch.path("vh0")));
    auto guest = pod(scratch, scratch.path("vh0"), true);
    ASSERT_TRUE(eventually([&] { return port->link_up(); }));
    ASSERT_TRUE(answers(*port));
    port.reset();
    const auto begin = std::chrono::steady_clock::now();
    port = make(port_at(scratch.path("vh0")));
    ASSERT_TRUE(answers(*port));
    const auto took = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    RecordProperty("seconds", std::to_string(took));
    std::fprintf(stderr, "frames again after %.3f s\n", took);
}

TEST_F(VhostUserPort, ListensWithTheModeAskedForAndRemovesItsSocket) {
    auto asked = port_at(scratch.path("vh0"), true);
    asked.vhost.mode = 0600;
    asked.vhost.owner = 1234;
    asked.vhost.group = 4321;
    auto port = make(asked);
    struct stat status {};
    ASSERT_EQ(::lstat(asked.vhost.path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0600U);
    EXPECT_EQ(status.st_uid, 1234U);
    EXPECT_EQ(status.st_gid, 4321U);
    EXPECT_NE(port->detail().find("nobody has connected"), std::string::npos);
    auto guest = pod(scratch, asked.vhost.path, false);
    ASSERT_TRUE(eventually([&] { return port->link_up(); }));
    EXPECT_TRUE(answers(*port));
    guest->kill();
    ASSERT_TRUE(eventually([&] { return !port->link_up(); }, 2));
    guest = pod(scratch, asked.vhost.path, false);
    ASSERT_TRUE(eventually([&] { return port->link_up(); }));
    EXPECT_TRUE(answers(*port));
    port->stop();
    EXPECT_NE(::lstat(asked.vhost.path.c_str(), &status), 0);
}

TEST_F(VhostUserPort, ServesSeveralQueues) {
    auto port = make(port_at(scratch.path("vh0"), false, 4));
    auto guest = pod(scratch, scratch.path("vh0"), true, 4);
    ASSERT_TRUE(eventually([&] { return port->active_queues() == 4; }))
        << port->active_queues() << port->detail();
    for (std::uint16_t queue = 0; queue < 4; ++queue)
        EXPECT_TRUE(answers(*port, queue)) << queue;
}

TEST_F(VhostUserPort, UsesTheQueuesThatThePodHas) {
    auto port = make(port_at(scratch.path("vh0"), false, 4));
    auto guest = pod(scratch, scratch.path("vh0"), true, 2);
    ASSERT_TRUE(eventually([&] { return port->active_queues() == 2; })) << port->active_queues();
    EXPECT_TRUE(answers(*port, 1));
    rte_mbuf* frame = nullptr;
    EXPECT_EQ(port->receive(3, &frame, 1), 0);
}

TEST_F(VhostUserPort, ServesPackedRings) {
    auto port = make(port_at(scratch.path("vh0")));
    auto guest = pod(scratch, scratch.path("vh0"), true, 1, ",packed_vq=1");
    ASSERT_TRUE(eventually([&] { return port->link_up(); }));
    EXPECT_TRUE(answers(*port));
    EXPECT_NE(port->detail().find("packed rings"), std::string::npos) << port->detail();
}

TEST_F(VhostUserPort, AnArmedQueueWakesItsWorker) {
    auto port = make(port_at(scratch.path("vh0")));
    auto guest = pod(scratch, scratch.path("vh0"), true);
    ASSERT_TRUE(eventually([&] { return port->link_up(); }));
    ASSERT_TRUE(answers(*port));
    epoll_event event{};
    const int epoll = ::epoll_create1(0);
    event.events = EPOLLIN | EPOLLET;
    ASSERT_EQ(::epoll_ctl(epoll, EPOLL_CTL_ADD, port->wait_descriptor(0), &event), 0);
    for (int round = 0; round < 5; ++round) {
        while (!receive_from(*port, 0, 1, 0.02).empty()) {
        }
        port->disarm(0);
        while (::epoll_wait(epoll, &event, 1, 0) > 0) {
        }
        port->arm(0);
        ASSERT_TRUE(receive_from(*port, 0, 1, 0.02).empty());
        ASSERT_TRUE(transmit_to(*port, 0, frame_of(100)));
        EXPECT_EQ(::epoll_wait(epoll, &event, 1, 2000), 1) << round;
        EXPECT_EQ(receive_from(*port, 0, 1).size(), 1U);
    }
    ::close(epoll);
}

TEST_F(VhostUserPort, RefusesInWords) {
    EXPECT_NE(refusal(port_at(scratch.path("none/vh0"))).find("directory"), std::string::npos);
    EXPECT_NE(refusal(port_at("/" + std::string(200, 'x'))).find("107"), std::string::npos);
    std::ofstream(scratch.path("file")) << "kept";
    EXPECT_NE(refusal(port_at(scratch.path("file"), true)).find("no socket"), std::string::npos);
    EXPECT_TRUE(std::filesystem::exists(scratch.path("file")));
    auto port = make(port_at(scratch.path("vh0")));
    EXPECT_NE(refusal(port_at(scratch.path("vh0"))).find("another port"), std::string::npos);
}

/// A socket file at `path`, listening or stale.
int socket_at(const std::string& path, bool listens) {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_TRUE(!listens || ::listen(fd, 1) == 0);
    return fd;
}

TEST_F(VhostUserPort, ReplacesAStaleSocketButNotOneThatIsListenedOn) {
    ::close(socket_at(scratch.path("stale"), false));
    EXPECT_EQ(refusal(port_at(scratch.path("stale"), true)), "accepted");
    const int listening = socket_at(scratch.path("used"), true);
    EXPECT_NE(refusal(port_at(scratch.path("used"), true)).find("another process"), std::string::npos);
    ::close(listening);
}

int connect_to(const std::string& path) {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    return fd;
}

TEST_F(VhostUserPort, APeerThatSendsHalfAMessageHoldsUpNobodyElse) {
    auto bad = make(port_at(scratch.path("bad"), true));
    auto good = make(port_at(scratch.path("vh0"), true));
    const int peer = connect_to(scratch.path("bad"));
    // Request 1 (GET_FEATURES), version 1, eight bytes to follow, which never come.
    const std::uint32_t header[3] = {5, 1, 8};
    ASSERT_EQ(::write(peer, header, sizeof header), static_cast<ssize_t>(sizeof header));
    auto guest = pod(scratch, scratch.path("vh0"), false);
    EXPECT_TRUE(eventually([&] { return good->link_up(); }, 5));
    EXPECT_TRUE(answers(*good));
    bad->stop();
    ::close(peer);
}

TEST_F(VhostUserPort, GarbageOnTheSocketEndsThatConnectionOnly) {
    auto port = make(port_at(scratch.path("vh0"), true));
    for (unsigned seed = 0; seed < 50; ++seed) {
        const int peer = connect_to(scratch.path("vh0"));
        std::vector<std::uint32_t> garbage(64);
        for (std::size_t i = 0; i < garbage.size(); ++i)
            garbage[i] = static_cast<std::uint32_t>((seed + 1) * 2654435761U * (i + 1));
        garbage[0] = seed;  // every request there is
        garbage[1] = 1;
        garbage[2] = static_cast<std::uint32_t>(sizeof(std::uint32_t)) * (seed % 60);
        (void)!::write(peer, garbage.data(), garbage.size() * sizeof(std::uint32_t));
        ::shutdown(peer, SHUT_WR);
        char byte = 0;
        while (::read(peer, &byte, 1) > 0) {
        }
        ::close(peer);
    }
    EXPECT_TRUE(eventually([&] { return port->detail().find("nobody has connected") != std::string::npos; }));
    auto guest = pod(scratch, scratch.path("vh0"), false);
    ASSERT_TRUE(eventually([&] { return port->link_up(); }));
    EXPECT_TRUE(answers(*port));
}

TEST_F(VhostUserPort, ManyPortsComeAndGo) {
    std::vector<std::unique_ptr<VhostUser>> ports;
    for (int i = 0; i < 300; ++i)
        ports.push_back(make(port_at(scratch.path("c" + std::to_string(i)))));
    for (int i = 0; i < 100; ++i)
        ports.push_back(make(port_at(scratch.path("s" + std::to_string(i)), true)));
    auto guest = pod(scratch, scratch.path("c299"), true);
    ASSERT_TRUE(eventually([&] { return ports[299]->link_up(); }));
    EXPECT_TRUE(answers(*ports[299]));
}

TEST_F(VhostUserPort, AWorkerMayPollWhileThePodDiesAndReturns) {
    auto port = make(port_at(scratch.path("vh0")));
    std::atomic<bool> end{false};
    std::atomic<std::uint64_t> received{0};
    std::thread worker([&] {
        std::vector<rte_mbuf*> burst(kBurst);
        while (!end) {
            const auto got = port->receive(0, burst.data(), kBurst);
            received += got;
            const auto sent = port->transmit(0, burst.data(), got);
            for (std::uint16_t i = sent; i < got; ++i)
                (void)to_bytes(burst[i]);
        }
    });
    for (int round = 0; round < 5; ++round) {
        auto guest = pod(scratch, scratch.path("vh0"), true);
        ASSERT_TRUE(eventually([&] { return port->link_up(); }));
        std::this_thread::sleep_for(std::chrono::milliseconds(20 * round));
        guest->kill();
        ASSERT_TRUE(eventually([&] { return !port->link_up(); }, 3));
    }
    end = true;
    worker.join();
    port->stop();
}

}  // namespace
}  // namespace viaduct::dataplane::test
