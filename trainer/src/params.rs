//! A model's parameters, unit by unit.
//!
//! A *unit* is the embedding, one decoder block, or the final norm with the head. It is the grain of everything that
//! happens to parameters: autograd, gradients, optimizer state, checkpoints and, later, sharding over ranks. A unit's
//! parameters lie one after the other in one flat `f32` buffer (the *master*); what a parameter's name means is only a
//! range of it. Matrices come first and norms last, so that the part which weight decay touches is one range too.
//!
//! With `bf16` compute a second flat buffer of that kind follows the master ([`Unit::refresh`]). The model reads the
//! *leaves*: one view per parameter into the compute buffer, each the leaf of its own autograd graph.
//!
//! Names and shapes are Hugging Face's, letter for letter.

use tch::{Device, Kind, Tensor};

use crate::llama_config::LlamaConfig;

/// One parameter: its name in a Hugging Face checkpoint, its shape, and whether weight decay applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamSpec {
    /// The tensor's name, such as `model.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// Its shape, outputs first for a matrix.
    pub shape: Vec<i64>,
    /// Whether weight decay applies: to every matrix, embedding and head included, and to no norm.
    pub decay: bool,
}

impl ParamSpec {
    /// How many numbers the parameter holds.
    pub fn numel(&self) -> i64 {
        self.shape.iter().product()
    }
}

/// A unit's name and its parameters in the order in which they lie in the flat buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitSpec {
    /// `embed`, `layers.0`, `layers.1`, ..., `head`.
    pub name: String,
    /// Matrices first, norms last.
    pub params: Vec<ParamSpec>,
}

impl UnitSpec {
    fn new(
        name: impl Into<String>,
        matrices: &[(String, [i64; 2])],
        norms: &[(String, i64)],
    ) -> Self {
        let matrices = matrices.iter().map(|(name, shape)| ParamSpec {
            name: name.clone(),
            shape: shape.to_vec(),
            decay: true,
        });
        let norms = norms.iter().map(|(name, size)| ParamSpec {
            name: name.clone(),
            shape: vec![*size],
            decay: false,
        });
        Self { name: name.into(), params: matrices.chain(norms).collect() }
    }

    /// How many numbers the unit holds.
    pub fn numel(&self) -> i64 {
        self.params.iter().map(ParamSpec::numel).sum()
    }

    /// How many numbers at the start of the flat buffer weight decay applies to.
    pub fn decayed(&self) -> i64 {
        self.params.iter().filter(|param| param.decay).map(ParamSpec::numel).sum()
    }

    /// Each parameter as a view of `flat`, a buffer of [`numel`](Self::numel) numbers, in the order of `params`.
    pub fn views(&self, flat: &Tensor) -> Vec<Tensor> {
        let mut start = 0;
        let view = |param: &ParamSpec| {
            let view = flat.narrow(0, start, param.numel()).view(param.shape.as_slice());
            start += param.numel();
            view
        };
        self.params.iter().map(view).collect()
    }
}

/// Every unit of a model of this shape, first to last: the embedding, the blocks, the head.
pub fn unit_specs(config: &LlamaConfig) -> Vec<UnitSpec> {
    let (vocab, hidden) = (config.vocab_size, config.hidden_size);
    let matrix = |name: &str, outputs, inputs| (format!("{name}.weight"), [outputs, inputs]);
    let norm = |name: &str| (format!("{name}.weight"), hidden);

    let mut units =
        vec![UnitSpec::new("embed", &[matrix("model.embed_tokens", vocab, hidden)], &[])];
    units.extend((0..config.num_hidden_layers).map(|layer| {
        let q = config.num_attention_heads * config.head_dim;
        let kv = config.num_key_value_heads * config.head_dim;
        let inner = config.intermediate_size;
        let at = |part: &str| format!("model.layers.{layer}.{part}");
        UnitSpec::new(
            format!("layers.{layer}"),
            &[
                matrix(&at("self_attn.q_proj"), q, hidden),
                matrix(&at("self_attn.k_proj"), kv, hidden),
                matrix(&at("self_attn.v_proj"), kv, hidden),
                matrix(&at("self_attn.o_proj"), hidden, q),
                matrix(&at("mlp.gate_proj"), inner, hidden),
                matrix(&at("mlp.up_proj"), inner, hidden),
                matrix(&at("mlp.down_proj"), hidden, inner),
            ],
            &[norm(&at("input_layernorm")), norm(&at("post_attention_layernorm"))],
        )
    }));
    units.push(UnitSpec::new("head", &[matrix("lm_head", vocab, hidden)], &[norm("model.norm")]));
    units
}

/// One unit's parameters.
#[derive(Debug)]
pub struct Unit {
    /// What lies where.
    pub spec: UnitSpec,
    /// All parameters in `f32`, flat. Written by loading and by the optimizer; call [`refresh`](Self::refresh) after.
    pub master: Tensor,
    /// The same in the compute kind, flat; none when that is `f32`, where the model reads the master itself.
    pub compute: Option<Tensor>,
    /// What the model reads: a view per parameter into the compute buffer, each an autograd leaf.
    pub leaves: Vec<Tensor>,
}

impl Unit {
    /// A unit of zeros.
    pub fn zeros(spec: UnitSpec, compute: Kind, device: Device) -> Self {
        let master = Tensor::zeros([spec.numel()], (Kind::Float, device));
        let compute = (compute != Kind::Float).then(|| master.to_kind(compute));
        let read = compute.as_ref().unwrap_or(&master);
        let leaves =
            spec.views(read).into_iter().map(|view| view.set_requires_grad(true)).collect();
        Self { spec, master, compute, leaves }
    }

    /// Each parameter as a view of the master, in the order of the spec: what loading writes and export reads.
    pub fn master_views(&self) -> Vec<Tensor> {
        self.spec.views(&self.master)
    }

    /// Brings the compute copy up to the master.
    pub fn refresh(&mut self) {
        let _no_grad = tch::no_grad_guard();
        if let Some(compute) = &mut self.compute {
            compute.copy_(&self.master);
        }
    }
}

/// AdamW's running moments of one unit, flat `f32` and laid out as the master is.
#[derive(Debug)]
pub struct Moments {
    /// The running mean of the gradient.
    pub exp_avg: Tensor,
    /// The running mean of its square.
    pub exp_avg_sq: Tensor,
}

impl Moments {
    /// The moments before the first update.
    pub fn zeros(unit: &Unit) -> Self {
        Self { exp_avg: unit.master.zeros_like(), exp_avg_sq: unit.master.zeros_like() }
    }
}

/// A model: its shape and its parameters.
#[derive(Debug)]
pub struct Model {
    /// The shape.
    pub config: LlamaConfig,
    /// The embedding, the blocks, the head.
    pub units: Vec<Unit>,
}

impl Model {
    /// A model of zeros, to be filled by `weights::load` or `init`.
    pub fn zeros(config: LlamaConfig, compute: Kind, device: Device) -> Self {
        let specs = unit_specs(&config).into_iter();
        let units = specs.map(|spec| Unit::zeros(spec, compute, device)).collect();
        Self { config, units }
    }

    /// How many parameters the model has.
    pub fn numel(&self) -> i64 {
        self.units.iter().map(|unit| unit.spec.numel()).sum()
    }

    /// Where the parameters are.
    pub fn device(&self) -> Device {
        self.units[0].master.device()
    }

    /// Brings every compute copy up to its master: after loading, and after each update.
    pub fn refresh(&mut self) {
        self.units.iter_mut().for_each(Unit::refresh);
    }
}
