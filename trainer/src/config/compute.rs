//! The keys that say how a run computes: kinds of numbers, activations, ranks, the device. But for rounding, they change no result.
//!
//! What can be wrong between keys is checked in [`crate::config`]; here stands what each key is where it is left out.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

/// The kind of number that the model computes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    Fp32,
    /// bfloat16 with `f32` norms, softmax and loss.
    Bf16,
    /// 64-bit floats, masters and gradients too: slow, and exact enough to tell a mistake from rounding. For proofs.
    Fp64,
}

/// How several processes, the ranks, share the work.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ParallelConfig {
    /// Into how many stages the blocks are cut. A rank has the blocks of one, and micro-batches pass from stage to stage.
    pub pipeline: usize,
    /// How many ranks share each matrix of the model; these see the same documents. The others have copies.
    pub tensor: usize,
    /// Whether ranks that share matrices also share the places of a sequence where those are independent: less memory for
    /// activations, and as much to send.
    pub sequence: bool,
    /// What is sharded over the ranks that see different documents, in place of each of them having all of it.
    pub zero: Zero,
    /// Into how many groups of neighbours these ranks are cut, each of which has all that `zero` shards (PyTorch's
    /// `HYBRID_SHARD`): weights are gathered inside a group only, and of gradients a part alone goes from group to group.
    pub replicate: usize,
    /// In which kind of number gradients travel between ranks. They are added up in fp32 in any case.
    pub reduce: Wire,
    /// How many seconds a rank waits for the others before it gives up.
    pub timeout: u64,
    /// Compares each call between ranks before it starts: slow, and finds out why a run hangs.
    pub check_calls: bool,
}

impl Default for ParallelConfig {
    fn default() -> Self {
        Self {
            pipeline: 1,
            tensor: 1,
            sequence: true,
            zero: Zero::default(),
            replicate: 1,
            reduce: Wire::default(),
            timeout: 600,
            check_calls: false,
        }
    }
}

/// What is sharded over the ranks (ZeRO's stages): each adds to the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Zero {
    /// `0`: nothing.
    Nothing,
    /// `1`: masters and the optimizer's state.
    #[default]
    State,
    /// `2`: gradients too. They are added up over the ranks after every micro-batch: more is sent.
    Gradients,
    /// `3`: weights too. They are gathered for every use: more is sent still, and activations are computed again.
    Weights,
}

impl Zero {
    /// Whether a rank has only a part of masters and optimizer state.
    pub fn shards_state(self) -> bool {
        self >= Self::State
    }

    /// Whether a rank has only a part of the gradients.
    pub fn shards_gradients(self) -> bool {
        self >= Self::Gradients
    }

    /// Whether a rank has only a part of the weights.
    pub fn shards_weights(self) -> bool {
        self >= Self::Weights
    }
}

impl TryFrom<u8> for Zero {
    type Error = String;

    fn try_from(stage: u8) -> Result<Self, String> {
        match stage {
            0 => Ok(Self::Nothing),
            1 => Ok(Self::State),
            2 => Ok(Self::Gradients),
            3 => Ok(Self::Weights),
            other => Err(format!("{other} is no stage of ZeRO, expected 0, 1, 2 or 3")),
        }
    }
}

impl From<Zero> for u8 {
    fn from(zero: Zero) -> Self {
        zero as u8
    }
}

/// In which kind of number gradients travel between ranks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Wire {
    /// 32-bit floats.
    #[default]
    Fp32,
    /// bfloat16: half the bytes. Each rank's gradient is rounded once.
    Bf16,
}

/// Which units keep their activations for the backward pass, and which compute them again: `none`, `all`, `every_2`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Recompute {
    /// All keep them.
    #[default]
    None,
    /// Each unit keeps what goes into it and runs again: less memory, about a third more time, the same bits.
    All,
    /// Every so-manieth block runs again, the others keep theirs.
    Every(NonZeroU32),
}

impl Recompute {
    /// Whether a unit, counted from the embedding at 0, runs again.
    pub fn again(self, unit: usize) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Every(n) => unit.is_multiple_of(n.get() as usize),
        }
    }
}

impl TryFrom<String> for Recompute {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "none" => Ok(Self::None),
            "all" => Ok(Self::All),
            other => {
                let n = other.strip_prefix("every_").and_then(|n| n.parse().ok());
                n.map(Self::Every).ok_or_else(|| {
                    format!("`{other}` is not how to recompute: expected `none`, `all` or `every_2` (or another number)")
                })
            }
        }
    }
}

impl From<Recompute> for String {
    fn from(recompute: Recompute) -> Self {
        match recompute {
            Recompute::None => "none".into(),
            Recompute::All => "all".into(),
            Recompute::Every(n) => format!("every_{n}"),
        }
    }
}

/// Where the model computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// A GPU if there is one, else the CPU. Several processes on a machine take a GPU each.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A GPU; an error if there is none.
    Cuda,
}

/// What is in CPU memory although the model computes on a GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Offload {
    /// Nothing.
    #[default]
    None,
    /// Masters and the optimizer's moments, 12 bytes a parameter: gradients go there, are made into an update there by the CPU,
    /// and new weights come back.
    Optimizer,
}
