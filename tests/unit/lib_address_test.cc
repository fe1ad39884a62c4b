// Addresses as texts and numbers, as strangers write them.
#include <gtest/gtest.h>

#include "viaduct/address.h"

namespace viaduct {
namespace {

TEST(MacAddress, TakesTwoSpellingsAndNothingElse) {
    EXPECT_EQ(MacAddress::parse("02:00:00:AB:cd:01")->to_string(), "02:00:00:ab:cd:01");
    EXPECT_EQ(MacAddress::parse("02-00-00-ab-cd-01")->to_u64(), 0x020000abcd01U);
    EXPECT_EQ(MacAddress::from_u64(0x020000abcd01U).to_string(), "02:00:00:ab:cd:01");
    EXPECT_TRUE(MacAddress::parse("01:00:5e:00:00:01")->is_multicast());
    for (const char* bad :
         {"", "02", "02:00:00:00:00", "02:00:00:00:00:01:", "02:00:00:00:00:01:02", "2:0:0:0:0:1",
          "02:00:00:00:00:0g", "020000000001", "02:00:00:00:00:01 ", " 2:00:00:00:00:01"}) {
        EXPECT_FALSE(MacAddress::parse(bad)) << bad;
    }
}

TEST(IpAddress, ReadsAndWritesBothFamilies) {
    for (const char* text :
         {"0.0.0.0", "10.32.0.1", "255.255.255.255", "::", "::1", "2001:db8::1", "fe80::1:2"}) {
        ASSERT_TRUE(IpAddress::parse(text)) << text;
        EXPECT_EQ(IpAddress::parse(text)->to_string(), text);
    }
    EXPECT_EQ(IpAddress::parse("2001:0DB8:0:0:0:0:0:1")->to_string(), "2001:db8::1");
    for (const char* bad :
         {"", "10.0.0", "10.0.0.256", "10.0.0.1 ", "10.0.0.1/8", "1::2::3", "fe80::1%eth0", "[::1]", "x"}) {
        EXPECT_FALSE(IpAddress::parse(bad)) << bad;
    }
}

TEST(IpAddress, CountsWithinItsFamily) {
    const auto base = *IpAddress::parse("10.0.0.250");
    EXPECT_EQ(base.plus(10)->to_string(), "10.0.1.4");
    EXPECT_EQ(base.plus(10)->minus(base), 10U);
    EXPECT_FALSE(base.minus(*base.plus(1)));
    EXPECT_FALSE(IpAddress::parse("255.255.255.255")->plus(1));
    EXPECT_FALSE(IpAddress::parse("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")->plus(1));
    EXPECT_EQ(IpAddress::parse("2001:db8::ffff:ffff:ffff:ffff")->plus(1)->to_string(), "2001:db8:0:1::");
    EXPECT_FALSE(IpAddress::parse("::1")->minus(base));
    EXPECT_LT(base, *IpAddress::parse("::"));
    EXPECT_TRUE(IpAddress::parse("ff02::1")->is_multicast());
    EXPECT_TRUE(IpAddress::parse("224.0.0.1")->is_multicast());
    EXPECT_TRUE(IpAddress::parse("127.9.9.9")->is_loopback());
    EXPECT_TRUE(IpAddress::parse("169.254.0.1")->is_link_local());
}

TEST(Prefix, KnowsItsEnds) {
    const auto prefix = *Prefix::parse("10.32.5.7/20");
    EXPECT_EQ(prefix.network().to_string(), "10.32.0.0");
    EXPECT_EQ(prefix.last().to_string(), "10.32.15.255");
    EXPECT_TRUE(prefix.contains(*IpAddress::parse("10.32.15.255")));
    EXPECT_FALSE(prefix.contains(*IpAddress::parse("10.32.16.0")));
    EXPECT_TRUE(prefix.overlaps(*Prefix::parse("10.0.0.0/8")));
    EXPECT_FALSE(prefix.overlaps(*Prefix::parse("10.33.0.0/16")));
    EXPECT_EQ(Prefix::parse("2001:db8::5/64")->last().to_string(), "2001:db8::ffff:ffff:ffff:ffff");
    EXPECT_TRUE(Prefix::parse("0.0.0.0/0")->contains(*IpAddress::parse("255.255.255.255")));
    EXPECT_FALSE(Prefix::parse("0.0.0.0/0")->contains(*IpAddress::parse("::1")));
    for (const char* bad :
         {"10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0.0/8x", "/8"}) {
        EXPECT_FALSE(Prefix::parse(bad)) << bad;
    }
}

}  // namespace
}  // namespace viaduct
