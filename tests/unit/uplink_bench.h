// What tests of uplinks share: cables of two ends, ports on DPDK's virtual devices, and a look at what is
// left.
#pragma once

#include <unistd.h>

#include <memory>
#include <string>

#include <gtest/gtest.h>
#include <rte_ethdev.h>

#include "viaduct/fault.h"

#include "port/uplink.h"
#include "port_bench.h"

namespace viaduct::dataplane::test {

inline model::Port uplink_on(const std::string& device, std::uint16_t queues = 1) {
    model::Port port;
    port.name = "up";
    port.kind = model::PortKind::uplink;
    port.queues = queues;
    port.uplink.device = device;
    return port;
}

/// A cable: both ends in the test's own namespace, gone with it.
class VethPair {
public:
    explicit VethPair(const std::string& label = {}) : name_("vdu" + label + std::to_string(::getpid())) {
        connect();
    }
    void connect() const {
        EXPECT_EQ(test::run("ip link add " + near() + " type veth peer name " + far()), 0);
        EXPECT_EQ(test::run("ip link set " + near() + " up && ip link set " + far() + " up"), 0);
        (void)test::run("ethtool -K " + far() + " tx off tso off gso off >/dev/null 2>&1");
    }
    ~VethPair() { remove(); }
    VethPair(const VethPair&) = delete;
    VethPair& operator=(const VethPair&) = delete;
    void remove() const { (void)test::run("ip link del " + near() + " 2>/dev/null"); }
    [[nodiscard]] std::string near() const { return name_ + "a"; }
    [[nodiscard]] std::string far() const { return name_ + "b"; }

private:
    std::string name_;
};

class UplinkPort : public ::testing::Test {
protected:
    void SetUp() override {
        (void)pool();
        devices_before_ = rte_eth_dev_count_total();
    }
    void TearDown() override {
        EXPECT_EQ(rte_eth_dev_count_total(), devices_before_);
        EXPECT_TRUE(eventually([] { return buffers_in_use() == 0; }, 2)) << buffers_in_use();
    }
    std::unique_ptr<Port> make(const model::Port& port, PortIndex index = 3) {
        return make_uplink(port, index, pool(), listener, {});
    }
    /// What the dataplane's main thread does when it is told of a change.
    static bool tended(Port& port) {
        if (port.needs_tending()) port.tend([] {});
        return true;
    }
    Fault refusal(const model::Port& port) {
        try {
            (void)make(port);
        } catch (const Refused& refused) {
            return refused.faults().at(0);
        }
        ADD_FAILURE() << "was made: " << port.uplink.device;
        return {};
    }
    Listener listener;

private:
    unsigned devices_before_ = 0;
};

}  // namespace viaduct::dataplane::test
