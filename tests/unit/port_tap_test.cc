// TAP ports in network namespaces of their own, with the kernel's own tools at the other end.
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <fstream>
#include <map>
#include <memory>
#include <thread>

#include <gtest/gtest.h>
#include <rte_mbuf.h>

#include "viaduct/fault.h"

#include "port/factory.h"
#include "port/tap.h"
#include "port_bench.h"

namespace viaduct::dataplane::test {
namespace {

/// A namespace that goes away with the test.
class Namespace {
public:
    explicit Namespace(const std::string& name)
        : name_("vd-port-" + std::to_string(::getpid()) + "-" + name) {
        EXPECT_EQ(test::run("ip netns add " + name_), 0);
        ip("link set lo up");
    }
    ~Namespace() { remove(); }
    Namespace(const Namespace&) = delete;
    Namespace& operator=(const Namespace&) = delete;
    void remove() { (void)test::run("ip netns del " + name_ + " 2>/dev/null"); }
    [[nodiscard]] std::string path() const { return "/run/netns/" + name_; }
    [[nodiscard]] std::uint64_t inode() const {
        struct stat status {};
        EXPECT_EQ(::stat(path().c_str(), &status), 0);
        return status.st_ino;
    }
    bool ip(const std::string& words) const {
        return test::run("ip -n " + name_ + " " + words + " >/dev/null 2>&1") == 0;
    }
    bool exec(const std::string& words) const {
        return test::run("ip netns exec " + name_ + " " + words + " >/dev/null 2>&1") == 0;
    }
    /// Whether `ip -d link show eth0` says so.
    bool shows(const std::string& text) const {
        return test::run("ip -n " + name_ + " -d address show eth0 2>/dev/null | grep -q -- '" + text +
                         "'") == 0;
    }

private:
    std::string name_;
};

model::Port tap_in(const Namespace& where, std::uint16_t queues = 1, std::uint32_t mtu = 1500) {
    model::Port port;
    port.name = "pod";
    port.kind = model::PortKind::tap;
    port.queues = queues;
    port.mtu = mtu;
    port.mac = MacAddress::parse("02:00:00:00:00:11");
    port.tap.ifname = "eth0";
    port.tap.netns = where.path();
    port.tap.netns_inode = where.inode();
    return port;
}

/// Frames from each port go out by the other, as a worker would do it.
class Cable {
public:
    Cable(Port& a, Port& b) : thread_([this, &a, &b] { run(a, b); }) {}
    ~Cable() {
        end_ = true;
        thread_.join();
    }

private:
    void run(Port& a, Port& b) const {
        while (!end_) {
            std::array<pollfd, 2> ready{
                {{a.wait_descriptor(0), POLLIN, 0}, {b.wait_descriptor(0), POLLIN, 0}}};
            ::poll(ready.data(), ready.size(), 10);
            for (std::uint16_t queue = 0; queue < a.active_queues(); ++queue)
                pass(a, b, queue);
            for (std::uint16_t queue = 0; queue < b.active_queues(); ++queue)
                pass(b, a, queue);
        }
    }
    static void pass(Port& from, Port& to, std::uint16_t queue) {
        std::array<rte_mbuf*, kBurst> burst{};
        const auto got = from.receive(queue, burst.data(), kBurst);
        const auto sent = to.transmit(0, burst.data(), got);
        for (std::uint16_t i = sent; i < got; ++i)
            rte_pktmbuf_free(burst[i]);
    }
    std::atomic<bool> end_{false};
    std::thread thread_;
};

class TapPort : public ::testing::Test {
protected:
    void SetUp() override { (void)pool(); }
    std::unique_ptr<Tap> make(const model::Port& port) {
        return std::make_unique<Tap>(port, PortIndex{3}, pool(), listener, driver);
    }
    std::string refusal(const model::Port& port) {
        try {
            make(port);
        } catch (const Refused& refused) {
            return refused.what();
        }
        return "accepted";
    }
    std::shared_ptr<TapDriver> driver = std::make_shared<TapDriver>();
    Listener listener;
};

TEST_F(TapPort, AppearsInItsNamespaceWithMacAndMtuAndNotUp) {
    const Namespace pod("a");
    auto port = make(tap_in(pod, 1, 1400));
    EXPECT_TRUE(pod.shows("mtu 1400"));
    EXPECT_TRUE(pod.shows("02:00:00:00:00:11"));
    EXPECT_TRUE(pod.shows("state DOWN"));
    EXPECT_FALSE(port->link_up());
    EXPECT_NE(port->detail().find("administratively down"), std::string::npos) << port->detail();
    EXPECT_FALSE(transmit_to(*port, 0, frame_of(60)));
    ASSERT_TRUE(pod.ip("link set eth0 up"));
    EXPECT_TRUE(eventually([&] { return port->link_up(); }));
    EXPECT_GT(listener.changes, 0U);
    EXPECT_EQ(port->active_queues(), 1);
    EXPECT_TRUE(transmit_to(*port, 0, frame_of(60)));
    port->set_mtu(9000);
    EXPECT_TRUE(pod.shows("mtu 9000"));
    ASSERT_TRUE(pod.ip("link set eth0 down"));
    EXPECT_TRUE(eventually([&] { return !port->link_up(); }));
    port->stop();
    EXPECT_FALSE(pod.ip("link show eth0"));
}

TEST_F(TapPort, TwoPodsPingEachOtherAlsoWithJumboFramesAndSeveralQueues) {
    const auto before = buffers_in_use();
    {
        const Namespace left("l");
        const Namespace right("r");
        auto at_left = tap_in(left, 1, 9216);
        auto at_right = tap_in(right, 4, 9216);
        at_right.mac = MacAddress::parse("02:00:00:00:00:12");
        auto a = make(at_left);
        auto b = make(at_right);
        for (const auto* where : {&left, &right})
            ASSERT_TRUE(where->ip("link set eth0 up"));
        ASSERT_TRUE(left.ip("address add 10.9.0.1/24 dev eth0"));
        ASSERT_TRUE(right.ip("address add 10.9.0.2/24 dev eth0"));
        ASSERT_TRUE(eventually([&] { return a->link_up() && b->link_up(); }));
        EXPECT_EQ(b->active_queues(), 4);
        const Cable cable(*a, *b);
        EXPECT_TRUE(left.exec("ping -c 3 -i 0.05 -W 2 10.9.0.2"));
        EXPECT_TRUE(left.exec("ping -c 20 -i 0.01 -W 2 -M do -s 9188 10.9.0.2"));
        EXPECT_TRUE(right.exec("ping -c 20 -i 0.01 -W 2 -s 20000 10.9.0.1"));
    }
    EXPECT_EQ(buffers_in_use(), before);
}

TEST_F(TapPort, StaysForTheNextDataplaneWithItsAddresses) {
    const Namespace pod("a");
    auto port = make(tap_in(pod, 4));
    ASSERT_TRUE(pod.ip("link set eth0 up"));
    ASSERT_TRUE(pod.ip("address add 10.9.0.1/24 dev eth0"));
    for (const auto queues : std::to_array<std::uint16_t>({1, 3, 2})) {
        port.reset();  // without stop(), as when the process ends
        EXPECT_TRUE(pod.shows("10.9.0.1/24"));
        port = make(tap_in(pod, queues));
        EXPECT_TRUE(pod.shows("10.9.0.1/24"));
        EXPECT_TRUE(eventually([&] { return port->active_queues() == queues; }));
        EXPECT_TRUE(transmit_to(*port, 0, frame_of(60)));
    }
    port->stop();
    EXPECT_FALSE(pod.ip("link show eth0"));
}

TEST_F(TapPort, OfOneQueueStaysForTheNextDataplaneAndIsMadeAnewForSeveral) {
    const Namespace pod("a");
    auto port = make(tap_in(pod));
    ASSERT_TRUE(pod.ip("address add 10.9.0.1/24 dev eth0"));
    port.reset();  // without stop(), as when the process ends
    port = make(tap_in(pod));
    EXPECT_TRUE(pod.shows("10.9.0.1/24"));
    port.reset();
    port = make(tap_in(pod, 3));
    EXPECT_FALSE(pod.shows("10.9.0.1/24"));
    ASSERT_TRUE(pod.ip("link set eth0 up"));
    EXPECT_TRUE(eventually([&] { return port->active_queues() == 3; }));
    EXPECT_TRUE(transmit_to(*port, 0, frame_of(60)));
    port->stop();
    EXPECT_FALSE(pod.ip("link show eth0"));
}

TEST_F(TapPort, MakesNoTransmitQueuesInTheKernelThatItDoesNotUse) {
    const Namespace pod("a");
    auto port = make(tap_in(pod));
    ASSERT_TRUE(pod.ip("link set eth0 up"));
    EXPECT_FALSE(pod.exec("test -e /sys/class/net/eth0/queues/tx-1"));
    port->stop();
}

TEST_F(TapPort, IsGoneByNameWhenStopReturnsAndMayBeMadeAgainAtOnce) {
    const Namespace pod("a");
    for (int round = 0; round < 20; ++round) {
        auto port = make(tap_in(pod, 2));
        port->stop();
        EXPECT_FALSE(round % 5 == 0 && pod.ip("link show eth0"));
    }
}

TEST_F(TapPort, RefusesInWords) {
    const Namespace pod("a");
    ASSERT_TRUE(pod.ip("link add eth0 type veth peer name eth1"));
    EXPECT_NE(refusal(tap_in(pod)).find("not a Viaduct tap"), std::string::npos) << refusal(tap_in(pod));
    ASSERT_TRUE(pod.ip("link del eth0"));
    ASSERT_TRUE(pod.ip("tuntap add eth0 mode tap"));
    EXPECT_NE(refusal(tap_in(pod)).find("not a Viaduct tap"), std::string::npos);
    ASSERT_TRUE(pod.ip("link del eth0"));

    auto bad = tap_in(pod);
    bad.tap.netns_inode = 1;
    EXPECT_NE(refusal(bad).find("inode"), std::string::npos);
    bad = tap_in(pod);
    bad.tap.netns_inode = 0;
    bad.tap.netns = "/run/netns/vd-none";
    EXPECT_NE(refusal(bad).find("No such file"), std::string::npos);
    bad.tap.netns = "/etc/passwd";
    EXPECT_NE(refusal(bad).find("cannot be entered"), std::string::npos) << refusal(bad);
    EXPECT_FALSE(pod.ip("link show eth0"));

    auto port = make(tap_in(pod));
    EXPECT_NE(refusal(tap_in(pod)).find("another port"), std::string::npos);
    ASSERT_TRUE(pod.ip("link set eth0 up"));
    EXPECT_THROW(Tap(tap_in(pod), 4, pool(), listener, std::make_shared<TapDriver>()), Refused);
}

TEST_F(TapPort, SurvivesTheInterfacesDeletionBySomebodyElse) {
    const Namespace pod("a");
    auto port = make(tap_in(pod));
    ASSERT_TRUE(pod.ip("link set eth0 up"));
    ASSERT_TRUE(eventually([&] { return port->link_up(); }));
    ASSERT_TRUE(pod.ip("link del eth0"));
    EXPECT_TRUE(eventually([&] { return !port->link_up(); }));
    EXPECT_EQ(port->active_queues(), 0);
    EXPECT_NE(port->detail().find("deleted"), std::string::npos) << port->detail();
    rte_mbuf* frame = nullptr;
    EXPECT_EQ(port->receive(0, &frame, 1), 0);
    EXPECT_FALSE(transmit_to(*port, 0, frame_of(60)));
    port->set_mtu(1400);
    port->stop();
}

TEST_F(TapPort, SurvivesItsNamespace) {
    auto pod = std::make_unique<Namespace>("a");
    auto port = make(tap_in(*pod));
    ASSERT_TRUE(pod->ip("link set eth0 up"));
    ASSERT_TRUE(eventually([&] { return port->link_up(); }));
    pod.reset();
    EXPECT_TRUE(transmit_to(*port, 0, frame_of(60)));  // our descriptors keep it alive until then
    port->stop();
}

/// They are the bridge's to drop by name; what the kernel cuts off without a word would be nobody's.
TEST_F(TapPort, TakesFramesAboveThePortsMtuWhole) {
    const Namespace pod("a");
    auto port = make(tap_in(pod));
    ASSERT_TRUE(pod.ip("link set eth0 up mtu 9000"));
    ASSERT_TRUE(pod.ip("address add 10.9.0.1/24 dev eth0"));
    ASSERT_TRUE(pod.ip("neigh add 10.9.0.2 lladdr 02:00:00:00:00:12 dev eth0"));
    ASSERT_TRUE(eventually([&] { return port->link_up(); }));
    (void)pod.exec("ping -c 1 -W 0.1 -s 8000 10.9.0.2");
    (void)pod.exec("ping -c 1 -W 0.1 -s 77 10.9.0.2");
    bool found = false;
    bool long_one = false;
    for (const auto& frame : receive_from(*port, 0, 20, 0.5)) {
        long_one = long_one || frame.size() == 8000 + 8 + 20 + 14;
        found = found || frame.size() == 77 + 8 + 20 + 14;
    }
    EXPECT_TRUE(found);
    EXPECT_TRUE(long_one);
    EXPECT_EQ(port->refused(), 0U);
}

/// Large buffers may all wait somewhere with other pods' segments.
TEST_F(TapPort, TakesLongFramesWithoutALargeBuffer) {
    const Namespace pod("a");
    auto port = make(tap_in(pod, 1, 9000));
    ASSERT_TRUE(pod.ip("link set eth0 up"));
    ASSERT_TRUE(pod.ip("address add 10.9.0.1/24 dev eth0"));
    ASSERT_TRUE(pod.ip("neigh add 10.9.0.2 lladdr 02:00:00:00:00:12 dev eth0"));
    ASSERT_TRUE(eventually([&] { return port->link_up(); }));
    std::vector<rte_mbuf*> elsewhere;
    while (auto* large = rte_pktmbuf_alloc(driver->large_buffers()))
        elsewhere.push_back(large);
    EXPECT_GT(elsewhere.size(), 100U);
    (void)pod.exec("ping -c 1 -W 0.1 -p a5 -s 8000 10.9.0.2");
    bool whole = false;
    for (const auto& frame : receive_from(*port, 0, 20, 0.5))
        whole = whole || (frame.size() == 8000 + 8 + 20 + 14 && frame.back() == 0xa5);
    EXPECT_TRUE(whole);
    EXPECT_EQ(port->refused(), 0U);
    rte_pktmbuf_free_bulk(elsewhere.data(), static_cast<unsigned>(elsewhere.size()));
}

TEST_F(TapPort, FollowsARenamedInterface) {
    const Namespace pod("a");
    auto port = make(tap_in(pod));
    ASSERT_TRUE(pod.ip("link set eth0 name net1"));
    ASSERT_TRUE(pod.ip("link set net1 up"));
    ASSERT_TRUE(eventually([&] { return port->link_up(); }));
    EXPECT_NE(port->detail().find("net1"), std::string::npos) << port->detail();
    port->stop();
    EXPECT_FALSE(pod.ip("link show net1"));
}

/// As container engines do: made in the node's namespace, moved into the container's and renamed, and moved
/// back.
TEST_F(TapPort, FollowsItsInterfaceToOtherNamespaces) {
    const Namespace node("n");
    const Namespace pod("a");
    auto place = tap_in(node).tap;
    auto port = make(tap_in(node));
    EXPECT_TRUE(port->is_at(place));
    ASSERT_TRUE(node.ip("link set eth0 up"));
    ASSERT_TRUE(eventually([&] { return port->link_up(); }));
    for (int round = 0; round < 3; ++round) {
        const auto changes = listener.changes.load();
        ASSERT_TRUE(node.ip("link set eth0 netns " + pod.path() + " name net1"));
        EXPECT_TRUE(eventually([&] { return listener.changes > changes && !port->link_up(); }));
        ASSERT_TRUE(pod.ip("link set net1 up"));
        ASSERT_TRUE(eventually([&] { return port->link_up(); }));
        EXPECT_FALSE(port->is_at(place));
        EXPECT_TRUE(port->is_at({"net1", "", pod.inode()}));
        EXPECT_NE(port->detail().find("net1 in another"), std::string::npos) << port->detail();
        EXPECT_TRUE(transmit_to(*port, 0, frame_of(60)));
        port->set_mtu(1400U + static_cast<unsigned>(round));
        EXPECT_TRUE(pod.ip("link set net1 name eth5"));
        EXPECT_TRUE(port->is_at({"eth5", "", pod.inode()}));
        ASSERT_TRUE(pod.ip("link set eth5 netns " + node.path() + " name eth0"));
        ASSERT_TRUE(node.ip("link set eth0 up"));
        ASSERT_TRUE(eventually([&] { return port->link_up() && port->is_at(place); }));
        EXPECT_TRUE(node.shows("mtu " + std::to_string(1400 + round)));
    }
    ASSERT_TRUE(node.ip("link set eth0 netns " + pod.path()));
    port->stop();
    EXPECT_FALSE(pod.ip("link show eth0"));
}

/// The next dataplane is told where it is now.
TEST_F(TapPort, StaysForTheNextDataplaneWhereItWasMovedTo) {
    const Namespace node("n");
    const Namespace pod("a");
    auto port = make(tap_in(node));
    ASSERT_TRUE(node.ip("link set eth0 netns " + pod.path() + " name net1"));
    ASSERT_TRUE(pod.ip("address add 10.9.0.1/24 dev net1"));
    port.reset();  // without stop(), as when the process ends
    auto there = tap_in(pod);
    there.tap.ifname = "net1";
    port = make(there);
    ASSERT_TRUE(pod.ip("link set net1 up"));
    EXPECT_TRUE(eventually([&] { return port->link_up(); }));
    EXPECT_TRUE(pod.ip("address show net1"));
    port->stop();
    EXPECT_FALSE(pod.ip("link show net1"));
}

/// A container's namespace goes with what is in it, unless somebody keeps it: the port does.
TEST_F(TapPort, KeepsTheNamespaceThatItWasMovedTo) {
    const Namespace node("n");
    Namespace pod("a");
    auto port = make(tap_in(node));
    ASSERT_TRUE(node.ip("link set eth0 netns " + pod.path()));
    ASSERT_TRUE(pod.ip("link set eth0 up"));
    ASSERT_TRUE(eventually([&] { return port->link_up(); }));
    pod.remove();
    EXPECT_TRUE(port->link_up());
    EXPECT_TRUE(transmit_to(*port, 0, frame_of(60)));
    port->stop();
}

TEST_F(TapPort, ManyComeAndGoQuickly) {
    const Namespace pod("a");
    std::map<std::string, double> took;
    std::vector<std::unique_ptr<Tap>> ports;
    const auto timed = [&](const std::string& what, const auto& work) {
        const auto begin = std::chrono::steady_clock::now();
        work();
        took[what] = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    };
    timed("make", [&] {
        for (int i = 0; i < 64; ++i) {
            auto port = tap_in(pod);
            port.tap.ifname = "eth" + std::to_string(i);
            ports.push_back(make(port));
        }
    });
    timed("stop", [&] {
        for (auto& port : ports)
            port->stop();
    });
    for (const auto& [what, seconds] : took)
        std::fprintf(stderr, "%s: %.2f ms each\n", what.c_str(), seconds / 64 * 1e3);
    timed("end", [&] {
        ports.clear();
        driver.reset();
    });
    EXPECT_FALSE(pod.ip("link show eth63"));
}

TEST(PortFactory, MakesWhatTheModelSaysAndNamesThePortInItsRefusals) {
    (void)pool();
    const Namespace pod("f");
    const Scratch scratch;
    Listener listener;
    const auto factory = make_port_factory();
    auto tap = factory(tap_in(pod), 1, pool(), listener);
    EXPECT_EQ(tap->readiness(), Readiness::signalled);
    model::Port vhost;
    vhost.name = "vm";
    vhost.vhost.path = scratch.path("vh0");
    EXPECT_EQ(factory(vhost, 2, pool(), listener)->readiness(), Readiness::polled);
    try {
        (void)factory(tap_in(pod), 1, pool(), listener);
        FAIL();
    } catch (const Refused& refused) {
        EXPECT_EQ(refused.faults().at(0).where, "ports/pod/ifname");
    }
    tap->stop();
}

}  // namespace
}  // namespace viaduct::dataplane::test
