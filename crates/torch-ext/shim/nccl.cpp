// Process groups over NCCL: how one is made. What it does is c10d.cpp's, since c10d's groups have one interface.
//
// This is a shared object of its own, `libtorch_ext_nccl.so`. `scripts/libtorch` compiles it where libtorch's CUDA parts and
// NVIDIA's headers are, and programs open it at run time (src/nccl.rs): without a GPU nobody needs either.

#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include "boxes.h"
#include "guard.h"

// What another release of libtorch, or other headers of NCCL than its own, would change: an object is made here, and used and
// destroyed there. libtorch_cuda.so allocates 1112 bytes where it makes one itself.
static_assert(NCCL_VERSION_CODE == 22809, "not the NCCL that libtorch 2.11.0 was built with, 2.28.9");
static_assert(sizeof(c10d::ProcessGroupNCCL) == 1112, "not the ProcessGroupNCCL of libtorch 2.11.0");
static_assert(sizeof(c10d::ProcessGroupNCCL::Options) == 248, "not the options of libtorch 2.11.0");

extern "C" {

const char* torch_ext_nccl_interface() { return TORCH_EXT_INTERFACE; }

// A group on one GPU a process. The ranks have met when this returns, but their GPUs are connected by the first operation.
void torch_ext_group_nccl(
    const StoreBox* store, int rank, int size, int device, int64_t timeout_ms, GroupBox** group, char** error) {
  guard(error, [&] {
    auto options = c10d::ProcessGroupNCCL::Options::create(/*is_high_priority_stream=*/false);
    options->timeout = std::chrono::milliseconds(timeout_ms);
    auto backend = c10::make_intrusive<c10d::ProcessGroupNCCL>(store->store, rank, size, std::move(options));
    // Else a barrier would guess which GPU is meant.
    backend->setBoundDeviceId(at::Device(at::kCUDA, static_cast<at::DeviceIndex>(device)));
    *group = new GroupBox{std::move(backend)};
  });
}

}  // extern "C"
