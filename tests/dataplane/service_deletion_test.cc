// A service that is deleted with very many live flows: none of them is translated any more, their memory is
// free once their clients have tried again, and whoever has nothing to do with it goes on.
#include <algorithm>
#include <cstring>
#include <map>

#include "flow_listing.h"
#include "router.h"

namespace viaduct::test {
namespace {

constexpr const char* kGone = "10.96.0.10";
constexpr const char* kStays = "10.96.0.11";
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr std::uint32_t kFlows = 20'000;  // sanitizers take their time
#else
constexpr std::uint32_t kFlows = 200'000;
#endif
constexpr std::uint32_t kFew = 2'000;
constexpr std::uint32_t kPorts = 50'000;  ///< of one client
constexpr std::uint16_t kFirstPort = 1'000;
constexpr std::uint32_t kBurst = 1'000;
constexpr std::size_t kSourcePortAt = 14 + 20;
constexpr std::size_t kDestinationAt = 14 + 16;

class ServiceDeletion : public RouterTest {
protected:
    ServiceDeletion() : RouterTest({.flows = 3 * kFlows}) {
        // As control has it for a cluster's services: what is none is refused.
        model::Route range;
        range.prefix = Prefix::parse("10.96.0.0/16").value();
        range.kind = model::RouteKind::unreachable;
        change.put.routes[range.key()] = range;
        service("gone", kGone, {backend("10.0.0.2", 80), backend("10.0.0.3", 80)});
        service("stays", kStays, {backend("10.0.0.2", 81), backend("10.0.0.3", 81)});
        apply();
    }
    static model::Backend backend(const char* address, std::uint16_t port) {
        model::Backend backend;
        backend.address = ip(address);
        backend.port = port;
        backend.local = true;
        return backend;
    }
    void service(const char* name, const char* address, std::vector<model::Backend> backends) {
        auto& s = change.put.services[{"apps", name, "main"}];
        s.namespace_ = "apps";
        s.name = name;
        s.port = "main";
        s.protocol = model::Transport::udp;
        s.frontends.resize(1);
        s.frontends[0].address = ip(address);
        s.frontends[0].port = 53;
        s.backends = std::move(backends);
    }
    static std::string client(std::uint32_t flow) {
        return "198.51.100." + std::to_string(flow / kPorts + 1);
    }
    static std::uint16_t port_of(std::uint32_t flow) {
        return static_cast<std::uint16_t>(kFirstPort + flow % kPorts);
    }
    /// A packet of each of so many flows; how many each address got, as it left to "pod" or "peer".
    std::map<std::string, std::uint32_t> send_all(const char* destination, std::uint32_t flows) {
        std::map<std::string, std::uint32_t> got;
        Bytes packet;
        for (std::uint32_t flow = 0; flow < flows; ++flow) {
            if (flow % kPorts == 0) {
                PacketSpec spec{client(flow), destination, kUdp, kFirstPort, 53};
                spec.no_checksum = true;
                packet = routed(spec, kOut, kWorld);
            }
            const auto port = port_of(flow);
            packet[kSourcePortAt] = static_cast<std::uint8_t>(port >> 8);
            packet[kSourcePortAt + 1] = static_cast<std::uint8_t>(port);
            bench.inject("up", packet);
            if ((flow + 1) % kBurst != 0 && flow + 1 != flows) continue;
            bench.settle();
            for (const char* out : {"pod", "peer"}) {
                for (const auto& frame : bench.wire(out).collect_bytes(0)) {
                    if (frame[12] != 0x08 || frame[13] != 0x00) continue;
                    const auto* to = &frame[kDestinationAt];
                    ++got[std::to_string(to[0]) + "." + std::to_string(to[1]) + "." + std::to_string(to[2]) +
                          "." + std::to_string(to[3])];
                }
            }
            bench.wire("up").collect_bytes(0);  // what refuses
        }
        return got;
    }
    std::uint32_t live() { return bench.dataplane().flows().v4->entries() / 2; }
    std::string answer(std::uint32_t flow, std::uint16_t from_port) {
        const auto lines = pass("pod", {"10.0.0.2", client(flow), kUdp, from_port, port_of(flow)}, "up");
        return lines.size() == 1 ? lines[0].substr(0, lines[0].find(" >")) : "";
    }
};

TEST_F(ServiceDeletion, LeavesNoTranslationAndNothingElseNotices) {
    const auto first = send_all(kGone, kFlows);
    ASSERT_EQ(first.size(), 2U);
    ASSERT_EQ(first.at("10.0.0.2") + first.at("10.0.0.3"), kFlows);
    const auto stays = send_all(kStays, kFew);
    ASSERT_EQ(live(), kFlows + kFew);

    change.put.services.erase({"apps", "gone", "main"});
    change.delete_services = {{"apps", "gone", "main"}};
    apply();
    EXPECT_EQ(live(), kFlows + kFew) << "nobody waits for that";
    // What a backend still says is not said in the name of a service that is no more.
    for (std::uint32_t flow = 0; flow < 20; ++flow)
        EXPECT_FALSE(answer(flow, 80).starts_with("udp 10.96.0.10:")) << flow;
    EXPECT_EQ(send_all(kStays, kFew), stays);
    const auto refused_before = bench.drops("up", Drop::unreachable);
    EXPECT_EQ(send_all(kGone, kFlows), (std::map<std::string, std::uint32_t>{}));
    EXPECT_EQ(bench.drops("up", Drop::unreachable) - refused_before, kFlows) << "each client's next packet";
    EXPECT_EQ(send_all(kStays, kFew), stays);
    bench.advance_clock(200);  // what the backends said began flows of their own
    EXPECT_EQ(live(), 0U);

    // Another service at its place is not mistaken for it.
    change.delete_services.clear();
    service("other", kGone, {backend("10.0.0.3", 82)});
    apply();
    EXPECT_EQ(send_all(kGone, kFew), (std::map<std::string, std::uint32_t>{{"10.0.0.3", kFew}}));
}

// Flows that had not tried again meanwhile.
TEST_F(ServiceDeletion, AnotherServiceAtItsPlaceGetsItsFlows) {
    ASSERT_EQ(send_all(kGone, kFew).size(), 2U);
    change.put.services.erase({"apps", "gone", "main"});
    change.delete_services = {{"apps", "gone", "main"}};
    service("other", kGone, {backend("10.0.0.3", 82)});
    apply();
    EXPECT_EQ(send_all(kGone, kFew), (std::map<std::string, std::uint32_t>{{"10.0.0.3", kFew}}));
    EXPECT_EQ(live(), kFew);
}

}  // namespace
}  // namespace viaduct::test
