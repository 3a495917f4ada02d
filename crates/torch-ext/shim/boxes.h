// What crosses the border to Rust behind a pointer. A group over NCCL is made in another shared object than its operations
// (nccl.cpp), so that both must mean the same by these.

#pragma once

#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <torch/headeronly/version.h>

// What both say they were compiled for. The last number changes with what stands below and with nccl.cpp's functions.
#define TORCH_EXT_INTERFACE "libtorch " TORCH_VERSION ", interface 1"

struct StoreBox {
  c10::intrusive_ptr<c10d::Store> store;
  uint16_t port;
};

struct GroupBox {
  c10::intrusive_ptr<c10d::Backend> backend;
};

struct WorkBox {
  c10::intrusive_ptr<c10d::Work> work;
};
