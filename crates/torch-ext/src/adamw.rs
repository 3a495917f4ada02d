//! The optimizer's step over a list of tensors. The state is the caller's.

#![expect(unsafe_code, reason = "calls the shim")]

use std::borrow::Borrow;

use tch::Tensor;

use crate::error::{Error, Result};
use crate::shim::{self, Handles};

/// The numbers of AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization"), named as in PyTorch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// The learning rate of this step.
    pub lr: f64,
    /// How much of the running mean of gradients stays at a step.
    pub beta1: f64,
    /// How much of the running mean of squared gradients stays at a step.
    pub beta2: f64,
    /// Added to the root of the squares.
    pub eps: f64,
    /// The part of `lr` by which parameters shrink at a step.
    pub weight_decay: f64,
}

impl AdamW {
    /// One step over lists of equal length, in place: the i-th parameter, its gradient and its two running means are
    /// of one shape and kind. Both means are zero before the first step; `step` counts from one.
    ///
    /// Equal bit for bit to `torch.optim.AdamW(fused=True)`.
    pub fn step<P, G, M, S>(
        &self,
        step: i64,
        parameters: &[P],
        gradients: &[G],
        means: &[M],
        squares: &[S],
    ) -> Result<()>
    where
        P: Borrow<Tensor>,
        G: Borrow<Tensor>,
        M: Borrow<Tensor>,
        S: Borrow<Tensor>,
    {
        let parameters = Handles::of(parameters);
        let (gradients, means, squares) =
            (Handles::of(gradients), Handles::of(means), Handles::of(squares));
        let lists =
            [("gradients", &gradients), ("running means", &means), ("running squares", &squares)];
        let n_expected = parameters.len();
        if let Some((found, list)) = lists.iter().find(|(_, list)| list.len() != n_expected) {
            let n_found = list.len();
            return Err(Error::Lengths { found, n_found, expected: "parameters", n_expected });
        }
        let &AdamW { lr, beta1, beta2, eps, weight_decay } = self;
        shim::call(|error| {
            // SAFETY: the lists outlive the call and are equally long.
            unsafe {
                shim::torch_ext_adamw(
                    parameters.lend(),
                    gradients.lend(),
                    means.lend(),
                    squares.lend(),
                    step,
                    lr,
                    beta1,
                    beta2,
                    weight_decay,
                    eps,
                    error,
                );
            }
        })
    }
}
