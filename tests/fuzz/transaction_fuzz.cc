// POST /v1/transactions' body from a stranger: whatever the bytes, it is refused in words or read; and what
// was read means the same when it is written and read again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string_view>

#include <json/json.h>

#include "viaduct/fault.h"
#include "viaduct/json.h"
#include "viaduct/model.h"

#include "api/transaction.h"

using namespace viaduct;

namespace {

[[noreturn]] void fail(const char* what, const std::string& text) {
    std::cerr << what << ": " << text << "\n";
    std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view body(reinterpret_cast<const char*>(data), size);
    dataplane::Transaction transaction;
    try {
        transaction = dataplane::read_transaction(body);
    } catch (const Refused& refused) {
        if (refused.faults().empty() || std::string_view(refused.what()).empty())
            fail("refused without words", {});
        return 0;
    }
    const auto text = to_json_text(model::to_json(transaction.change));
    try {
        const auto again = dataplane::read_transaction(text);
        if (to_json_text(model::to_json(again.change)) != text)
            fail("means something else when read again", text);
    } catch (const Refused& refused) {
        fail(refused.what(), text);
    }
    Faults faults;
    const auto config = model::apply({}, transaction.change, faults);
    model::check(config, faults);
    if (faults.empty() && !(model::difference(config, config).empty())) fail("differs from itself", text);
    return 0;
}
