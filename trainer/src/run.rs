//! A configuration -> a run that is ready to make its next step.
//!
//! Everything that a configuration, a base model and shards can have against each other is found here, before the
//! first step. A [`Run`] knows nothing of the console or of folders to write to: the loop in [`crate::train`] does.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use cli::bail_input;
use shards::hash::FileHash;
use tch::{Device, Kind, Tensor};

use crate::adapter;
use crate::backward::{self, Pass};
use crate::batch::{Batcher, Batching, Counts, MicroBatch};
use crate::config::{Config, EvaluateConfig, LoraConfig, NewRows, Precision};
use crate::device::{self, Devices};
use crate::documents;
use crate::evaluate::{Evaluation, evaluate};
use crate::fault::{Fault, planted};
use crate::fit;
use crate::flops::ModelFlops;
use crate::gradients::{Gradients, clip};
use crate::llama_config::LlamaConfig;
use crate::loader::Loader;
use crate::loss::Objective;
use crate::new_rows;
use crate::noise::Noise;
use crate::optimizer::AdamW;
use crate::params::{Model, lora};
use crate::pipeline;
use crate::ranks::{Mesh, Ranks};
use crate::rows::Rows;
use crate::schedule::Schedule;
use crate::state::TrainState;
use crate::step::{Seconds, Step};
use crate::turns;
use crate::validation::{Validation, some_validation};
use crate::weights;

/// Everything that a step needs.
#[derive(Debug)]
pub struct Run {
    /// What was asked for.
    pub config: Config,
    /// How many steps it makes in all.
    pub steps: u64,
    /// The model.
    pub model: Model,
    /// The optimizer with its state.
    pub optimizer: AdamW,
    /// Where it stands.
    pub state: TrainState,
    /// What the user should know before it starts, a line each.
    pub remarks: Vec<String>,
    /// The files of its shards.
    pub shards: Vec<FileHash>,
    /// The processes that train it.
    pub ranks: Rc<Ranks>,
    gradients: Gradients,
    flops: ModelFlops,
    schedule: Schedule,
    objective: Objective,
    train: Arc<Batcher>,
    train_order: Arc<[usize]>,
    validation: Validation,
    loader: Option<Loader>,
}

impl Run {
    /// Opens data and base model and checks that they fit. The model is at its first step.
    pub fn open(config: Config) -> Result<Self> {
        Self::open_on(&Ranks::alone(), config)
    }

    /// The same as one of several ranks.
    pub fn open_on(ranks: &Rc<Ranks>, config: Config) -> Result<Self> {
        let mut remarks = Vec::new();
        let device = device::choose(config.device, ranks.local_rank(), &mut remarks);
        let device = ranks.agree(device)?;
        fit::check_device(ranks, device)?;
        if device.is_cuda() {
            ranks.carry_apart(device);
        }
        let devices = Devices::of(device, config.offload)?;
        let mut run = Self::open_at(ranks, config, devices)?;
        run.remarks.splice(0..0, remarks);
        Ok(run)
    }

    /// The same where it is decided what is where.
    pub fn open_at(ranks: &Rc<Ranks>, config: Config, devices: Devices) -> Result<Self> {
        let mut remarks = Vec::new();
        let device = devices.model;
        fit::check_ranks(ranks, &config)?;
        let mesh = Mesh::of(ranks, &config.parallel)?;
        if let Some(threads) = config.threads {
            tch::set_num_threads(i32::from(threads));
        }
        fit::check_paths(&config)?;
        let mut base = LlamaConfig::read(&config.model.base)?;
        let n_stored = base.vocab_size;
        base.vocab_size = new_rows::rows(&config.model, &base, &config.data.train)?;
        fit::check_length(&config, &base)?;
        fit::check_tied(&config, &base, n_stored)?;
        fit::check_new_rows(&config, n_stored, base.vocab_size)?;
        fit::check_tensor(&config, &base)?;
        fit::check_pipeline(&config, &base)?;
        let fit = fit::check_manifests(&config, &base, &mut remarks)?;
        let learning = documents::learning(&config)?;
        let batching = Batching {
            layout: config.data.rows,
            sequence_length: config.batch.sequence_length,
            micro: config.batch.micro,
            normalize: config.loss.normalize,
            head: config.loss.head,
            pad_id: fit.pad_id,
            device,
        };
        let mut batcher = |prefix: &Path| -> Result<(Arc<Batcher>, Vec<usize>)> {
            let length = config.batch.sequence_length;
            let rows = Rows::open(prefix, base.vocab_size, length, learning.clone())?;
            let usable = documents::usable(prefix, &rows, config.data.too_long, &mut remarks)?;
            Ok((Arc::new(Batcher { rows, batching: batching.clone() }), usable))
        };
        let (train, usable) = batcher(&config.data.train)?;
        if !train.rows.any_learned(&usable) {
            bail_input!(
                "`{}` has nothing to learn: no token is of a role that counts\n\
                 hint: `loss.weights` says whose tokens count; `pretokenizer show` shows who speaks in these shards",
                config.data.train.display()
            );
        }
        let steps = documents::steps(&config, usable.len())?;
        let order = documents::order(&config, usable.len(), steps).of(&usable);
        let validation = match &config.data.validation {
            Some(prefix) => {
                let (batcher, usable) = batcher(prefix)?;
                Validation::Shard(batcher, usable)
            }
            None => Validation::Split(Arc::clone(&train), order.validation),
        };
        let validation = some_validation(&config, validation, &mut remarks)?;
        let objective = Objective {
            chunk_tokens: chunk_tokens(&config, &base, device),
            vocab_size: match fit.vocab_size {
                Some(vocab_size) if !config.compat.padded_logits => vocab_size,
                _ => base.vocab_size,
            },
            z_loss: config.loss.z_loss,
            label_smoothing: config.loss.label_smoothing,
        };

        let mut model = Model::sharded(
            base,
            config.lora.as_ref(),
            compute_kind(config.precision),
            devices,
            &mesh,
            config.parallel.zero,
        );
        match &config.model.new_rows {
            Some(NewRows { fill, .. }) if model.config.vocab_size > n_stored => {
                new_rows::load(&config.model.base, &mut model, n_stored, *fill, config.seed)?;
            }
            _ => weights::load(&config.model.base, &mut model)?,
        }
        match &config.lora {
            None => {}
            Some(LoraConfig { adapter: None, .. }) => lora::init(&mut model, config.seed)?,
            Some(settings @ LoraConfig { adapter: Some(folder), .. }) => {
                adapter::load(folder, settings, &mut model)?;
            }
        }
        Ok(Self {
            flops: ModelFlops::of(&model.config, config.lora.as_ref()),
            schedule: Schedule::new(&config.schedule, &config.optimizer, steps),
            optimizer: AdamW::new(config.optimizer.clone(), &model),
            gradients: Gradients::zeros(&model).on_the_wire(config.parallel.reduce),
            ranks: Rc::clone(ranks),
            state: TrainState::default(),
            config,
            steps,
            model,
            remarks,
            shards: fit.shards,
            objective,
            train,
            train_order: order.train.into(),
            validation,
            loader: None,
        })
    }

    /// Makes the next step.
    pub fn step(&mut self) -> Result<Step> {
        let started = Instant::now();
        let global = self.config.batch.global;
        let update = usize::try_from(self.state.step).context("more steps than memory")?;
        let documents = &self.train_order[update * global..][..global];
        let first_documents = documents.iter().take(4).copied().collect();
        let batches = self.loader(update)?.take()?;
        let data = started.elapsed();

        let mut counts = Counts::default();
        batches.iter().for_each(|batch| counts += batch.counts);
        // What follows from the loss and the norm follows from the same bits on every rank.
        let mut loss = self.accumulate(&batches, counts.supervised)?;
        if !self.model.mesh().tensor.leads() {
            // The ranks of a tensor group have the same loss: one of them brings it.
            loss = 0.0;
        }
        let passes = started.elapsed() - data;
        let square = self.gradients.square()?;
        let mut sums = self.ranks.sums(&[loss, square])?;
        if planted(Fault::OwnNorm) {
            sums[1] = square;
        }
        let (loss, grad_norm) = (sums[0], sums[1].sqrt());
        let lr = self.schedule.lr(self.state.updates());
        let not_finite = !grad_norm.is_finite() || !loss.is_finite();
        let skipped = counts.supervised == 0 || not_finite;
        if !skipped {
            if let Some(factor) = clip(grad_norm, self.config.optimizer.clip_grad) {
                self.gradients.scale(factor)?;
            }
            self.gradients.spread()?;
            let number =
                i64::try_from(self.state.updates() + 1).context("more updates than 2^63")?;
            self.optimizer.step(&mut self.model, &self.gradients, lr, number)?;
        }
        self.state.count(&counts, skipped);
        Ok(Step {
            loss,
            lr,
            grad_norm,
            skipped,
            not_finite,
            counts,
            first_documents,
            flops: self.flops.of_step(counts.tokens, counts.squared_lengths),
            seconds: Seconds { data, passes, update: started.elapsed() - data - passes },
        })
    }

    /// A parameter that holds a number that is not finite, if there is one: the first of the first rank that has one.
    pub fn broken_parameter(&self) -> Result<Option<String>> {
        // A norm is one walk over the numbers, and finite only if all of them are. It can be too large for its kind where no
        // number is broken.
        let masters: Vec<&Tensor> = self.model.units.iter().map(|unit| &unit.master).collect();
        let norms = torch_ext::foreach::norms(&masters).context("looking for broken weights")?;
        let finite = |values: &Tensor| values.isfinite().all().int64_value(&[]) != 0;
        let ours = if finite(&norms) {
            None
        } else {
            self.model.units.iter().find_map(|unit| {
                let mut pieces = unit.spec.params.iter().zip(unit.pieces(&unit.master));
                pieces.find(|(_, (_, values))| !finite(values)).map(|(param, _)| param.name.clone())
            })
        };
        Ok(self.ranks.first(ours)?.map(|(_, name)| name))
    }

    /// The gradients of the last step, as it was made with them: after clipping.
    pub fn gradients(&self) -> &Gradients {
        &self.gradients
    }

    /// Whether evaluations have got no better for as long as the run was to wait.
    pub fn ends_early(&self) -> bool {
        let stopping = self.config.evaluate.as_ref().and_then(|it| it.early_stopping);
        stopping.is_some_and(|it| self.state.no_better >= it.patience)
    }

    /// When it is evaluated, if there is something to evaluate on.
    pub fn evaluates(&self) -> Option<&EvaluateConfig> {
        self.config.evaluate.as_ref().filter(|_| !matches!(self.validation, Validation::None))
    }

    /// The `number`-th evaluation of the run, from 0; none if a signal asks the process to stop meanwhile.
    pub fn evaluate(&self, number: u64) -> Result<Option<Evaluation>> {
        let global = self.config.batch.global;
        let Some((batcher, documents)) = self.validation.documents(&self.config, number)? else {
            bail!("a run without validation is not evaluated");
        };
        evaluate(&self.model, batcher, documents, global, self.objective)
    }

    /// What makes the micro-batches, which comes to this update next.
    fn loader(&mut self, update: usize) -> Result<&mut Loader> {
        let loader = match self.loader.take().filter(|loader| loader.next() == update) {
            Some(loader) => loader,
            None => {
                let (batcher, order) = (self.train.clone(), self.train_order.clone());
                Loader::start(batcher, order, self.config.batch.global, update)?
            }
        };
        Ok(self.loader.insert(loader))
    }

    /// Sums up the gradients of an update's micro-batches over this and the other ranks, and gives this rank's part of
    /// the update's loss.
    ///
    /// All ranks see what is in an update, so all know what its loss is divided by, and whether there is nothing to learn.
    fn accumulate(&mut self, batches: &[MicroBatch], supervised: u64) -> Result<f64> {
        self.gradients.clear();
        let Config { recompute, noise, lora, seed, .. } = &self.config;
        let adapters = lora.as_ref().map_or(0.0, |lora| lora.lora_dropout);
        let noise = Noise::of_step(*noise, adapters, self.model.n_layers(), *seed, self.state.step);
        let pass = Pass { recompute: *recompute, objective: self.objective, noise };
        let mut loss = Tensor::zeros([], (Kind::Double, self.model.device()));
        if supervised == 0 && !planted(Fault::DividedByZero) {
            return Ok(0.0);
        }
        let data = Rc::clone(&self.model.mesh().data);
        let rounds = turns::of_rank(batches, data.rank(), data.size());
        let n_rounds = rounds.len();
        let teaches =
            |batch: &&MicroBatch| batch.counts.supervised > 0 || planted(Fault::DividedByZero);
        if self.model.mesh().is_pipeline() {
            let ours: Vec<&MicroBatch> = rounds.into_iter().flatten().filter(teaches).collect();
            loss += pipeline::update(&self.model, &ours, pass, &mut self.gradients)?;
        } else {
            for (round, ours) in rounds.into_iter().enumerate() {
                self.gradients.begin(round + 1 == n_rounds);
                match ours.filter(teaches) {
                    Some(batch) => {
                        loss +=
                            backward::micro_batch(&self.model, batch, pass, &mut self.gradients)?;
                    }
                    None => backward::idle(&self.model, &mut self.gradients)?,
                }
            }
        }
        self.gradients.finish()?;
        if planted(Fault::DividedTwice) {
            self.gradients.scale(1.0 / n_rounds as f64)?;
        }
        Ok(loss.double_value(&[]))
    }
}

/// How many tokens' logits are held at a time.
pub(crate) fn chunk_tokens(config: &Config, base: &LlamaConfig, device: Device) -> i64 {
    let suitable = match device {
        // Each chunk reads the whole matrix of the head, and writes and reads its logits a few times: the two are
        // in balance where a chunk has about as many tokens as a hidden state has numbers.
        Device::Cpu => base.hidden_size.clamp(64, 512),
        // Large enough to keep a GPU busy; 32,000 logits of each are half a gigabyte.
        _ => 4096,
    };
    config.loss.chunk_tokens.map_or(suitable, |n| i64::try_from(n).unwrap_or(i64::MAX))
}

/// The kind of number that the model computes in.
pub fn compute_kind(precision: Precision) -> Kind {
    match precision {
        Precision::Fp32 => Kind::Float,
        Precision::Bf16 => Kind::BFloat16,
        Precision::Fp64 => Kind::Double,
    }
}
