//! Seeds -> the random streams of the reference, number for number.
//!
//! The reference draws from four generators: Python's `random`, numpy's legacy `RandomState`, numpy's `default_rng`
//! and torch's CPU `Generator`. Which documents are in a split, and in what order, hangs on each draw. The first,
//! second and fourth are one Mersenne Twister with different seeding and different ways to make a number from it.
//!
//! Nothing here is for new uses of randomness that need statistical quality or speed; it is for being the same.

mod mt19937;
mod numpy;
mod pcg64;
mod python;
mod torch;

pub use mt19937::Mt19937;
pub use numpy::NumpyRandom;
pub use pcg64::NumpyGenerator;
pub use python::PythonRandom;
pub use torch::TorchGenerator;
