// Uplinks that are not promiscuous, on DPDK's virtual devices: what each kind of device is told, what comes
// in, and what is left of it.
#include <fstream>

#include "uplink_bench.h"

namespace viaduct::dataplane::test {
namespace {

const auto kRouter = *MacAddress::parse("02:00:00:00:00:11");
const auto kSecond = *MacAddress::parse("02:00:00:00:00:12");

model::Port filtering(const std::string& device) {
    auto port = uplink_on(device);
    port.uplink.promiscuous = false;
    return port;
}

std::vector<std::uint8_t> frame_to(const MacAddress& address, std::uint8_t seed) {
    auto frame = frame_of(300, seed);
    std::copy(address.bytes.begin(), address.bytes.end(), frame.begin());
    return frame;
}

/// A number in /sys/class/net.
std::string attribute(const std::string& interface, const std::string& name) {
    std::string text;
    std::getline(std::ifstream("/sys/class/net/" + interface + "/" + name), text);
    return text;
}

/// "promiscuity" and "allmulti" as ip shows them.
bool is_at(const std::string& interface, const std::string& what) {
    return run("ip -d link show " + interface + " | grep -q '" + what + " '") == 0;
}

class FilteringPort : public UplinkPort {
protected:
    /// Whether what the far end sends comes in. What must not come is looked for until a frame that was sent
    /// after it, to a group, is there.
    static bool passes(Port& from, Port& to, const MacAddress& address) {
        static std::uint8_t seed = 0;
        const auto sent = frame_to(address, ++seed);
        const auto last = frame_to(*MacAddress::parse("33:33:00:00:00:05"), seed);
        EXPECT_TRUE(transmit_to(from, 0, sent));
        EXPECT_TRUE(transmit_to(from, 0, last));
        bool found = false;
        EXPECT_TRUE(eventually([&] {
            for (const auto& got : receive_from(to, 0, 1, 0.2)) {
                found = found || got == sent;
                if (got == last) return true;
            }
            return false;
        }));
        return found;
    }
};

TEST_F(FilteringPort, AnInterfaceIsNotPromiscuousAndTakesWhatItIsTold) {
    VethPair veth;
    const auto own = *MacAddress::parse(attribute(veth.near(), "address"));
    auto far = make(uplink_on("net_af_packet1,iface=" + veth.far()), 4);
    {
        auto port = make(filtering("net_af_packet0,iface=" + veth.near()));
        EXPECT_NE(port->detail().find("not promiscuous"), std::string::npos) << port->detail();
        EXPECT_TRUE(is_at(veth.near(), "promiscuity 0"));
        EXPECT_TRUE(is_at(veth.near(), "allmulti 1"));
        EXPECT_FALSE(passes(*far, *port, kRouter));
        EXPECT_FALSE(passes(*far, *port, own));  // the host's, and not the router's
        port->filter_by({own});
        EXPECT_TRUE(passes(*far, *port, own));
        EXPECT_FALSE(passes(*far, *port, kRouter));
        EXPECT_TRUE(is_at(veth.near(), "promiscuity 0"));
        port->filter_by({kRouter, kSecond});
        EXPECT_TRUE(passes(*far, *port, kRouter));
        EXPECT_TRUE(passes(*far, *port, kSecond));
        EXPECT_FALSE(passes(*far, *port, own));
        EXPECT_EQ(run("bridge fdb show dev " + veth.near() + " | grep -q ^" + kRouter.to_string()), 0);
        port->filter_by({kSecond});
        EXPECT_FALSE(passes(*far, *port, kRouter));
        EXPECT_TRUE(passes(*far, *port, kSecond));
        EXPECT_NE(run("bridge fdb show dev " + veth.near() + " | grep -q ^" + kRouter.to_string()), 0);
        EXPECT_GT(port->refused(), 0U);
        EXPECT_EQ(attribute(veth.near(), "address"), own.to_string());
        port->stop();
    }
    EXPECT_TRUE(is_at(veth.near(), "promiscuity 0"));
    EXPECT_TRUE(is_at(veth.near(), "allmulti 0"));
    auto open = make(uplink_on("net_af_packet0,iface=" + veth.near()));
    EXPECT_TRUE(is_at(veth.near(), "promiscuity 1"));
}

TEST_F(FilteringPort, AnInterfaceThatIsBackIsToldAgain) {
    VethPair veth;
    auto port = make(filtering("net_af_packet0,iface=" + veth.near()));
    port->filter_by({kRouter});
    veth.remove();
    EXPECT_TRUE(eventually([&] { return port->needs_tending(); }));
    tended(*port);
    port->filter_by({kSecond});
    veth.connect();
    EXPECT_TRUE(eventually([&] { return tended(*port) && port->link_up(); })) << port->detail();
    auto far = make(uplink_on("net_af_packet1,iface=" + veth.far()), 4);
    EXPECT_TRUE(passes(*far, *port, kSecond));
    EXPECT_FALSE(passes(*far, *port, kRouter));
    EXPECT_EQ(run("bridge fdb show dev " + veth.near() + " | grep -q ^" + kSecond.to_string()), 0);
}

TEST_F(FilteringPort, ADeviceWithRoomForOneAddressTakesItForItsOwn) {
    auto port = make(filtering("net_tap9"));
    port->filter_by({kRouter});
    port->filter_by({kSecond});
    // Two are too many, and one of them stays in force.
    try {
        port->filter_by({kRouter, kSecond});
        ADD_FAILURE() << "was taken";
    } catch (const Refused& refused) {
        EXPECT_EQ(refused.faults().at(0).where, "promiscuous");
        EXPECT_NE(refused.faults().at(0).reason.find("beside its own 02:00:00:00:00:12"), std::string::npos)
            << refused.what();
    }
    port->filter_by({kSecond});
}

TEST_F(FilteringPort, ADeviceWithoutAFilterHasItsFramesKeptBackByThePort) {
    auto port = make(filtering("net_ring6"));
    port->filter_by({kRouter});
    EXPECT_TRUE(passes(*port, *port, kRouter));
    EXPECT_FALSE(passes(*port, *port, kSecond));
    EXPECT_EQ(port->refused(), 1U);
    port->filter_by({});
    EXPECT_FALSE(passes(*port, *port, kRouter));
}

TEST_F(FilteringPort, ABondsMembersFilterWhoeverCarries) {
    VethPair first{"x"};
    VethPair second{"y"};
    for (const auto mode : {model::Bonding::active_backup, model::Bonding::balance_xor}) {
        auto wanted = filtering("");
        wanted.uplink.members = {"net_af_packet0,iface=" + first.near(),
                                 "net_af_packet1,iface=" + second.near()};
        wanted.uplink.bond = mode;
        auto port = make(wanted);
        EXPECT_TRUE(is_at(first.near(), "promiscuity 0"));
        EXPECT_TRUE(is_at(second.near(), "promiscuity 0"));
        port->filter_by({kRouter});
        auto far1 = make(uplink_on("net_af_packet11,iface=" + first.far()), 4);
        EXPECT_TRUE(passes(*far1, *port, kRouter));
        EXPECT_FALSE(passes(*far1, *port, kSecond));
        ASSERT_EQ(run("ip link set " + first.far() + " down"), 0);
        EXPECT_TRUE(eventually([&] {
            return tended(*port) && port->detail().find(first.near() + " no carrier") != std::string::npos;
        }));
        auto far2 = make(uplink_on("net_af_packet12,iface=" + second.far()), 5);
        EXPECT_TRUE(passes(*far2, *port, kRouter));
        EXPECT_FALSE(passes(*far2, *port, kSecond));
        for (const auto& cable : {first.near(), second.near()})
            EXPECT_EQ(run("bridge fdb show dev " + cable + " | grep -q ^" + kRouter.to_string()), 0) << cable;
        ASSERT_EQ(run("ip link set " + first.far() + " up"), 0);
    }
}

TEST_F(FilteringPort, ABondThatSpeaksLacpFiltersToo) {
    VethPair first{"x"};
    VethPair second{"y"};
    const auto on = [](unsigned number, const std::string& interface) {
        return "net_af_packet" + std::to_string(number) + ",iface=" + interface;
    };
    auto wanted = filtering("");
    wanted.uplink.bond = model::Bonding::lacp;
    wanted.uplink.members = {on(0, first.near()), on(1, second.near())};
    auto other = uplink_on("");
    other.uplink.bond = model::Bonding::lacp;
    other.uplink.members = {on(2, first.far()), on(3, second.far())};
    auto port = make(wanted);
    auto far = make(other, 4);
    port->filter_by({kRouter, kSecond});
    port->filter_by({kRouter});
    const auto sent = frame_to(kRouter, 1);
    const auto stray = frame_to(kSecond, 1);
    EXPECT_TRUE(eventually(
        [&] {
            tended(*port);
            tended(*far);
            (void)receive_from(*far, 0, 1, 0.02);  // LACP is spoken as frames are looked for
            (void)transmit_to(*far, 0, stray);
            (void)transmit_to(*far, 0, sent);
            for (const auto& got : receive_from(*port, 0, 20, 0.02)) {
                EXPECT_NE(got, stray);
                if (got == sent) return true;
            }
            return false;
        },
        30))
        << port->detail();
    for (const auto& cable : {first.near(), second.near()})
        EXPECT_EQ(run("bridge fdb show dev " + cable + " | grep -q ^" + kRouter.to_string()), 0) << cable;
}

}  // namespace
}  // namespace viaduct::dataplane::test
