// Why an attachment was refused, with CNI's number for it, so that the plugin need not guess from words.
#pragma once

#include <stdexcept>
#include <string>

#include "viaduct/attachment.h"

namespace viaduct::pod {

class Failure : public std::runtime_error {
public:
    Failure(unsigned code, const std::string& what) : std::runtime_error(what), code_(code) {}
    [[nodiscard]] unsigned code() const { return code_; }  ///< attachment::Code

private:
    unsigned code_;
};

}  // namespace viaduct::pod
