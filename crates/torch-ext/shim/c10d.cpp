// c10d, the C++ core of torch.distributed, as plain C functions: stores, process groups over Gloo, and what groups do, also
// those over NCCL that nccl.cpp makes.
//
// Conventions are those of shim.cpp. Stores, groups and work cross the border as pointers to boxes, which the caller frees.
//
// With `now`, an operation over NCCL goes on the stream that computes, in its place, and needs no waiting; over Gloo the
// caller's thread waits for it. In both cases there is no work to wait for afterwards: `work` stays as it was.

#include <ATen/core/Tensor.h>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <cstring>
#include <string>
#include <vector>

#include "boxes.h"
#include "guard.h"

// What the declarations in shim/gloo could get wrong: an object is made here and destroyed there.
static_assert(sizeof(void*) != 8 || sizeof(c10d::ProcessGroupGloo) == 488, "not the ProcessGroupGloo of libtorch 2.11.0");

namespace {

using at::Tensor;
using std::chrono::milliseconds;

// `tensors` of an operation, which c10d wants as a list.
std::vector<Tensor> one(const Tensor* tensor) { return {*tensor}; }

template <class Start>
void start(bool now, WorkBox** work, char** error, Start body) {
  guard(error, [&] {
    at::NoGradGuard no_grad;
    c10::intrusive_ptr<c10d::Work> started = body();
    if (!now) {
      *work = new WorkBox{std::move(started)};
    } else if (started) {
      started->wait();
    }
  });
}

}  // namespace

extern "C" {

// With port 0, a server takes a free one; torch_ext_store_port tells which.
void torch_ext_store_tcp(
    const char* host, uint16_t port, bool is_server, int64_t timeout_ms, StoreBox** store, char** error) {
  guard(error, [&] {
    c10d::TCPStoreOptions options;
    options.port = port;
    options.isServer = is_server;
    options.waitWorkers = false;
    options.timeout = milliseconds(timeout_ms);
    auto tcp = c10::make_intrusive<c10d::TCPStore>(host, options);
    auto bound = tcp->getPort();
    *store = new StoreBox{std::move(tcp), bound};
  });
}

void torch_ext_store_prefix(const StoreBox* store, const char* prefix, StoreBox** prefixed, char** error) {
  guard(error, [&] {
    *prefixed = new StoreBox{c10::make_intrusive<c10d::PrefixStore>(std::string(prefix), store->store), store->port};
  });
}

uint16_t torch_ext_store_port(const StoreBox* store) { return store->port; }

void torch_ext_store_set(const StoreBox* store, const char* key, const uint8_t* value, size_t length, char** error) {
  guard(error, [&] { store->store->set(std::string(key), std::vector<uint8_t>(value, value + length)); });
}

// `take` is called once with the value, while it lasts.
void torch_ext_store_get(
    const StoreBox* store, const char* key, int64_t timeout_ms, void (*take)(void*, const uint8_t*, size_t),
    void* taker, char** error) {
  guard(error, [&] {
    store->store->wait({std::string(key)}, milliseconds(timeout_ms));
    auto value = store->store->get(std::string(key));
    take(taker, value.data(), value.size());
  });
}

void torch_ext_store_free(StoreBox* store) { delete store; }

void torch_ext_group_gloo(
    const StoreBox* store, int rank, int size, int64_t timeout_ms, GroupBox** group, char** error) {
  guard(error, [&] {
    auto options = c10d::ProcessGroupGloo::Options::create_default(milliseconds(timeout_ms));
    *group = new GroupBox{c10::make_intrusive<c10d::ProcessGroupGloo>(store->store, rank, size, options)};
  });
}

// Frees the group. What is still under way over NCCL is broken off, and not waited for as `shutdown` does: who ends well has
// waited for what it needs, and who ends with an error would wait for others that wait for it.
void torch_ext_group_free(GroupBox* group) {
  char* ignored = nullptr;
  guard(&ignored, [&] { group->backend->abort(); });
  free(ignored);
  delete group;
}

// What groups say that they were made for: see boxes.h.
const char* torch_ext_interface() { return TORCH_EXT_INTERFACE; }

void torch_ext_all_reduce(
    GroupBox* group, const Tensor* tensor, uint8_t op, bool now, WorkBox** work, char** error) {
  start(now, work, error, [&] {
    auto tensors = one(tensor);
    c10d::AllreduceOptions options;
    options.asyncOp = !now;
    options.reduceOp = c10d::ReduceOp(static_cast<c10d::ReduceOp::RedOpType>(op));
    return group->backend->allreduce(tensors, options);
  });
}

void torch_ext_reduce_scatter(
    GroupBox* group, const Tensor* output, const Tensor* input, uint8_t op, WorkBox** work, char** error) {
  start(/*now=*/false, work, error, [&] {
    Tensor to = *output, from = *input;
    c10d::ReduceScatterOptions options;
    options.reduceOp = c10d::ReduceOp(static_cast<c10d::ReduceOp::RedOpType>(op));
    return group->backend->_reduce_scatter_base(to, from, options);
  });
}

void torch_ext_all_gather(
    GroupBox* group, const Tensor* output, const Tensor* input, bool now, WorkBox** work, char** error) {
  start(now, work, error, [&] {
    Tensor to = *output, from = *input;
    c10d::AllgatherOptions options;
    options.asyncOp = !now;
    return group->backend->_allgather_base(to, from, options);
  });
}

void torch_ext_all_to_all(
    GroupBox* group, const Tensor* output, const Tensor* input, bool now, WorkBox** work, char** error) {
  start(now, work, error, [&] {
    Tensor to = *output, from = *input;
    std::vector<int64_t> even;
    c10d::AllToAllOptions options;
    options.asyncOp = !now;
    return group->backend->alltoall_base(to, from, even, even, options);
  });
}

void torch_ext_broadcast(GroupBox* group, const Tensor* tensor, int root, WorkBox** work, char** error) {
  start(/*now=*/false, work, error, [&] {
    auto tensors = one(tensor);
    c10d::BroadcastOptions options;
    options.rootRank = root;
    options.rootTensor = 0;
    return group->backend->broadcast(tensors, options);
  });
}

void torch_ext_send(GroupBox* group, const Tensor* tensor, int to, WorkBox** work, char** error) {
  start(/*now=*/false, work, error, [&] {
    auto tensors = one(tensor);
    return group->backend->send(tensors, to, /*tag=*/0);
  });
}

void torch_ext_recv(GroupBox* group, const Tensor* tensor, int from, WorkBox** work, char** error) {
  start(/*now=*/false, work, error, [&] {
    auto tensors = one(tensor);
    return group->backend->recv(tensors, from, /*tag=*/0);
  });
}

void torch_ext_barrier(GroupBox* group, WorkBox** work, char** error) {
  start(/*now=*/false, work, error, [&] { return group->backend->barrier(); });
}

// Frees the work, however it ends.
void torch_ext_wait(WorkBox* work, char** error) {
  guard(error, [&] { work->work->wait(); });
  delete work;
}

}  // extern "C"
