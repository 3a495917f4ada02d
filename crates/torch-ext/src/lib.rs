//! What tch lacks of libtorch, and the only C++ of the project (`shim/`).
//!
//! Everything here takes and gives tch's own [`Tensor`](tch::Tensor)s and answers with an [`Error`] of one line where
//! tch would panic with two kilobytes of C++ backtrace.
//!
//! A program starts with [`version::check`], then [`cuda::load`]; the others may be called in any order.

mod error; // what can go wrong, in one line
mod shim; // the border to C++: its functions, tensors and messages across it

pub mod version; // is this the libtorch that we were built for?
pub mod cuda; // one binary for CPU and GPU: opens libtorch_cuda where there is a GPU
pub mod rng; // the state of the random numbers, to store and to go on from
pub mod blob; // tensors over memory that somebody else owns, such as a mapped file
pub mod autograd; // backward from given gradients
pub mod flash; // attention within each of several documents, in one call on a GPU
pub mod foreach; // one operation over a list of tensors
pub mod adamw; // the optimizer's step over a list of tensors
pub mod store; // how the processes of a job find one another
pub mod transcript; // what a process asked its groups to do, in order
pub mod in_flight; // the memory that unfinished operations use
pub mod nccl; // what connects GPUs: opened where it is needed
pub mod process_group; // processes that compute together: collective operations

pub use adamw::AdamW;
pub use autograd::grad;
pub use error::{Error, Result};
pub use flash::Documents;
pub use process_group::{ProcessGroup, ReduceOp, Work};
pub use store::Store;
pub use transcript::{Entry, Transcript};
