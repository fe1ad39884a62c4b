// The FDB against a plain map, and under readers and writers at once.
#include <map>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "flow/fdb.h"
#include "worker/spread.h"

namespace viaduct::dataplane {

TEST(FdbTable, HoldsWhatAMapWouldHold) {
    std::mt19937_64 random(7);
    Fdb fdb(4096, 99);
    std::map<FdbKey, PortIndex> model;
    for (int i = 0; i < 20000; ++i) {
        const auto key = fdb_key(0x020000000000 + random() % 3000, static_cast<std::uint16_t>(random() % 2));
        const auto port = static_cast<PortIndex>(random() % 8);
        if (random() % 4 == 0) {
            fdb.remove(key);
            model.erase(key);
        } else if (fdb.learn(key, port, 0, 1) == Fdb::Learned::yes) {
            model[key] = port;
        }
    }
    EXPECT_EQ(fdb.entries(), model.size());
    std::map<FdbKey, PortIndex> listed;
    fdb.visit([&](FdbKey key, FdbValue value) { listed[key] = value.port(); });
    EXPECT_EQ(listed, model);
    for (const auto& [key, port] : model) {
        const auto value = fdb.find(key, fdb.hash(key));
        ASSERT_TRUE(value.present());
        ASSERT_EQ(value.port(), port);
    }
    std::map<PortIndex, std::uint32_t> counts;
    for (const auto& [key, port] : model)
        ++counts[port];
    for (const auto& [port, count] : counts)
        EXPECT_EQ(fdb.entries(port), count);
}

TEST(FdbTable, TakesItsWholeSizeWhateverTheAddresses) {
    for (std::uint32_t size : {64U, 1000U, 8192U}) {
        Fdb fdb(size, 1234567);
        for (std::uint64_t i = 0; i < size; ++i)
            fdb.learn(fdb_key(0x020000000000 + (i << 12), 0), 1, 0, 1);
        EXPECT_GT(fdb.entries(), size * 95 / 100) << size;
    }
}

TEST(FdbTable, ReadersNeverSeeAnotherKeysPort) {
    // Each key belongs to one port for ever; keys come and go in few buckets, and readers must never get a
    // wrong port.
    Fdb fdb(64, 3);
    std::atomic<bool> stop{false};
    const auto port_of = [](FdbKey key) { return static_cast<PortIndex>(key % 97); };
    std::vector<std::thread> threads;
    std::atomic<std::uint64_t> wrong{0};
    std::atomic<std::uint64_t> found{0};
    for (int t = 0; t < 2; ++t) {
        threads.emplace_back([&, t] {
            std::mt19937_64 random(static_cast<std::uint64_t>(t));
            while (!stop) {
                const FdbKey key = 1 + random() % 300;
                const auto value = fdb.find(key, fdb.hash(key));
                if (!value.present()) continue;
                ++found;
                if (value.port() != port_of(key)) ++wrong;
                fdb.refresh(key, fdb.hash(key), value, value.seen() + 1);
            }
        });
    }
    std::mt19937_64 random(77);
    for (int i = 0; i < 200000 || found < 1000; ++i) {
        const FdbKey key = 1 + random() % 300;
        if (random() % 2 == 0) {
            fdb.learn(key, port_of(key), 0, 1);
        } else {
            fdb.remove(key);
        }
    }
    stop = true;
    for (auto& thread : threads)
        thread.join();
    EXPECT_EQ(wrong, 0U);
}

TEST(Spread, IsEvenAndKeepsWhatItCan) {
    std::mt19937 random(5);
    Ownership owners;
    std::map<PortIndex, std::uint16_t> ports;
    for (int round = 0; round < 500; ++round) {
        if (random() % 2 == 0) {
            ports[static_cast<PortIndex>(random() % 40)] = static_cast<std::uint16_t>(random() % 5);
        } else if (!ports.empty()) {
            ports.erase(ports.begin());
        }
        std::vector<QueueCount> list;
        std::size_t queues = 0;
        for (const auto& [index, count] : ports) {
            list.push_back({index, count});
            queues += count;
        }
        const auto next = spread(list, owners, 3);
        ASSERT_EQ(next.size(), queues);
        std::array<std::size_t, 3> load{};
        for (const auto& [queue, owner] : next)
            ++load.at(owner);
        ASSERT_LE(*std::max_element(load.begin(), load.end()) - *std::min_element(load.begin(), load.end()),
                  1U);
        owners = next;
    }
    EXPECT_EQ(spread({{1, 2}}, {}, 2).at({1, 0}), 0);
    EXPECT_EQ(spread({{1, 2}}, {}, 2).at({1, 1}), 1);
    const Ownership before = {{{1, 0}, 1}, {{2, 0}, 0}};
    EXPECT_EQ(spread({{1, 1}, {2, 1}}, before, 2), before);
}

}  // namespace viaduct::dataplane
