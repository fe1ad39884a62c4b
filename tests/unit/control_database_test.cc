// The store: what is committed stays, what is not never was, and what cannot be is told in words.
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "control_fake_dataplane.h"
#include "store/database.h"

namespace viaduct::store {
namespace {

using test::TemporaryDirectory;

const std::vector<Migration> kTables = {
    {"room", 1, "CREATE TABLE item (name TEXT PRIMARY KEY, size INTEGER) WITHOUT ROWID"}};

std::int64_t count(Database& database) {
    Transaction tx(database);
    auto row = tx.prepare("SELECT count(*) FROM item");
    row.step();
    return row.integer(0);
}

std::string error_of(const std::function<void()>& action) {
    try {
        action();
    } catch (const Error& error) {
        return error.what();
    }
    return "";
}

TEST(Database, KeepsWhatWasCommitted) {
    const TemporaryDirectory directory;
    {
        Database database(directory.file("deep/er/v.db"), kTables);
        Transaction tx(database);
        EXPECT_EQ(tx.run("INSERT INTO item VALUES (?, ?)", "a", 7), 1);
        tx.commit();
    }
    Database database(directory.file("deep/er/v.db"), kTables);
    Transaction tx(database);
    auto row = tx.prepare("SELECT name, size FROM item WHERE name = ?", std::string("a"));
    ASSERT_TRUE(row.step());
    EXPECT_EQ(row.text(0), "a");
    EXPECT_EQ(row.integer(1), 7);
    EXPECT_FALSE(row.step());
    struct stat status {};
    ASSERT_EQ(::stat(directory.file("deep/er").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0700U);
}

TEST(Database, ForgetsWhatWasNotCommitted) {
    const TemporaryDirectory directory;
    Database database(directory.file("v.db"), kTables);
    {
        Transaction tx(database);
        tx.run("INSERT INTO item VALUES ('a', 1)");
    }
    EXPECT_EQ(count(database), 0);
    EXPECT_THROW(
        {
            Transaction tx(database);
            tx.run("INSERT INTO item VALUES ('a', 1)");
            throw std::runtime_error("in the middle");
        },
        std::runtime_error);
    EXPECT_EQ(count(database), 0);
}

TEST(Database, BindsNothingTextAndNumbers) {
    const TemporaryDirectory directory;
    Database database(directory.file("v.db"), kTables);
    Transaction tx(database);
    tx.run("INSERT INTO item VALUES (?, ?)", std::string_view(), std::optional<int>());
    tx.run("INSERT INTO item VALUES (?, ?)", std::string("with\0nul", 8), std::optional<int>(3));
    auto rows = tx.prepare("SELECT name, size FROM item ORDER BY name");
    ASSERT_TRUE(rows.step());
    EXPECT_FALSE(rows.is_null(0));
    EXPECT_EQ(rows.text(0), "");
    EXPECT_TRUE(rows.is_null(1));
    EXPECT_EQ(rows.optional_text(1), std::nullopt);
    ASSERT_TRUE(rows.step());
    EXPECT_EQ(rows.text(0).size(), 8U);
}

TEST(Database, UsesOneStatementTwiceAtOnce) {
    const TemporaryDirectory directory;
    Database database(directory.file("v.db"), kTables);
    Transaction tx(database);
    for (int i = 0; i < 3; ++i)
        tx.run("INSERT INTO item VALUES (?, ?)", std::to_string(i), i);
    int pairs = 0;
    auto outer = tx.prepare("SELECT size FROM item");
    while (outer.step()) {
        auto inner = tx.prepare("SELECT size FROM item");
        while (inner.step())
            ++pairs;
    }
    EXPECT_EQ(pairs, 9);
}

TEST(Database, QueuesThreads) {
    const TemporaryDirectory directory;
    Database database(directory.file("v.db"), kTables);
    {
        Transaction tx(database);
        tx.run("INSERT INTO item VALUES ('n', 0)");
        tx.commit();
    }
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
        threads.emplace_back([&] {
            for (int n = 0; n < 20; ++n) {
                Transaction tx(database);
                auto row = tx.prepare("SELECT size FROM item");
                row.step();
                tx.run("UPDATE item SET size = ?", row.integer(0) + 1);
                tx.commit();
            }
        });
    }
    threads.clear();
    Transaction tx(database);
    auto row = tx.prepare("SELECT size FROM item");
    ASSERT_TRUE(row.step());
    EXPECT_EQ(row.integer(0), 160);
}

TEST(Database, EndsStatementsWithTheirTransaction) {
    const TemporaryDirectory directory;
    Database database(directory.file("v.db"), kTables);
    Transaction first(database);
    for (int i = 0; i < 3; ++i)
        first.run("INSERT INTO item VALUES (?, ?)", std::to_string(i), i);
    auto row = first.prepare("SELECT size FROM item");
    auto moved = std::move(row);
    ASSERT_TRUE(moved.step());
    first.commit();
    // The first's statement is in scope still, in the middle of its rows.
    EXPECT_EQ(count(database), 3);
    Transaction second(database);
    EXPECT_EQ(second.run("DELETE FROM item"), 3);
    second.commit();
}

TEST(Database, SurvivesAKillInTheMiddle) {
    const TemporaryDirectory directory;
    const auto path = directory.file("v.db");
    const pid_t child = ::fork();
    if (child == 0) {
        Database database(path, kTables);
        Transaction first(database);
        first.run("INSERT INTO item VALUES ('kept', 1)");
        first.commit();
        Transaction second(database);
        second.run("INSERT INTO item VALUES ('lost', 1)");
        ::kill(::getpid(), SIGKILL);
    }
    ASSERT_GT(child, 0);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    Database database(path, kTables);
    EXPECT_EQ(count(database), 1);
}

TEST(Database, AddsTablesOfANewerProgram) {
    const TemporaryDirectory directory;
    const auto path = directory.file("v.db");
    { const Database database(path, kTables); }
    auto newer = kTables;
    newer.push_back({"room", 2, "ALTER TABLE item ADD COLUMN colour TEXT"});
    newer.push_back({"hall", 1, "CREATE TABLE guest (name TEXT)"});
    {
        Database database(path, newer);
        Transaction tx(database);
        tx.run("INSERT INTO item VALUES ('a', 1, 'red')");
        tx.commit();
    }
    const auto told = error_of([&] { const Database database(path, kTables); });
    EXPECT_NE(told.find("newer Viaduct"), std::string::npos) << told;
}

TEST(Database, LeavesTablesAsTheyWereWhenAStepFails) {
    const TemporaryDirectory directory;
    const auto path = directory.file("v.db");
    auto broken = kTables;
    broken.push_back({"room", 2, "CREATE TABLE other (name TEXT); CREATE NONSENSE"});
    EXPECT_THROW(Database(path, broken), Error);
    broken.back().sql = "CREATE TABLE other (name TEXT)";
    EXPECT_NO_THROW(Database(path, broken));
}

TEST(Database, KeepsASecondProcessOut) {
    const TemporaryDirectory directory;
    const Database database(directory.file("v.db"), kTables);
    const auto told = error_of([&] { const Database second(directory.file("v.db"), kTables); });
    EXPECT_NE(told.find("another viaduct-control uses it"), std::string::npos) << told;
}

TEST(Database, TellsThatAFileIsDamaged) {
    const TemporaryDirectory directory;
    const auto path = directory.file("v.db");
    {
        std::ofstream file(path);
        file << std::string(20000, 'x');
    }
    auto told = error_of([&] { const Database database(path, kTables); });
    EXPECT_NE(told.find("damaged"), std::string::npos) << told;
    EXPECT_NE(told.find(path), std::string::npos) << told;
}

TEST(Database, TellsThatADirectoryCannotBeMade) {
    const auto told = error_of([&] { const Database database("/proc/nowhere/v.db", kTables); });
    EXPECT_NE(told.find("/proc/nowhere"), std::string::npos) << told;
}

/// A file system of a megabyte, gone with its owner.
class SmallDisk {
public:
    SmallDisk() : mounted_(::mount("tmpfs", path().c_str(), "tmpfs", 0, "size=1m") == 0) {}
    ~SmallDisk() {
        if (mounted_) ::umount2(path().c_str(), MNT_DETACH);
    }
    SmallDisk(const SmallDisk&) = delete;
    SmallDisk& operator=(const SmallDisk&) = delete;
    [[nodiscard]] bool mounted() const { return mounted_; }
    [[nodiscard]] std::string path() const { return directory_.file(""); }

private:
    TemporaryDirectory directory_;
    bool mounted_;
};

TEST(Database, RefusesInWordsOnAFullDisk) {
    const SmallDisk disk;
    if (!disk.mounted()) GTEST_SKIP() << "a tmpfs cannot be mounted here (needs root)";
    Database database(disk.path() + "v.db", kTables);
    const auto write = [&](int i) {
        Transaction tx(database);
        tx.run("INSERT INTO item VALUES (?, 1)", std::to_string(i) + std::string(20000, 'x'));
        tx.commit();
    };
    int written = 0;
    std::string told;
    for (; written < 100 && told.empty(); ++written)
        told = error_of([&] { write(written); });
    EXPECT_NE(told.find("the disk is full"), std::string::npos) << told;
    EXPECT_EQ(count(database), written - 1);

    std::ofstream filler(disk.path() + "filler");
    filler << std::string(1U << 20U, 'x') << std::flush;
    const auto at_start = error_of([&] { const Database second(disk.path() + "other.db", kTables); });
    EXPECT_NE(at_start.find("the disk is full"), std::string::npos) << at_start;
}

TEST(Database, MakesRoomForWhatGivesSpaceBack) {
    const SmallDisk disk;
    if (!disk.mounted()) GTEST_SKIP() << "a tmpfs cannot be mounted here (needs root)";
    Database database(disk.path() + "v.db", kTables);
    ASSERT_TRUE(std::filesystem::exists(database.path() + ".reserve"));
    const auto change = [&](const char* sql, int i) {
        Transaction tx(database);
        tx.run(sql, std::to_string(i) + std::string(100, 'x'));
        tx.commit();
    };
    const auto write = [&](int i) { change("INSERT INTO item VALUES (?, 1)", i); };
    const auto erase = [&](int i) { change("DELETE FROM item WHERE name = ?", i); };
    // Somebody else takes every byte that is left, and every byte that is given up.
    std::ofstream filler(disk.path() + "filler", std::ios::binary);
    const auto fill = [&] {
        filler.clear();
        while (filler.write("x", 1).flush()) {
        }
    };
    constexpr int kFirst = 30;
    int written = 0;
    for (; written < kFirst; ++written)
        write(written);
    fill();
    std::string told;
    for (; written < 1000 && told.empty(); ++written)
        told = error_of([&] { write(written); });
    ASSERT_NE(told.find("the disk is full"), std::string::npos) << told;
    for (int i = 0; i < kFirst; ++i) {
        try {
            erase(i);
        } catch (const DiskFull&) {
            database.make_room();
            fill();
            ASSERT_EQ(error_of([&] { erase(i); }), "") << i;
        }
    }
    EXPECT_EQ(count(database), written - 1 - kFirst);
}

}  // namespace
}  // namespace viaduct::store
