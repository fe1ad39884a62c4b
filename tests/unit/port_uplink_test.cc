// Uplinks on DPDK's virtual devices: a ring that gives back what is sent, a capture, a veth.
#include <fstream>

#include "port/factory.h"
#include "uplink_bench.h"

namespace viaduct::dataplane::test {
namespace {

TEST_F(UplinkPort, ReadsNamesAsDpdkDoes) {
    const auto pci = parse_ethdev_name("3B:00.1,representor=0");
    EXPECT_EQ(pci.bus, "pci");
    EXPECT_EQ(pci.name, "0000:3b:00.1");
    EXPECT_EQ(pci.arguments, "representor=0");
    const auto packet = parse_ethdev_name("net_af_packet0,qpairs=2,iface=eth1");
    EXPECT_EQ(packet.bus, "vdev");
    EXPECT_EQ(packet.name, "net_af_packet0");
    EXPECT_EQ(packet.interface, "eth1");
    EXPECT_EQ(parse_ethdev_name("net_ring0").interface, "");
}

TEST_F(UplinkPort, SendsAndReceivesOnItsQueuesAndIsGoneAfterwards) {
    auto port = make(uplink_on("net_ring7", 2));
    EXPECT_TRUE(port->link_up());
    EXPECT_EQ(port->active_queues(), 2);
    EXPECT_EQ(port->readiness(), Readiness::polled);
    EXPECT_NE(port->detail().find("net_ring7"), std::string::npos) << port->detail();
    const auto sent = frame_of(200, 9);
    ASSERT_TRUE(transmit_to(*port, 1, sent));
    EXPECT_EQ(receive_from(*port, 1, 1).at(0), sent);
    EXPECT_TRUE(receive_from(*port, 0, 1, 0.05).empty());
    port->stop();
    EXPECT_FALSE(port->link_up());
    EXPECT_EQ(port->active_queues(), 0);
    // The name is free again.
    EXPECT_TRUE(make(uplink_on("net_ring7"))->link_up());
}

TEST_F(UplinkPort, RefusesInWordsAndLeavesNothing) {
    const auto unknown = refusal(uplink_on("net_nosuch0"));
    EXPECT_EQ(unknown.where, "device");
    EXPECT_NE(unknown.reason.find("net_nosuch0 cannot be opened"), std::string::npos) << unknown.reason;
    EXPECT_NE(refusal(uplink_on("0000:fe:1d.3")).reason.find("bound to vfio-pci"), std::string::npos);
    EXPECT_EQ(refusal(uplink_on("net_af_packet0,iface=vdnosuch")).where, "device");
    const VethPair veth;
    const auto queues = refusal(uplink_on("net_af_packet0,iface=" + veth.near(), 2));
    EXPECT_EQ(queues.where, "queues");
    EXPECT_NE(queues.reason.find("is 2; net_af_packet0 has 1"), std::string::npos) << queues.reason;
    auto first = make(uplink_on("net_ring1"));
    const auto taken = refusal(uplink_on("net_ring1"));
    EXPECT_NE(taken.reason.find("another port's"), std::string::npos) << taken.reason;
}

TEST_F(UplinkPort, RefusesMoreDevicesThanDpdkHasRoomFor) {
    std::vector<std::unique_ptr<Port>> ports;
    for (unsigned i = rte_eth_dev_count_total(); i < RTE_MAX_ETHPORTS; ++i)
        ports.push_back(make(uplink_on("net_ring" + std::to_string(i))));
    const auto fault = refusal(uplink_on("net_ring99"));
    EXPECT_EQ(fault.where, "device");
    EXPECT_NE(fault.reason.find("32"), std::string::npos) << fault.reason;
}

TEST_F(UplinkPort, CarriesFramesOverAVethAndFollowsItsLink) {
    VethPair veth;
    auto port = make(uplink_on("net_af_packet0,iface=" + veth.near()));
    EXPECT_TRUE(port->link_up());
    EXPECT_EQ(port->wait_descriptor(0), -1);
    auto other = make(uplink_on("net_af_packet1,iface=" + veth.far()));
    const auto sent = frame_of(1514, 3);
    ASSERT_TRUE(transmit_to(*other, 0, sent));
    bool found = false;
    for (const auto& got : receive_from(*port, 0, 20, 0.5))
        found = found || got == sent;
    EXPECT_TRUE(found);

    const auto changes = listener.changes.load();
    ASSERT_EQ(test::run("ip link set " + veth.far() + " down"), 0);
    EXPECT_TRUE(eventually([&] { return !port->link_up(); }));
    EXPECT_TRUE(eventually([&] { return listener.changes.load() > changes; }));
    EXPECT_NE(port->detail().find("no carrier"), std::string::npos) << port->detail();
    ASSERT_EQ(test::run("ip link set " + veth.far() + " up"), 0);
    EXPECT_TRUE(eventually([&] { return port->link_up(); }));

    veth.remove();
    EXPECT_TRUE(eventually([&] { return port->detail().find("gone") != std::string::npos; }))
        << port->detail();
    EXPECT_FALSE(port->link_up());
    // Nobody crashes who has not heard of it yet.
    (void)receive_from(*port, 0, 1, 0.01);
    (void)transmit_to(*port, 0, sent);
}

TEST_F(UplinkPort, IsBackWhenItsInterfaceIs) {
    VethPair veth;
    auto port = make(uplink_on("net_af_packet0,iface=" + veth.near()));
    for (int round = 0; round < 2; ++round) {
        veth.remove();
        EXPECT_TRUE(eventually([&] { return port->needs_tending(); }));
        EXPECT_FALSE(port->link_up());
        EXPECT_TRUE(tended(*port));
        EXPECT_FALSE(port->needs_tending());
        EXPECT_NE(port->detail().find("gone"), std::string::npos) << port->detail();
        const auto changes = listener.changes.load();
        veth.connect();
        EXPECT_TRUE(eventually([&] { return listener.changes.load() > changes && port->needs_tending(); }));
        EXPECT_TRUE(eventually([&] { return tended(*port) && port->link_up(); })) << port->detail();
        auto other = make(uplink_on("net_af_packet1,iface=" + veth.far()), 4);
        const auto sent = frame_of(900, 3);
        ASSERT_TRUE(transmit_to(*other, 0, sent));
        bool found = false;
        for (const auto& got : receive_from(*port, 0, 20, 0.5))
            found = found || got == sent;
        EXPECT_TRUE(found);
    }
    // One that goes while it is away leaves nothing.
    veth.remove();
    EXPECT_TRUE(eventually([&] { return port->needs_tending(); }));
    tended(*port);
}

TEST_F(UplinkPort, SetsItsInterfaceUp) {
    const VethPair veth;
    ASSERT_EQ(test::run("ip link set " + veth.near() + " down"), 0);
    auto port = make(uplink_on("net_af_packet0,iface=" + veth.near()));
    EXPECT_TRUE(eventually([&] { return port->link_up(); })) << port->detail();
}

TEST_F(UplinkPort, KeepsTagsThatTheKernelTakesOut) {
    const VethPair veth;
    auto port = make(uplink_on("net_af_packet0,iface=" + veth.near()));
    auto other = make(uplink_on("net_af_packet1,iface=" + veth.far()));
    auto tagged = frame_of(100, 5);
    tagged[12] = 0x81;
    tagged[13] = 0x00;
    tagged[14] = 0x00;
    tagged[15] = 0x07;
    ASSERT_TRUE(transmit_to(*other, 0, tagged));
    bool found = false;
    for (const auto& got : receive_from(*port, 0, 20, 0.5))
        found = found || got == tagged;
    EXPECT_TRUE(found);
}

TEST_F(UplinkPort, SetsTheMtu) {
    const VethPair veth;
    auto wanted = uplink_on("net_af_packet0,iface=" + veth.near());
    wanted.mtu = 1480;
    auto port = make(wanted);
    std::uint32_t mtu = 0;
    std::ifstream("/sys/class/net/" + veth.near() + "/mtu") >> mtu;
    EXPECT_EQ(mtu, 1480U);
    port->set_mtu(1400);
    std::ifstream("/sys/class/net/" + veth.near() + "/mtu") >> mtu;
    EXPECT_EQ(mtu, 1400U);
    // What Debian's driver says of itself.
    wanted.mtu = 5000;
    wanted.uplink.device = "net_af_packet1,iface=" + veth.far();
    const auto jumbo = refusal(wanted);
    EXPECT_EQ(jumbo.where, "mtu");
    EXPECT_NE(jumbo.reason.find("at most 1500"), std::string::npos) << jumbo.reason;
}

TEST_F(UplinkPort, IsMadeByTheFactory) {
    const auto factory = make_port_factory();
    auto port = factory(uplink_on("net_ring3"), 4, pool(), listener);
    EXPECT_TRUE(port->link_up());
    try {
        (void)factory(uplink_on("net_ring3"), 5, pool(), listener);
        FAIL();
    } catch (const Refused& refused) {
        EXPECT_EQ(refused.faults().at(0).where, "ports/up/device");
    }
}

}  // namespace
}  // namespace viaduct::dataplane::test
