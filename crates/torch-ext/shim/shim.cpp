// What tch lacks, as plain C functions over libtorch's C++.
//
// A tensor crosses the border as `at::Tensor*`, which is what tch's `C_tensor*` is. Every function ends in `char** error`:
// it stays null, or becomes a message that the caller frees. No exception leaves this file.
//
// <torch/torch.h> would triple the time to compile; each operation has a header of its own.

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/variable.h>

#include <memory>
#include <vector>

#include "guard.h"

namespace {

using at::Tensor;
using torch::autograd::edge_list;
using torch::autograd::impl::gradient_edge;

// A list of tensors as Rust lends it.
struct Tensors {
  const Tensor* const* data;
  size_t length;

  const Tensor& operator[](size_t index) const { return *data[index]; }

  // Handles to the same tensors: libtorch's list operations want them side by side.
  std::vector<Tensor> handles() const {
    std::vector<Tensor> handles;
    handles.reserve(length);
    for (size_t i = 0; i < length; i++) handles.push_back(*data[i]);
    return handles;
  }
};

// tch's numbers for devices: -1 is the CPU, others are CUDA devices.
at::Generator generator_of(int device) {
  auto place = device < 0 ? at::Device(at::kCPU) : at::Device(at::kCUDA, static_cast<at::DeviceIndex>(device));
  return at::globalContext().defaultGenerator(place);
}

}  // namespace

extern "C" {

// gradients[i] is a new tensor, or null where `outputs` do not depend on inputs[i].
void torch_ext_grad(Tensors outputs, Tensors output_grads, Tensors inputs, Tensor** gradients, char** error) {
  guard(error, [&] {
    edge_list roots, leaves;
    for (size_t i = 0; i < outputs.length; i++) {
      TORCH_CHECK(outputs[i].requires_grad(), "output ", i, " does not require a gradient");
      // The engine would stretch a gradient of another shape where it can be broadcast.
      TORCH_CHECK(
          outputs[i].sizes() == output_grads[i].sizes(), "output ", i, " has shape ", outputs[i].sizes(),
          " but its gradient has ", output_grads[i].sizes());
      roots.push_back(gradient_edge(outputs[i]));
    }
    for (size_t i = 0; i < inputs.length; i++) {
      TORCH_CHECK(inputs[i].requires_grad(), "input ", i, " does not require a gradient");
      leaves.push_back(gradient_edge(inputs[i]));
    }
    auto results = torch::autograd::Engine::get_default_engine().execute(
        roots, output_grads.handles(), /*keep_graph=*/false, /*create_graph=*/false, /*accumulate_grad=*/false, leaves);
    for (size_t i = 0; i < inputs.length; i++) {
      gradients[i] = results[i].defined() ? new Tensor(results[i]) : nullptr;
    }
  });
}

// Causal, and recorded for autograd. Documents lie one after the other in the first dimension, the i-th from `starts[i]` up to
// `starts[i + 1]`.
void torch_ext_flash_attention(
    const Tensor* queries, const Tensor* keys, const Tensor* values, const Tensor* starts, int64_t longest,
    Tensor** attended, char** error) {
  guard(error, [&] {
    auto found = at::_flash_attention_forward(
        *queries, *keys, *values, *starts, *starts, longest, longest, /*dropout_p=*/0.0, /*is_causal=*/true,
        /*return_debug_mask=*/false);
    *attended = new Tensor(std::get<0>(found));
  });
}

// The steps of torch.nn.utils.get_total_norm: a norm a tensor, then the norm of the norms.
void torch_ext_norms(Tensors tensors, Tensor** norms, char** error) {
  guard(error, [&] {
    at::NoGradGuard no_grad;
    TORCH_CHECK(tensors.length > 0, "the norms of no tensors");
    auto kind = tensors[0].scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    *norms = new Tensor(at::stack(at::_foreach_norm(tensors.handles(), 2, kind)));
  });
}

void torch_ext_mul(Tensors tensors, const Tensor* factor, char** error) {
  guard(error, [&] {
    at::NoGradGuard no_grad;
    at::_foreach_mul_(tensors.handles(), *factor);
  });
}

void torch_ext_adamw(
    Tensors parameters, Tensors gradients, Tensors means, Tensors squares, int64_t step, double learning_rate,
    double beta1, double beta2, double weight_decay, double eps, char** error) {
  guard(error, [&] {
    at::NoGradGuard no_grad;
    if (parameters.length == 0) return;
    // The kernel reads the step as a number in fp32 that lies where the parameters lie; one serves them all.
    auto count = at::full({}, step, parameters[0].options().dtype(at::kFloat).requires_grad(false));
    std::vector<Tensor> counts(parameters.length, count);
    at::_fused_adamw_(
        parameters.handles(), gradients.handles(), means.handles(), squares.handles(), /*max_exp_avg_sqs=*/{}, counts,
        learning_rate, beta1, beta2, weight_decay, eps, /*amsgrad=*/false, /*maximize=*/false);
  });
}

// `release(owner)` is called exactly once: with the last view of the tensor, or before returning an error.
void torch_ext_from_blob(
    void* data, const int64_t* size, size_t dimensions, int8_t scalar_type, void* owner, void (*release)(void*),
    Tensor** tensor, char** error) {
  guard(error, [&] {
    std::shared_ptr<void> shared(owner, release);
    *tensor = new Tensor(at::from_blob(
        data, at::IntArrayRef(size, dimensions), [shared](void*) {},
        at::TensorOptions().dtype(static_cast<at::ScalarType>(scalar_type))));
  });
}

// The GPU of this thread: what names none means it.
void torch_ext_use_gpu(int device, char** error) {
  guard(error, [&] {
    c10::impl::VirtualGuardImpl guard(at::kCUDA);
    guard.setDevice(at::Device(at::kCUDA, static_cast<at::DeviceIndex>(device)));
  });
}

void torch_ext_rng_state(int device, Tensor** state, char** error) {
  guard(error, [&] {
    auto generator = generator_of(device);
    std::lock_guard<std::mutex> lock(generator.mutex());
    *state = new Tensor(generator.get_state());
  });
}

void torch_ext_set_rng_state(int device, const Tensor* state, char** error) {
  guard(error, [&] {
    auto generator = generator_of(device);
    std::lock_guard<std::mutex> lock(generator.mutex());
    generator.set_state(*state);
  });
}

}  // extern "C"
