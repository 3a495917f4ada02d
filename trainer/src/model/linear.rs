//! A matrix as the model reads it, with its adapter if it has one.

use tch::Tensor;

use crate::model::linear;
use crate::noise::{Dropout, Site};

/// A matrix without a bias; Llama has no other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Linear<'a> {
    pub(crate) weight: &'a Tensor,
    pub(crate) adapter: Option<Adapter<'a>>,
}

/// LoRA's small matrices beside it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Adapter<'a> {
    pub(crate) a: &'a Tensor,
    pub(crate) b: &'a Tensor,
    pub(crate) scale: f64,
    pub(crate) dropout: Option<Dropout>,
    /// Which of its block's matrices it is: each drops other numbers.
    pub(crate) number: u8,
}

impl Linear<'_> {
    /// # Shapes
    /// `x_btd` -> `y_btd`, with as many channels as the matrix has rows
    pub(crate) fn of(&self, x_btd: &Tensor) -> Tensor {
        let y_btd = linear(x_btd, self.weight);
        let Some(Adapter { a, b, scale, dropout, number }) = self.adapter else { return y_btd };
        let x_btd = x_btd.shallow_clone();
        let x_btd = match dropout {
            Some(dropout) => dropout.apply(x_btd, Site::Adapter(number)),
            None => x_btd,
        };
        y_btd + linear(&(linear(&x_btd, a) * scale), b)
    }
}
