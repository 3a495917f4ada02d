//! The keys of LoRA, with peft's names and peft's defaults for a Llama.
//!
//! What can be wrong between keys is checked in [`crate::config`]; here stands what each key is where it is left out.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// LoRA (arXiv:2106.09685): the base stays as it is, and beside its matrices two small ones are trained.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoraConfig {
    /// The rank: how many numbers a token has between the two small matrices.
    pub r: u32,
    /// What the two give is multiplied by this over `r`.
    pub lora_alpha: f64,
    /// Probability that a number that goes into the small matrices is dropped.
    pub lora_dropout: f64,
    /// Beside which matrices, in every block.
    pub target_modules: Vec<TargetModule>,
    /// Divide `lora_alpha` by the square root of `r` in place of `r` (arXiv:2312.03732).
    pub use_rslora: bool,
    /// Which matrices of the base are trained as they are.
    pub modules_to_save: Vec<SavedModule>,
    /// A folder of peft's, whose adapter the run begins with; a new one, if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<PathBuf>,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self {
            r: 8,
            lora_alpha: 8.0,
            lora_dropout: 0.0,
            target_modules: vec![TargetModule::QProj, TargetModule::VProj],
            use_rslora: false,
            modules_to_save: Vec::new(),
            adapter: None,
        }
    }
}

impl LoraConfig {
    /// What the product of the two small matrices is multiplied by.
    pub fn scale(&self) -> f64 {
        let r = f64::from(self.r);
        self.lora_alpha / if self.use_rslora { r.sqrt() } else { r }
    }

    /// Whether a module of this name has an adapter.
    pub fn targets(&self, module: &str) -> bool {
        self.target_modules.iter().any(|it| it.name() == module)
    }

    /// Whether a module of this name is trained as it is.
    pub fn saves(&self, module: &str) -> bool {
        self.modules_to_save.iter().any(|it| it.name() == module)
    }
}

/// A matrix that can have an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the model's own")]
pub enum TargetModule {
    QProj,
    KProj,
    VProj,
    OProj,
    GateProj,
    UpProj,
    DownProj,
}

impl TargetModule {
    /// All of them, in a block's order.
    pub const ALL: [Self; 7] = [
        Self::QProj,
        Self::KProj,
        Self::VProj,
        Self::OProj,
        Self::GateProj,
        Self::UpProj,
        Self::DownProj,
    ];

    /// The module's name in a model.
    pub fn name(self) -> &'static str {
        match self {
            Self::QProj => "q_proj",
            Self::KProj => "k_proj",
            Self::VProj => "v_proj",
            Self::OProj => "o_proj",
            Self::GateProj => "gate_proj",
            Self::UpProj => "up_proj",
            Self::DownProj => "down_proj",
        }
    }
}

/// A matrix that can be trained as it is, beside adapters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the model's own")]
pub enum SavedModule {
    EmbedTokens,
    LmHead,
}

impl SavedModule {
    /// The module's name in a model.
    pub fn name(self) -> &'static str {
        match self {
            Self::EmbedTokens => "embed_tokens",
            Self::LmHead => "lm_head",
        }
    }
}
