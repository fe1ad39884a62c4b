// The built-in address management against a model that is too simple to be wrong.
#include <unistd.h>

#include <optional>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "ipam/leases.h"
#include "ipam/used.h"

namespace viaduct::ipam {
namespace {

using attachment::Address;

struct IpamLeases : ::testing::Test {
    std::string path = ::testing::TempDir() + "vd-ipam-" + std::to_string(::getpid()) + ".db";
    std::optional<store::Database> database;
    std::optional<Leases> leases;

    void SetUp() override {
        remove_files();
        restart();
    }
    void TearDown() override {
        leases.reset();
        database.reset();
        remove_files();
    }
    void remove_files() const {
        for (const char* end : {"", "-wal", "-shm", ".lock", ".reserve"})
            ::unlink((path + end).c_str());
    }
    void restart() {
        leases.reset();
        database.reset();
        database.emplace(path, migrations());
        leases.emplace(*database);
    }
    std::vector<Address> take(const Wish& wish, bool commit = true) {
        Reservation reservation(*leases, wish.segment);
        store::Transaction tx(*database);
        leases->take(tx, wish, reservation);
        auto got = reservation.addresses();
        if (!commit) return got;
        tx.commit();
        reservation.keep();
        return got;
    }
    void give_back(const std::string& segment, const std::vector<Address>& addresses) {
        {
            store::Transaction tx(*database);
            Leases::release(tx, segment, addresses);
            tx.commit();
        }
        leases->forget(segment, addresses);
    }
};

IpAddress ip(const char* text) {
    return *IpAddress::parse(text);
}

Wish wish(const char* first, const char* last, const char* subnet = "10.0.0.0/16") {
    return {"br0/1", "pods", "pods/c/eth0", {{{*Prefix::parse(subnet), ip(first), ip(last), std::nullopt}}},
            {},      {}};
}

std::string text(const std::vector<Address>& addresses) {
    std::string list;
    for (const auto& address : addresses)
        list += (list.empty() ? "" : " ") + address.address.to_string();
    return list;
}

TEST(IpamUsed, AgreesWithASet) {
    UsedAddresses used;
    std::set<std::uint64_t> model;
    std::mt19937 random(7);
    const auto base = ip("10.0.0.0");
    for (int i = 0; i < 20000; ++i) {
        const std::uint64_t offset = random() % 200;
        const auto address = *base.plus(offset);
        if (random() % 2 == 0) {
            EXPECT_EQ(used.insert(address), model.insert(offset).second);
        } else {
            EXPECT_EQ(used.erase(address), model.erase(offset) == 1);
        }
        std::uint64_t free = random() % 200;
        const auto from = *base.plus(free);
        while (model.contains(free))
            ++free;
        ASSERT_EQ(used.next_free(from), base.plus(free));
    }
}

TEST(IpamUsed, EndsWithTheFamily) {
    UsedAddresses used;
    used.insert(ip("255.255.255.255"));
    used.insert(ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
    EXPECT_EQ(used.next_free(ip("255.255.255.255")), std::nullopt);
    EXPECT_EQ(used.next_free(ip("255.255.255.254")), ip("255.255.255.254"));
    EXPECT_EQ(used.next_free(ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")), std::nullopt);
    EXPECT_EQ(used.next_free(ip("::")), ip("::"));
}

TEST_F(IpamLeases, GoRoundBeforeAnAddressComesAgain) {
    const auto asked = wish("10.0.0.2", "10.0.0.5");
    const auto first = take(asked);
    EXPECT_EQ(text(first), "10.0.0.2/16");
    give_back("br0/1", first);
    EXPECT_EQ(text(take(asked)), "10.0.0.3/16");
    restart();
    EXPECT_EQ(text(take(asked)), "10.0.0.4/16") << "the turn is durable";
    EXPECT_EQ(text(take(asked)), "10.0.0.5/16");
    EXPECT_EQ(text(take(asked)), "10.0.0.2/16");
    try {
        take(asked);
        ADD_FAILURE();
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), attachment::kNoAddressLeft);
        EXPECT_STREQ(error.what(), "network pods has no address left in 10.0.0.2-10.0.0.5");
    }
    EXPECT_TRUE(leases->exhausted(asked).has_value());
}

TEST_F(IpamLeases, TakeNothingWithoutCommit) {
    const auto asked = wish("10.0.0.2", "10.0.0.2");
    take(asked, false);
    EXPECT_EQ(text(take(asked)), "10.0.0.2/16");
}

TEST_F(IpamLeases, TakeNothingWhenALaterSetIsExhausted) {
    auto asked = wish("10.0.0.2", "10.0.0.9");
    asked.sets.push_back(wish("fd00::2", "fd00::2", "fd00::/64").sets[0]);
    EXPECT_EQ(text(take(asked)), "10.0.0.2/16 fd00::2/64");
    EXPECT_THROW(take(asked), Error);
    store::Transaction tx(*database);
    auto count = tx.prepare("SELECT count(*) FROM lease");
    count.step();
    EXPECT_EQ(count.integer(0), 2);
}

TEST_F(IpamLeases, LeaveOutGatewaysAndExclusions) {
    auto asked = wish("10.0.0.1", "10.0.0.20");
    asked.sets[0][0].gateway = ip("10.0.0.1");
    asked.exclude = {*Prefix::parse("10.0.0.2/31"), *Prefix::parse("10.0.0.8/29")};
    std::set<std::string> got;
    for (int i = 0; i < 9; ++i)
        got.insert(take(asked)[0].address.address.to_string());
    EXPECT_EQ(got, (std::set<std::string>{"10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.7", "10.0.0.16",
                                          "10.0.0.17", "10.0.0.18", "10.0.0.19", "10.0.0.20"}));
    EXPECT_THROW(take(asked), Error);
    asked.requested = {ip("10.0.0.9")};
    EXPECT_THROW(take(asked), Error);
}

TEST_F(IpamLeases, KeepSegmentsApart) {
    auto asked = wish("10.0.0.2", "10.0.0.2");
    take(asked);
    asked.network = "others";
    EXPECT_THROW(take(asked), Error) << "another network on the same bridge shares its addresses";
    asked.segment = "br1/1";
    EXPECT_EQ(text(take(asked)), "10.0.0.2/16");
}

TEST_F(IpamLeases, NeverHaveTwoHolders) {
    std::mt19937 random(11);
    std::vector<std::vector<Address>> held;
    std::set<std::string> model;
    std::vector<std::string> recent;
    auto asked = wish("10.0.1.0", "10.0.1.30");
    asked.sets[0].push_back(wish("10.0.2.0", "10.0.2.20").sets[0][0]);
    for (int i = 0; i < 4000; ++i) {
        if (random() % 100 == 0) restart();
        if (random() % 2 == 0 || held.empty()) {
            if (model.size() == 52) {
                EXPECT_THROW(take(asked), Error);
                continue;
            }
            const auto got = take(asked);
            const auto name = text(got);
            ASSERT_TRUE(model.insert(name).second) << name << " has two holders";
            held.push_back(got);
        } else {
            const auto index = random() % held.size();
            std::swap(held[index], held.back());
            give_back("br0/1", held.back());
            model.erase(text(held.back()));
            held.pop_back();
        }
    }
}

TEST_F(IpamLeases, FindAnAddressInALargeRangeHalfFull) {
    const auto asked = wish("10.32.0.1", "10.47.255.254", "10.32.0.0/12");
    {
        store::Transaction tx(*database);
        auto at = ip("10.32.0.1");
        for (int i = 0; i < 200000; ++i) {
            tx.run("INSERT INTO lease (segment, address, holder) VALUES ('br0/1', ?, 'x')", at.to_string());
            at = *at.plus(i % 3 == 0 ? 2 : 1);
        }
        tx.run(
            "INSERT INTO lease_turn (segment, network, range_set, address) VALUES ('br0/1', 'pods', 0, "
            "'10.47.255.254')");
        tx.commit();
    }
    restart();
    EXPECT_EQ(text(take(asked)), "10.32.0.2/12");
    EXPECT_EQ(text(take(asked)), "10.32.0.6/12");
}

}  // namespace
}  // namespace viaduct::ipam
