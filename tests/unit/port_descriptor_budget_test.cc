// Descriptors are promised to ports before they are needed.
#include <gtest/gtest.h>

#include "viaduct/fault.h"

#include "port/descriptor_budget.h"

namespace viaduct::dataplane {
namespace {

TEST(DescriptorBudget, RefusesAPortThatWouldNotFitAndGivesBackWhatGoes) {
    model::Port port;
    port.name = "pod";
    port.kind = model::PortKind::tap;
    port.queues = 4;
    ASSERT_EQ(DescriptorBudget::needed(port), 5U);
    const auto budget = std::make_shared<DescriptorBudget>(9U);
    auto first = budget->reserve(port);
    EXPECT_EQ(budget->reserved(), 5U);
    try {
        (void)budget->reserve(port);
        FAIL();
    } catch (const Refused& refused) {
        EXPECT_NE(std::string(refused.what()).find("4 are left"), std::string::npos) << refused.what();
        EXPECT_EQ(refused.faults().at(0).where, "ports/pod");
    }
    first.reset();
    EXPECT_EQ(budget->reserved(), 0U);
    EXPECT_NO_THROW(first = budget->reserve(port));
}

TEST(DescriptorBudget, CountsWhatAVhostUserPortsPeerMayBring) {
    model::Port port;
    port.queues = 16;
    EXPECT_GE(DescriptorBudget::needed(port), 16U * 6U);
    EXPECT_GT(DescriptorBudget::of_process()->reserved() + 1, 0U);
}

}  // namespace
}  // namespace viaduct::dataplane
