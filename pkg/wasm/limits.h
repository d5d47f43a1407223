// What a module may ask for, checked before anything is allocated. The numbers are those of the web's engines (WebAssembly JavaScript API,
// "Implementation-defined limits") where it gives one, so that what runs there loads here.
#pragma once

#include <cstddef>
#include <cstdint>

namespace monopod::wasm {

inline constexpr std::size_t kModuleBytesMax = std::size_t{1} << 30;
inline constexpr std::uint32_t kTypesMax = 1'000'000;
inline constexpr std::uint32_t kFunctionsMax = 1'000'000;
inline constexpr std::uint32_t kImportsMax = 1'000'000;
inline constexpr std::uint32_t kExportsMax = 1'000'000;
inline constexpr std::uint32_t kGlobalsMax = 1'000'000;
inline constexpr std::uint32_t kTagsMax = 1'000'000;
inline constexpr std::uint32_t kDataSegmentsMax = 100'000;
inline constexpr std::uint32_t kElementSegmentsMax = 10'000'000;
inline constexpr std::uint32_t kElementsMax = 10'000'000;  // of one segment
inline constexpr std::uint32_t kTablesMax = 100'000;
inline constexpr std::uint32_t kMemoriesMax = 100;
inline constexpr std::uint32_t kParametersMax = 1'000;
inline constexpr std::uint32_t kResultsMax = 1'000;
inline constexpr std::uint32_t kLocalsMax = 50'000;
inline constexpr std::uint32_t kFunctionBytesMax = 7'654'321;
inline constexpr std::uint32_t kBranchTableMax = 65'520;
inline constexpr std::uint32_t kNameBytesMax = 100'000;
inline constexpr std::uint32_t kBlockDepthMax = 50'000;  // ours: a frame of the validator each
// Ours: locals and operands of one activation, in slots of 8 bytes (a v128 takes two): slots are numbered in 16 bits.
inline constexpr std::uint32_t kFrameSlotsMax = 60'000;

inline constexpr std::uint64_t kPageBytes = 65'536;
inline constexpr std::uint64_t kMemory32PagesMax = 65'536;
inline constexpr std::uint64_t kMemory64PagesMax = std::uint64_t{1} << 18;  // ours: 16 GiB of addresses kept free for one memory
// Kept free behind every memory: compiled code adds offsets below it without asking.
inline constexpr std::uint64_t kGuardBytes = std::uint64_t{32} << 20;
inline constexpr std::uint64_t kTableElementsMax = 10'000'000;

// Optimised code: bodies beyond are the baseline compiler's, for registers are given out in more than linear time; so are functions of many locals.
inline constexpr std::uint32_t kCompiledBodyBytesMax = 8'192;
inline constexpr std::uint32_t kCompiledLocalsMax = 1'000;
inline constexpr std::size_t kMachineCodeBytesMax = std::size_t{64} << 20;  // of one module
inline constexpr std::size_t kHostStackReserveBytes = 256 << 10;            // what compiled code leaves of the host's stack to the host's functions

inline constexpr std::size_t kStackBytesDefault = std::size_t{1} << 20;  // of one store: about what a native thread of a guest gets
inline constexpr std::uint32_t kEntryDepthMax = 100;                     // guest -> host -> guest -> … : each takes a piece of the host's own stack

}  // namespace monopod::wasm
