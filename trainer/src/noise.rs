//! (seed, step, micro-batch, place in the model) -> the noise that training adds there: dropout, and NEFTune's.
//!
//! No generator's state goes from one place to the next. Each draw is seeded by a hash of where it happens, so that a
//! unit that runs again draws the same, a resumed run goes on as an uninterrupted one, and nothing has to be saved.

use tch::{Kind, Tensor};

use crate::batch::{MicroBatch, Span};
use crate::config::NoiseConfig;
use crate::fault::{Fault, planted};

/// The noise of one step.
#[derive(Clone, Copy, Debug)]
pub struct Noise {
    settings: NoiseConfig,
    /// Dropout on what goes into adapters.
    adapters: f64,
    n_layers: usize,
    seed: u64,
}

/// Where in a unit something is drawn.
#[derive(Clone, Copy, Debug)]
pub enum Site {
    /// On the embedding's output.
    Embedding,
    /// On what NEFTune adds to the embedding's output.
    Neftune,
    /// On what attention adds to the residual stream.
    Attention,
    /// On what the MLP adds to it.
    Mlp,
    /// On the input of an adapter, the so-manieth of its block.
    Adapter(u8),
}

/// Dropout in one unit, for one micro-batch.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    p: f64,
    /// On what goes into an adapter.
    adapters: f64,
    seed: u64,
    /// The places that it is applied to, if they are some of a micro-batch's only.
    span: Option<Span>,
    /// The same for the channels of what goes into an adapter.
    columns: Option<Span>,
}

impl Noise {
    /// The noise of a step, and the dropout of its adapters; none if none is asked for.
    pub fn of_step(
        settings: NoiseConfig,
        adapters: f64,
        n_layers: usize,
        seed: u32,
        step: u64,
    ) -> Option<Self> {
        let any = settings.dropout > 0.0 || settings.neftune_alpha > 0.0 || adapters > 0.0;
        let seed = mix(mix(0, u64::from(seed)), step);
        any.then_some(Self { settings, adapters, n_layers, seed })
    }

    /// The dropout in a block: the same in all, or, as LIMA has it, from none in the first to all of it in the last.
    pub fn block(&self, layer: usize, batch: &MicroBatch) -> Dropout {
        let NoiseConfig { dropout, lima_dropout, .. } = self.settings;
        let last = self.n_layers.saturating_sub(1);
        let share = match (lima_dropout, last) {
            (false, _) => 1.0,
            (true, 0) => 0.0,
            (true, last) => layer as f64 / last as f64,
        };
        let seed = self.unit(1 + layer, batch);
        Dropout { p: dropout * share, adapters: self.adapters, seed, span: None, columns: None }
    }

    /// Adds the noise to the embedding's output; to that of a stretch of the places, if one is given.
    ///
    /// # Shapes
    /// `x_btd` -> `x_btd`, or `x_md` -> `x_md`
    pub fn embedding(&self, x: &Tensor, batch: &MicroBatch, span: Option<Span>) -> Tensor {
        let mut x = x.shallow_clone();
        let alpha = self.settings.neftune_alpha;
        if alpha > 0.0 {
            let noise_btd = neftune(&x, alpha, self.unit(0, batch), batch);
            x = match span {
                None => &x + noise_btd,
                Some(span) => &x + span.of(&noise_btd.view([span.all, -1])),
            };
        }
        self.embedding_dropout(batch).within(span).apply(x, Site::Embedding)
    }

    /// The dropout on the embedding's output.
    pub fn embedding_dropout(&self, batch: &MicroBatch) -> Dropout {
        let NoiseConfig { dropout, lima_dropout, .. } = self.settings;
        // LIMA: no dropout below the first block.
        let p = if lima_dropout { 0.0 } else { dropout };
        Dropout { p, adapters: 0.0, seed: self.unit(0, batch), span: None, columns: None }
    }

    fn unit(&self, unit: usize, batch: &MicroBatch) -> u64 {
        mix(mix(self.seed, batch.number), unit as u64)
    }
}

impl Dropout {
    /// The same, applied to a stretch of the places only.
    pub fn within(self, span: Option<Span>) -> Self {
        Self { span, ..self }
    }

    /// The same, applied to a stretch of the channels only.
    pub fn of_columns(self, columns: Span) -> Self {
        Self { columns: Some(columns), ..self }
    }

    /// Sets numbers to 0 and scales the others up, so that the sum is the same in the mean.
    pub fn apply(&self, x: Tensor, site: Site) -> Tensor {
        let p = if matches!(site, Site::Adapter(_)) { self.adapters } else { self.p };
        if p == 0.0 {
            return x;
        }
        start(self.seed, site);
        if let (Site::Adapter(_), Some(Span { all, start, length })) = (site, self.columns) {
            // Drawn for all channels, so that each has the same whoever keeps it.
            let mut size = x.size();
            *size.last_mut().expect("channels") = all;
            let ones = Tensor::ones(&size, (x.kind(), x.device()));
            return x * ones.dropout(p, true).narrow(-1, start, length);
        }
        match self.span {
            None => x.dropout(p, true),
            Some(_) if planted(Fault::OwnMask) => x.dropout(p, true),
            // Drawn for all places, so that each has the same whoever keeps it.
            Some(span) => {
                let ones_nd = Tensor::ones([span.all, x.size()[1]], (x.kind(), x.device()));
                x * span.of(&ones_nd.dropout(p, true))
            }
        }
    }
}

/// What NEFTune (arXiv:2310.05914) adds: uniform noise whose size falls with the square root of the numbers in a document.
/// It is that of all places, in the kind of `x`, hidden states of any of them.
fn neftune(x: &Tensor, alpha: f64, seed: u64, batch: &MicroBatch) -> Tensor {
    let (device, width) = (x.device(), x.size()[x.dim() - 1]);
    let [b, t] = batch.tokens_bt.size()[..] else { unreachable!("rows and places") };
    let hidden = width as f64;
    let sizes: Vec<f64> = batch
        .documents
        .iter()
        .map(|document| alpha / (document.read.max(1) as f64 * hidden).sqrt())
        .collect();
    let size_n = Tensor::from_slice(&sizes).to_kind(Kind::Float).to_device(device);
    let size_bt1 = match &batch.lengths {
        None => size_n.view([-1, 1, 1]),
        Some(_) => {
            let reads: Vec<i64> = batch.documents.iter().map(|it| it.read).collect();
            let reads = Tensor::from_slice(&reads).to_device(device);
            size_n.repeat_interleave_self_tensor(&reads, 0, None).view([1, -1, 1])
        }
    };
    start(seed, Site::Neftune);
    let noise_btd = Tensor::rand([b, t, width], (Kind::Float, device)) * 2.0 - 1.0;
    (noise_btd * size_bt1).to_kind(x.kind())
}

/// Seeds libtorch's generators for one draw.
fn start(seed: u64, site: Site) {
    let site = match site {
        Site::Embedding => 0,
        Site::Neftune => 1,
        Site::Attention => 2,
        Site::Mlp => 3,
        Site::Adapter(number) => 4 + u64::from(number),
    };
    tch::manual_seed(mix(seed, site).cast_signed());
}

/// A step of SplitMix64 from `seed`, keyed by `number`.
fn mix(seed: u64, number: u64) -> u64 {
    let mut z =
        (seed ^ number.wrapping_mul(0xd1b5_4a32_d192_ed03)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::batch::Batching;
    use crate::config::{HeadPlaces, Normalize, RowLayout};
    use crate::rows::Sample;

    fn noise(settings: NoiseConfig, step: u64) -> Noise {
        Noise::of_step(settings, 0.0, 5, 1234, step).expect("some noise")
    }

    fn batch(layout: RowLayout) -> MicroBatch {
        let batching = Batching {
            layout,
            sequence_length: 64,
            micro: 2,
            normalize: Normalize::Tokens,
            head: HeadPlaces::Learned,
            pad_id: 0,
            device: Device::Cpu,
        };
        let sample =
            |n| Sample { tokens: vec![1; n], weights: vec![1.0; n], cut: Default::default() };
        batching.update(&[sample(16), sample(4)]).remove(0)
    }

    #[test]
    fn lima_grows_from_no_dropout_in_the_first_block_to_all_of_it_in_the_last() {
        let (plain, lima) = (NoiseConfig { dropout: 0.2, ..NoiseConfig::default() }, true);
        let settings = NoiseConfig { lima_dropout: lima, ..plain };
        let batch = batch(RowLayout::Padded);
        let p = |settings| [0, 1, 2, 3, 4].map(|layer| noise(settings, 7).block(layer, &batch).p);
        assert_eq!(p(plain), [0.2; 5]);
        // numpy.linspace(0, 0.2, 5)
        assert_eq!(p(settings).map(|p| (p * 1e3).round()), [0.0, 50.0, 100.0, 150.0, 200.0]);
        let x_btd = Tensor::ones([2, 16, 8], (Kind::Float, Device::Cpu));
        assert_eq!(noise(settings, 7).embedding(&x_btd, &batch, None), x_btd);
        assert_ne!(noise(plain, 7).embedding(&x_btd, &batch, None), x_btd);
    }

    #[test]
    fn a_draw_depends_on_where_it_happens_and_on_nothing_else() {
        let settings = NoiseConfig { dropout: 0.5, ..NoiseConfig::default() };
        let [batch, next] = [0, 1].map(|number| MicroBatch { number, ..batch(RowLayout::Padded) });
        let x = || Tensor::ones([64, 64], (Kind::Float, Device::Cpu));
        let of =
            |batch, step, layer, site| noise(settings, step).block(layer, batch).apply(x(), site);
        let draw = |step, layer, site| of(&batch, step, layer, site);
        let first = draw(3, 1, Site::Mlp);
        let others = [draw(3, 1, Site::Attention), draw(3, 2, Site::Mlp), draw(4, 1, Site::Mlp)];
        assert!(others.iter().all(|other| *other != first));
        assert_ne!(of(&next, 3, 1, Site::Mlp), first);
        assert_eq!(draw(3, 1, Site::Mlp), first);
        // Half of 4,096 numbers, give or take four standard deviations; those that stay are doubled.
        let kept = first.gt(0.0).sum(Kind::Int64).int64_value(&[]);
        assert!((2048 - 128..=2048 + 128).contains(&kept), "{kept}");
        assert_eq!(first.max().double_value(&[]), 2.0);
    }

    #[test]
    fn neftune_is_as_large_as_a_document_is_short() {
        let settings = NoiseConfig { neftune_alpha: 8.0, ..NoiseConfig::default() };
        for layout in [RowLayout::Padded, RowLayout::Packed] {
            let batch = batch(layout);
            let [b, t] = batch.tokens_bt.size()[..] else { panic!("two sizes") };
            let x_btd = Tensor::zeros([b, t, 64], (Kind::Float, Device::Cpu));
            let noisy = noise(settings, 0).embedding(&x_btd, &batch, None).abs().view([b * t, 64]);
            // alpha / sqrt(16 * 64) = 0.25, and 0.5 for the document of 4.
            let largest = |from| noisy.narrow(0, from, 4).max().double_value(&[]);
            assert!((0.2..=0.25).contains(&largest(0)), "{}", largest(0));
            assert!((0.4..=0.5).contains(&largest(16)), "{}", largest(16));
        }
    }
}
