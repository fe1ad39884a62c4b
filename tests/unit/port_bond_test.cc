// Bonds of DPDK's virtual devices: who carries, who takes over, who joins and leaves.
#include "uplink_bench.h"

namespace viaduct::dataplane::test {
namespace {

class BondPort : public UplinkPort {
protected:
    static std::string on(unsigned number, const std::string& interface) {
        return "net_af_packet" + std::to_string(number) + ",iface=" + interface;
    }
    /// On the near ends of both cables.
    [[nodiscard]] model::Port bond(model::Bonding mode) const {
        auto port = uplink_on("");
        port.uplink.members = {on(0, first.near()), on(1, second.near())};
        port.uplink.bond = mode;
        return port;
    }
    std::unique_ptr<Port> far_end(const VethPair& cable, unsigned number) {
        return make(uplink_on(on(number, cable.far())), static_cast<PortIndex>(number));
    }
    /// Whether a frame that one port sends comes in by the other; the ports are tended meanwhile.
    static bool passes(Port& from, Port& to) {
        static std::uint8_t seed = 0;
        const auto sent = frame_of(300, ++seed);
        return eventually([&] {
            tended(from);
            tended(to);
            (void)transmit_to(from, 0, sent);
            for (const auto& got : receive_from(to, 0, 20, 0.02)) {
                if (got == sent) return true;
            }
            return false;
        });
    }
    static bool says(const Port& port, const std::string& words) {
        return eventually([&] { return port.detail().find(words) != std::string::npos; });
    }

    VethPair first{"x"};
    VethPair second{"y"};
};

TEST_F(BondPort, ChangesOverToTheOtherDevice) {
    auto port = make(bond(model::Bonding::active_backup));
    auto far1 = far_end(first, 11);
    auto far2 = far_end(second, 12);
    EXPECT_TRUE(port->link_up());
    EXPECT_TRUE(says(*port, first.near() + " up, carries")) << port->detail();
    EXPECT_TRUE(says(*port, second.near() + " up, waits")) << port->detail();
    EXPECT_TRUE(passes(*port, *far1));
    EXPECT_TRUE(passes(*far1, *port));

    ASSERT_EQ(test::run("ip link set " + first.far() + " down"), 0);
    EXPECT_TRUE(says(*port, second.near() + " up, carries")) << port->detail();
    EXPECT_TRUE(says(*port, first.near() + " no carrier")) << port->detail();
    EXPECT_TRUE(port->link_up());
    EXPECT_TRUE(passes(*port, *far2));
    EXPECT_TRUE(passes(*far2, *port));

    // Who carries goes on when the other is back, until it has to go.
    ASSERT_EQ(test::run("ip link set " + first.far() + " up"), 0);
    EXPECT_TRUE(says(*port, first.near() + " up, waits")) << port->detail();
    ASSERT_EQ(test::run("ip link set " + second.far() + " down"), 0);
    EXPECT_TRUE(passes(*far1, *port));
    ASSERT_EQ(test::run("ip link set " + first.far() + " down"), 0);
    EXPECT_TRUE(eventually([&] { return !port->link_up(); })) << port->detail();
    ASSERT_EQ(test::run("ip link set " + second.far() + " up"), 0);
    EXPECT_TRUE(eventually([&] { return port->link_up(); })) << port->detail();
    EXPECT_TRUE(passes(*port, *far2));
}

TEST_F(BondPort, DiscardsWhatCameInWhereNobodyLooked) {
    auto port = make(bond(model::Bonding::active_backup));
    auto far2 = far_end(second, 12);
    const auto old = frame_of(300, 201);
    for (int i = 0; i < 100; ++i)
        ASSERT_TRUE(transmit_to(*far2, 0, old));
    ASSERT_EQ(test::run("ip link set " + first.far() + " down"), 0);
    EXPECT_TRUE(says(*port, second.near() + " up, carries")) << port->detail();
    for (const auto& got : receive_from(*port, 0, 200, 0.2))
        EXPECT_NE(got, old);
    EXPECT_TRUE(passes(*far2, *port));
}

TEST_F(BondPort, LetsGoOfAMemberThatGoesAndTakesItBack) {
    for (const auto mode : {model::Bonding::active_backup, model::Bonding::balance_xor}) {
        auto port = make(bond(mode));
        auto far2 = far_end(second, 12);
        EXPECT_TRUE(port->link_up());
        first.remove();
        EXPECT_TRUE(eventually([&] {
            return tended(*port) && port->detail().find("is not there") != std::string::npos;
        })) << port->detail();
        EXPECT_TRUE(port->link_up());
        EXPECT_TRUE(passes(*port, *far2));
        EXPECT_TRUE(passes(*far2, *port));
        first.connect();
        EXPECT_TRUE(eventually([&] {
            return tended(*port) && port->detail().find("is not there") == std::string::npos;
        })) << port->detail();
        auto far1 = far_end(first, 11);
        ASSERT_EQ(test::run("ip link set " + second.far() + " down"), 0);
        EXPECT_TRUE(passes(*port, *far1)) << port->detail();
        EXPECT_TRUE(passes(*far1, *port)) << port->detail();
        ASSERT_EQ(test::run("ip link set " + second.far() + " up"), 0);
    }
}

TEST_F(BondPort, ComesBackFromNothing) {
    for (const auto mode :
         {model::Bonding::active_backup, model::Bonding::balance_xor, model::Bonding::lacp}) {
        auto port = make(bond(mode));
        first.remove();
        second.remove();
        EXPECT_TRUE(eventually([&] { return tended(*port) && !port->link_up(); })) << port->detail();
        EXPECT_TRUE(eventually([&] {
            tended(*port);
            const auto words = port->detail();
            const auto at = words.find("is not there");
            return at != std::string::npos && words.find("is not there", at + 1) != std::string::npos;
        })) << port->detail();
        first.connect();
        second.connect();
        EXPECT_TRUE(eventually([&] { return tended(*port) && port->link_up(); })) << port->detail();
        if (mode == model::Bonding::lacp) continue;  // without a neighbour that speaks it nothing passes
        auto far1 = far_end(first, 11);
        auto far2 = far_end(second, 12);
        ASSERT_EQ(test::run("ip link set " + second.far() + " down"), 0);
        EXPECT_TRUE(passes(*port, *far1)) << port->detail();
        ASSERT_EQ(test::run("ip link set " + second.far() + " up"), 0);
    }
}

TEST_F(BondPort, AgreesByLacpWithAnother) {
    auto near = make(bond(model::Bonding::lacp));
    EXPECT_TRUE(near->link_up());
    auto other = bond(model::Bonding::lacp);
    other.uplink.members = {on(11, first.far()), on(12, second.far())};
    auto far = make(other, 4);
    const auto both = [&] {
        (void)receive_from(*near, 0, 1, 0.01);
        (void)receive_from(*far, 0, 1, 0.01);
        const auto words = near->detail();
        const auto at = words.find("aggregated with");
        return at != std::string::npos && words.find("aggregated with", at + 1) != std::string::npos;
    };
    EXPECT_TRUE(eventually(both, 30)) << near->detail();
    EXPECT_TRUE(passes(*near, *far)) << near->detail();
    EXPECT_TRUE(passes(*far, *near)) << far->detail();

    ASSERT_EQ(test::run("ip link set " + second.far() + " down"), 0);
    EXPECT_TRUE(says(*near, second.near() + " no carrier")) << near->detail();
    EXPECT_TRUE(passes(*near, *far)) << near->detail();
    EXPECT_TRUE(passes(*far, *near)) << far->detail();
    ASSERT_EQ(test::run("ip link set " + second.far() + " up"), 0);
    EXPECT_TRUE(eventually([&] { return tended(*near) && tended(*far) && both(); }, 30)) << near->detail();
    // The one that has been away carries again.
    ASSERT_EQ(test::run("ip link set " + first.far() + " down"), 0);
    EXPECT_TRUE(says(*near, first.near() + " no carrier")) << near->detail();
    EXPECT_TRUE(passes(*near, *far)) << near->detail();
    EXPECT_TRUE(passes(*far, *near)) << far->detail();
}

TEST_F(BondPort, BalancesOverWhatHasALink) {
    auto port = make(bond(model::Bonding::balance_xor));
    auto far1 = far_end(first, 11);
    auto far2 = far_end(second, 12);
    for (int round = 0; round < 2; ++round) {
        ASSERT_EQ(test::run("ip link set " + second.far() + " down"), 0);
        EXPECT_TRUE(says(*port, second.near() + " no carrier")) << port->detail();
        EXPECT_TRUE(passes(*port, *far1)) << port->detail();
        EXPECT_TRUE(passes(*far1, *port)) << port->detail();
        ASSERT_EQ(test::run("ip link set " + second.far() + " up"), 0);
        EXPECT_TRUE(says(*port, second.near() + " up")) << port->detail();
        tended(*port);
        ASSERT_EQ(test::run("ip link set " + first.far() + " down"), 0);
        EXPECT_TRUE(says(*port, first.near() + " no carrier")) << port->detail();
        EXPECT_TRUE(passes(*port, *far2)) << port->detail();
        EXPECT_TRUE(passes(*far2, *port)) << port->detail();
        ASSERT_EQ(test::run("ip link set " + first.far() + " up"), 0);
        EXPECT_TRUE(says(*port, first.near() + " up")) << port->detail();
        tended(*port);
    }
}

TEST_F(BondPort, BeginsWithTheMembersThatAreThere) {
    second.remove();
    auto port = make(bond(model::Bonding::active_backup));
    EXPECT_TRUE(port->link_up());
    EXPECT_NE(port->detail().find("is not there"), std::string::npos) << port->detail();
    second.connect();
    EXPECT_TRUE(eventually([&] {
        return tended(*port) && port->detail().find("up, waits") != std::string::npos;
    })) << port->detail();
}

TEST_F(BondPort, RefusesInWords) {
    auto wanted = bond(model::Bonding::active_backup);
    wanted.uplink.members[1] = "net_nosuch0";
    const auto unknown = refusal(wanted);
    EXPECT_EQ(unknown.where, "members");
    EXPECT_NE(unknown.reason.find("net_nosuch0 cannot be opened"), std::string::npos) << unknown.reason;
    auto single = make(uplink_on(on(0, first.near())), 5);
    const auto taken = refusal(bond(model::Bonding::active_backup));
    EXPECT_NE(taken.reason.find("another port's"), std::string::npos) << taken.reason;
    single.reset();
    wanted = bond(model::Bonding::balance_xor);
    wanted.queues = 2;
    const auto queues = refusal(wanted);
    EXPECT_NE(queues.reason.find("net_af_packet0 has 1"), std::string::npos) << queues.reason;
    wanted.queues = 1;
    wanted.mtu = 9000;
    EXPECT_EQ(refusal(wanted).where, "mtu");
    wanted.mtu = 1500;
    wanted.uplink.members = {on(0, "vdnosuch0"), on(1, "vdnosuch1")};
    EXPECT_NE(refusal(wanted).reason.find("vdnosuch0, vdnosuch1"), std::string::npos);
}

TEST_F(BondPort, CarriesItsMtuAndTwoQueues) {
    auto wanted = bond(model::Bonding::balance_xor);
    wanted.queues = 2;
    for (auto& member : wanted.uplink.members)
        member += ",qpairs=2";
    auto port = make(wanted);
    EXPECT_EQ(port->active_queues(), 2);
    port->set_mtu(1400);
    auto far1 = far_end(first, 11);
    ASSERT_EQ(test::run("ip link set " + second.far() + " down"), 0);
    EXPECT_TRUE(passes(*port, *far1)) << port->detail();
}

}  // namespace
}  // namespace viaduct::dataplane::test
